"""Starting a run: a form made of the recipe's own schema, and what it says to what is wrong."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from charkha.console.pages.run_new import chosen, offered
from tests.console.world import Browser, World, forms, parse, text_of

pytestmark = pytest.mark.anyio


async def start(browser: Browser, form: dict[str, str]) -> Any:
    return await browser.post("/runs/new", form)


async def test_the_form_explains_every_choice_and_offers_no_held_out_data(world: World) -> None:
    things = world.things
    html = await (await world.browser()).page("/runs/new")
    (form,) = [fields for action, fields in forms(html).items() if action.endswith("/runs/new")]
    assert form["config.rank"] == form["config.precision"] == ""
    rank = parse(html).find("input", name="config.rank")
    assert rank.attrs["placeholder"] == "16"
    assert "Rank of the adapter" in parse(html).find("span", id="config-rank-hint").text()
    held_out = parse(html).find("option", value=things["held_out_version"])
    assert "disabled" in held_out.attrs
    assert form["dataset_version_id"] == things["dataset_version"]
    assert "disabled" not in parse(html).find("option", value=things["dataset_version"]).attrs


async def test_a_run_is_started_and_looked_at(world: World) -> None:
    browser, things = await world.browser(), world.things
    form = {
        "endpoint_id": things["private_endpoint"],
        "dataset_version_id": things["dataset_version"],
        "recipe": "sft",
        "seed": "7",
        "config.rank": "4",
        "config.learning_rate": "3e-4",
        "config.precision": "float32",
    }
    answer = await start(browser, form)
    went = msgspec.json.decode(answer.headers["hx-trigger-after-swap"])["charkha:changed"]["go"]
    async with world.tx() as tx:
        run = await world.wiring.runs.get(tx, UUID(went.rpartition("/")[2]))
    assert (str(run.endpoint_id), run.seed, run.status) == (things["private_endpoint"], 7, "queued")
    assert (run.config["rank"], run.config["learning_rate"], run.config["precision"]) == (4, 3e-4, "float32")
    assert run.config["alpha"] == 32.0
    like = parse(await browser.page("/runs/new", like=str(run.id)))
    assert like.find("input", name="config.rank").attrs["value"] == "4"
    assert like.find("input", name="config.alpha").attrs["value"] == ""
    assert like.find("input", name="seed").attrs["value"] == "7"
    assert "selected" in like.find("option", value=things["private_endpoint"]).attrs


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"config.rank": "many"}, "rank"),
        ({"config.rank": "0"}, "rank"),
        ({"seed": "x"}, "seed"),
        ({"recipe": "none"}, "no recipes plugin"),
        ({"endpoint": "support"}, "in the making"),
        ({"dataset_version_id": ""}, "dataset_version_id"),
    ],
)
async def test_a_wrong_form_is_told_what_is_wrong(world: World, change: dict[str, str], told: str) -> None:
    things = world.things
    form = {"endpoint_id": things["private_endpoint"], "dataset_version_id": things["dataset_version"], "recipe": "sft"}
    if change.pop("endpoint", None):
        form["endpoint_id"] = things["endpoint"]
    answer = await start(await world.browser(), {**form, **change})
    assert "hx-trigger-after-swap" not in answer.headers
    assert told in text_of(answer.text)


def test_fields_become_what_the_schema_says() -> None:
    schema = {
        "properties": {
            "count": {"type": "integer"},
            "name": {"type": "string"},
            "kind": {"enum": ["1", "2"]},
            "flag": {"type": "boolean"},
            "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "left": {"type": "integer", "default": 3},
        }
    }
    form = {"config.count": "12", "config.name": "12", "config.kind": "2", "config.flag": "true", "config.maybe": "0.5"}
    form |= {"config.left": " ", "config.unknown": "1"}
    assert chosen(form, schema) == {"count": 12, "name": "12", "kind": "2", "flag": True, "maybe": 0.5}


def test_bounds_are_told_in_words() -> None:
    schema = {
        "required": ["a"],
        "properties": {
            "a": {"type": "integer", "minimum": 1, "maximum": 8},
            "b": {"type": "number", "exclusiveMinimum": 0, "maximum": 1024, "default": 2.5},
            "c": {"type": "number"},
        },
    }
    a, b, c = offered(schema, {"b": 3.0})
    assert (a.bounds, a.explanation) == ("1 to 8", " It must be given.")
    assert (b.bounds, b.usual, b.value) == ("above 0, at most 1024", "2.5", "3.0")
    assert (c.bounds, c.usual, c.value) == ("", "", "")
