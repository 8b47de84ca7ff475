"""The engine's process passes the conformance suite with two adapters, and answers as its engine does."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest

from charkha.serve.engines import loom
from charkha.serve.ports import EngineDeps
from charkha.testing.conformance.engines import EngineConformance, Subject
from charkha.testing.engine_process import TOKEN, RunningEngine, running_engine

CHAT = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, "temperature": 0}


@pytest.fixture(scope="module")
def home(directory: Path) -> Path:
    """Where the model was turned into torch's form already."""
    return directory.parent.parent


@pytest.fixture(scope="module")
def running(home: Path, tiny: Path) -> Iterator[RunningEngine]:
    with running_engine(home, tiny, loom, threads=1) as engine:
        yield engine


@pytest.fixture
def client(running: RunningEngine) -> Iterator[httpx.Client]:
    with running.client() as client:
        yield client


class TestLoom(EngineConformance):
    @pytest.fixture
    async def subject(self, running: RunningEngine, home: Path, adapters: dict[str, Path]) -> AsyncIterator[Subject]:
        async with aiohttp.ClientSession() as session:
            engine = loom.build(loom.Config(), EngineDeps(lambda: session, home, TOKEN))
            yield Subject(engine, session, "smollm2-135m-instruct", tuple(list(adapters.items())[:2]))


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({"temperature": 3}, 400, "temperature", "invalid_request"),
        ({"nonsense": 1}, 400, "nonsense", "invalid_request"),
        ({"messages": [{"role": "user", "content": "word " * 2000}]}, 400, "messages", "context_length_exceeded"),
        ({"adapters": [{"id": "a" * 64}]}, 409, None, "adapter_not_loaded"),
        ({"adapters": [{"id": "a" * 64, "weight": 0}]}, 409, None, "adapter_not_loaded"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "?"}}}},
            400,
            "response_format",
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


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_schema_shapes_the_answer(client: httpx.Client, temperature: int) -> None:
    properties = {"colour": {"enum": ["red", "blue"]}, "sure": {"type": "boolean"}}
    schema = {"type": "object", "properties": properties, "required": ["colour", "sure"], "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "c", "schema": schema}}
    body = {**CHAT, "max_tokens": 120, "temperature": temperature, "response_format": wanted}
    answer = client.post("/v1/chat/completions", json=body).json()["choices"][0]
    content = json.loads(answer["message"]["content"])
    assert content["colour"] in ("red", "blue")
    assert isinstance(content["sure"], bool)
    assert answer["finish_reason"] == "stop"


def test_completions_take_texts_and_tokens_with_log_probabilities(client: httpx.Client) -> None:
    body = {"prompt": ["one", "two"], "max_tokens": 3, "n": 2, "logprobs": 2, "temperature": 0}
    answer = client.post("/v1/completions", json=body).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == 2
    logprobs = answer["choices"][0]["logprobs"]
    assert len(logprobs["token_logprobs"]) == 3
    assert logprobs["token_logprobs"][0] == max(logprobs["top_logprobs"][0].values())
    assert (
        client.post("/v1/completions", json={"prompt": [5, 6, 7], "max_tokens": 1}).json()["usage"]["prompt_tokens"]
        == 3
    )


def test_log_probabilities_are_streamed_with_their_tokens(client: httpx.Client) -> None:
    body = {**CHAT, "logprobs": True, "top_logprobs": 3}
    whole = client.post("/v1/chat/completions", json=body).json()["choices"][0]["logprobs"]["content"]
    lines = client.post("/v1/chat/completions", json={**body, "stream": True}).text.strip().split("\n\n")[:-1]
    choices = [json.loads(line[6:])["choices"][0] for line in lines]
    assert [token for choice in choices for token in (choice.get("logprobs") or {}).get("content", [])] == whole
    assert all(len(token["top_logprobs"]) == 3 for token in whole)


def test_a_stop_string_ends_the_answer_before_it(client: httpx.Client) -> None:
    body = {**CHAT, "max_tokens": 40}
    text = client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    stop = text[10:13]
    answer = client.post("/v1/chat/completions", json={**body, "stop": [stop]}).json()["choices"][0]
    assert answer["message"]["content"] == text[: text.index(stop)]
    assert answer["finish_reason"] == "stop"


def test_embeddings_are_unit_vectors_of_the_right_order(client: httpx.Client) -> None:
    answer = client.post("/v1/embeddings", json={"input": ["one", "two", "one"]}).json()
    first, second, third = (row["embedding"] for row in answer["data"])
    assert first == pytest.approx(third, abs=1e-3)
    assert first != pytest.approx(second, abs=1e-3)
    assert sum(value * value for value in first) == pytest.approx(1, abs=1e-3)


def test_continuations_are_scored_as_they_are_generated(client: httpx.Client) -> None:
    body = {**CHAT, "logprobs": True}
    choice = client.post("/v1/chat/completions", json=body).json()["choices"][0]
    text, told = choice["message"]["content"], [token["logprob"] for token in choice["logprobs"]["content"]]
    wanted = {"messages": CHAT["messages"], "continuations": [text, " no", text]}
    data = client.post("/v1/score", json=wanted).json()["data"]
    assert data[0]["logprob"] == data[2]["logprob"] == pytest.approx(sum(data[0]["token_logprobs"]))
    if len(data[0]["token_logprobs"]) == len(told):  # else the text is split into other tokens than were generated
        assert data[0]["token_logprobs"] == pytest.approx(told, abs=1e-3)
    assert client.post("/v1/score", json={"continuations": ["a"]}).json()["error"]["param"] == "prompt"


def test_prompts_are_shared_within_a_partition_alone(client: httpx.Client) -> None:
    body = {**CHAT, "messages": [{"role": "user", "content": "A long story about salt. " * 8}]}

    def cached(partition: str) -> int:
        usage = client.post("/v1/chat/completions", json={**body, "partition": partition}).json()["usage"]
        return int(usage["prompt_tokens_details"]["cached_tokens"])

    assert [cached(partition) for partition in ("", "", "a", "b")] == [0, 0, 0, 0]
    assert cached("a") > 50


def test_a_hostile_file_is_refused_with_its_reason(client: httpx.Client, adapters: dict[str, Path]) -> None:
    import hashlib

    content = next(iter(adapters.values())).read_bytes()[:-40]
    answer = client.put(f"/adapters/{hashlib.sha256(content).hexdigest()}", content=content)
    assert answer.status_code == 422
    assert "refused" in answer.json()["error"]["message"]


def test_a_reader_that_leaves_frees_its_place(client: httpx.Client) -> None:
    body = {**CHAT, "max_tokens": 400, "stream": True}
    for _ in range(12):  # three times as many as are answered at once
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_lines())
    assert client.post("/v1/chat/completions", json=CHAT, timeout=5).status_code == 200


def test_its_settings_are_read_without_torch() -> None:
    import subprocess
    import sys

    code = "import sys, charkha.serve.engines.loom, charkha.serve.engines.loom.server; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
