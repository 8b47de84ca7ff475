"""Lineage: one table of edges from what something was made of to what was made, written with the change itself.

Kinds in use: inference, feedback, dataset_version, run, version, evaluation, rollout, subject.
"""

from collections.abc import Iterable
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

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
