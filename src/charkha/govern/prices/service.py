"""Prices as people add them: checked, audited, and in the gateways' picture from the same transaction on."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.core.clock import now
from charkha.core.errors import Invalid
from charkha.core.ids import uuid7
from charkha.govern import audit
from charkha.govern.keyring import Principal
from charkha.govern.limits.service import check_currency
from charkha.govern.prices.domain import Price, PriceBook
from charkha.govern.prices.tables import prices
from charkha.kit.db import Tx
from charkha.kit.paging import Page, page
from charkha.kit.snapshot import bump

PRICES = "prices"
MOST = 10**12


async def load(conn: AsyncConnection) -> PriceBook:
    """Read every price that holds or will hold; for the snapshot."""
    current = sa.or_(prices.c.valid_until.is_(None), prices.c.valid_until > sa.func.now())
    query = sa.select(prices).where(current).order_by(prices.c.valid_from.desc(), prices.c.id.desc())
    book: dict[tuple[UUID, str, str], list[Price]] = {}
    for row in await conn.execute(query):
        book.setdefault((row.subject_id, row.engine, row.model), []).append(_price(row))
    return book


class PriceService:
    """Adds prices; they are never changed, so that what was charged can be explained."""

    async def add(
        self,
        tx: Tx,
        by: Principal,
        *,
        subject: Literal["organisation", "workspace"],
        engine: str,
        model: str,
        currency: str,
        prompt: int,
        completion: int,
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
    ) -> tuple[Price, int]:
        """Add a price; with the snapshot version that holds it. It takes the place of those that began before it."""
        if subject == "organisation":
            by.require("workspace.manage")
        begins = valid_from or now()
        _check(engine, model, prompt, completion, begins, valid_until)
        check_currency(currency, wanted=True)
        price = Price(
            uuid7(), subject, engine, model, currency, prompt, completion, begins, valid_until, created_at=now()
        )
        values = {name: getattr(price, name) for name in Price.__struct_fields__ if name != "created_at"}
        of = by.organisation_id if subject == "organisation" else tx.workspace_id
        await tx.insert(prices, subject_id=of, **values)
        told = {"engine": engine, "model": model, "currency": currency, "prompt": prompt, "completion": completion}
        await audit.record(tx, "price.added", "price", price.id, subject=subject, valid_from=str(begins), **told)
        return price, await bump(tx)

    async def listed(
        self,
        tx: Tx,
        *,
        engine: str | None = None,
        model: str | None = None,
        state: str | None = None,
        current: Collection[UUID] = (),
        after: UUID | None = None,
        limit: int = 50,
    ) -> Page[Price]:
        """The prices that are kept in this workspace, newest first, those of the past too.

        `state` is upcoming, current, replaced or past; `current` are the ids of the prices that hold.
        """
        query = sa.select(prices).where(prices.c.workspace_id == tx.workspace_id)
        for column, wanted in ((prices.c.engine, engine), (prices.c.model, model)):
            if wanted is not None:
                query = query.where(column == wanted)
        if state is not None:
            query = query.where(*_in_state(state, current))
        return await page(tx, query, prices, _price, after=after, limit=limit)


def _check(engine: str, model: str, prompt: int, completion: int, begins: datetime, ends: datetime | None) -> None:
    for name, value in (("engine", engine), ("model", model)):
        if not 1 <= len(value) <= 512:
            raise Invalid(f"A price names its {name}.", remedy="Give 1 to 512 characters.", param=name)
    for name, amount in (("prompt", prompt), ("completion", completion)):
        if not 0 <= amount <= MOST:
            raise Invalid("A price is a whole number from 0 to 10^12.", remedy="Send millionths.", param=name)
    if ends is not None and ends <= begins:
        raise Invalid("A price ends after it begins.", remedy="Send a later `valid_until`.", param="valid_until")


def _in_state(state: str, current: Collection[UUID]) -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions of a state, by the database's clock."""
    columns, at = prices.c, sa.func.now()
    has_ended = sa.and_(columns.valid_from <= at, columns.valid_until.is_not(None), columns.valid_until <= at)
    if state in ("upcoming", "past"):
        return (columns.valid_from > at,) if state == "upcoming" else (has_ended,)
    holds = columns.id == sa.any_(sa.literal(list(current), ARRAY(sa.Uuid)))
    return columns.valid_from <= at, sa.not_(has_ended), holds if state == "current" else sa.not_(holds)


def _price(row: sa.Row[Any]) -> Price:
    return Price(*(getattr(row, name) for name in Price.__struct_fields__))
