"""What a thing was made of and what became of it, whichever station made it: the walk over the edges of lineage.

Feedback says in its own row which answer it is on. That one link is no edge, and is put beside the edges here.
"""

from uuid import UUID

import msgspec
from fastapi import Query

from charkha.core.errors import NotFound
from charkha.govern.access import Access, Caller
from charkha.kit.db import Tx
from charkha.kit.http import Router
from charkha.kit.lineage import Kind, Node, beside, counts
from charkha.learn.feedback.service import FeedbackService

MOST = 200
"""Things told each way: more than anybody reads."""
_PAIRS = 5 * MOST
"""Edges followed at each step, since several may lead to one thing."""
DEEPEST = 10


class Thing(msgspec.Struct, frozen=True):
    """Something that lineage knows."""

    kind: str
    id: str


class Related(Thing, frozen=True):
    """A thing so many `steps` away, and the one that it hangs on, which is a step nearer."""

    steps: int
    of: Thing


class Surroundings(msgspec.Struct, frozen=True):
    """A thing, what it was made of (`sources`) and what became of it (`made`): at most 200 each, nearest first.

    The counts are of all that is one step away, by kind.
    """

    node: Thing
    sources: list[Related]
    made: list[Related]
    source_counts: dict[str, int]
    made_counts: dict[str, int]


def router(feedback: FeedbackService, access: Access) -> Router:
    """The route, bound to the service that knows feedback's links."""
    api = Router(tags=["lineage"])

    @api.get("/lineage/{kind}/{node_id}")
    async def get_lineage_of(
        kind: Kind,
        node_id: str,
        depth: int = Query(1, ge=1, le=DEEPEST, description="Steps to follow each way."),
        caller: Caller = access.require("lineage.read"),
    ) -> Surroundings:
        """What a thing was made of and what became of it; nothing, for one that this workspace has not."""
        node = Node(kind, _uuid(node_id))
        async with caller.transaction() as tx:
            return await surroundings(tx, feedback, node, depth)

    return api


async def surroundings(tx: Tx, feedback: FeedbackService, node: Node, depth: int) -> Surroundings:
    """A thing with its sources and what became of it, followed `depth` steps each way."""
    above, below = await _inference_of(tx, feedback, node), await _feedback_on(tx, feedback, node)
    return Surroundings(
        Thing(*node),
        await _walk(tx, node, above, up=True, depth=depth),
        await _walk(tx, node, below, up=False, depth=depth),
        await counts(tx, node, up=True) | ({"inference": len(above)} if above else {}),
        await counts(tx, node, up=False) | ({"feedback": len(below)} if below else {}),
    )


async def _walk(tx: Tx, start: Node, beside_edges: list[Node], *, up: bool, depth: int) -> list[Related]:
    """Everything within `depth` steps one way, nearest first; `beside_edges` hang on the start without an edge."""
    found: dict[Node, Related] = {}
    front = [start]
    for steps in range(1, depth + 1):
        pairs = await beside(tx, front, up=up, limit=_PAIRS)
        pairs += [(node, start) for node in beside_edges] if steps == 1 else []
        new = {node: Related(*node, steps, Thing(*of)) for node, of in pairs if node not in found and node != start}
        found |= new
        front = list(new)
        if not front or len(found) >= MOST:
            break
    return list(found.values())[:MOST]


async def _inference_of(tx: Tx, feedback: FeedbackService, node: Node) -> list[Node]:
    if node.kind != "feedback":
        return []
    target = await feedback.inference_of(tx, UUID(node.id))
    return [Node("inference", str(target))] if target else []


async def _feedback_on(tx: Tx, feedback: FeedbackService, node: Node) -> list[Node]:
    if node.kind != "inference":
        return []
    return [Node("feedback", str(each)) for each in await feedback.ids_on(tx, UUID(node.id), limit=MOST)]


def _uuid(text: str) -> str:
    """An id as edges write it, from a UUID or from the id of an answer, such as `chatcmpl-<uuid>`."""
    try:
        return str(UUID(text[-36:]))
    except ValueError:
        raise NotFound(f"'{text[:80]}' is no id.", param="node_id", remedy="Use the id that its list tells.") from None
