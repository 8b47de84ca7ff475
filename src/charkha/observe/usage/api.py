"""Routes of usage."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
from fastapi import Query

from charkha.core.clock import now
from charkha.core.errors import Invalid, TooLarge
from charkha.govern.access import Access, Caller
from charkha.govern.directory import Directory
from charkha.kit.db import Database, Tx
from charkha.kit.http import Router
from charkha.observe.usage import store

Dimension = Literal["day", "month", "key", "model", "engine", "workspace"]
SPAN = timedelta(days=30)
MOST_DAYS, MOST_ROWS = 400, 20_000
_COLUMNS = {"day": "day", "month": "month", "key": "actor", "model": "model", "engine": "engine"}
_NO_NUL = r"^[^\x00]*$"


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What was used by one value of each dimension that was asked for; the others are None.

    `month` is its first day. `cost` is in micro-units of `currency`; both are None for requests whose model had no price.
    `cached` answers came out of a cache, which saved `saved`; for `missed` ones it was looked into in vain.
    """

    day: date | None = None
    month: date | None = None
    actor: str | None = None
    model: str | None = None
    engine: str | None = None
    workspace: str | None = None
    currency: str | None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: int | None
    cached: int
    missed: int
    saved: int | None


def router(directory: Directory, access: Access, database: Database) -> Router:
    """The route, bound to the database."""
    api = Router(tags=["observe"])

    @api.get("/usage")
    async def usage(
        by: list[Dimension] = Query(["day"], description="day, month, key, model, engine, workspace; may be repeated."),
        since: date | None = Query(None, description="First day (UTC); 30 days before the last, if absent."),
        until: date | None = Query(None, description="Last day; today, if absent."),
        key_id: UUID | None = Query(None, description="Of this key only."),
        model: str | None = Query(None, max_length=512, pattern=_NO_NUL, description="Of this model only."),
        engine: str | None = Query(None, max_length=512, pattern=_NO_NUL, description="Of this engine only."),
        caller: Caller = access.require("usage.read"),
    ) -> list[Usage]:
        """Requests, tokens and money by day, month, key, model, engine. `by=workspace`: of the organisation, its owner's."""
        last = until or now().date()
        first = since or last - SPAN
        if not timedelta(0) <= last - first <= timedelta(days=MOST_DAYS):
            raise Invalid(f"Ask for 1 to {MOST_DAYS} days.", remedy="Choose `since` and `until`.", param="since")
        wanted = {"actor": f"key:{key_id}" if key_id else None, "model": model, "engine": engine}

        async def summed(tx: Tx, workspace: str | None) -> list[Usage]:
            columns = [_COLUMNS[name] for name in dict.fromkeys(by) if name in _COLUMNS]
            return _checked(
                await store.sums(tx, columns, first, last, limit=MOST_ROWS + 1, **wanted), columns, workspace
            )

        if "workspace" not in by:
            async with caller.transaction() as tx:
                return await summed(tx, None)
        caller.principal.require("workspace.read")
        found: list[Usage] = []
        for each in await directory.workspaces(caller.principal.organisation_id):
            async with database.workspace(each["id"], caller.principal.actor) as tx:
                found += await summed(tx, each["name"])
        return found

    return api


def _checked(rows: Sequence[Any], columns: Sequence[str], workspace: str | None) -> list[Usage]:
    if len(rows) > MOST_ROWS:
        raise TooLarge(f"More than {MOST_ROWS} rows.", remedy="Ask for fewer days, or fewer dimensions.")
    return [
        Usage(
            **{name: getattr(row, name) for name in columns},
            workspace=workspace,
            currency=row.currency or None,
            requests=int(row.requests),
            prompt_tokens=int(row.prompt_tokens),
            completion_tokens=int(row.completion_tokens),
            cost=None if row.cost is None else int(row.cost),
            cached=int(row.cached),
            missed=int(row.missed),
            saved=None if row.saved is None else int(row.saved),
        )
        for row in rows
    ]
