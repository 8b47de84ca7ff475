"""Adapters that people bring, and where each adapter is loaded.

A GGUF is parsed by nobody here: an engine process checks it before use, and what it refuses is not registered.
"""

import asyncio
import hashlib
from itertools import repeat
from uuid import UUID

import msgspec

from charkha.core.errors import Invalid, TooLarge
from charkha.kit.blobs import Blobs
from charkha.kit.db import Tx
from charkha.kit.paging import Page
from charkha.release.ports import Adapter, Engines
from charkha.release.registry.domain import AdapterState, Version, check_name, states
from charkha.release.registry.service import RegistryService

MAX_BYTES = 256 << 20
_MAGIC = b"GGUF"


class Brought(msgspec.Struct, frozen=True):
    """A stored adapter file that an engine has accepted on a base."""

    engine: str
    base_hash: str | None
    adapters: tuple[Adapter, ...]
    artefacts: dict[str, dict[str, str]]


class AdapterService:
    """Takes adapters in, and says where adapters are."""

    def __init__(self, registry: RegistryService, engines: Engines, blobs: Blobs) -> None:
        self._registry, self._engines, self._blobs = registry, engines, blobs

    async def accept(self, workspace_id: UUID, base: Version, name: str, content: bytes) -> Brought:
        """Store a GGUF adapter and have the base's engine check and load it; call it outside a transaction.

        Raises Invalid for a file that is none, Invalid or Conflict as the engine refuses it, Unavailable.
        """
        check_name(name)
        check_gguf(content)
        if base.kind != "base" or base.base_hash is None:
            raise Invalid(
                f"{base.reference} is no base that adapters can be put on.", remedy="Name a local base.", param="base"
            )
        digest = (await asyncio.to_thread(hashlib.sha256, content)).hexdigest()
        blob = await self._blobs.put(workspace_id, content)
        files = {"gguf": {"blob": blob, "sha256": digest}}
        brought = Brought(base.engine, base.base_hash, ((digest, 1.0),), files)
        await self._engines.ensure(workspace_id, brought)
        return brought

    async def register(self, tx: Tx, base: Version, name: str, brought: Brought) -> Version:
        """Register what was accepted as the next version of `name`."""
        file = brought.artefacts["gguf"]
        return await self._registry.upload(tx, name=name, base=base, blob=file["blob"], digest=file["sha256"])

    async def warm(self) -> dict[str, set[str]]:
        """The adapters that each engine holds; call it outside a transaction."""
        return {engine: set(held) for engine, held in (await self._engines.adapters()).items()}

    async def listed(
        self,
        tx: Tx,
        warm: dict[str, set[str]],
        *,
        name: str | None = None,
        prefix: str | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Page[AdapterState]:
        """The workspace's adapters, newest first, each with its size and its state on every engine."""
        found = await self._registry.listed(tx, name=name, prefix=prefix, kind="adapter", after=after, limit=limit)
        sizes = await asyncio.gather(*(self._size(tx.workspace_id, version) for version in found.data))
        return Page([states(*each) for each in zip(found.data, repeat(warm), sizes)], found.next)

    async def _size(self, workspace_id: UUID, version: Version) -> int | None:
        """Bytes of a version's GGUF; None where it is gone, or there never was one."""
        stored = version.artefacts.get("gguf")
        return await self._blobs.size(workspace_id, stored["blob"]) if stored else None


def check_gguf(content: bytes) -> None:
    """Refuse what is plainly no GGUF file before anybody stores or parses it."""
    if len(content) > MAX_BYTES:
        raise TooLarge(f"The adapter is larger than {MAX_BYTES >> 20} MiB.", remedy="Lower its rank.")
    if not content.startswith(_MAGIC):
        raise Invalid(
            "The file is no GGUF adapter.", remedy="Convert it with llama.cpp's convert_lora_to_gguf, then send it."
        )
