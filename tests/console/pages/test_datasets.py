"""The pages of data sets: versions, examples and where they come from, and uploads by form and by door."""

import hashlib
import json
from typing import Any
from uuid import UUID

import httpx
import pytest

from charkha.console import security
from charkha.data import store
from tests.console.world import Browser, World, forms, heading, links, parse, rows, text_of

pytestmark = pytest.mark.anyio

LINES = "\n".join(json.dumps({"input": f"number {n}", "label": "even" if n % 2 else "odd"}) for n in range(40))


async def made(world: World, name: str = "numbers", lines: str = LINES) -> dict[str, Any]:
    headers = {"content-type": "application/jsonl"}
    answer = await world.rest("developer").post("/datasets", params={"name": name}, content=lines, headers=headers)
    assert answer.is_success, answer.text
    version: dict[str, Any] = answer.json()
    return version


async def test_the_list_tells_of_each_newest_version(world: World) -> None:
    await made(world)
    newer = await made(world, lines=LINES + '\n{"input": "number 40", "label": "odd"}')
    html = await (await world.browser()).page("/datasets")
    first = rows(html)[0]
    assert (first["Name"], first["Versions"], first["Newest"], first["Examples"]) == ("numbers", "2", "version 2", "41")
    assert links(html)["version 2"].endswith(f"/dataset-versions/{newer['id']}")
    found = rows(await (await world.browser()).page("/datasets", q="NUMB"))
    assert [row["Name"] for row in found] == ["numbers"]
    assert "Nothing matches" in text_of(await (await world.browser()).page("/datasets", q="%"))


async def test_a_data_set_tells_its_versions_what_was_left_out_and_who_learned(world: World) -> None:
    things = world.things
    html = await (await world.browser()).page(f"/datasets/{things['dataset']}")
    assert heading(html) == things["dataset_name"]
    learned = next(row for row in rows(html) if row["Version"] == "version 1")
    assert (learned["Examples"], learned["Labels"], learned["Left out"]) == ("24", "3", "nothing of 24")
    assert "running" in learned["Learned from by"]
    assert links(html)[things["running_run"][-8:]].endswith(f"/runs/{things['running_run']}")
    ours = [json.dumps({"prompt": [{"role": "user", "content": text}], "answer": "x"}) for text in ("a", "A ", "b")]
    twice = await made(world, "twice", "\n".join(ours))
    html = await (await world.browser()).page(f"/datasets/{twice['dataset_id']}")
    assert (rows(html)[0]["Examples"], rows(html)[0]["Left out"], rows(html)[0]["Labels"]) == ("2", "1 repeated", "–")


async def test_runs_stand_with_the_version_that_they_learned_from(world: World) -> None:
    """One question for all versions of a page: no version is given another's runs."""
    things = world.things
    await made(world, things["dataset_name"])
    html = await (await world.browser()).page(f"/datasets/{things['dataset']}")
    by_version = {row["Version"]: row["Learned from by"] for row in rows(html)}
    assert by_version["version 2"] == "–"
    assert things["running_run"][-8:] in by_version["version 1"]


async def test_a_version_tells_what_is_in_it(world: World) -> None:
    version = await made(world)
    html = await (await world.browser()).page(f"/dataset-versions/{version['id']}")
    text = text_of(html)
    assert heading(html) == "numbers, version 1"
    assert version["digest"] in text
    assert "an upload: its examples name no inference" in text
    labels = [each.attrs["aria-label"] for each in parse(html).find_all("svg", class_="share")]
    assert labels == ["even: 20 examples", "odd: 20 examples"]
    assert "40 examples with a label" in text


async def test_a_version_tells_where_it_comes_from_and_what_came_of_it(world: World) -> None:
    things = world.things
    browser = await world.browser()
    html = await browser.page(f"/dataset-versions/{things['dataset_version']}")
    assert links(html)[things["running_run"][-8:]].endswith(f"/runs/{things['running_run']}")
    assert links(html)[things["version_name"]].endswith(f"/versions/{things['version']}")
    held_out = await browser.page(f"/dataset-versions/{things['held_out_version']}")
    assert "suite kinds, which measures endpoint" in text_of(held_out)
    assert "Learn from it" not in links(held_out)
    assert "Learn from it" in links(html)


async def test_each_example_names_the_inference_that_it_came_from(world: World) -> None:
    things = world.things
    example = {
        "prompt": [{"role": "system", "content": "Say."}, {"role": "user", "content": "<i>unseen</i>"}],
        "answer": "bug",
        "inference_id": things["inference"],
        "subject_id": "person-7",
    }
    version = await made(world, "traced", json.dumps(example))
    html = await (await world.browser()).page(f"/dataset-versions/{version['id']}")
    (row,) = rows(html)
    assert (row["Answer"], row["From"]) == ("bug", f"{things['inference'][-8:]} person-7")
    assert "<i>unseen</i>" in row["Asked"]
    assert links(html)[things["inference"][-8:]].endswith(f"/inferences/{things['inference']}")
    assert "Made of 1 inference" in text_of(html)


