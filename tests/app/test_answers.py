"""Evaluators ask the gateway: what may pass is told apart from what will not."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import aiohttp
import msgspec
import pytest

from charkha.app.answers import GatewayAnswers
from charkha.app.engines import Sessions
from charkha.app.installation import Installation
from charkha.core.errors import CharkhaError, Invalid, Unavailable
from charkha.core.messages import Message
from charkha.govern.keyring import Authenticator
from charkha.testing.serving import serving

pytestmark = pytest.mark.anyio


class Gateway:
    """Answers every request with one status."""

    def __init__(self, status: int) -> None:
        self.status = status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        said = {"error": {"message": "so it is", "param": None}, "choices": [{"message": {"content": "green"}}]}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": msgspec.json.encode(said)})


async def _asked(status: int, directory: Path) -> str:
    authenticator = cast(Authenticator, SimpleNamespace(internal_token=lambda *_: "token"))
    async with serving(Gateway(status)) as address, aiohttp.ClientSession() as session:
        (directory / "address").write_text(address)
        installation = cast(Installation, SimpleNamespace(address_file=directory / "address"))
        answers = GatewayAnswers(installation, authenticator, cast(Sessions, lambda: session))
        return await answers.ask(uuid4(), "colours@2", [Message("user", "Which?")], 5)


async def test_an_answer_is_its_text(tmp_path: Path) -> None:
    assert await _asked(200, tmp_path) == "green"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, Unavailable),  # a version that was registered a moment ago: the gateway's picture is behind
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (400, Invalid),
        (413, Invalid),
        (422, Invalid),
    ],
)
async def test_what_may_pass_is_tried_again(status: int, kind: type[CharkhaError], tmp_path: Path) -> None:
    with pytest.raises(kind) as caught:
        await _asked(status, tmp_path)
    assert type(caught.value) is kind


async def test_a_gateway_that_has_not_started_may_come(tmp_path: Path) -> None:
    installation = cast(Installation, SimpleNamespace(address_file=tmp_path / "address"))
    authenticator = cast(Authenticator, SimpleNamespace(internal_token=lambda *_: "token"))
    answers = GatewayAnswers(installation, authenticator, cast(Sessions, aiohttp.ClientSession))
    with pytest.raises(Unavailable, match="has not started"):
        await answers.ask(uuid4(), "colours@2", [Message("user", "Which?")], 5)
