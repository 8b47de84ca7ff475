"""Names for ids: lists tell what they refer to by id, and people read names. Read once for a page, bounded."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote
from uuid import UUID

from charkha.console.api import Refused
from charkha.console.site import Visitor

MOST = 500
NEWEST = 5000
"""Of how many requests figures are told: enough for a p95, and as quick with a million a day."""
_KEY = "key:"


def part(text: str) -> str:
    """A text as one part of a path of the API: nothing in it can lead elsewhere."""
    return quote(text, safe="@")


async def endpoint_names(visitor: Visitor) -> dict[str, str]:
    """The workspace's endpoints by id, as far as one page of their list goes; none for who may not see them."""
    if not visitor.may("endpoint.read"):
        return {}
    found = (await visitor.api.get("/endpoints", limit=MOST))["data"]
    return {each["id"]: each["name"] for each in sorted(found, key=lambda each: str(each["name"]))}


async def found_or_none(visitor: Visitor, permission: str, path: str, **query: Any) -> Any:
    """What the API tells at `path`; None where there is nothing, or the visitor may not see it."""
    if not visitor.may(permission):
        return None
    try:
        return await visitor.api.get(path, **query)
    except Refused as refused:
        if refused.status == 404:
            return None
        raise


async def listed(visitor: Visitor, permission: str, path: str, **query: Any) -> list[dict[str, Any]]:
    """The first page of a list of the API; empty for who may not see it."""
    if not visitor.may(permission):
        return []
    answer = await visitor.api.get(path, **query)
    found: list[dict[str, Any]] = answer if isinstance(answer, list) else answer["data"]
    return found


def reference(version: dict[str, Any]) -> str:
    """`name@number`: what people call a version."""
    return f"{version['name']}@{version['number']}"


async def version_names(visitor: Visitor, ids: Iterable[str | None]) -> dict[str, str]:
    """Ids of versions to `name@number`, for all of a page at once; none for who may not see them."""
    wanted = sorted({each for each in ids if each})[:MOST]
    found = await listed(visitor, "version.read", "/versions", id=wanted, limit=MOST) if wanted else []
    return {each["id"]: reference(each) for each in found}


async def actor_names(visitor: Visitor, actors: Iterable[str]) -> dict[str, str]:
    """Actors such as `key:<id>` to the names of their keys, for all of a page at once; others have no name."""
    wanted = sorted({key_id for each in actors if (key_id := _key_id(each)) is not None})[:MOST]
    found = await listed(visitor, "key.read", "/keys", id=wanted, limit=MOST) if wanted else []
    return {f"{_KEY}{each['id']}": each["name"] for each in found}


def is_key(actor: str) -> bool:
    """Whether an actor is a key that there may be."""
    return _key_id(actor) is not None


def _key_id(actor: str) -> str | None:
    """The id in `key:<id>`; None for jobs, for the system, and for what is no id."""
    try:
        return str(UUID(actor.removeprefix(_KEY))) if actor.startswith(_KEY) else None
    except ValueError:
        return None
