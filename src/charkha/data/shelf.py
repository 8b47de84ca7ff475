"""Versions that somebody looks through, kept in memory for a while: pages of 100,000 examples are not read anew each time.

Boundary: only what the blob store has checked comes in here, and only who knows a blob's address in a workspace gets it.
"""

import asyncio
from collections import OrderedDict
from uuid import UUID

from charkha.kit.blobs import Blobs

MOST_BYTES = 64 << 20
"""Of all that is kept in one process: as much as the largest upload, which is one version to look through at a time."""
_LINE_BYTES = 64
"""What a line takes beside its text."""


class Shelf:
    """Blobs as lines, those read last in at most `MOST_BYTES`. One at a time is fetched: ten readers make one read."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._kept: OrderedDict[tuple[UUID, str], tuple[list[bytes], int]] = OrderedDict()
        self._fetching = asyncio.Lock()

    async def lines(self, workspace_id: UUID, address: str) -> list[bytes]:
        """The lines of a blob, which the caller leaves as they are. Raises NotFound, or Corrupt where it has changed."""
        key = (workspace_id, address)
        if key not in self._kept:
            async with self._fetching:
                if key not in self._kept:
                    lines = (await self._blobs.get(workspace_id, address)).splitlines()
                    self._keep(key, lines)
                    return lines
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def _keep(self, key: tuple[UUID, str], lines: list[bytes]) -> None:
        """Keep lines, unless they alone are too much, and let go of those that were not asked for for longest."""
        size = sum(map(len, lines)) + _LINE_BYTES * len(lines)
        if size > MOST_BYTES:
            return
        self._kept[key] = (lines, size)
        while sum(size for _, size in self._kept.values()) > MOST_BYTES:
            self._kept.popitem(last=False)