async def test_examples_come_page_by_page_and_are_found_by_text(world: World) -> None:
    version = await made(world)
    browser = await world.browser()
    path = f"/dataset-versions/{version['id']}"
    first = await browser.page(path)
    second = await browser.page(links(first)["Next"])
    numbers = [row["Asked"] for row in rows(first) + rows(second)]
    assert (len(rows(first)), len(rows(second)), len(set(numbers))) == (25, 15, 40)
    assert (rows(second)[0]["#"], "26 to 40 of 40" in text_of(second)) == ("26", True)
    assert "Next" not in links(second)
    assert [row["Asked"] for row in rows(await browser.page(links(second)["Before"]))] == numbers[:25]
    found = await browser.page(path, q="NUMBER 7")
    assert [row["Asked"] for row in rows(found)] == ["number 7"]
    assert "Nothing matches" in text_of(await browser.page(path, q="role"))
    assert rows(await browser.page(path, offset="nonsense")) == rows(first)
    assert "behind the last one" in text_of(await browser.page(path, offset=5000))


async def test_a_version_frozen_before_labels_were_counted_shows_them_uncounted(world: World) -> None:
    version_id = UUID(world.things["dataset_version"])
    async with world.tx() as tx:
        first = await store.get_version(tx, version_id)
        like_it = {"blob": await store.blob_of(tx, version_id), "examples": first.examples, "labels": first.labels}
        older = await store.add_version(tx, first.dataset_id, digest="0" * 64, report={"given": 24}, **like_it)
    html = await (await world.browser()).page(f"/dataset-versions/{older}")
    assert "bug praise question This version was frozen before examples were counted by label." in text_of(html)
    assert not parse(html).find_all("svg", class_="share")
    assert len(rows(html)) == 24


async def test_download_gives_the_bytes_that_the_digest_is_of(world: World) -> None:
    version = await made(world)
    browser = await world.browser("viewer")
    address = links(await browser.page(f"/dataset-versions/{version['id']}"))["Download JSON lines"]
    answer = await browser.get(address)
    assert answer.headers["content-type"] == "application/jsonl"
    assert hashlib.sha256(answer.content).hexdigest() == version["digest"]
    assert len(answer.text.splitlines()) == 40


async def test_exports_of_both_lists(world: World) -> None:
    browser = await world.browser()
    listed = json.loads(await browser.page("/datasets", export="json"))
    assert world.things["dataset"] in [each["id"] for each in listed]
    versions = await browser.page(f"/datasets/{world.things['dataset']}", export="csv")
    assert versions.splitlines()[0].startswith("id,number,digest,examples")
    assert world.things["dataset_version"] in versions


async def test_lines_are_pasted_into_the_form(world: World) -> None:
    browser = await world.browser()
    form = forms(await browser.page("/datasets/upload", name="pasted"))[browser.href("/datasets/upload")]
    assert form["name"] == "pasted"
    answer = await browser.post("/datasets/upload", {"name": "pasted", "lines": LINES}, scripted=False)
    assert answer.status_code == 303
    assert heading(await browser.page(answer.headers["location"])) == "pasted, version 1"
    said = await browser.post("/datasets/upload", {"name": "pasted", "lines": LINES})
    assert "pasted has version 1: 40 examples." in text_of(said.text)
    assert "/dataset-versions/" in said.headers["hx-trigger-after-swap"]


async def test_a_bad_upload_is_refused_with_its_line(world: World) -> None:
    browser = await world.browser()
    assert "Line 2 is not JSON" in await browser.said(
        "/datasets/upload", {"name": "bad", "lines": '{"input":"a","label":"b"}\nno'}
    )
    assert "no name" in await browser.said("/datasets/upload", {"name": "", "lines": LINES})
    large = await browser.post("/datasets/upload", {"name": "large", "lines": "x" * 2**20})
    assert "larger than 1 MiB" in text_of(large.text)


async def door(browser: Browser, content: bytes, **headers: str) -> httpx.Response:
    """What the page's script does with a chosen file."""
    address = parse(await browser.page("/datasets/upload")).find("form", id="upload").attrs["data-door"]
    sent = {"content-type": "application/jsonl", **headers}
    return await browser.http.post(address, params={"name": "by door"}, content=content, headers=sent)


async def test_a_file_goes_through_the_door_as_it_is(world: World) -> None:
    browser = await world.browser()
    token = {security.CSRF_HEADER: await browser.csrf()}
    answer = await door(browser, LINES.encode(), **token)
    assert (answer.status_code, answer.json()["examples"]) == (201, 40)
    refused = await door(browser, b"no", **token)
    assert (refused.status_code, refused.json()["error"]["remedy"]) == (
        400,
        "Write one whole JSON object on each line.",
    )
    assert (await door(browser, LINES.encode())).status_code == 403


async def test_a_viewer_reads_and_uploads_nothing(world: World) -> None:
    viewer = await world.browser("viewer")
    assert "Upload u" not in links(await viewer.page("/datasets"))
    assert (await viewer.get("/datasets/upload")).status_code == 403
    assert (await viewer.post("/datasets/upload", {"name": "x", "lines": LINES}, scripted=False)).status_code == 403


async def test_another_workspace_reaches_none_of_it(world: World) -> None:
    stranger, things = await world.browser("stranger"), world.things
    names = [row["Name"] for row in rows(await stranger.page("/datasets"))]
    assert sorted(names) == ["foreign-held out", "foreign-lessons"]
    for path in (
        f"/datasets/{things['dataset']}",
        f"/dataset-versions/{things['dataset_version']}",
        "/datasets/nonsense",
    ):
        assert (await stranger.get(path)).status_code in (404, 422)


async def test_an_empty_workspace_is_told_what_data_sets_are(world: World) -> None:
    browser = await world.browser("operator")
    await world.rest().post("/workspaces", json={"name": "new"})
    await world.wiring.snapshots.refresh()
    browser.workspace = "new"
    text = text_of(await browser.page("/datasets"))
    assert "No data sets yet" in text
    assert "charkha datasets upload" in text
