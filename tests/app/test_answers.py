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
from charkha.core.errors import CharkhaError, Invalid, NotFound, Unavailable
from charkha.core.messages import Message
from charkha.govern.keyring import Authenticator, Principal
from charkha.serve.prompts.cases import Said
from charkha.testing.serving import serving

pytestmark = pytest.mark.anyio
INFERENCE = uuid4()


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


class Asked(Gateway):
    """Answers as an endpoint does, and remembers who asked."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.headers: dict[bytes, bytes] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers = dict(scope["headers"])

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [(b"x-charkha-inference-id", str(INFERENCE).encode())]
            await send(message)

        await super().__call__(scope, receive, answer)


async def test_tests_of_prompts_are_asked_as_their_caller(tmp_path: Path) -> None:
    tokens: list[Any] = []
    authenticator = cast(Authenticator, SimpleNamespace(internal_token=lambda *of: tokens.append(of) or "token"))
    caller = Principal("key:1", uuid4(), uuid4(), frozenset({"inference.create", "prompt.write"}))
    gateway = Asked(200)
    async with serving(gateway) as address, aiohttp.ClientSession() as session:
        (tmp_path / "address").write_text(address)
        installation = cast(Installation, SimpleNamespace(address_file=tmp_path / "address"))
        answers = GatewayAnswers(installation, authenticator, cast(Sessions, lambda: session))
        said = await answers.answered(caller, "tiny", [{"role": "user", "content": "Which?"}], 5)
        assert said == Said("green", None, INFERENCE)
        assert tokens == [(caller.workspace_id, "key:1", frozenset({"inference.create"}))]
        assert gateway.headers[b"x-charkha-purpose"] == b"evaluation"
        gateway.status = 404
        with pytest.raises(NotFound):
            await answers.answered(caller, "nobody", [], 5)


async def test_a_gateway_that_has_not_started_may_come(tmp_path: Path) -> None:
    installation = cast(Installation, SimpleNamespace(address_file=tmp_path / "address"))
    authenticator = cast(Authenticator, SimpleNamespace(internal_token=lambda *_: "token"))
    answers = GatewayAnswers(installation, authenticator, cast(Sessions, aiohttp.ClientSession))
    with pytest.raises(Unavailable, match="has not started"):
        await answers.ask(uuid4(), "colours@2", [Message("user", "Which?")], 5)
