"""Limits as people make them: checked, audited, and in the gateways' picture from the same transaction on."""

import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from charkha.core.errors import Conflict, Invalid, NotFound
from charkha.core.ids import uuid7
from charkha.govern import audit
from charkha.govern.keyring import Principal
from charkha.govern.limits import store
from charkha.govern.limits.domain import FOREVER, MEASURES, SUBJECTS, WINDOWS, Limit, Measure, Subject, Window, span_of
from charkha.govern.limits.tables import limits
from charkha.govern.tables import api_keys
from charkha.kit.db import Tx
from charkha.kit.paging import Page, page
from charkha.kit.snapshot import bump

MOST = 10**15
_CURRENCY = re.compile(r"[A-Z]{3}")


class LimitState(msgspec.Struct, frozen=True):
    """A limit with what is left of its window: `remaining` counts what gateways hold as gone, so it is never too high.

    `spent` is what has been used as far as the log has seen it; `held` is what gateways have leased beyond that:
    reserved by requests under way, used a moment ago, or ready for the next ones. What is not used of it comes back.
    """

    id: UUID
    subject: Subject
    subject_id: UUID
    measure: Measure
    window: Window
    amount: int
    currency: str | None
    created_at: datetime
    remaining: int
    resets_at: datetime | None
    spent: int
    held: int


class LimitService:
    """Makes, changes and removes limits of the transaction's workspace, its keys and its organisation."""

    async def create(
        self,
        tx: Tx,
        by: Principal,
        *,
        subject: Subject,
        key_id: UUID | None,
        measure: Measure,
        window: Window,
        amount: int,
        currency: str | None = None,
    ) -> tuple[LimitState, int]:
        """Make a limit; with the snapshot version that holds it. Raises Invalid, NotFound, Forbidden or Conflict."""
        _check(subject, measure, window, amount, currency)
        limit_id = uuid7()
        values = {
            "workspace_id": tx.workspace_id,
            "id": limit_id,
            "subject": subject,
            "subject_id": await self._subject(tx, by, subject, key_id),
            "measure": measure,
            "window": window,
            "amount": amount,
            "currency": currency or "",
        }
        if not await tx.execute(insert(limits).values(values).on_conflict_do_nothing()):
            raise Conflict(
                "There is such a limit already.", remedy="Change it: `charkha limits set ID AMOUNT`.", param="measure"
            )
        detail = {key: str(values[key]) for key in ("subject", "subject_id", "measure", "window", "currency")}
        await audit.record(tx, "limit.created", "limit", limit_id, amount=amount, **detail)
        version = await bump(tx)
        return await self.get(tx, limit_id), version

    async def get(self, tx: Tx, limit_id: UUID) -> LimitState:
        """One limit. Raises NotFound."""
        row = await tx.one(store.of_workspace(tx).where(limits.c.id == limit_id))
        if row is None:
            raise _unknown()
        return (await _states(tx, [store.limit_of(row)]))[0]

    async def change(self, tx: Tx, by: Principal, limit_id: UUID, amount: int) -> tuple[LimitState, int]:
        """Give a limit another amount; what gateways have leased by then may still be spent."""
        _check_amount(amount)
        before = await self.get(tx, limit_id)
        _check_rights(by, before.subject)
        mine = (limits.c.workspace_id == tx.workspace_id, limits.c.id == limit_id)
        await tx.execute(limits.update().where(*mine).values(amount=amount))
        await audit.record(tx, "limit.changed", "limit", limit_id, before=before.amount, amount=amount)
        version = await bump(tx)
        return await self.get(tx, limit_id), version

    async def delete(self, tx: Tx, by: Principal, limit_id: UUID) -> int:
        """Remove a limit and its books; returns the snapshot version from which on nothing is held to it."""
        before = await self.get(tx, limit_id)
        _check_rights(by, before.subject)
        await tx.execute(limits.delete().where(limits.c.workspace_id == tx.workspace_id, limits.c.id == limit_id))
        await audit.record(tx, "limit.deleted", "limit", limit_id, measure=before.measure, amount=before.amount)
        return await bump(tx)

    async def listed(
        self,
        tx: Tx,
        *,
        subject_id: UUID | None = None,
        subject: Subject | None = None,
        measure: Measure | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Page[LimitState]:
        """The workspace's limits, newest first; of one subject, kind of subject or measure only, if given."""
        query = store.of_workspace(tx)
        wanted = ((limits.c.subject_id, subject_id), (limits.c.subject, subject), (limits.c.measure, measure))
        query = query.where(*(column == value for column, value in wanted if value is not None))
        found = await page(tx, query, limits, store.limit_of, after=after, limit=limit)
        return Page(await _states(tx, found.data), found.next)

    async def _subject(self, tx: Tx, by: Principal, subject: Subject, key_id: UUID | None) -> UUID:
        if (subject == "key") != (key_id is not None):
            raise Invalid("A limit of a key, and no other, names the key.", remedy="Send `key_id`.", param="key_id")
        _check_rights(by, subject)
        if key_id is None:
            return by.organisation_id if subject == "organisation" else tx.workspace_id
        mine = (api_keys.c.workspace_id == tx.workspace_id, api_keys.c.id == key_id)
        if await tx.scalar(sa.select(api_keys.c.id).where(*mine)) is None:
            raise NotFound("There is no such key in this workspace.", remedy="See `charkha keys list`.", param="key_id")
        return key_id


async def _states(tx: Tx, found: Sequence[Limit]) -> list[LimitState]:
    gone, now = await store.gone(tx, [limit.id for limit in found]), time.time()
    return [_state(limit, gone, now) for limit in found]


def _state(limit: Limit, gone: Mapping[tuple[UUID, int], store.Gone], now: float) -> LimitState:
    span = span_of(limit, now)
    leased, held = gone.get((limit.id, span.start), (0, 0))
    left = max(0, limit.amount - leased)
    resets = None if span.end == FOREVER else datetime.fromtimestamp(span.end, UTC)
    shown = (limit.id, limit.subject, limit.subject_id, limit.measure, limit.window, limit.amount, limit.currency)
    return LimitState(*shown, limit.created_at, left, resets, leased - held, held)


def _check(subject: str, measure: str, window: str, amount: int, currency: str | None) -> None:
    for name, value, known in (
        ("subject", subject, SUBJECTS),
        ("measure", measure, MEASURES),
        ("window", window, WINDOWS),
    ):
        if value not in known:
            raise Invalid(f"There is no {name} '{value}'.", param=name, remedy=f"There are: {', '.join(known)}.")
    _check_amount(amount)
    if measure == "concurrency" and window != "total":
        raise Invalid("Requests at once know no window.", param="window", remedy="Send the window 'total'.")
    check_currency(currency, wanted=measure == "money")


def check_currency(currency: str | None, *, wanted: bool) -> None:
    """Raise Invalid unless there is a currency exactly where one is wanted, of three capital letters."""
    if (currency is not None) != wanted or (currency is not None and not _CURRENCY.fullmatch(currency)):
        raise Invalid(
            "Money has a currency, of three capital letters, and nothing else has.",
            remedy="Send one such as EUR." if wanted else "Leave it out.",
            param="currency",
        )


def _check_amount(amount: int) -> None:
    if not 0 <= amount <= MOST:
        raise Invalid("A limit is a whole number from 0 to 10^15.", remedy="Send such a number.", param="amount")


def _check_rights(by: Principal, subject: Subject) -> None:
    if subject == "organisation":
        by.require("workspace.manage")


def _unknown() -> NotFound:
    return NotFound("There is no such limit in this workspace.", remedy="See `charkha limits list`.")
