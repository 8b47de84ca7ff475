"""Routes of prices."""

from typing import Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import AwareDatetime, BaseModel, Field

from charkha.govern.access import Access, Caller
from charkha.govern.prices.coverage import Coverage, ModelPrice, PriceState, State
from charkha.govern.prices.service import MOST, PriceService
from charkha.kit.db import Database
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.kit.snapshot import wait_until_served

_TEXT = r"^[^\x00]+$"  # PostgreSQL's text cannot hold NUL


class PriceIn(BaseModel):
    """A price to add."""

    subject: Literal["organisation", "workspace"] = Field("workspace", description="For whom it holds.")
    engine: str = Field(max_length=512, pattern=_TEXT, description="The engine, as the settings name it.")
    model: str = Field(max_length=512, pattern=_TEXT, description="The model, as the engine names it.")
    currency: str = Field(max_length=3, description="Three capital letters, such as EUR.")
    prompt: int = Field(ge=0, le=MOST, description="Millionths of the currency for a million tokens read.")
    completion: int = Field(ge=0, le=MOST, description="Millionths of the currency for a million tokens written.")
    valid_from: AwareDatetime | None = Field(None, description="When it begins; now, if absent.")
    valid_until: AwareDatetime | None = Field(None, description="When it ends; with a later price, if absent.")


def router(prices: PriceService, coverage: Coverage, access: Access, database: Database) -> Router:
    """The routes, bound to their services."""
    api = Router(tags=["govern"])

    @api.post("/prices", status_code=201)
    async def add_price(body: PriceIn, caller: Caller = access.require("price.manage")) -> PriceState:
        """Say what a model costs from now, or from an instant, on. Every gateway process knows it by then."""
        async with caller.transaction() as tx:
            added, version = await prices.add(tx, caller.principal, **body.model_dump())
        await wait_until_served(database, version)
        return coverage.states(caller.principal, [added])[0]

    @api.get("/prices")
    async def list_prices(
        engine: str | None = Query(None, max_length=512, pattern=_TEXT),
        model: str | None = Query(None, max_length=512, pattern=_TEXT),
        state: State | None = Query(None, description="Only those that are so now."),
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("price.read"),
    ) -> Page[PriceState]:
        """The prices that are kept in this workspace, newest first, those of the past too."""
        current = coverage.current(caller.principal) if state else ()
        wanted: dict[str, Any] = {"engine": engine, "model": model, "state": state, "current": current}
        async with caller.transaction() as tx:
            found = await prices.listed(tx, **wanted, after=after, limit=limit)
        return Page(coverage.states(caller.principal, found.data), found.next)

    @api.get("/prices/models")
    async def list_priced_models(caller: Caller = access.require("price.read")) -> list[ModelPrice]:
        """The models that requests of this workspace can reach, what each costs now, and what limits of money lack."""
        return coverage.models(caller.principal)

    return api
