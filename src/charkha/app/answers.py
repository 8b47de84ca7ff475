"""evaluate.ports.Answers, and serve's for tests of prompts: both ask through Charkha's own gateway, as everybody does.

So an answer in a scorecard is what a user would have got, and it is metered, governed and logged like any other.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import aiohttp
import msgspec

from charkha.app.engines import Sessions
from charkha.app.installation import Installation
from charkha.core.errors import Invalid, NotFound, Unavailable
from charkha.core.messages import Message
from charkha.govern.keyring import Authenticator, Principal
from charkha.kit.plugins import boundary
from charkha.serve.prompts.cases import Said

ACTOR, PERMISSIONS = "system:evaluate", frozenset({"inference.create"})


class GatewayAnswers:
    """Asks with a short-lived internal token; what it asks is marked as evaluation and never mixes with live traffic."""

    def __init__(self, installation: Installation, authenticator: Authenticator, sessions: Sessions) -> None:
        self._installation, self._authenticator, self._sessions = installation, authenticator, sessions

    async def ask(self, workspace_id: UUID, model: str, messages: Sequence[Message], max_tokens: int) -> str:
        """One greedy answer. Raises Unavailable for what may pass, Invalid for what will not."""
        token = self._authenticator.internal_token(workspace_id, ACTOR, PERMISSIONS)
        try:
            said = await self._post(token, model, [message.as_dict() for message in messages], max_tokens)
        except NotFound as error:
            # Only versions of the registry are asked: one that is not found is not in the gateway's picture yet.
            raise Unavailable(error.message) from error
        return said.text

    async def answered(
        self, principal: Principal, model: str, messages: Sequence[dict[str, Any]], max_tokens: int
    ) -> Said:
        """One greedy answer, asked as the caller, whose limits hold. Raises NotFound where there is no such model."""
        acting = principal.permissions & PERMISSIONS
        token = self._authenticator.internal_token(principal.workspace_id, principal.actor, acting)
        return await self._post(token, model, messages, max_tokens)

    async def _post(self, token: str, model: str, messages: Sequence[dict[str, Any]], max_tokens: int) -> Said:
        body = {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": 0}
        headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "x-charkha-purpose": "evaluation",
        }
        with boundary("The gateway"):
            try:
                return await self._asked(msgspec.json.encode(body), headers)
            except aiohttp.ClientError as error:
                raise ConnectionError(str(error)) from error

    async def _asked(self, body: bytes, headers: dict[str, str]) -> Said:
        url = f"{self._address()}/v1/chat/completions"
        # Our own certificate may name another host than this machine; the token proves who asks.
        async with self._sessions().post(url, data=body, headers=headers, ssl=False) as response:
            said = msgspec.json.decode(await response.read())
            if response.status == 404:
                raise NotFound(said["error"]["message"], param="model")
            if response.status == 429 or response.status >= 500:
                raise Unavailable(f"The gateway answered {response.status}: {said['error']['message']}")
            if response.status >= 400:
                raise Invalid(said["error"]["message"], param=said["error"].get("param"))
            inference = response.headers.get("x-charkha-inference-id")
        text = said["choices"][0]["message"]["content"] or ""
        tokens = (said.get("usage") or {}).get("completion_tokens")
        return Said(text, tokens, UUID(inference) if inference else None)

    def _address(self) -> str:
        try:
            return self._installation.address_file.read_text().strip()
        except FileNotFoundError:
            raise Unavailable("The gateway has not started yet.", remedy="It is tried again.") from None
