"""What `charkha up` tells when all is up: where it listens, the first key once, and the way into the console."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from charkha.app import settings, up
from charkha.app.installation import Installation
from charkha.app.settings import Settings
from charkha.app.supervisor_state import State

TOKEN = "charkha_link_a.b.c"
KEY = "charkha_sk_operator"


class _Links(BaseHTTPRequestHandler):
    """Answers as the route of sign-in links does, to the operator's key alone."""

    def do_POST(self) -> None:
        good = (self.path, self.headers["authorization"]) == ("/sign-in-links", f"Bearer {KEY}")
        link = {"token": TOKEN, "expires_at": "2030-01-01T00:00:00Z", "path": f"/console/sign-in#{TOKEN}"}
        body = json.dumps(link if good else {"error": {"message": "This API key is not known."}}).encode()
        self.send_response(201 if good else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


@contextmanager
def _serving() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Links) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    """An installation's settings, with the operator's key in its home."""
    found = settings.load(home=tmp_path)
    path = Installation(found).operator_key_file
    path.parent.mkdir()
    path.write_text(KEY + "\n")
    return found


def _told(configured: Settings, url: str, capsys: pytest.CaptureFixture[str]) -> str:
    up.welcome(configured, State(pid=1, ready=True, started_at=0.0, url=url, parts=()))
    return capsys.readouterr().out


def test_the_first_start_shows_the_key_once_and_each_start_a_link(
    configured: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    (configured.home / up.FIRST_KEY).write_text("charkha_sk_first\n")
    with _serving() as url:
        first, later = _told(configured, url, capsys), _told(configured, url, capsys)
    assert "charkha_sk_first" in first
    assert "charkha_sk_first" not in later
    for told in (first, later):
        assert f"Charkha is up at {url}" in told
        assert f"{url}/console/sign-in#{TOKEN}\n" in told
        assert KEY not in told


def test_without_a_link_it_tells_how_to_get_one(configured: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    key = Installation(configured).operator_key_file
    with _serving() as url:
        for text in ("charkha_sk_another", "schlüssel", ""):
            key.write_text(text)
            assert "`charkha console` prints a sign-in link" in _told(configured, url, capsys)
        key.unlink()
        assert "`charkha console` prints a sign-in link" in _told(configured, url, capsys)
    key.write_text(KEY)
    told = _told(configured, url, capsys)  # nobody listens there any more
    assert "does not answer" in told
    assert "`charkha console` prints a sign-in link" in told
