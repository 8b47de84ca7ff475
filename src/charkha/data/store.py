"""Rows of data sets, their versions, and where each example came from. The examples themselves are a blob."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from charkha.core.errors import NotFound
from charkha.core.ids import uuid7
from charkha.core.messages import Example
from charkha.data.domain import fingerprint
from charkha.data.tables import dataset_examples, dataset_versions, datasets
from charkha.kit.db import Tx
from charkha.kit.paging import Page, page, sifted


class Dataset(msgspec.Struct, frozen=True):
    """A named line of versions. `newest_version_id`, `examples` and `updated_at` are of its newest version."""

    id: UUID
    name: str
    versions: int
    created_at: datetime
    newest_version_id: UUID | None = None
    examples: int | None = None
    updated_at: datetime | None = None


class DatasetVersion(msgspec.Struct, frozen=True):
    """An immutable set of examples. `digest` is the SHA-256 of its canonical bytes, `labels` its classes if it has any.

    `report` counts what was given and left out on the way, and `statistics` of what is in it: see `domain.Statistics`.
    """

    id: UUID
    dataset_id: UUID
    name: str
    number: int
    digest: str
    examples: int
    labels: list[str] | None
    report: dict[str, Any]
    created_at: datetime


async def dataset_id(tx: Tx, name: str) -> UUID:
    """The data set of a name, made if there is none."""
    statement = insert(datasets).values(workspace_id=tx.workspace_id, id=uuid7(), name=name)
    await tx.execute(statement.on_conflict_do_nothing())
    found: UUID = await tx.scalar(
        sa.select(datasets.c.id).where(datasets.c.workspace_id == tx.workspace_id, datasets.c.name == name)
    )
    return found


async def by_digest(tx: Tx, of_dataset: UUID, digest: str) -> DatasetVersion | None:
    """The version of a data set that has this content, if there is one."""
    row = await tx.one(
        _versions().where(dataset_versions.c.dataset_id == of_dataset, dataset_versions.c.digest == digest)
    )
    return _version(row) if row else None


async def add_version(tx: Tx, of_dataset: UUID, **values: Any) -> UUID:
    """Insert the next version of a data set; the caller holds the data set's lock."""
    version_id = uuid7()
    last = sa.select(sa.func.coalesce(sa.func.max(dataset_versions.c.number), 0) + 1).where(
        dataset_versions.c.workspace_id == tx.workspace_id, dataset_versions.c.dataset_id == of_dataset
    )
    await tx.insert(dataset_versions, id=version_id, dataset_id=of_dataset, number=last.scalar_subquery(), **values)
    return version_id


async def add_examples(tx: Tx, version_id: UUID, examples: Sequence[Example]) -> None:
    """Remember where each example came from, and its text's hash."""
    rows = [
        {
            "workspace_id": tx.workspace_id,
            "version_id": version_id,
            "position": position,
            "text_hash": text_hash(example),
            "inference_id": UUID(example.inference_id) if example.inference_id else None,
            "subject_id": example.subject_id,
        }
        for position, example in enumerate(examples)
    ]
    if rows:
        await tx.execute(dataset_examples.insert(), rows)


def text_hash(example: Example) -> bytes:
    """32 bytes that are the same for the same text (see `domain.fingerprint`)."""
    return bytes.fromhex(fingerprint(example))


async def text_hashes(tx: Tx, version_id: UUID) -> set[bytes]:
    """The hashes of the texts in a version."""
    query = sa.select(dataset_examples.c.text_hash).where(
        dataset_examples.c.workspace_id == tx.workspace_id, dataset_examples.c.version_id == version_id
    )
    return {bytes(row.text_hash) for row in await tx.all(query)}


async def get_version(tx: Tx, version_id: UUID) -> DatasetVersion:
    """A version. Raises NotFound."""
    row = await tx.one(_versions().where(dataset_versions.c.id == version_id))
    if row is None:
        raise NotFound("There is no such data set version in this workspace.", remedy="See `charkha datasets list`.")
    return _version(row)


async def blob_of(tx: Tx, version_id: UUID) -> str:
    """The address of a version's canonical bytes. Raises NotFound."""
    await get_version(tx, version_id)
    address: str = await tx.scalar(sa.select(dataset_versions.c.blob).where(dataset_versions.c.id == version_id))
    return address


async def get_dataset(tx: Tx, of_dataset: UUID) -> Dataset:
    """A data set. Raises NotFound."""
    row = await tx.one(_datasets(tx).where(datasets.c.id == of_dataset))
    if row is None:
        raise NotFound("There is no such data set in this workspace.", remedy="See `charkha datasets list`.")
    return _dataset(row)


async def listed(tx: Tx, *, text: str | None = None, after: UUID | None, limit: int) -> Page[Dataset]:
    """Data sets, newest first: those with `text` in their name, in any case, if given."""
    named = [datasets.c.name.icontains(text, autoescape=True)] if text else []
    return await sifted(tx, _datasets(tx), datasets, _dataset, conditions=named, after=after, limit=limit)


def _datasets(tx: Tx) -> sa.Select[Any]:
    """Data sets with what their newest version tells; numbers have no gaps, so the last one counts the versions."""

    def newest(column: sa.Column[Any], name: str) -> sa.ColumnElement[Any]:
        own = (
            dataset_versions.c.workspace_id == datasets.c.workspace_id,
            dataset_versions.c.dataset_id == datasets.c.id,
        )
        query = sa.select(column).where(*own).order_by(dataset_versions.c.number.desc()).limit(1)
        return query.scalar_subquery().label(name)

    versions = dataset_versions.c
    return sa.select(
        *(datasets.c.id, datasets.c.name, datasets.c.created_at),
        newest(versions.number, "versions"),
        newest(versions.id, "newest_version_id"),
        newest(versions.examples, "examples"),
        newest(versions.created_at, "updated_at"),
    ).where(datasets.c.workspace_id == tx.workspace_id)


def _dataset(row: sa.Row[Any]) -> Dataset:
    return Dataset(**{**row._mapping, "versions": row.versions or 0})


async def versions_of(tx: Tx, of_dataset: UUID, *, after: UUID | None, limit: int) -> Page[DatasetVersion]:
    """The versions of a data set, newest first. Raises NotFound for an unknown data set."""
    await get_dataset(tx, of_dataset)
    query = _versions().where(dataset_versions.c.dataset_id == of_dataset)
    return await page(tx, query, dataset_versions, _version, after=after, limit=limit)


def _versions() -> sa.Select[Any]:
    own = sa.and_(
        datasets.c.workspace_id == dataset_versions.c.workspace_id, datasets.c.id == dataset_versions.c.dataset_id
    )
    columns = [column for column in dataset_versions.c if column.name not in ("workspace_id", "blob")]
    return sa.select(*columns, datasets.c.name).join(datasets, own)


def _version(row: sa.Row[Any]) -> DatasetVersion:
    return DatasetVersion(**row._mapping)
