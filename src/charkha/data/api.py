"""Routes of data sets."""

import asyncio
from uuid import UUID

from fastapi import Query, Request

from charkha.core.messages import Example
from charkha.data import uploads
from charkha.data.service import DatasetService
from charkha.data.store import Dataset, DatasetVersion
from charkha.govern.access import Access, Caller
from charkha.kit.http import Router
from charkha.kit.paging import Page

MOST_EXAMPLES = 1000


def router(datasets: DatasetService, access: Access) -> Router:
    """The routes, bound to their service."""
    api = Router(tags=["data sets"])

    @api.post("/datasets", status_code=201)
    async def upload_dataset(
        request: Request,
        name: str | None = Query(None, max_length=200, description="The data set; with JSON lines only."),
        caller: Caller = access.require("dataset.write"),
    ) -> DatasetVersion:
        """Freeze an uploaded file as a version: JSON lines (`application/jsonl`, `?name=`) or {"name", "examples"}.

        Each example is {"input", "label"}, {"messages"}, {"prompt", "completion"} or {"prompt": […], "answer"}.
        """
        body = await uploads.received(request.stream())
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        title, examples = await asyncio.to_thread(uploads.read, body, media_type, name)
        async with caller.transaction() as tx:
            return await datasets.freeze(tx, name=title, examples=examples, report={"uploaded_bytes": len(body)})

    @api.get("/datasets")
    async def list_datasets(
        after: UUID | None = None, limit: int = 50, caller: Caller = access.require("dataset.read")
    ) -> Page[Dataset]:
        """The workspace's data sets, newest first."""
        async with caller.transaction() as tx:
            return await datasets.listed(tx, after=after, limit=limit)

    @api.get("/datasets/{dataset_id}/versions")
    async def list_versions(
        dataset_id: UUID,
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("dataset.read"),
    ) -> Page[DatasetVersion]:
        """The versions of a data set, newest first."""
        async with caller.transaction() as tx:
            return await datasets.versions(tx, dataset_id, after=after, limit=limit)

    @api.get("/dataset-versions/{version_id}")
    async def get_version(version_id: UUID, caller: Caller = access.require("dataset.read")) -> DatasetVersion:
        """One version."""
        async with caller.transaction() as tx:
            return await datasets.version(tx, version_id)

    @api.get("/dataset-versions/{version_id}/examples")
    async def list_examples(
        version_id: UUID,
        offset: int = Query(0, ge=0),
        limit: int = Query(100, ge=1, le=MOST_EXAMPLES),
        caller: Caller = access.require("dataset.read"),
    ) -> list[Example]:
        """Some examples of a version, in its order."""
        async with caller.transaction() as tx:
            examples = await datasets.examples(tx, version_id)
        return examples[offset : offset + limit]

    return api
