"""Spool records: what is read is what was written; anything else is refused."""

from uuid import uuid4

import msgspec
import pytest

from charkha.core import records
from charkha.core.records import Closed, Opened


def _opened() -> Opened:
    return Opened(
        id=uuid4(),
        workspace_id=uuid4(),
        at_ms=1,
        operation="chat",
        model="m",
        purpose="live",
        actor="key:1",
        endpoint_id=uuid4(),
        plan_id=None,
        variant_id=None,
        version_id=None,
        engine="local",
        adapters=[("a" * 64, 0.5)],
        stream=True,
        episode_id=None,
        subject_id="s",
        trace_id=None,
        request=b"{}",
    )


def test_both_kinds_come_back_as_they_were() -> None:
    opened = _opened()
    closed = Closed(opened.id, opened.workspace_id, 2, 200, None, "stop", 3, 4, 1.5, 9.5, "yes")
    assert records.decode(records.encode(opened)) == opened
    assert records.decode(records.encode(closed)) == closed


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        records.decode(b"\xc1")


def test_a_close_record_from_before_caches_is_read() -> None:
    whole = Closed(uuid4(), uuid4(), 1, 200, None, "stop", 7, 3, 1.0, 2.0, "hi", cost=5, currency="EUR")
    fields = msgspec.msgpack.decode(records.encode(whole))
    before = msgspec.msgpack.encode(fields[: fields.index("EUR") + 2])
    assert records.decode(before) == whole
    hit = msgspec.structs.replace(whole, cache="hit", saved=5)
    assert records.decode(records.encode(hit)) == hit
