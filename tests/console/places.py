"""Every address of the console, found in its routes and filled with ids: so that a new page is tested before anybody
thinks of it. Who adds a page with a path parameter of a new name says in `STANDS_FOR` which thing fills it.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from fastapi.routing import APIRoute

from charkha.console.routes import PAGES
from charkha.console.site import Site
from charkha.govern.access import permission_of
from tests.console.furniture import Things
from tests.console.world import World

STANDS_FOR = {
    "inference": "inference",
    "thing": "inference",
    "endpoint": "endpoint",
    "endpoints/reference": "endpoint_name",
    "endpoints/name": "endpoint_name",
    "adapter": "version_name",
    "version": "version",
    "versions/reference": "version_name",
    "dataset": "dataset",
    "dataset-versions/version": "dataset_version",
    "dataset-versions/dataset_version": "dataset_version",
    "suite": "suite",
    "run": "run",
    "evaluation": "evaluation",
    "release": "release",
    "engine": "dataset_name",  # none is added for the tests: any name, of which there is no engine
    "key": "key",
    "session": "key",
    "backup": "dataset_name",  # none is made for the tests: any name, of which there is no backup
}
"""A path parameter without `_id`, below the first word of its path if need be, and the kind of thing whose id fills it."""
_WORKSPACE = "/console/w/{workspace}"


class Place(NamedTuple):
    """One route: how it is declared, the permission that it needs, and its path in a workspace, filled with ids."""

    method: str
    declared: str
    permission: str
    path: str

    @property
    def is_of_a_thing(self) -> bool:
        """Whether the path names a thing besides the workspace."""
        return "{" in self.declared.removeprefix(_WORKSPACE)

    def __str__(self) -> str:
        return f"{self.method} {self.declared}"


def places(world: World, things: Things | None = None) -> Iterator[Place]:
    """Every route of a page or of a change in a workspace; those that anybody may ask for are left out."""
    for method, declared, permission in _declared():
        yield Place(method, declared, permission, filled(declared, things or world.things))


@cache
def _declared() -> list[tuple[str, str, str]]:
    """(method, path, permission) of every route below a workspace."""
    nothing: Any = None  # routes are only looked at
    site, found = Site(nothing, nothing, nothing), []
    for route in (each for module in PAGES for each in module.router(site).routes):
        assert isinstance(route, APIRoute)
        permission = permission_of(route)
        assert permission is not None
        if route.path.startswith(f"{_WORKSPACE}/"):
            found += [(method, route.path, permission) for method in sorted(route.methods or ())]
    return found


def pages(world: World, things: Things | None = None) -> list[Place]:
    """The pages: what is read and is no stream."""
    return [place for place in places(world, things) if place.method == "GET" and not _is_stream(place)]


def streams(world: World) -> list[Place]:
    """The streams of live pages."""
    return [place for place in places(world) if place.method == "GET" and _is_stream(place)]


def changes(world: World, things: Things | None = None) -> list[Place]:
    """The forms that change something."""
    return [place for place in places(world, things) if place.method != "GET"]


def _is_stream(place: Place) -> bool:
    return "/live/" in place.declared


def filled(declared: str, things: Things) -> str:
    """A route's path below its workspace, with ids of things in it; one that is of no workspace stays as it is."""
    path = declared.removeprefix(_WORKSPACE)

    def thing(found: re.Match[str]) -> str:
        name = found[1].partition(":")[0].removesuffix("_id")
        kind = STANDS_FOR.get(f"{path.split('/')[1]}/{name}") or STANDS_FOR.get(name, name)
        assert kind in things, f"say in tests/console/places.py what fills {{{found[1]}}} of {path}"
        return things[kind]

    return re.sub(r"\{([^}]+)\}", thing, path)


DECLARED = [
    path
    for method, path, _ in _declared()
    if method == "GET" and not _is_stream(Place(method, path, "", "")) and not path.startswith(f"{_WORKSPACE}/open/")
] + ["/console/_components", "/console/sign-in"]
"""Every page that a browser's tests look at, as its route is declared; what only leads elsewhere is none."""
LISTS = [path for path in DECLARED if "{" not in path.removeprefix(_WORKSPACE)]
"""Those that are about no one thing, and are there in an empty workspace too."""
