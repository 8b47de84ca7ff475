"""Where each kind of thing that lineage knows has its page, and what its kind is called."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from charkha.console.names import version_names
from charkha.console.site import Visitor


class Place(NamedTuple):
    """A kind of thing: what several of it are called, and the path that their ids stand behind.

    An evaluation is shown with the version that it measured, which `/open/` finds out.
    """

    title: str
    path: str


class Group(NamedTuple):
    """Things of one kind, the newest first, and how many more there are."""

    title: str
    path: str
    ids: list[str]
    more: int


PLACES = {
    "inference": Place("Inferences", "/inferences/"),
    "dataset_version": Place("Data set versions", "/dataset-versions/"),
    "run": Place("Runs", "/runs/"),
    "version": Place("Versions", "/versions/"),
    "evaluation": Place("Evaluations", "/open/"),
    "rollout": Place("Releases", "/releases/"),
}
MOST = 5


def groups(things: Iterable[Mapping[str, str]], most: int = MOST) -> list[Group]:
    """Things that lineage tells, {"kind", "id"} each, by kind in the order in which they are made.

    Kinds without a page, such as feedback, are left out.
    """
    by_kind: dict[str, list[str]] = defaultdict(list)
    for each in things:
        by_kind[each["kind"]].append(each["id"])
    return [
        Group(place.title, place.path, sorted(ids, reverse=True)[:most], max(len(ids) - most, 0))
        for kind, place in PLACES.items()
        if (ids := by_kind.get(kind))
    ]


async def names(visitor: Visitor, shown: Iterable[Group]) -> dict[str, str]:
    """What people call the things in some groups, by id; what has no name is not among them."""
    return await version_names(
        visitor, [id_ for group in shown if group.path == PLACES["version"].path for id_ in group.ids]
    )
