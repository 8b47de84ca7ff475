"""The inference log as people and other stations read it. It is written by the shipper alone."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from charkha.core.errors import CharkhaError, NotFound
from charkha.core.ids import id_range
from charkha.core.records import BODY_VERSION
from charkha.kit.db import Tx
from charkha.kit.paging import Page
from charkha.observe import search, store
from charkha.observe.domain import CALLS, failed, prompt_of
from charkha.observe.values import Inference, InferenceContent, InferenceDetail, Observed, VariantStats, Wanted


class InferenceLog:
    """Look-ups in the log of the transaction's workspace."""

    async def get(self, tx: Tx, inference_id: UUID) -> InferenceDetail:
        """One inference with its bodies. NotFound until it has been shipped, a fraction of a second after its end."""
        found = await store.with_bodies(tx, [inference_id])
        if not found:
            raise NotFound(
                f"There is no inference {inference_id} in this workspace's log.",
                remedy="If it has only just ended, ask again in a second.",
            )
        row = found[0]
        _refuse_newer(row)
        return InferenceDetail(
            **_columns(row, Inference),
            kept=row.body_version is not None,
            prompt=prompt_of(row.request),
            request=_request(row.request),
            answer=_answer(row),
        )

    async def listed(
        self, tx: Tx, wanted: Wanted | None = None, *, after: UUID | None = None, limit: int = 50
    ) -> Page[Inference]:
        """Those inferences that are `wanted`, or all, newest first. A page may be short, and even empty, before the end."""
        return await search.listed(tx, wanted or Wanted(), _inference, after=after, limit=limit)

    async def contents(self, tx: Tx, ids: Collection[UUID]) -> dict[UUID, InferenceContent]:
        """What those of `ids` were about that are in the log; prompt and answer are empty where no content is kept.

        So is an answer that called tools: what it said besides is not the whole of it.
        """
        return {row.id: _content(row) for row in await store.with_bodies(tx, ids)}

    async def observations(
        self,
        tx: Tx,
        endpoint_id: UUID,
        *,
        variant_ids: Collection[UUID],
        since: datetime,
        purpose: str = "live",
        limit: int = 20_000,
    ) -> list[Observed]:
        """The first `limit` inferences of these variants from `since` on, in the order of their ids."""
        rows = await store.observed(tx, endpoint_id, variant_ids, id_range(since, None), purpose, limit)
        return [
            Observed(row.id, row.variant_id, row.status, row.duration_ms, failed(row.status, row.error_code))
            for row in rows
        ]

    async def known(self, tx: Tx, ids: Collection[UUID]) -> set[UUID]:
        """Which of `ids` are in the log already; the others have not been shipped, or were never minted here."""
        return await store.known(tx, ids)

    async def count_kept(self, tx: Tx, endpoint_id: UUID, ids: Collection[UUID]) -> int:
        """How many of `ids` are inferences of an endpoint whose content is kept."""
        return await store.count_kept(tx, endpoint_id, ids)

    async def stats(
        self,
        tx: Tx,
        *,
        endpoint_id: UUID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        newest: int | None = None,
    ) -> list[VariantStats]:
        """What each variant did in [since, until), or in the `newest` requests in it, by endpoint and variant."""
        rows = await store.stats(tx, id_range(since, until), endpoint_id, newest)
        return [VariantStats(**row._mapping) for row in rows]


def _inference(row: sa.Row[Any]) -> Inference:
    return Inference(**_columns(row, Inference))


def _columns(row: sa.Row[Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {name: row._mapping[name] for name in kind.__struct_fields__}


def _content(row: sa.Row[Any]) -> InferenceContent:
    _refuse_newer(row)
    return InferenceContent(
        row.id,
        row.endpoint_id,
        row.variant_id,
        row.version_id,
        prompt_of(row.request),
        "" if row.finish_reason in CALLS else _answer(row) or "",
        row.subject_id,
    )


def _answer(row: sa.Row[Any]) -> str | None:
    return None if row.answer is None else bytes(row.answer).decode(errors="replace")


def _request(body: bytes | None) -> Any:
    """A stored request as JSON; as text where it is none."""
    if body is None:
        return None
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return bytes(body).decode(errors="replace")


def _refuse_newer(row: sa.Row[Any]) -> None:
    if row.body_version not in (None, BODY_VERSION):
        raise CharkhaError(
            f"The content of inference {row.id} is in form {row.body_version}, which this Charkha does not know.",
            remedy="Install the version of Charkha that wrote it, or a newer one.",
        )
