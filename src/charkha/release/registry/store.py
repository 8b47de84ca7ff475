"""The registry's rows: versions, aliases, and the walk up their lineage."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from charkha.kit.db import Tx
from charkha.kit.lineage import LEAVES, Node, edges
from charkha.kit.paging import Page, page
from charkha.release.registry.domain import Alias, Aliased, Numbered, Reference, Version
from charkha.release.tables import aliases, versions


async def next_number(tx: Tx, name: str) -> int:
    """The number of the next version of a name; 0 is kept for a base. Ask while holding the name's lock."""
    query = sa.select(sa.func.max(versions.c.number)).where(_own(tx), versions.c.name == name)
    return int(await tx.scalar(query) or 0) + 1


async def add(tx: Tx, version: Version) -> None:
    """Write a version."""
    values = msgspec.structs.asdict(version)
    del values["created_at"]
    await tx.insert(versions, **{**values, "adapters": [list(pair) for pair in version.adapters]})


async def find(tx: Tx, reference: Reference) -> Version | None:
    """The version of a reference, or None."""
    query = sa.select(versions).where(_own(tx))
    match reference:
        case Numbered(name, number):
            query = query.where(versions.c.name == name, versions.c.number == number)
        case Aliased(name, alias):
            query = query.join(aliases, _pointed_at()).where(aliases.c.name == name, aliases.c.alias == alias)
        case UUID():
            query = query.where(versions.c.id == reference)
    row = await tx.one(query)
    return row and make(row)


async def of_run(tx: Tx, run_id: UUID) -> Version | None:
    """The version that a run became, or None."""
    row = await tx.one(sa.select(versions).where(_own(tx), versions.c.run_id == run_id))
    return row and make(row)


async def listed(
    tx: Tx,
    *,
    name: str | None,
    ids: Sequence[UUID] | None,
    run_ids: Sequence[UUID] | None,
    prefix: str | None,
    kind: str | None,
    endpoint_id: UUID | None,
    after: UUID | None,
    limit: int,
) -> Page[Version]:
    """Versions, newest first."""
    query = sa.select(versions).where(_own(tx))
    if prefix:
        query = query.where(*_begins(versions.c.name, prefix))
    for column, wanted in ((versions.c.id, ids), (versions.c.run_id, run_ids)):
        if wanted is not None:
            query = query.where(column == sa.any_(sa.literal(list(wanted), ARRAY(sa.Uuid))))
    for column, value in ((versions.c.name, name), (versions.c.kind, kind), (versions.c.endpoint_id, endpoint_id)):
        if value is not None:
            query = query.where(column == value)
    return await page(tx, query, versions, make, after=after, limit=limit)


async def point(tx: Tx, name: str, alias: str, version_id: UUID) -> None:
    """Make an alias, or move it."""
    row = {"workspace_id": tx.workspace_id, "name": name, "alias": alias, "version_id": version_id}
    moved = insert(aliases).values(**row)
    await tx.execute(
        moved.on_conflict_do_update(
            index_elements=[aliases.c.workspace_id, aliases.c.name, aliases.c.alias], set_={"version_id": version_id}
        )
    )


async def drop(tx: Tx, name: str, alias: str) -> bool:
    """Remove an alias; False if there was none."""
    own = (aliases.c.workspace_id == tx.workspace_id, aliases.c.name == name, aliases.c.alias == alias)
    return await tx.execute(aliases.delete().where(*own)) == 1


async def aliases_of(tx: Tx, name: str | None, version_ids: Sequence[UUID] = ()) -> list[Alias]:
    """The aliases of a name, those that point at some versions, or all."""
    target = versions.c.name.concat("@").concat(sa.cast(versions.c.number, sa.Text)).label("reference")
    query = sa.select(aliases.c.name, aliases.c.alias, aliases.c.version_id, target).join(versions, _pointed_at())
    query = query.where(aliases.c.workspace_id == tx.workspace_id).order_by(aliases.c.name, aliases.c.alias)
    if name is not None:
        query = query.where(aliases.c.name == name)
    if version_ids:
        query = query.where(aliases.c.version_id == sa.any_(sa.literal(list(version_ids), ARRAY(sa.Uuid))))
    return [Alias(row.name, row.alias, row.version_id, row.reference) for row in await tx.all(query)]


async def ancestors(tx: Tx, version_id: UUID) -> list[Node]:
    """All that a version was made of, nearest first, but for the leaves (inferences, feedback, subjects)."""
    found: dict[Node, None] = {}
    front = [Node("version", str(version_id))]
    while front:
        query = sa.select(edges.c.source_kind, edges.c.source_id).distinct()
        query = query.where(_made(tx, front), edges.c.source_kind.not_in(LEAVES)).order_by(*query.selected_columns)
        front = [node for row in await tx.all(query) if (node := Node(row.source_kind, row.source_id)) not in found]
        found.update(dict.fromkeys(front))
    return list(found)


async def leaves(tx: Tx, targets: list[Node]) -> dict[str, int]:
    """How many different leaves of each kind the targets were directly made of."""
    count = sa.func.count(edges.c.source_id.distinct()).label("number")
    query = sa.select(edges.c.source_kind, count).where(_made(tx, targets), edges.c.source_kind.in_(LEAVES))
    return {row.source_kind: row.number for row in await tx.all(query.group_by(edges.c.source_kind))}


async def inferences(tx: Tx, targets: list[Node], *, after: UUID | None, limit: int) -> Page[UUID]:
    """The inferences that the targets were directly made of, newest first: their ids order as text as they do in time."""
    limit = max(1, min(limit, 500))
    query = sa.select(edges.c.source_id).distinct().where(_made(tx, targets), edges.c.source_kind == "inference")
    if after is not None:
        query = query.where(edges.c.source_id < str(after))
    rows = await tx.all(query.order_by(edges.c.source_id.desc()).limit(limit + 1))
    ids = [UUID(row.source_id) for row in rows]
    return Page(ids[:limit], ids[limit - 1] if len(ids) > limit else None)


def make(row: sa.Row[Any]) -> Version:
    """A row as a version."""
    values = {name: row._mapping[name] for name in Version.__struct_fields__}
    return Version(**{**values, "adapters": tuple((digest, float(weight)) for digest, weight in values["adapters"])})


def _begins(name: sa.Column[Any], prefix: str) -> tuple[sa.ColumnElement[bool], ...]:
    """That a name begins with a text, by the operators of `ix_versions_prefix`; no name holds the last ASCII character.

    LIKE would say the same, but it is not leakproof, and so no index serves it beneath row-level security.
    """
    return name.bool_op("~>=~")(prefix), name.bool_op("~<~")(prefix + "\x7f")


def _own(tx: Tx) -> sa.ColumnElement[bool]:
    return versions.c.workspace_id == tx.workspace_id


def _pointed_at() -> sa.ColumnElement[bool]:
    return sa.and_(versions.c.workspace_id == aliases.c.workspace_id, versions.c.id == aliases.c.version_id)


def _made(tx: Tx, targets: list[Node]) -> sa.ColumnElement[bool]:
    """Edges into any of the targets."""
    into = sa.tuple_(edges.c.target_kind, edges.c.target_id).in_([tuple(node) for node in targets])
    return sa.and_(edges.c.workspace_id == tx.workspace_id, into)
