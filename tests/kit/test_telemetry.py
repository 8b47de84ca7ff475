"""Logs carry what happened and never a secret; metrics are shown."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Counter

from charkha.kit import telemetry
from charkha.kit.telemetry import MASK, redacted, redacted_text

KEY = "charkha_sk_" + "aB3-_" * 8
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged as JSON lines; logging is put back afterwards."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", stream)
    telemetry.configure("info", json_lines=True, part="test")
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_what_happened_when_and_where(lines: io.StringIO) -> None:
    telemetry.logger("charkha.release").info("rollout.advanced", share=10, done=False)
    (line,) = parsed(lines)
    assert (line["event"], line["share"], line["done"], line["part"]) == ("rollout.advanced", 10, False, "test")
    assert (line["level"], line["logger"]) == ("info", "charkha.release")
    assert line["timestamp"].endswith("Z")


def test_the_level_holds_and_the_standard_library_goes_the_same_way(lines: io.StringIO) -> None:
    telemetry.logger("a").debug("hidden")
    logging.getLogger("b").warning("with Bearer %s", KEY)
    logging.getLogger("httpx").info("GET https://x?token=1")
    (line,) = parsed(lines)
    assert line["event"] == f"with Bearer {MASK}"


def test_no_secret_leaves_through_fields_nesting_or_exceptions(lines: io.StringIO) -> None:
    log = telemetry.logger("a")
    log.info(f"key {KEY}", api_key="hunter2", headers={"Authorization": "hunter2", "x": ["Bearer hunter2"]})
    try:
        raise ValueError(f"bad key {KEY}, postgresql://charkha:hunter2@/charkha")
    except ValueError:
        log.exception("failed")
    first, second = parsed(lines)
    assert KEY not in lines.getvalue()
    assert "hunter2" not in lines.getvalue()
    assert first["headers"] == {"Authorization": MASK, "x": [f"Bearer {MASK}"]}
    assert "ValueError" in second["exception"]


def test_the_terminal_hides_secrets_too(monkeypatch: pytest.MonkeyPatch, lines: io.StringIO) -> None:
    monkeypatch.setattr(sys, "stderr", lines)  # pytest has put its own back since the fixture
    telemetry.configure("info", json_lines=False)
    telemetry.logger("a").warning("seen", value=KEY)
    assert "seen" in lines.getvalue()
    assert KEY not in lines.getvalue()


@given(st.text(ALPHABET, min_size=20, max_size=60), st.text(max_size=19))
def test_a_key_of_ours_is_hidden_wherever_it_stands(secret: str, around: str) -> None:
    assert secret not in redacted_text(f"{around} charkha_sk_{secret} {around}")
    assert secret not in str(redacted({"list": [{"deep": f"charkha_sk_{secret}"}]}))


@given(st.text(ALPHABET, min_size=43, max_size=43), st.uuids(), st.uuids(), st.sampled_from(["charkha_link_", ""]))
def test_a_sign_in_link_and_a_cookie_are_hidden_whole(secret: str, space: UUID, row: UUID, prefix: str) -> None:
    told = redacted_text(f"GET /console/sign-in#{prefix}{space.hex}.{row.hex}.{secret} 200")
    assert told == f"GET /console/sign-in#{MASK} 200"


@pytest.mark.parametrize(
    "name",
    ["authorization", "api_key", "API-Key", "password", "token", "access_token", "master_key", "set-cookie", "pepper"],
)
def test_fields_named_like_secrets_are_hidden(name: str) -> None:
    assert redacted({name: "hunter2"}) == {name: MASK}


@pytest.mark.parametrize(
    "harmless",
    [
        {"tokens": 12, "max_tokens": 5, "prompt_tokens": 3},
        {"key_id": "0191", "endpoint": "support"},
        {"url": "http://127.0.0.1:8420/v1/models", "none": None, "ratio": 0.5},
    ],
)
def test_what_is_no_secret_is_left(harmless: dict[str, Any]) -> None:
    assert redacted(harmless) == harmless


def test_endless_nesting_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "too deep" in str(redacted(loop))


def test_metrics_are_shown() -> None:
    Counter("charkha_test_turns", "Turns of the wheel.", registry=telemetry.REGISTRY).inc(3)
    body, kind = telemetry.exposition()
    assert b"charkha_test_turns_total 3.0" in body
    assert kind.startswith("text/plain")
