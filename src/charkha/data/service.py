"""Data sets: frozen once, known by their content, each example traced to the inference and the person it came from."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from charkha.core.errors import Invalid
from charkha.core.messages import Example
from charkha.data import domain, store
from charkha.data.shelf import Shelf
from charkha.data.store import Dataset, DatasetVersion
from charkha.govern import audit
from charkha.kit.blobs import Blobs
from charkha.kit.crashpoints import crashpoint
from charkha.kit.db import Tx
from charkha.kit.lineage import Node, link
from charkha.kit.locks import exclusively
from charkha.kit.paging import Page

LONGEST_NAME = 200


class DatasetService:
    """Data sets of the transaction's workspace."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs, self._shelf = blobs, Shelf(blobs)

    async def freeze(
        self,
        tx: Tx,
        *,
        name: str,
        examples: Sequence[Example],
        report: dict[str, Any] | None = None,
        sources: Iterable[Node] = (),
        held_out: Collection[bytes] = (),
    ) -> DatasetVersion:
        """Freeze examples as a version of the data set `name`; the same content again is the same version.

        A text that comes again is left out, one that comes with several labels altogether, and so is every text whose
        hash is among `held_out`; the version's report counts them, beside what `report` says. `sources` is what the
        version was made of besides the inferences that its examples name. Raises Invalid for a bad name or a wrong id.
        """
        _check_name(name)
        unique = await asyncio.to_thread(domain.deduplicate, examples)
        kept = [each for each in unique.examples if not held_out or store.text_hash(each) not in held_out]
        counted = {
            "given": len(examples),
            "repeated": unique.repeated,
            "contradictory": unique.contradictory,
            "held_out": len(unique.examples) - len(kept),
        }
        content = await asyncio.to_thread(domain.canonical, kept)
        await exclusively(tx, f"dataset:{name}")
        dataset_id = await store.dataset_id(tx, name)
        found = await store.by_digest(tx, dataset_id, domain.digest(content))
        return found or await self._add(tx, dataset_id, content, {**(report or {}), **counted}, sources)

    async def _add(
        self, tx: Tx, dataset_id: UUID, content: bytes, report: dict[str, Any], sources: Iterable[Node]
    ) -> DatasetVersion:
        examples = domain.parse(content)
        found = await asyncio.to_thread(domain.statistics, examples)
        labels = [label for label, _ in found.classes]
        blob = await self._blobs.put(tx.workspace_id, content)
        crashpoint("dataset.after_blob")
        version_id = await store.add_version(
            tx,
            dataset_id,
            digest=domain.digest(content),
            blob=blob,
            examples=len(examples),
            labels=labels or None,
            report={**report, "statistics": domain.told(found)},
        )
        await store.add_examples(tx, version_id, examples)
        inferences = [Node("inference", each.inference_id) for each in examples if each.inference_id]
        await link(tx, [*inferences, *sources], Node("dataset_version", str(version_id)))
        await audit.record(tx, "dataset.frozen", "dataset_version", version_id, examples=len(examples))
        return await store.get_version(tx, version_id)

    async def version(self, tx: Tx, version_id: UUID) -> DatasetVersion:
        """A version. Raises NotFound."""
        return await store.get_version(tx, version_id)

    async def examples(self, tx: Tx, version_id: UUID) -> list[Example]:
        """The examples of a version, in their order. Raises NotFound, or Corrupt where the stored bytes have changed."""
        return list(await asyncio.to_thread(domain.parse, await self.content(tx, version_id)))

    async def content(self, tx: Tx, version_id: UUID) -> bytes:
        """The canonical bytes of a version, whose SHA-256 is its digest. Raises NotFound, or Corrupt as `examples`."""
        return await self._blobs.get(tx.workspace_id, await store.blob_of(tx, version_id))

    async def excerpt(self, tx: Tx, version_id: UUID, *, offset: int, limit: int, text: str = "") -> list[Example]:
        """Some examples of a version, in its order: of those that say `text`, if given. Raises as `examples`."""
        lines = await self._shelf.lines(tx.workspace_id, await store.blob_of(tx, version_id))
        return list(await asyncio.to_thread(domain.excerpt, lines, offset=offset, limit=limit, text=text))

    async def text_hashes(self, tx: Tx, version_id: UUID) -> set[bytes]:
        """The hashes of the texts in a version: what decontamination asks. Raises NotFound."""
        await store.get_version(tx, version_id)
        return await store.text_hashes(tx, version_id)

    async def listed(
        self, tx: Tx, *, text: str | None = None, after: UUID | None = None, limit: int = 50
    ) -> Page[Dataset]:
        """The workspace's data sets, newest first: those with `text` in their name, if given."""
        return await store.listed(tx, text=text, after=after, limit=limit)

    async def get(self, tx: Tx, dataset_id: UUID) -> Dataset:
        """A data set. Raises NotFound."""
        return await store.get_dataset(tx, dataset_id)

    async def versions(
        self, tx: Tx, dataset_id: UUID, *, after: UUID | None = None, limit: int = 50
    ) -> Page[DatasetVersion]:
        """The versions of a data set, newest first. Raises NotFound."""
        return await store.versions_of(tx, dataset_id, after=after, limit=limit)


def _check_name(name: str) -> None:
    if not len(name.strip()) >= 1 or len(name) > LONGEST_NAME or not name.isprintable():
        raise Invalid(
            f"'{name[:60]}' is no name for a data set.",
            param="name",
            remedy=f"Use 1 to {LONGEST_NAME} printable characters.",
        )
