"""`charkha engines`: keys come from stdin or a variable, and stand in no output."""

import asyncio
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from charkha.app.cli.main import cli
from charkha.client._async.client import AsyncCharkha
from charkha.testing.serving import serving

from .conftest import KEY, House

pytestmark = pytest.mark.anyio


async def test_engines_are_added_keyed_checked_and_removed(house: House) -> None:
    async with serving(house.app) as address:
        env = {"CHARKHA_URL": address, "CHARKHA_API_KEY": house.owner_key, "THEIR_KEY": KEY}

        async def run(*words: str, typed: str = "") -> Result:
            result = await asyncio.to_thread(CliRunner().invoke, cli, ["engines", *words], input=typed, env=env)
            assert KEY not in result.output
            return result

        async def told(*words: str, typed: str = "") -> Any:
            result = await run(*words, "--json", typed=typed)
            assert result.exit_code == 0, result.output
            return json.loads(result.stdout)

        described = ("--url", house.url, "--model", "large=large-2026", "--model", "small")
        added = await told("add", "far", *described, "--from-env", "THEIR_KEY")
        assert added["models"] == {"large": "large-2026", "small": "small"}
        assert (added["url"], added["key_ends"]) == (house.url, "7Qx4")
        assert (await told("check", "far"))["ready"] is True
        assert (await told("key", "far", typed="another-key-1234\n"))["key_ends"] == "1234"
        refused = await run("check", "far")
        assert (refused.exit_code, "not ready: status 401" in refused.stdout) == (1, True)
        assert (await told("key", "far", typed=f"{KEY}\n"))["key_ends"] == "7Qx4"
        assert (await told("set", "far", "--model", "only"))["models"] == {"only": "only"}
        assert (await house.ask("only")).status_code == 200
        listed = await run("list")
        assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == ["near", "far"]
        assert (await run("set", "far")).exit_code == 2
        assert (await run("remove", "far", typed="n\n")).exit_code == 1
        assert (await run("remove", "far", "--yes")).exit_code == 0
        assert [each["name"] for each in (await told("list"))["data"]] == ["near"]
        async with AsyncCharkha(address, house.owner_key) as client:
            assert (await client.engines.get("near")).source == "settings"
