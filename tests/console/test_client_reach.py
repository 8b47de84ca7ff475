"""What pages of runs, versions and releases show, the Python client reaches as well: the console has no way of its own."""

import pytest

from charkha.client._async.client import AsyncCharkha
from charkha.testing.serving import serving
from tests.console.world import World

pytestmark = pytest.mark.anyio


async def test_the_client_reads_what_the_pages_of_runs_show(world: World) -> None:
    things = world.things
    async with serving(world.app) as address, AsyncCharkha(address, world.seeded.keys["viewer"]) as client:
        (recipe,) = [each for each in await client.runs.recipes() if each.name == "sft"]
        assert recipe.problem is None
        assert recipe.config["properties"]["rank"]["default"] == 16
        run = await client.runs.get(things["running_run"])
        assert run.loss == pytest.approx(2 / 13)
        assert len(await client.runs.points(run.id)) == 12
        few = await client.runs.points(run.id, most=3)
        assert [point.step for point in few] == [4, 8, 12]
        whole = (await client.runs.log(run.id)).lines
        assert (await client.runs.log(run.id, last=1)).lines == whole[-1:]


async def test_the_client_reads_what_the_pages_of_versions_and_releases_show(world: World) -> None:
    things = world.things
    async with serving(world.app) as address, AsyncCharkha(address, world.seeded.keys["viewer"]) as client:
        files = await client.versions.files(things["version_name"])
        assert [(each.name, each.bytes) for each in files] == [("config", 2), ("gguf", 16), ("safetensors", 7)]
        both = [things["version"], things["brought_version"]]
        pointing = await client.aliases.list(version_id=both)
        assert {(each.alias, each.version) for each in pointing} == {
            ("live", things["version_name"]),
            ("good", things["brought_name"]),
        }
        assert [each.alias for each in await client.aliases.list(name="brought")] == ["good"]
        newest = await client.evaluations.list(candidate_version_id=both, newest=True)
        assert [str(each.candidate_version_id) for each in newest.data] == both[::-1]
        found = await client.releases.list(candidate=things["version_name"])
        assert [str(each.id) for each in found.data] == [things["promoted_release"]]


async def test_the_client_reads_what_the_pages_of_spending_show(world: World) -> None:
    async with serving(world.app) as address, AsyncCharkha(address, world.seeded.keys["viewer"]) as client:
        (limit,) = (await client.limits.list(subject="workspace", measure="requests")).data
        assert (limit.spent, limit.held, limit.remaining) == (0, 0, 1_000_000)
        assert (await client.limits.list(measure="money")).data == []
        (model,) = await client.prices.models()
        assert (model.names, model.missing) == (["private", "support", "tiny"], [])
        assert model.price is not None
        assert model.upcoming is not None
        assert (model.price.prompt, model.upcoming.prompt) == (50_000, 40_000)
        assert [each.prompt for each in (await client.prices.list(state="past")).data] == [90_000]
        by_month = await client.usage.list(by=["month"], engine="local")
        assert sum(each.requests for each in by_month) == 30
        assert all(each.month is not None and each.month.day == 1 for each in by_month)
        assert await client.usage.list(engine="another") == []
