"""How a page reaches Charkha: the public REST API, called in process with a token of the visitor's own rights.

Boundary: the console's only way to data. It knows no station, no table and no service, so whatever a page shows or
does, a client can do as well, under the same permission and with the same audit record.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx
import msgspec

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_ORIGIN = "http://127.0.0.1"


class Refused(Exception):
    """The API refused: `status` and what it said, to be shown as it is."""

    def __init__(self, status: int, message: str, remedy: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.remedy, self.param = status, message, remedy, param


class RestApi:
    """The REST API of this process, without a network in between."""

    def __init__(self, application: Application) -> None:
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url=_ORIGIN, timeout=None)  # noqa: S113  (nothing waits on a network)

    def of(self, token: Callable[[], str]) -> "Api":
        """The API as one visitor sees it. `token` is asked at each call, so rights that ended are not used again."""
        return Api(self._http, token)


class Api:
    """Calls as one visitor. Answers are the API's own JSON; a refusal is raised as Refused."""

    def __init__(self, http: httpx.AsyncClient, token: Callable[[], str]) -> None:
        self._http, self._token = http, token

    async def get(self, path: str, **query: Any) -> Any:
        """Read. What is None or empty in `query` is left out."""
        given = {name: value for name, value in query.items() if value not in (None, "", [])}
        return _answer(await self._http.get(path, params=given, headers=self._headers()))

    async def send(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Change something, with a JSON body or none."""
        content = None if body is None else msgspec.json.encode(body)
        headers = self._headers("application/json")
        return _answer(await self._http.request(method, path, params=query, content=content, headers=headers))

    async def ask(self, body: dict[str, Any]) -> Any:
        """One chat, marked as tried by hand: rollouts do not judge by it."""
        headers = self._headers("application/json") | {"x-charkha-purpose": "playground"}
        return _answer(
            await self._http.post("/v1/chat/completions", content=msgspec.json.encode(body), headers=headers)
        )

    async def upload(self, path: str, content: bytes, media_type: str, **query: Any) -> Any:
        """Bring a file."""
        headers = self._headers(media_type)
        return _answer(await self._http.post(path, params=query, content=content, headers=headers))

    def _headers(self, media_type: str | None = None) -> dict[str, str]:
        carried = {"authorization": f"Bearer {self._token()}"}
        return {**carried, "content-type": media_type} if media_type else carried


def _answer(response: httpx.Response) -> Any:
    if response.is_success:
        return msgspec.json.decode(response.content) if response.content else None
    try:
        error = msgspec.json.decode(response.content)["error"]
        message: str = error["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        raise Refused(response.status_code, f"Charkha answered with status {response.status_code}.") from None
    remedy = error.get("remedy")
    told = message.removesuffix(remedy or "").rstrip()  # its end, which pages set apart
    raise Refused(response.status_code, told, remedy, error.get("param"))
