"""The world of the console's tests is what they take it for."""

import pytest

from tests.console.world import WHO, World, heading, links, rows, text_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("who", WHO)
async def test_everybody_signs_in_to_their_own_workspace(world: World, who: str) -> None:
    browser = await world.browser(who)
    home = await browser.page("/")
    assert f"/console/w/{WHO[who]}/" in home
    assert heading(home) == f"The wheel of {'foreign-' if who == 'stranger' else ''}support"


async def test_a_list_is_read_as_people_read_it(world: World) -> None:
    html = await (await world.browser()).page("/inferences")
    found = rows(html)
    assert len(found) == 30
    assert found[-1]["Status"] == "200"
    assert "Newest first." in text_of(html)
    assert world.things["inference"][-8:] in links(html)
