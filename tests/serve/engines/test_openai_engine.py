"""The plugin for OpenAI-compatible services: names are translated, keys come from the environment, adapters are refused."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from pydantic import ValidationError

from charkha.serve.engines import openai
from charkha.serve.engines.models import find_model
from charkha.serve.ports import EngineDeps
from charkha.testing.conformance.engines import EngineConformance, Subject
from charkha.testing.engine_process import TOKEN, RunningEngine, no_session, running_engine
from charkha.testing.tiny import make_tiny_gguf


@pytest.fixture
def deps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineDeps:
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-service")
    return EngineDeps(no_session, tmp_path, "ours")


def test_names_and_keys_are_the_services(deps: EngineDeps) -> None:
    engine = openai.build(openai.Config(url="https://models.example/v1/", models={"ours": "theirs"}), deps)
    call = engine.upstream("/v1/chat/completions", {"model": "ours", "messages": []}, ())
    assert call.url == "https://models.example/v1/chat/completions"
    assert call.headers["Authorization"] == "Bearer key-of-the-service"
    assert msgspec.json.decode(call.body) == {"model": "theirs", "messages": []}
    assert engine.command() is None


def test_a_length_goes_by_the_name_that_the_service_knows(deps: EngineDeps) -> None:
    for known, other in (("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")):
        engine = openai.build(openai.Config(length=known), deps)
        for asked in ({known: 5}, {other: 5}, {}):
            told = msgspec.json.decode(engine.upstream("/v1/chat/completions", {"model": "m", **asked}, ()).body)
            assert told == {"model": "m", **({known: 5} if asked else {})}
        body = {"model": "m", "max_tokens": 5}
        assert msgspec.json.decode(engine.upstream("/v1/completions", body, ()).body) == body
    both = openai.build(openai.Config(), deps).upstream("/v1/chat/completions", {"model": "m", "max_tokens": 5}, ())
    assert msgspec.json.decode(both.body) == {"model": "m", "max_tokens": 5}


def test_adapters_are_refused_clearly(deps: EngineDeps) -> None:
    engine = openai.build(openai.Config(), deps)
    with pytest.raises(ValueError, match="takes no adapters"):
        engine.upstream("/v1/chat/completions", {}, [("a" * 64, 1.0)])


def test_a_missing_key_is_named(deps: EngineDeps) -> None:
    with pytest.raises(ValueError, match="NOT_SET"):
        openai.build(openai.Config(api_key_env="NOT_SET"), deps)
    with pytest.raises(ValidationError):
        openai.Config(url="file:///etc/passwd")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    home = tmp_path_factory.mktemp("home")
    with running_engine(home, make_tiny_gguf(home / "tiny.gguf", find_model(None, home).path)) as engine:
        yield engine


class TestAgainstOurOwnEngine(EngineConformance):
    @pytest.fixture
    async def subject(
        self, running: RunningEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Subject]:
        monkeypatch.setenv("OPENAI_API_KEY", TOKEN)
        async with aiohttp.ClientSession() as session:
            engine = openai.build(openai.Config(url=f"{running.url}/v1"), EngineDeps(lambda: session, tmp_path, ""))
            yield Subject(engine, session, "smollm2-135m-instruct")
