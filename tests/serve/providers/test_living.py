"""The engines of a process: what has not changed stays as it is built, what cannot be built is left out."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from charkha.core.clock import now
from charkha.core.errors import Misconfigured, Unavailable
from charkha.kit.crypto import Secrets
from charkha.serve.ports import COUNT_PATH, CountsTokens, EngineDeps
from charkha.serve.providers.domain import Provider
from charkha.serve.providers.living import BaseModels, Builder, Engines
from charkha.testing.engine_process import no_session
from charkha.testing.fake_engine import FakeEngine

KEY = "sk-of-the-provider"


class Pictures:
    """Snapshots as far as engines read them."""

    def __init__(self) -> None:
        self.kept: tuple[Provider, ...] | None = None

    def get(self, name: str) -> Any:
        """What was last put there."""
        if self.kept is None:
            raise Unavailable("too old")
        return self.kept


@pytest.fixture
def builder(secrets_of_test: Secrets, tmp_path: Path) -> Builder:
    return Builder(secrets_of_test, EngineDeps(no_session, tmp_path, ""))


def kept(builder: Builder, name: str, plugin: str = "openai", **options: Any) -> Provider:
    url = "https://far.example/v1"
    sealed = builder.seal(name, url, KEY)
    return Provider(uuid4(), name, plugin, {"url": url, **options}, sealed, KEY[-4:], now(), now())


def test_engines_come_change_and_go_with_the_snapshot(builder: Builder) -> None:
    pictures: Any = Pictures()
    engines = Engines({"local": FakeEngine("http://there")}, pictures, builder)
    assert list(engines) == ["local"]
    first, second = kept(builder, "a"), kept(builder, "b")
    pictures.kept = (first, second, kept(builder, "local"))
    assert (list(engines), len(engines)) == (["local", "a", "b"], 3)
    assert engines["local"] is engines.fixed["local"]
    before = engines["a"]
    pictures.kept = (first, msgspec.structs.replace(second, options={**second.options, "models": {"m": "n"}}))
    assert engines["a"] is before
    after = engines["b"]
    pictures.kept = (pictures.kept[1],)
    assert ("a" in engines, engines["b"] is after) == (False, True)
    pictures.kept = None
    assert engines["b"] is after, "what was known stays while the database is gone"


def test_calls_go_out_by_the_guarded_session_with_the_key(builder: Builder) -> None:
    engine = builder.build(kept(builder, "a"))
    call = engine.upstream("/v1/chat/completions", {"model": "m", "messages": []}, ())
    assert call.session is no_session
    assert call.headers["Authorization"] == f"Bearer {KEY}"
    assert not isinstance(engine, CountsTokens)
    claude = builder.build(kept(builder, "c", "anthropic"))
    assert isinstance(claude, CountsTokens)
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert claude.upstream(COUNT_PATH, asked, ()).session is no_session
    assert claude.upstream("/v1/chat/completions", asked, ()).answers is not None


@pytest.mark.parametrize("change", [{"name": "b"}, {"options": {"url": "https://other.example/v1"}}])
def test_a_key_opens_for_its_own_name_and_url_alone(builder: Builder, change: dict[str, Any]) -> None:
    moved = msgspec.structs.replace(kept(builder, "a"), **change)
    with pytest.raises(Misconfigured, match="cannot be opened"):
        builder.build(moved)
    pictures: Any = Pictures()
    pictures.kept = (moved, kept(builder, "whole"))
    assert list(Engines({}, pictures, builder)) == ["whole"]


def test_models_of_the_settings_come_first(builder: Builder) -> None:
    pictures: Any = Pictures()
    models = BaseModels({"tiny": ("local", "tiny")}, pictures)
    assert dict(models) == {"tiny": ("local", "tiny")}
    of_a = kept(builder, "a", models={"tiny": "x", "large": "y"})
    pictures.kept = (of_a, kept(builder, "b", models={"large": "z", "small": "z"}))
    assert dict(models) == {"tiny": ("local", "tiny"), "large": ("a", "large"), "small": ("b", "small")}
    assert next(iter(models)) == "tiny"
    pictures.kept = ()
    assert list(models) == ["tiny"]
