"""Lists of the inference log by whatever a person looks for, each page in bounded time: millions may be in the log.

One condition at most is left to an index; the others, and the text, are looked for in as many of its newest rows as a
page may read. A page that ends for that reason says where to go on.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from charkha.core.ids import id_range
from charkha.kit.db import Tx
from charkha.kit.paging import Page, last_of, page, sifted
from charkha.observe.domain import escaped, spellings
from charkha.observe.store import FAILED, between
from charkha.observe.tables import inference_bodies, inferences
from charkha.observe.values import Wanted

BODIES = 5_000
"""Bodies that a page searches at most: of usual requests, of a kilobyte or two, some 30 ms."""
BODY_BYTES = 32 << 20
"""And bytes of them, for they may be megabytes each: PostgreSQL reads some 250 MB a second so."""
_EQUAL = (
    *("endpoint_id", "variant_id", "version_id", "status"),
    *("model", "error_code", "purpose", "episode_id", "subject_id", "cache"),
)
_COLUMNS, _BODIES = inferences.c, inference_bodies.c
_BODY_OF = sa.and_(_BODIES.workspace_id == _COLUMNS.workspace_id, _BODIES.id == _COLUMNS.id)
_WILD = re.compile(r"[%_\\]")
T = TypeVar("T")


async def listed(
    tx: Tx, wanted: Wanted, make: Callable[[sa.Row[Any]], T], *, after: UUID | None, limit: int
) -> Page[T]:
    """A page of the workspace's inferences, newest first, each through `make`."""
    served, others = _conditions(wanted)
    statement = between(tx, id_range(wanted.since, wanted.until))
    if served is not None:
        statement = statement.where(served)
    if wanted.q is None:
        return await sifted(tx, statement, inferences, make, conditions=others, after=after, limit=limit)
    last = await last_of(tx, statement, inferences, after)
    searched = statement.where(*others) if last is None else statement.where(*others, _COLUMNS.id >= last)
    last = await _searchable(tx, searched, after) or last
    if last is not None:
        statement = statement.where(_COLUMNS.id >= last)
    matching = statement.where(*others, _says(wanted.q))
    found = await page(tx, matching, inferences, make, after=after, limit=limit)
    return found if found.next is not None else Page(found.data, last)


def _conditions(wanted: Wanted) -> tuple[sa.ColumnElement[bool] | None, list[sa.ColumnElement[bool]]]:
    """The condition that an index serves, if one does, and the others."""
    given = {name: value for name in _EQUAL if (value := getattr(wanted, name)) is not None}
    conditions: dict[str, sa.ColumnElement[bool]] = {name: _COLUMNS[name] == given[name] for name in given}
    if wanted.failed is False:
        conditions["well"] = sa.not_(FAILED)
    elif wanted.failed or given.get("status", 0) >= 500 or wanted.error_code == "process_died":
        conditions["failed"] = FAILED
    if wanted.min_duration_ms is not None:
        conditions["slow"] = _COLUMNS.duration_ms >= wanted.min_duration_ms
    indexed = next((name for name in ("failed", "variant_id", "endpoint_id") if name in conditions), None)
    served = conditions.pop(indexed) if indexed else None
    return served, list(conditions.values())


async def _searchable(tx: Tx, statement: sa.Select[Any], after: UUID | None) -> UUID | None:
    """The last inference of `statement` behind `after` whose body one page may search; None where it may search all.

    A body's length is known without reading it.
    """
    if after is not None:
        statement = statement.where(_COLUMNS.id < after)
    newest = statement.with_only_columns(_COLUMNS.workspace_id, _COLUMNS.id).order_by(_COLUMNS.id.desc())
    window = newest.limit(BODIES).subquery()
    body = sa.and_(_BODIES.workspace_id == window.c.workspace_id, _BODIES.id == window.c.id)
    size = sum(sa.func.coalesce(sa.func.octet_length(part), 0) for part in (_BODIES.request, _BODIES.answer))
    order = window.c.id.desc()
    sizes = sa.select(
        window.c.id,
        sa.func.row_number().over(order_by=order).label("number"),
        sa.func.sum(size).over(order_by=order).label("bytes"),
    )
    sized = sizes.select_from(window.outerjoin(inference_bodies, body)).subquery()
    full = sa.or_(sized.c.number >= BODIES, sized.c.bytes >= BODY_BYTES)
    found: UUID | None = await tx.scalar(sa.select(sized.c.id).where(full).order_by(sized.c.id.desc()).limit(1))
    return found


def _says(text: str) -> sa.ColumnElement[bool]:
    """Whether a text stands in the request or the answer.

    A subquery for each row, which the planner cannot turn into a join: it reads the bodies of no other rows.
    """
    found = sa.or_(_holds(_BODIES.request, spellings(text)), _holds(_BODIES.answer, [text.encode()]))
    return sa.select(found).where(_BODY_OF).correlate(inferences).scalar_subquery()


def _holds(body: sa.ColumnElement[Any], forms: Iterable[bytes]) -> sa.ColumnElement[bool]:
    """Whether one of the forms is in a body, which may be any bytes: both are compared as the ASCII that escapes them."""
    ascii_alone = sa.func.lower(sa.collate(sa.func.encode(body, "escape"), "C"))
    patterns = ["%" + _WILD.sub(r"\\\g<0>", escaped(form)) + "%" for form in forms]
    return ascii_alone.like(sa.any_(sa.literal(patterns, ARRAY(sa.Text))))
