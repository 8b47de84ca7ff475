"""Identifiers: UUID version 7 (RFC 9562), ordered by time, and inference ids that prove which workspace they are of.

An inference id is made by the gateway and given to the client long before any row exists. Its last 24 bits are a
MAC under the workspace's key, so that feedback that names another workspace's inference, or an invented one, is
refused at once and without a database read. It stays a valid UUIDv7: 48 bits of milliseconds, 50 random bits.
"""

import functools
import hmac
import os
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from charkha.core.errors import Invalid
from charkha.core.mac import Mac

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAC_BITS = 24
_MAC_MASK = (1 << _MAC_BITS) - 1
_LAST = UUID(int=2**128 - 1)


def uuid7(milliseconds: int | None = None) -> UUID:
    """A new UUIDv7 for `milliseconds` since the epoch (default: now)."""
    return UUID(int=_number7(milliseconds))


def _number7(milliseconds: int | None) -> int:
    ms = time.time_ns() // 1_000_000 if milliseconds is None else milliseconds
    value = (ms & ((1 << 48) - 1)) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    return value & ~(0b11 << 62) | 0b10 << 62


@functools.lru_cache(4_096)
def _keyed(key: bytes) -> Mac:
    return Mac(key)


def _mac(prefix: int, key: bytes) -> int:
    return int.from_bytes(_keyed(key)(prefix.to_bytes(13))[:3])


def mint(key: bytes, milliseconds: int | None = None) -> UUID:
    """A new inference id for the workspace whose id key is `key`."""
    prefix = _number7(milliseconds) >> _MAC_BITS
    return UUID(int=prefix << _MAC_BITS | _mac(prefix, key))


def minted_by(value: UUID, key: bytes) -> bool:
    """Whether `value` was minted under `key`. One foreign id in 16.7 million passes; row-level security still holds."""
    return value.version == 7 and hmac.compare_digest(
        (value.int & _MAC_MASK).to_bytes(3), _mac(value.int >> _MAC_BITS, key).to_bytes(3)
    )


def instant(value: UUID) -> datetime:
    """The instant at which a UUIDv7 was made, to the millisecond."""
    return datetime.fromtimestamp((value.int >> 80) / 1000, UTC)


def lower_bound(at: datetime) -> UUID:
    """The smallest UUIDv7-ordered value not before `at`: the edge of a range of ids by time."""
    milliseconds = (at - _EPOCH) // timedelta(milliseconds=1)  # whole numbers: a float can fall a millisecond short
    return UUID(int=(milliseconds & ((1 << 48) - 1)) << 80)


def id_range(since: datetime | None, until: datetime | None) -> tuple[UUID, UUID]:
    """The ids [first, last) that were made in [since, until). Raises Invalid where that is no range of time."""
    if since and until and since > until:
        raise Invalid("'since' is later than 'until'.", param="since", remedy="Swap them.")
    return _edge(since) if since else UUID(int=0), _edge(until) if until else _LAST


def _edge(at: datetime) -> UUID:
    return lower_bound(max(at, _EPOCH))  # ids count from 1970
