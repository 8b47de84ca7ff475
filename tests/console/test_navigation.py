"""The map: each page is in it once, and knows which other pages belong to it."""

import pytest

from charkha.console.navigation import SECTIONS

PLACES = {place.title: place for _, places in SECTIONS for place in places}


def test_letters_and_paths_lead_to_one_page_each() -> None:
    for values in ([each.key for each in PLACES.values()], [each.path for each in PLACES.values()]):
        assert len(set(values)) == len(values)


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("/", "Wheel"),
        ("/datasets", "Data sets"),
        ("/datasets/01a1fd96", "Data sets"),
        ("/dataset-versions/01a1fd96", "Data sets"),
        ("/usage", "Usage"),
        ("/limits", "Limits"),
        ("/prices", "Prices"),
        ("/keys/sessions", "Keys"),
        ("/releases/01a1fd96", "Releases"),
        ("/usages", None),
        ("/dataset-versions-of-another", None),
    ],
)
def test_a_path_lights_the_page_that_it_belongs_to(path: str, title: str | None) -> None:
    assert [each.title for each in PLACES.values() if each.holds(path)] == ([title] if title else [])
