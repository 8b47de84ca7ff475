"""Every page in Chromium: readable for everybody, whole at every width, small, quiet, and asking nobody but us."""

import pytest

from tests.chromium import Thread
from tests.console.browser.house import House
from tests.console.browser.looking import Look, Looking
from tests.console.places import DECLARED, LISTS, filled

MOST_BYTES = 150_000


@pytest.fixture(params=DECLARED, ids=lambda declared: declared.removeprefix("/console/w/{workspace}"))
def look(request: pytest.FixtureRequest, looking: Looking, house: House, chromium_thread: Thread) -> Look:
    """One page of the furnished workspace as it was seen."""
    return chromium_thread.do(looking.look, filled(request.param, house.things["default"]))


def test_it_is_there_and_nothing_complains(look: Look) -> None:
    assert look.status == 200
    assert look.title.endswith("· Charkha")
    assert look.said == []


def test_everybody_can_read_it(look: Look) -> None:
    assert look.axe == []


def test_it_is_whole_at_every_width(look: Look) -> None:
    assert look.breaks == []


def test_it_is_small(look: Look) -> None:
    assert 5_000 < look.sent <= MOST_BYTES


def test_it_asks_nobody_else(look: Look, house: House) -> None:
    assert look.requests
    assert [each for each in look.requests if not each.startswith(f"{house.address}/console/")] == []


def test_it_holds_no_script_of_its_own(look: Look) -> None:
    assert look.intruders == []


@pytest.mark.parametrize("declared", LISTS, ids=lambda declared: declared.removeprefix("/console/w/{workspace}"))
def test_a_page_with_nothing_on_it_is_whole_and_says_what_to_do(looking: Looking, declared: str) -> None:
    look = looking.look(filled(declared, {}), "empty", axe=False)
    assert (look.status, look.said, look.breaks, look.intruders) == (200, [], [], [])
    assert look.words > 10


@pytest.mark.parametrize("path", ["/nowhere", "/inferences/nothing", "/inferences?status=many", "/?endpoint=nobody"])
def test_what_went_wrong_is_a_page_too(looking: Looking, path: str) -> None:
    look = looking.look(path)
    assert 400 <= look.status < 500
    assert (look.axe, look.breaks, look.intruders) == ([], [], [])
