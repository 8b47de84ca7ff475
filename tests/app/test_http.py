"""The front refuses what is not addressed to us, before anything reads it; routes without a permission do not start."""

import httpx
import pytest

from charkha.app.http import Front, Receive, Scope, Send, control_plane
from charkha.core.errors import Misconfigured, NotFound
from charkha.govern.access import public
from charkha.kit.http import Router


async def _nothing() -> None:
    return None


def _front() -> Front:
    api = Router()

    @api.get("/open")
    @public
    async def open_to_all() -> dict[str, str]:
        """Open."""
        return {"said": "yes"}

    @api.get("/missing")
    @public
    async def missing() -> dict[str, str]:
        """Raises."""
        raise NotFound("It is not there.", remedy="Make it.")

    @api.get("/fault")
    @public
    async def fault() -> dict[str, str]:
        """Breaks."""
        raise RuntimeError("secret insides")

    control = control_plane([api])
    return Front(control, control, hosts=["charkha.example"], start=_nothing, stop=_nothing)


def _client(base_url: str = "http://127.0.0.1:8420") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(_front(), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=base_url)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("url", "origin", "status"),
    [
        ("http://127.0.0.1:8420", None, 200),
        ("http://localhost", None, 200),
        ("http://[::1]:8420", None, 200),
        ("http://charkha.example", "https://charkha.example", 200),
        ("http://evil.example", None, 403),
        ("http://127.0.0.1", "http://evil.example", 403),
        ("http://127.0.0.1.evil.example", None, 403),
    ],
)
async def test_only_our_hosts_and_origins_are_served(url: str, origin: str | None, status: int) -> None:
    async with _client(url) as client:
        response = await client.get("/open", headers={"origin": origin} if origin else {})
    assert response.status_code == status


@pytest.mark.anyio
async def test_errors_have_one_form_and_a_fault_tells_nothing_of_the_inside() -> None:
    async with _client() as client:
        missing, fault = await client.get("/missing"), await client.get("/fault")
    assert missing.status_code == 404
    assert missing.json()["error"] | {"remedy": "Make it."} == missing.json()["error"]
    assert fault.status_code == 500
    assert "secret insides" not in fault.text


def test_a_route_without_a_permission_does_not_start() -> None:
    api = Router()

    @api.get("/forgotten")
    async def forgotten() -> dict[str, str]:
        """Nobody said who may."""
        return {}

    with pytest.raises(Misconfigured, match="/forgotten"):
        control_plane([api])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "console"),
    [("/console", True), ("/console/", True), ("/console/w/x", True), ("/consoles", False), ("/console.txt", False)],
)
async def test_the_console_is_below_its_own_path_alone(path: str, console: bool) -> None:
    met: list[str] = []

    async def pages(scope: Scope, receive: Receive, send: Send) -> None:
        met.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    control = control_plane([])
    front = Front(control, control, hosts=[], start=_nothing, stop=_nothing, console=pages)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://localhost") as client:
        answer = await client.get(path)
    assert (met == [path], answer.status_code) == (console, 200 if console else 404)
