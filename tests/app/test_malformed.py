"""Bodies that the fuzzer found a fault with, each refused since then in our own form."""

from collections.abc import Iterator

import pytest

from charkha.kit.postgres import launcher
from tests.app.front import House, fresh_database, house

JSON, JSONL = "application/json", "application/jsonl"
DEEP = b"[" * 100_000


@pytest.fixture(scope="module")
def running(migrated_server: launcher.Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with (
        fresh_database(migrated_server) as urls,
        house(urls, tmp_path_factory.mktemp("malformed") / "home") as running,
    ):
        yield running


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/workspaces", JSON, b'{"name": "\\ud800"}'),
        ("/endpoints", JSON, b'{"name": "x", "variant": {"parameters": {"\\ud800": 1}}}'),
        ("/endpoints", JSON, DEEP),
        ("/datasets?name=a", JSONL, DEEP),
        ("/datasets?name=a", JSONL, b'{"input": "\xff", "label": "a"}'),
        ("/datasets", JSON, b'{"name": "a", "examples": [' + DEEP),
        ("/datasets", JSON, b'{"name": "\xff", "examples": [{}]}'),
        ("/v1/chat/completions", JSON, DEEP),
        ("/v1/messages", JSON, b'{"model": "\xff"}'),
    ],
)
def test_what_cannot_be_read_is_the_callers_fault(running: House, path: str, kind: str, body: bytes) -> None:
    with running.client() as client:
        answer = client.post(path, content=body, headers={"content-type": kind})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error"]["message"]
