"""Puts models and trained adapters into the registry, and moves the aliases that point at them."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from charkha.core.clock import now
from charkha.core.errors import Conflict, Invalid, NotFound
from charkha.core.events import CandidateTrained, VersionRegistered
from charkha.core.ids import uuid7
from charkha.govern import audit
from charkha.kit.blobs import Blobs
from charkha.kit.crashpoints import crashpoint
from charkha.kit.db import Tx
from charkha.kit.eventlog import EventLog
from charkha.kit.lineage import Node, link
from charkha.kit.locks import exclusively
from charkha.kit.paging import Page
from charkha.kit.snapshot import bump
from charkha.release.ports import RunResult, Runs
from charkha.release.registry import store
from charkha.release.registry.domain import (
    LIVE,
    Alias,
    Ancestor,
    Kind,
    Lineage,
    Numbered,
    StoredFile,
    Version,
    check_alias,
    check_name,
    parse,
)


class RegistryService:
    """Versions and aliases of the transaction's workspace."""

    def __init__(self, runs: Runs, blobs: Blobs, events: EventLog) -> None:
        self._runs, self._blobs, self._events = runs, blobs, events

    async def register_base(
        self, tx: Tx, *, name: str, engine: str, base_model: str, base_hash: str | None = None
    ) -> Version:
        """Register a model that serves without an adapter as `name@0`; again, it returns the same version.

        `base_hash` is the sha256 of the model's GGUF, None for a model elsewhere. Raises Conflict if the name already
        stands for another model.
        """
        await _alone(tx, name)
        found = await store.find(tx, Numbered(name, 0))
        if found is None:
            return await self._add(
                tx, _draft("base", name, 0, engine=engine, base_model=base_model, base_hash=base_hash)
            )
        if (found.engine, found.base_model, found.base_hash) != (engine, base_model, base_hash):
            raise Conflict(
                f"{name}@0 is another model: '{found.base_model}' on {found.engine}.",
                remedy="Register this model under a name of its own.",
                param="name",
            )
        return found

    async def register(self, tx: Tx, event: CandidateTrained) -> None:
        """Give a trained candidate its place: the next number of its endpoint's name. One version for each run.

        Raises Corrupt, NotFound or Invalid when the stored files are not what the run made; nothing is registered.
        """
        result = await self._runs.result(tx, event.run_id)
        await self._verify(tx, result)
        await _alone(tx, result.endpoint_name)
        if await store.of_run(tx, event.run_id) is not None:
            return
        draft = _of_run(result, await store.next_number(tx, result.endpoint_name))
        await self._add(tx, draft, made_of=[Node("run", str(result.run_id))])
        # Learning links its runs as well; an edge is written once, and no walk up from a version may end at its run.
        await link(tx, [Node("dataset_version", str(result.dataset_version_id))], Node("run", str(result.run_id)))

    async def upload(self, tx: Tx, *, name: str, base: Version, blob: str, digest: str) -> Version:
        """Register an adapter that a person brought, on the model of the version `base`.

        `blob` is the stored GGUF and `digest` its sha256; an engine has accepted it already.
        """
        await _alone(tx, name)
        same = {"engine": base.engine, "base_model": base.base_model, "base_hash": base.base_hash}
        files = {"gguf": {"blob": blob, "sha256": digest}}
        number = await store.next_number(tx, name)
        draft = _draft("adapter", name, number, adapters=((digest, 1.0),), artefacts=files, **same)
        return await self._add(tx, draft, made_of=[Node("version", str(base.id))])

    async def get(self, tx: Tx, reference: str | UUID) -> Version:
        """The version of an id, `name@number` or `name@alias`. Raises NotFound, or Invalid for none of these."""
        found = await store.find(tx, parse(reference) if isinstance(reference, str) else reference)
        if found is None:
            raise NotFound(
                f"There is no version '{reference}' in this workspace.", remedy="See GET /versions.", param="version"
            )
        return found

    async def listed(
        self,
        tx: Tx,
        *,
        name: str | None = None,
        ids: Sequence[UUID] | None = None,
        run_ids: Sequence[UUID] | None = None,
        prefix: str | None = None,
        kind: Kind | None = None,
        endpoint_id: UUID | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Page[Version]:
        """The workspace's versions, newest first, that match everything given; names begin with `prefix`."""
        return await store.listed(
            tx,
            name=name,
            ids=ids,
            run_ids=run_ids,
            prefix=prefix,
            kind=kind,
            endpoint_id=endpoint_id,
            after=after,
            limit=limit,
        )

    async def lineage(self, tx: Tx, reference: str, *, after: UUID | None = None, limit: int = 50) -> Lineage:
        """What a version was made of, down to the inferences behind its data; `after` and `limit` page those."""
        version = await self.get(tx, reference)
        nodes = await store.ancestors(tx, version.id)
        made = [Node("version", str(version.id)), *nodes]
        found = await store.inferences(tx, made, after=after, limit=limit)
        counts = await store.leaves(tx, made)
        return Lineage(version.id, [Ancestor(node.kind, node.id) for node in nodes], counts, found)

    async def aliases(self, tx: Tx, name: str | None = None, version_ids: Sequence[UUID] = ()) -> list[Alias]:
        """The aliases of a name, those that point at some versions, or all of the workspace."""
        return await store.aliases_of(tx, name, version_ids)

    async def files(self, tx: Tx, reference: str) -> list[StoredFile]:
        """The stored files of a version, by name. Raises NotFound for a version that there is none of."""
        version = await self.get(tx, reference)
        return [
            StoredFile(name, each["blob"], each.get("sha256"), await self._blobs.size(tx.workspace_id, each["blob"]))
            for name, each in sorted(version.artefacts.items())
        ]

    async def set_alias(self, tx: Tx, name: str, alias: str, reference: str) -> tuple[Alias, int]:
        """Point `name@alias` at a version of that name; returns it and the snapshot version that shows it."""
        version = await self.get(tx, reference)
        _check_free(check_alias(alias))
        if version.name != name:
            raise Invalid(
                f"{version.reference} is no version of '{name}'.",
                remedy="Alias a version of the same name.",
                param="name",
            )
        await self.point(tx, name, alias, version.id)
        await audit.record(tx, "alias.set", "version", version.id, name=name, alias=alias)
        return Alias(name, alias, version.id, version.reference), await bump(tx)

    async def drop_alias(self, tx: Tx, name: str, alias: str) -> int:
        """Remove an alias; returns the snapshot version that no longer shows it. Raises NotFound."""
        _check_free(alias)
        if not await store.drop(tx, name, alias):
            raise NotFound(f"There is no alias '{name[:200]}@{alias[:64]}'.", remedy="See GET /aliases.", param="alias")
        await audit.record(tx, "alias.dropped", "alias", f"{name}@{alias}")
        return await bump(tx)

    async def point(self, tx: Tx, name: str, alias: str, version_id: UUID | None) -> None:
        """Move an alias as part of a greater action, which bumps the snapshot and is audited itself; None removes it."""
        if version_id is None:
            await store.drop(tx, name, alias)
        else:
            await store.point(tx, name, alias, version_id)

    async def _add(self, tx: Tx, version: Version, made_of: list[Node] | None = None) -> Version:
        await store.add(tx, version)
        await link(tx, made_of or [], Node("version", str(version.id)))
        await audit.record(tx, "version.registered", "version", version.id, version=version.reference)
        await self._events.emit(tx, VersionRegistered(version_id=version.id, endpoint_id=version.endpoint_id))
        await bump(tx)
        crashpoint("version.before_commit")
        return version

    async def _verify(self, tx: Tx, result: RunResult) -> None:
        """Read each stored file back: the store finds a changed byte, and the engine will know the GGUF by its sha256."""
        gguf = await self._blobs.get(tx.workspace_id, result.gguf_blob)
        digest = (await asyncio.to_thread(hashlib.sha256, gguf)).hexdigest()
        if digest != result.gguf_sha256:
            raise Invalid(
                f"The adapter of run {result.run_id} is not the file that the run made.",
                remedy="Train again, or restore the file from a backup.",
            )
        for address in (result.safetensors_blob, result.config_blob):
            await self._blobs.get(tx.workspace_id, address)


def _draft(kind: Kind, name: str, number: int, **values: Any) -> Version:
    """A version whose remaining fields are empty; the time is replaced by the database's when it is read again."""
    empty: dict[str, Any] = dict.fromkeys(("endpoint_id", "run_id", "dataset_version_id", "system_prompt"))
    empty |= {"adapters": (), "artefacts": {}, "detail": {}}
    fixed = {"id": uuid7(), "kind": kind, "name": name, "number": number, "created_at": now()}
    return Version(**(empty | values | fixed))


def _of_run(result: RunResult, number: int) -> Version:
    same = ("endpoint_id", "run_id", "dataset_version_id", "engine", "base_model", "base_hash", "system_prompt")
    return _draft(
        "adapter",
        result.endpoint_name,
        number,
        adapters=((result.gguf_sha256, 1.0),),
        artefacts={
            "gguf": {"blob": result.gguf_blob, "sha256": result.gguf_sha256},
            "safetensors": {"blob": result.safetensors_blob},
            "config": {"blob": result.config_blob},
        },
        detail={"record": result.record, "metrics": result.metrics},
        **{name: getattr(result, name) for name in same},
    )


async def _alone(tx: Tx, name: str) -> None:
    """Number versions of a name one transaction at a time."""
    await exclusively(tx, f"versions:{check_name(name)}")


def _check_free(alias: str) -> None:
    if alias == LIVE:
        raise Conflict(
            f"The alias '{LIVE}' is moved by releases alone.",
            remedy="Start a release with POST /releases, or go back with POST /endpoints/{name}/rollback.",
            param="alias",
        )
