"""Every route, as the running installation lists them: who may call it, and that nothing of a workspace leaves it."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import APIRoute

from charkha.app import settings
from charkha.app.installation import Installation
from charkha.app.serving import routers
from charkha.app.wiring import Wiring
from charkha.govern.access import permission_of
from charkha.govern.permissions import ROLES
from charkha.serve import described
from tests.e2e.house import House

PUBLIC = {"/healthz", "/readyz", "/metrics"}
LINEAGE = "/lineage/{kind}/{node_id}"
NEEDED = {"/prompts/{name_or_id}/diff": "?from=1&to=1"}
"""What a route has to be asked besides its path."""
MODELS = {(method.upper(), path) for path, operations in described.paths().items() for method in operations}
"""The routes under /v1, which are no route of FastAPI's."""


class Route:
    """A method on a path, and the permission that it declares."""

    def __init__(self, method: str, path: str, permission: str | None) -> None:
        self.method, self.path, self.permission = method, path, permission

    def __repr__(self) -> str:
        return f"{self.method} {self.path} ({self.permission})"

    @property
    def of_installation(self) -> bool:
        """Whether it tells of what every workspace has: engines."""
        return self.path.startswith("/engines/")

    def filled(self, things: dict[str, str]) -> str:
        """The path with a thing for each of its parameters."""
        if self.of_installation:
            things = {**things, "name": "local"}
        return re.sub(r"\{(\w+)}", lambda found: things.get(found[1], str(uuid4())), self.path)


@pytest.fixture(scope="session")
def routes(house: House) -> list[Route]:
    """Every route of the product, from the application itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARKHA_HOME", str(house.running.home))
        made = routers(Wiring(Installation(settings.load())))
    found = [
        Route(method, route.path, permission_of(route))
        for router in made
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods)
    ]
    with house.http() as http:  # what the running one tells is the same
        told = {
            (method.upper(), path) for path, at in http.get("/openapi.json").json()["paths"].items() for method in at
        }
    assert {(route.method, route.path) for route in found} == told - MODELS
    assert told >= MODELS
    return found + [Route(method, path, "inference.create") for method, path in sorted(MODELS)]


def test_every_route_declares_a_permission(routes: list[Route]) -> None:
    assert [route for route in routes if route.permission is None] == []
    assert {route.path for route in routes if route.permission == "public"} == PUBLIC


def test_nobody_enters_without_a_key(house: House, routes: list[Route]) -> None:
    for carried in ({}, {"authorization": "Bearer ck_none"}, {"authorization": f"Basic {house.keys['developer']}"}):
        with house.http() as http:
            for route in routes:
                if route.permission != "public":
                    answer = http.request(route.method, route.filled(house.things), headers=carried)
                    assert answer.status_code == 401, (route, answer.text)
                    assert "error" in answer.json()


def test_a_viewer_changes_nothing(house: House, routes: list[Route]) -> None:
    refused = 0
    with house.http("viewer") as http:
        for route in routes:
            if route.permission != "public" and route.permission not in ROLES["viewer"]:
                answer = http.request(route.method, route.filled(house.things), json={})
                assert answer.status_code == 403, (route, answer.text)
                refused += 1
    assert refused > 20


def test_a_second_workspace_sees_nothing_of_the_first(house: House, routes: list[Route]) -> None:
    """Each GET route with the first workspace's ids: there for its owner, and for a stranger not."""
    seen = 0
    with house.http("operator") as own, house.http("stranger") as foreign:
        for route in _reading(routes):
            path = route.filled(house.things) + NEEDED.get(route.path, "")
            mine, theirs = _get(own, path), _get(foreign, path)
            assert mine.status_code == 200, (route, mine.text)
            named = "{" in route.path and not route.of_installation
            if route.path == LINEAGE:  # a thing that a workspace has not has no neighbours there
                assert (theirs.status_code, theirs.json()["sources"], theirs.json()["made"]) == (200, [], [])
                continue
            assert theirs.status_code in ((404,) if named else (200, 403)), (route, theirs.text)
            leaked = [value for value in house.things.values() if len(value) > 30 and value in theirs.text]
            assert not leaked or leaked == [value for value in leaked if value in path], (route, theirs.text)
            seen += named
    assert seen > 10


