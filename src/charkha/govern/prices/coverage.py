"""Which models have a price, which will have another, and where a limit of money waits for one that nobody has given.

`covered` and `state_of` are pure; `Coverage` puts the gateways' own picture before them, so it tells what they do.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from charkha.core.clock import now
from charkha.govern.keyring import Principal
from charkha.govern.limits.store import LIMITS, LimitBook
from charkha.govern.prices.domain import Price, PriceBook, price_at
from charkha.govern.prices.ports import InUse, Use
from charkha.govern.prices.service import PRICES
from charkha.kit.snapshot import Snapshots

State = Literal["upcoming", "current", "replaced", "past"]
NAMES_TOLD = 50


class PriceState(Price, frozen=True):
    """A price, and whether it is the one that holds: it may not have begun, have ended, or another began after it."""

    state: State


class ModelPrice(msgspec.Struct, frozen=True):
    """A model that requests can reach under `names`, what it costs now, and the price that comes after this one.

    `missing`: the currencies of limits of money that hold here, in which it has no price. A caller under such a limit
    is refused. `names` are at most 50; a version called by its own name is not among them.
    """

    engine: str
    model: str
    names: list[str]
    price: Price | None
    upcoming: Price | None
    missing: list[str]


class Coverage:
    """Prices as the gateways of this installation know them."""

    def __init__(self, snapshots: Snapshots, in_use: InUse) -> None:
        """`snapshots` has the parts "limits" and "prices"."""
        self._snapshots, self._in_use = snapshots, in_use

    def models(self, by: Principal) -> list[ModelPrice]:
        """Every model that the workspace's requests can reach."""
        limits: LimitBook = self._snapshots.get(LIMITS)
        wanted = currencies(limits, by.workspace_id, by.organisation_id)
        subjects = (by.workspace_id, by.organisation_id)
        return covered(self._in_use(by.workspace_id), self._book(), wanted, subjects, now())

    def current(self, by: Principal) -> list[UUID]:
        """The prices that hold now, of the workspace and of its organisation, each for itself."""
        owners, at, book = (by.workspace_id, by.organisation_id), now(), self._book()
        found = (_newest(prices, at) for (owner, _, _), prices in book.items() if owner in owners)
        return [price.id for price in found if price is not None]

    def states(self, by: Principal, prices: Iterable[Price]) -> list[PriceState]:
        """Prices with the state of each."""
        at, book = now(), self._book()
        return [
            PriceState(**msgspec.structs.asdict(each), state=state_of(each, _rivals(book, by, each), at))
            for each in prices
        ]

    def _book(self) -> PriceBook:
        book: PriceBook = self._snapshots.get(PRICES)
        return book


def state_of(price: Price, rivals: Sequence[Price], at: datetime) -> State:
    """The state of a price among those for the same subject and model; whether it is itself among them does not matter."""
    if at < price.valid_from:
        return "upcoming"
    if not price.is_valid(at):
        return "past"
    newest = _newest(rivals, at)
    return "replaced" if newest is not None and _order(newest) > _order(price) else "current"


def currencies(book: LimitBook, workspace_id: UUID, organisation_id: UUID) -> list[str]:
    """The currencies of the limits of money on a workspace, its organisation, and its keys; sorted."""
    found = set()
    for subject, limits in book.items():
        for limit in limits:
            is_here = subject in (workspace_id, organisation_id) or limit.workspace_id == workspace_id
            if limit.currency is not None and is_here:
                found.add(limit.currency)
    return sorted(found)


def covered(
    in_use: Iterable[Use], book: PriceBook, wanted: Collection[str], subjects: Sequence[UUID], at: datetime
) -> list[ModelPrice]:
    """The models in use, by engine and name, with the prices of the first of `subjects` that has one."""
    names: dict[tuple[str, str], set[str]] = {}
    for use in in_use:
        names.setdefault((use.engine, use.model), set()).update({use.name} - {""})
    made = []
    for (engine, model), called in sorted(names.items()):
        price = price_at(book, subjects, engine, model, at)
        missing = [each for each in wanted if price is None or price.currency != each]
        upcoming = _upcoming(book, subjects, engine, model, price, at)
        made.append(ModelPrice(engine, model, sorted(called)[:NAMES_TOLD], price, upcoming, missing))
    return made


def _upcoming(
    book: PriceBook, subjects: Sequence[UUID], engine: str, model: str, price: Price | None, at: datetime
) -> Price | None:
    """The first other price that will hold after an instant; None where this one stays, or nothing comes after it."""
    known = [each for subject in subjects for each in book.get((subject, engine, model), ())]
    for turn in sorted(moment for moment in _turns(known) if moment > at):
        following = price_at(book, subjects, engine, model, turn)
        if following is not None and following != price:
            return following
    return None


def _turns(prices: Iterable[Price]) -> Iterator[datetime]:
    """The instants at which another price may begin to hold."""
    for each in prices:
        yield each.valid_from
        if each.valid_until is not None:
            yield each.valid_until


def _rivals(book: PriceBook, by: Principal, price: Price) -> Sequence[Price]:
    owner = by.organisation_id if price.subject == "organisation" else by.workspace_id
    return book.get((owner, price.engine, price.model), ())


def _newest(prices: Iterable[Price], at: datetime) -> Price | None:
    return max((each for each in prices if each.is_valid(at)), key=_order, default=None)


def _order(price: Price) -> tuple[datetime, UUID]:
    return price.valid_from, price.id
