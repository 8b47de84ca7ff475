# Written by scripts/unasync.py from the asynchronous module beside it; do not edit.
"""What may be used, what it costs, what was used, what was saved: limits, prices, usage and caches."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from charkha.client import caching, spending, types
from charkha.client._sync.resources import Id, Resource


class Limits(Resource):
    """Limits on keys, the workspace and its organisation."""

    def create(
        self,
        subject: str,
        measure: str,
        amount: int,
        *,
        window: str = "total",
        key_id: Id | None = None,
        currency: str | None = None,
    ) -> spending.Limit:
        """Limit a "key" (by its id), the "workspace" or the "organisation" in requests, tokens, money or concurrency."""
        body = {
            "subject": subject,
            "key_id": key_id,
            "measure": measure,
            "window": window,
            "amount": amount,
            "currency": currency,
        }
        return self._post("/limits", spending.Limit, body)

    def list(
        self,
        *,
        subject_id: Id | None = None,
        subject: str | None = None,
        measure: str | None = None,
        after: Id | None = None,
        limit: int = 50,
    ) -> types.Page[spending.Limit]:
        """Limits, newest first; of one subject, kind of subject ("key", …) or measure only, if given."""
        query = {"subject_id": subject_id, "subject": subject, "measure": measure, "after": after, "limit": limit}
        return self._page("/limits", spending.Limit, query)  # type: ignore[no-any-return]

    def get(self, limit_id: Id) -> spending.Limit:
        """One limit with what is left of it."""
        return self._get(f"/limits/{limit_id}", spending.Limit)

    def set(self, limit_id: Id, amount: int) -> spending.Limit:
        """Give a limit another amount."""
        return self._transport.call("PATCH", f"/limits/{limit_id}", spending.Limit, body={"amount": amount})

    def delete(self, limit_id: Id) -> dict[str, Any]:
        """Remove a limit everywhere; the answer lists the gateways that know it."""
        return self._transport.call("DELETE", f"/limits/{limit_id}", dict[str, Any])


class Prices(Resource):
    """Prices of models."""

    def add(
        self,
        engine: str,
        model: str,
        *,
        currency: str,
        prompt: int,
        completion: int,
        subject: str = "workspace",
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
    ) -> spending.Price:
        """Say what a model costs from now, or `valid_from`, on: millionths of the currency for a million tokens."""
        body = {
            "subject": subject,
            "engine": engine,
            "model": model,
            "currency": currency,
            "prompt": prompt,
            "completion": completion,
            "valid_from": valid_from,
            "valid_until": valid_until,
        }
        return self._post("/prices", spending.Price, body)

    def models(self) -> list[spending.ModelPrice]:
        """The models that requests can reach, what each costs now, and what limits of money lack."""
        return self._transport.call("GET", "/prices/models", list[spending.ModelPrice])

    def list(
        self,
        *,
        engine: str | None = None,
        model: str | None = None,
        state: str | None = None,
        after: Id | None = None,
        limit: int = 50,
    ) -> types.Page[spending.Price]:
        """Prices, newest first, those of the past too; or only the upcoming, current, replaced or past ones."""
        query = {"engine": engine, "model": model, "state": state, "after": after, "limit": limit}
        return self._page("/prices", spending.Price, query)  # type: ignore[no-any-return]


class Usage(Resource):
    """What was used."""

    def list(
        self,
        *,
        by: Sequence[str] = ("day",),
        since: date | None = None,
        until: date | None = None,
        key_id: Id | None = None,
        model: str | None = None,
        engine: str | None = None,
    ) -> list[spending.Usage]:
        """Requests, tokens and money by any of day, month, key, model, engine, workspace; of 30 days or others."""
        query = {"by": tuple(by), "since": since, "until": until, "key_id": key_id, "model": model, "engine": engine}
        return self._transport.call("GET", "/usage", list[spending.Usage], query=query)


class Caches(Resource):
    """What endpoints' caches did."""

    def list(
        self, *, since: date | None = None, until: date | None = None, after: Id | None = None, limit: int = 50
    ) -> types.Page[caching.CacheUse]:
        """Each endpoint with its cache, its hits and what they saved, over the last 30 days or others."""
        query = {"since": since, "until": until, "after": after, "limit": limit}
        return self._page("/caches", caching.CacheUse, query)  # type: ignore[no-any-return]

    def clear(self, endpoint: Id | None = None) -> dict[str, Any]:
        """Forget every answer that an endpoint, or every endpoint of the workspace, would give again."""
        return self._post("/caches/clear", dict[str, Any], {"endpoint": endpoint and str(endpoint)})
