"""Ids: ordered by time, valid UUIDv7, and proof of the workspace that they were minted for."""

from datetime import UTC, datetime
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from charkha.core.ids import instant, lower_bound, mint, minted_by, uuid7

KEYS = st.binary(min_size=32, max_size=32)
MILLISECONDS = st.integers(min_value=0, max_value=4_000_000_000_000)


@given(MILLISECONDS)
def test_an_id_is_a_uuid_of_version_7_that_tells_its_instant(ms: int) -> None:
    value = uuid7(ms)
    assert (value.version, value.variant) == (7, RFC_4122)
    assert instant(value) == datetime.fromtimestamp(ms / 1000, UTC)


@given(MILLISECONDS, KEYS)
def test_a_minted_id_is_a_uuid_of_version_7_and_known_by_its_key(ms: int, key: bytes) -> None:
    value = mint(key, ms)
    assert (value.version, value.variant) == (7, RFC_4122)
    assert minted_by(value, key)


@given(KEYS, KEYS)
def test_a_foreign_key_does_not_know_it(mine: bytes, other: bytes) -> None:
    values = [mint(mine) for _ in range(4)]
    if mine != other:
        assert not all(minted_by(value, other) for value in values)


@given(KEYS, st.integers(min_value=0, max_value=127))
def test_a_flipped_bit_is_seen(key: bytes, bit: int) -> None:
    value = mint(key)
    flipped = UUID(int=value.int ^ (1 << bit))
    again = UUID(int=mint(key).int ^ (1 << bit))
    assert not (minted_by(flipped, key) and minted_by(again, key))


@given(st.lists(MILLISECONDS, min_size=2, unique=True))
def test_ids_are_ordered_by_time(times: list[int]) -> None:
    assert sorted(times) == [value.int >> 80 for value in sorted(uuid7(ms) for ms in times)]


@given(MILLISECONDS)
def test_a_lower_bound_is_not_above_any_id_of_its_instant(ms: int) -> None:
    bound = lower_bound(datetime.fromtimestamp(ms / 1000, UTC))
    assert bound <= uuid7(ms)
    assert ms == 0 or uuid7(ms - 1) < bound
