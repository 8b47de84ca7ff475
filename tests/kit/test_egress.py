"""The one way out: private addresses are refused however they are written, public ones and allowed ones are not."""

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from charkha.kit import egress
from charkha.kit.egress import Refused, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.9.9",
        "169.254.169.254",
        "::1",
        "fe80::1%eth0",
        "fc00::1",
        "0.0.0.0",
        "100.64.0.1",
        "::ffff:127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "93.184.216.34"])
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_when_it_is_mapped(address: object) -> None:
    assert is_public(str(address)) == is_public(f"::ffff:{address}")


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_a_server_on_this_machine_is_reached_only_where_it_is_allowed(host: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "::1" if ":" in host else "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with egress.session() as guarded:
            with pytest.raises(Refused):
                await guarded.get(f"http://{host}:{port}/")
        async with (
            egress.session(allowed_hosts=[host.strip("[]")]) as allowed,
            allowed.get(f"http://{host}:{port}/") as response,
        ):
            assert await response.text() == "here"
    finally:
        await runner.cleanup()