def test_a_second_workspace_changes_nothing_of_the_first(house: House) -> None:
    things, anything = house.things, str(uuid4())
    attempts: list[tuple[str, str, Any]] = [
        ("PATCH", "/endpoints/{endpoint}", {"keeps_content": False}),
        ("DELETE", "/endpoints/{endpoint}", None),
        ("POST", "/endpoints/{endpoint}/rollback", {"reason": "mine"}),
        ("POST", "/endpoints/{endpoint}/variants", {"version": "tiny"}),
        ("PUT", "/endpoints/{endpoint}/plan", {"expected_plan_id": anything, "shares": [_share(anything)]}),
        ("POST", "/composition/swap", {"endpoint": things["endpoint"], "adapters": []}),
        ("POST", "/feedback", {"kind": "thumb", "inference_id": things["inference"], "value": True}),
        ("POST", "/suites", {"name": "x", "endpoint_id": things["endpoint_id"], "dataset_version_id": anything}),
        ("POST", "/evaluations", {"suite_id": things["suite_id"], "candidate_version_id": anything}),
        ("POST", "/runs", {"dataset_version_id": things["version_id"], "endpoint_id": things["endpoint_id"]}),
        ("POST", "/runs/{run_id}/cancel", None),
        ("POST", "/runs/{run_id}/resume", None),
        ("PUT", "/training-policies/{endpoint_id}", {"minimum_examples": 1}),
        ("POST", "/releases", {"endpoint": things["endpoint"], "version": things["reference"]}),
        ("POST", "/releases/{release_id}/cancel", {"reason": "mine"}),
        ("POST", "/releases/{release_id}/promote", {"reason": "mine"}),
        ("PUT", "/aliases/{name}/{alias}", {"version": things["reference"]}),
        ("DELETE", "/aliases/{name}/{alias}", None),
        ("DELETE", "/keys/{key_id}", None),
        ("POST", "/v1/chat/completions", {"model": things["endpoint"], "messages": [{"role": "user", "content": "a"}]}),
        ("POST", "/v1/chat/completions", {"model": "brought@1", "messages": [{"role": "user", "content": "a"}]}),
    ]
    with house.http("admin") as own, house.http("stranger") as foreign:
        before = [own.get(f"/{kind}").text for kind in ("endpoints", "releases", "runs", "aliases", "keys", "feedback")]
        for method, path, body in attempts:
            answer = foreign.request(method, path.format(**things), json=body)
            assert answer.status_code == 404, (method, path, answer.text)
        after = [own.get(f"/{kind}").text for kind in ("endpoints", "releases", "runs", "aliases", "keys", "feedback")]
    assert after == before


def test_no_input_makes_a_fault(house: House, routes: list[Route]) -> None:
    """Wrong bodies, ids and pages: each is told what is wrong, in the one form of errors."""
    faults = []
    with house.http("admin") as http:
        for route, method, path, body in _nonsense(house, routes):
            answer = http.request(method, path, content=body, headers={"content-type": "application/json"})
            if answer.status_code >= 500 or (answer.status_code >= 400 and "error" not in answer.json()):
                faults.append((route, path[:100], body, answer.status_code, answer.text[:200]))
    assert faults == []


def _nonsense(house: House, routes: list[Route]) -> Iterator[tuple[Route, str, str, bytes]]:
    bodies = (b"", b"{", b"[]", b'"x"', b"null", b'{"name": {"a": [1]}}', b"\xff\xfe", b'{"name": "\\u0000"}')
    pages = ("limit=0", "limit=-1", f"limit={10**12}", "limit=x", "after=x", f"after={uuid4()}", "name=%00", "name=%ff")
    odd = ("%E2%98%85", "a" * 3000, "..%2F..%2Fetc", "%00", "-1")
    for route in routes:
        if route.method == "GET" and "events" not in route.path:
            for query in pages:
                yield route, "GET", f"{route.filled(house.things)}?{query}", b""
        elif route.method != "GET":
            for body in bodies:
                yield route, route.method, route.filled({"reference": "none@1"}), body
        if "{" in route.path:
            for value in odd:
                yield route, route.method, re.sub(r"\{\w+}", value, route.path), b"{}"


def _reading(routes: list[Route]) -> Iterator[Route]:
    for route in routes:
        if route.method == "GET" and route.permission != "public":
            yield route


def _get(http: httpx.Client, path: str) -> httpx.Response:
    """The first kilobytes of an answer; one without end is left."""
    with http.stream("GET", path) as response:
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            return httpx.Response(response.status_code, text="")
        response.read()
        return response


def _share(variant: str) -> dict[str, Any]:
    return {"variant_id": variant, "share": 100}
