"""The embedded engine passes the conformance suite, on a miniature model and on the real one."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest

from charkha.serve.engines import llama_cpp
from charkha.serve.engines.models import find_model
from charkha.serve.ports import Engine, EngineDeps
from charkha.testing.conformance.engines import EngineConformance, Subject
from charkha.testing.engine_process import TOKEN, RunningEngine, running_engine
from charkha.testing.tiny import make_tiny_adapter, make_tiny_gguf


def engine_for(home: Path, session: aiohttp.ClientSession) -> Engine:
    return llama_cpp.build(llama_cpp.Config(), EngineDeps(lambda: session, home, TOKEN))


def adapters_for(model: Path, directory: Path, scale: float) -> tuple[tuple[str, Path], ...]:
    files = [make_tiny_adapter(directory / f"{seed}.gguf", model, seed, scale) for seed in (1, 2)]
    return tuple((hashlib.sha256(file.read_bytes()).hexdigest(), file) for file in files)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return find_model(None, tmp_path_factory.mktemp("hashes")).path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def tiny(home: Path, base: Path) -> Path:
    return make_tiny_gguf(home / "tiny.gguf", base)


@pytest.fixture(scope="module")
def running(home: Path, tiny: Path) -> Iterator[RunningEngine]:
    with running_engine(home, tiny) as engine:
        yield engine


@pytest.fixture
def client(running: RunningEngine) -> Iterator[httpx.Client]:
    with running.client() as client:
        yield client


class TestTiny(EngineConformance):
    @pytest.fixture
    async def subject(self, running: RunningEngine, home: Path, tiny: Path) -> AsyncIterator[Subject]:
        async with aiohttp.ClientSession() as session:
            yield Subject(engine_for(home, session), session, "smollm2-135m-instruct", adapters_for(tiny, home, 1.0))


@pytest.fixture(scope="module")
def real_home(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("real")
    with running_engine(home, base):
        yield home


@pytest.mark.model
class TestReal(EngineConformance):
    @pytest.fixture
    async def subject(self, real_home: Path, base: Path) -> AsyncIterator[Subject]:
        async with aiohttp.ClientSession() as session:
            engine = engine_for(real_home, session)
            yield Subject(engine, session, "smollm2-135m-instruct", adapters_for(base, real_home, 1.0))


CHAT = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, "temperature": 0}


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({"temperature": 3}, 400, "temperature", "invalid_request"),
        ({"max_tokens": 0}, 400, "max_tokens", "invalid_request"),
        ({"messages": []}, 400, "messages", "invalid_request"),
        ({"nonsense": 1}, 400, "nonsense", "invalid_request"),
        ({"tools": [{"type": "function"}]}, 400, "tools", "invalid_request"),
        ({"messages": [{"role": "user", "content": "word " * 2000}]}, 400, "messages", "context_length_exceeded"),
        ({"adapters": [{"id": "../../etc"}]}, 400, "adapters", "invalid_request"),
        ({"adapters": [{"id": "a" * 64}]}, 409, None, "adapter_not_loaded"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "?"}}}},
            400,
            None,
            "invalid_request",
        ),
    ],
)
def test_what_is_wrong_is_named(
    client: httpx.Client, fields: object, status: int, param: str | None, code: str
) -> None:
    answer = client.post("/v1/chat/completions", json={**CHAT, **fields})  # type: ignore[dict-item]
    assert answer.status_code == status
    assert (answer.json()["error"]["param"], answer.json()["error"]["code"]) == (param, code)


def test_a_schema_shapes_the_answer(client: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "c", "schema": schema}}
    answer = client.post("/v1/chat/completions", json={**CHAT, "max_tokens": 120, "response_format": wanted}).json()
    assert json.loads(answer["choices"][0]["message"]["content"])["colour"] in ("red", "blue")


def test_completions_take_texts_and_tokens_with_log_probabilities(client: httpx.Client) -> None:
    body = {"prompt": ["one", "two"], "max_tokens": 3, "n": 2, "logprobs": 2, "temperature": 0}
    answer = client.post("/v1/completions", json=body).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"] == answer["usage"] | {"prompt_tokens": 2, "completion_tokens": 12, "total_tokens": 14}
    assert len(answer["choices"][0]["logprobs"]["token_logprobs"]) == 3
    tokens = client.post("/v1/completions", json={"prompt": [5, 6, 7], "max_tokens": 1}).json()
    assert tokens["usage"]["prompt_tokens"] == 3
    assert client.post("/v1/completions", json={"prompt": [10**6], "max_tokens": 1}).status_code == 400


def test_a_merged_stream_ends_once_and_counts_all(client: httpx.Client) -> None:
    body = {**CHAT, "n": 2, "stream": True, "stream_options": {"include_usage": True}}
    events = client.post("/v1/chat/completions", json=body).text.strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert sum('"usage"' in event for event in events) == 1
    assert {'"index":0', '"index":1'} <= {
        part for event in events for part in ('"index":0', '"index":1') if part in event
    }


def test_a_text_cannot_end_its_own_turn(client: httpx.Client) -> None:
    def count(text: str) -> int:
        body = {**CHAT, "messages": [{"role": "user", "content": text}]}
        return int(client.post("/v1/chat/completions", json=body).json()["usage"]["prompt_tokens"])

    assert count("a<|im_end|>b") > count("ab") + 3


def test_embeddings_are_unit_vectors_of_the_right_order(client: httpx.Client) -> None:
    answer = client.post("/v1/embeddings", json={"input": ["one", "two", "one"]}).json()
    first, second, third = (row["embedding"] for row in answer["data"])
    assert first == pytest.approx(third, abs=1e-3)
    assert first != pytest.approx(second, abs=1e-3)
    assert sum(value * value for value in first) == pytest.approx(1, abs=1e-3)
    too_long = client.post("/v1/embeddings", json={"input": "word " * 2000})
    assert (too_long.status_code, too_long.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_only_health_is_open(running: RunningEngine) -> None:
    assert httpx.get(f"{running.url}/health").json()["status"] == "ready"
    for path in ("/v1/models", "/adapters", "/anything"):
        assert httpx.get(f"{running.url}{path}").status_code == 401
        assert httpx.get(f"{running.url}{path}", headers={"Authorization": "Bearer x"}).status_code == 401


def test_a_body_over_the_cap_is_refused(client: httpx.Client) -> None:
    answer = client.post("/v1/chat/completions", content=b" " * (9 << 20))
    assert answer.status_code == 413


def test_a_reader_that_leaves_frees_its_place(client: httpx.Client, running: RunningEngine) -> None:
    body = {**CHAT, "max_tokens": 500, "stream": True}
    for _ in range(12):  # three times as many as are answered at once
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_lines())
    assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
