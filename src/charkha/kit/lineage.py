"""Lineage: one table of edges from what something was made of to what was made, written with the change itself."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from charkha.kit.db import Tx, created_at, workspace_table

edges = workspace_table(
    "edges",
    sa.Column("source_kind", sa.Text, nullable=False),
    sa.Column("source_id", sa.Text, nullable=False),
    sa.Column("target_kind", sa.Text, nullable=False),
    sa.Column("target_id", sa.Text, nullable=False),
    created_at(),
    sa.PrimaryKeyConstraint("workspace_id", "source_kind", "source_id", "target_kind", "target_id"),
    sa.Index("ix_edges_target", "workspace_id", "target_kind", "target_id"),
    app="select, insert, delete",
)


Kind = Literal["inference", "feedback", "dataset_version", "run", "version", "evaluation", "rollout", "subject"]
LEAVES: tuple[Kind, ...] = ("inference", "feedback", "subject")
"""What nothing was made of; there are thousands of these behind one data set version."""


class Node(NamedTuple):
    """Something that lineage knows: its kind and id."""

    kind: str
    id: str


async def link(tx: Tx, sources: Iterable[Node], target: Node) -> None:
    """Write that `target` was made of `sources`; writing it again changes nothing."""
    rows = [
        {
            "workspace_id": tx.workspace_id,
            "source_kind": source.kind,
            "source_id": str(source.id),
            "target_kind": target.kind,
            "target_id": str(target.id),
        }
        for source in sources
    ]
    if rows:
        await tx.execute(insert(edges).on_conflict_do_nothing(), rows)


async def sources_of(tx: Tx, target: Node) -> list[Node]:
    """What `target` was directly made of."""
    query = sa.select(edges.c.source_kind, edges.c.source_id).where(
        edges.c.target_kind == target.kind, edges.c.target_id == target.id
    )
    rows = await tx.all(query.order_by(edges.c.source_kind, edges.c.source_id))
    return [Node(row.source_kind, row.source_id) for row in rows]


async def made_of(tx: Tx, source: Node) -> list[Node]:
    """What was directly made of `source`."""
    query = sa.select(edges.c.target_kind, edges.c.target_id).where(
        edges.c.source_kind == source.kind, edges.c.source_id == source.id
    )
    rows = await tx.all(query.order_by(edges.c.target_kind, edges.c.target_id))
    return [Node(row.target_kind, row.target_id) for row in rows]


async def beside(tx: Tx, near: Collection[Node], *, up: bool, limit: int) -> list[tuple[Node, Node]]:
    """(neighbour, the one of `near` that it hangs on): sources (`up`) or what was made; things first, then leaves.

    Of more than `limit` pairs those come that were made last, as far as ids tell.
    """
    here, there = _ends(up=up)
    kind, name = there
    told = (kind.label("kind"), name.label("id"), here[0].label("of_kind"), here[1].label("of_id"))
    query = sa.select(*told).where(edges.c.workspace_id == tx.workspace_id, _among(near, here))
    rows = await tx.all(query.order_by(kind.in_(LEAVES), kind, name.desc()).limit(limit))
    return [(Node(row.kind, row.id), Node(row.of_kind, row.of_id)) for row in rows]


async def counts(tx: Tx, node: Node, *, up: bool) -> dict[str, int]:
    """How many neighbours of each kind a node has."""
    here, (kind, _) = _ends(up=up)
    query = sa.select(kind.label("kind"), sa.func.count().label("number")).where(
        edges.c.workspace_id == tx.workspace_id, _among([node], here)
    )
    return {row.kind: row.number for row in await tx.all(query.group_by(kind).order_by(kind))}


def _ends(*, up: bool) -> tuple[tuple[sa.Column[Any], sa.Column[Any]], tuple[sa.Column[Any], sa.Column[Any]]]:
    """The columns (kind, id) of an edge's near end and of its far end, going up to sources or down."""
    source, target = (edges.c.source_kind, edges.c.source_id), (edges.c.target_kind, edges.c.target_id)
    return (target, source) if up else (source, target)


def _among(nodes: Collection[Node], columns: tuple[sa.Column[Any], sa.Column[Any]]) -> sa.ColumnElement[bool]:
    """That an end is one of `nodes`: two parameters for each kind, however many nodes."""
    kind, name = columns
    by_kind: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        by_kind[node.kind].append(node.id)
    ids = {key: sa.literal(found, ARRAY(sa.Text)) for key, found in by_kind.items()}
    return sa.or_(sa.false(), *(sa.and_(kind == key, name == sa.any_(found)) for key, found in ids.items()))
