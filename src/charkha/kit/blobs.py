"""Files by content: an address is an HMAC of the bytes under the workspace's key, so that equal content in two
workspaces cannot be told, and a flipped byte is found before use.

Boundary: the only code that maps an address to a path. Storage is anything `fsspec` speaks to.
"""

import asyncio
import hashlib
import hmac
import os
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import fsspec

from charkha.core.errors import CharkhaError, NotFound, StorageFull
from charkha.kit.crypto import Secrets


class Corrupt(CharkhaError):
    """Stored bytes are not what was stored."""

    code = "corrupt_blob"


class Blobs:
    """Content-addressed storage, apart by workspace."""

    def __init__(self, url: str, secrets: Secrets) -> None:
        self._fs: Any
        self._fs, self._root = fsspec.core.url_to_fs(url, auto_mkdir=True)
        self._secrets = secrets

    def address(self, workspace_id: UUID, content: bytes) -> str:
        """The address of `content` in a workspace: 64 hex digits."""
        return hmac.new(self._secrets.derive("blob", workspace_id), content, hashlib.sha256).hexdigest()

    async def put(self, workspace_id: UUID, content: bytes) -> str:
        """Store bytes durably and return their address; storing them again changes nothing."""
        address = await asyncio.to_thread(self.address, workspace_id, content)
        await asyncio.to_thread(self._write, self._path(workspace_id, address), content)
        return address

    async def get(self, workspace_id: UUID, address: str) -> bytes:
        """The bytes at an address. Raises NotFound, or Corrupt if they are not what was stored."""
        try:
            content: bytes = await asyncio.to_thread(self._fs.cat_file, self._path(workspace_id, address))
        except FileNotFoundError as error:
            raise NotFound(
                f"No stored file {address[:12]}… in this workspace.", remedy="Store it again, or restore a backup."
            ) from error
        if not hmac.compare_digest(await asyncio.to_thread(self.address, workspace_id, content), address):
            raise Corrupt(f"Stored file {address[:12]}… was changed on disk.", remedy="Restore it from a backup.")
        return content

    async def size(self, workspace_id: UUID, address: str) -> int | None:
        """How many bytes lie at an address; None where there is nothing."""
        try:
            return int(await asyncio.to_thread(self._fs.size, self._path(workspace_id, address)))
        except FileNotFoundError:
            return None

    async def fetch(self, workspace_id: UUID, address: str, target: Path) -> Path:
        """Write the bytes at an address to a local file."""
        content = await self.get(workspace_id, address)
        await asyncio.to_thread(_replace, target, content)
        return target

    def _path(self, workspace_id: UUID, address: str) -> str:
        return f"{self._root}/{workspace_id}/{address[:2]}/{address}"

    def _write(self, path: str, content: bytes) -> None:
        if self._fs.exists(path) and self._fs.size(path) == len(content):
            return
        if "file" in self._fs.protocol:
            _replace(Path(path), content)
        else:
            self._fs.pipe_file(path, content)


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageFull(
            f"Could not write {path.name}: {error.strerror}.", remedy="Free space on the disk."
        ) from error
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
