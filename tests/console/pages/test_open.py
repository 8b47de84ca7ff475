"""Opening an id: each kind of thing is found, and what is not there, or not yours, is not."""

import pytest

from tests.console.world import World, text_of

pytestmark = pytest.mark.anyio

PAGES = {
    "inference": "/inferences/{}",
    "running_run": "/runs/{}",
    "version": "/versions/{}",
    "release": "/releases/{}",
    "dataset": "/datasets/{}",
    "dataset_version": "/dataset-versions/{}",
    "endpoint": "/endpoints/{}",
    "key": "/keys#key-{}",
}


async def test_every_kind_of_id_leads_to_its_page(world: World) -> None:
    browser, things = await world.browser("operator"), world.things
    for kind, page in PAGES.items():
        answer = await browser.get(f"/open/{things[kind]}")
        assert (answer.status_code, answer.headers["location"]) == (303, browser.href(page.format(things[kind]))), kind


async def test_what_has_no_page_of_its_own_leads_to_where_it_is_shown(world: World) -> None:
    browser, things = await world.browser(), world.things
    expected = {
        things["evaluation"]: f"/versions/{things['version']}?evaluation={things['evaluation']}",
        things["feedback_correction"]: f"/inferences/{things['inference']}",
        f"chatcmpl-{things['inference']}": f"/inferences/{things['inference']}",
        things["version_name"]: f"/versions/{things['version_name']}",
        "support": "/endpoints/support",
    }
    for thing, page in expected.items():
        assert (await browser.get(f"/open/{thing}")).headers.get("location") == browser.href(page), thing


async def test_what_is_not_there_or_not_yours_is_told_as_missing(world: World) -> None:
    viewer, stranger = await world.browser("viewer"), await world.browser("stranger")
    for browser, thing in (
        (viewer, "01a1fdbe-e12c-77f8-8829-000000000000"),
        (viewer, "nothing of that name"),
        (viewer, "..%2Fkeys"),
        (viewer, world.things["key"]),  # which a viewer may not read
        *((stranger, world.things[kind]) for kind in (*PAGES, "evaluation", "feedback_correction")),
    ):
        answer = await browser.get(f"/open/{thing}")
        assert answer.status_code == 404, thing
    assert "has the id" in text_of((await viewer.get(f"/open/{world.things['key']}")).text)
