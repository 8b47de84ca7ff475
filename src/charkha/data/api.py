"""Routes of data sets."""

import asyncio
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import Response

from charkha.core.messages import Example
from charkha.data import uploads
from charkha.data.service import DatasetService
from charkha.data.store import Dataset, DatasetVersion
from charkha.govern.access import Access, Caller
from charkha.kit.http import Router
from charkha.kit.paging import Page

MOST_EXAMPLES = 1000
_NO_NUL = r"^[^\x00]*$"  # PostgreSQL's text cannot hold it
_EXAMPLES = {"type": "array", "minItems": 1, "items": {"type": "object"}}
_NAME = {"type": "string", "minLength": 1, "maxLength": 200}
_DOCUMENT = {"type": "object", "required": ["name", "examples"], "properties": {"name": _NAME, "examples": _EXAMPLES}}
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _DOCUMENT}, "application/jsonl": {"schema": {"type": "string"}}},
    }
}


def router(datasets: DatasetService, access: Access) -> Router:
    """The routes, bound to their service."""
    api = Router(tags=["data sets"])

    _datasets(api, datasets, access)
    _versions(api, datasets, access)
    return api


def _datasets(api: Router, datasets: DatasetService, access: Access) -> None:
    @api.post("/datasets", status_code=201, openapi_extra=_UPLOAD)
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
        q: str | None = Query(None, max_length=200, pattern=_NO_NUL, description="A part of the name."),
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("dataset.read"),
    ) -> Page[Dataset]:
        """The workspace's data sets, newest first. A page may be short, or empty, while `next` says where to go on."""
        async with caller.transaction() as tx:
            return await datasets.listed(tx, text=q, after=after, limit=limit)

    @api.get("/datasets/{dataset_id}")
    async def get_dataset(dataset_id: UUID, caller: Caller = access.require("dataset.read")) -> Dataset:
        """One data set, with what its newest version has."""
        async with caller.transaction() as tx:
            return await datasets.get(tx, dataset_id)


def _versions(api: Router, datasets: DatasetService, access: Access) -> None:
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
        q: str = Query("", max_length=200, description="A text in a message, the answer or the label."),
        caller: Caller = access.require("dataset.read"),
    ) -> list[Example]:
        """Some examples of a version, in its order: with `q`, `offset` and `limit` count those that match."""
        async with caller.transaction() as tx:
            return await datasets.excerpt(tx, version_id, offset=offset, limit=limit, text=q)

    @api.get("/dataset-versions/{version_id}/content", response_class=Response)
    async def get_content(version_id: UUID, caller: Caller = access.require("dataset.read")) -> Response:
        """Every example as JSON lines: the version's canonical bytes, whose SHA-256 is its `digest`."""
        async with caller.transaction() as tx:
            version = await datasets.version(tx, version_id)
            content = await datasets.content(tx, version_id)
        name = f"dataset-{version.digest[:12]}.jsonl"
        headers = {"content-disposition": f'attachment; filename="{name}"', "etag": f'"{version.digest}"'}
        return Response(content, media_type="application/jsonl", headers=headers)
