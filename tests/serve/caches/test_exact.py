"""The answers of a workspace: bytes never over the cap, the least recently used goes first, none outlives its time."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.serve.caches.exact import ENTRY_BYTES, ExactCache, Kept
from charkha.serve.caches.process import CacheLimits, Caches

HERE, ENDPOINT = UUID(int=1), UUID(int=2)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def kept(size: int = 10, *, stored: float = 100.0, seconds: float = 60, epoch: int = 0) -> Kept:
    return Kept(b"x" * size, ENDPOINT, epoch, stored, seconds)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3_000), st.booleans()), max_size=60))
def test_the_bytes_are_those_of_what_is_there_and_never_over_the_cap(steps: list[tuple[int, int, bool]]) -> None:
    dropped: list[bytes] = []
    cache = ExactCache(HERE, 8_000, clock=lambda: 100.0, dropped=dropped.append)
    put = 0
    for number, size, looks in steps:
        key = bytes([number])
        if looks:
            cache.get(key, 60)
        else:
            put += cache.put(key, kept(size))
        held = [found for each in range(10) if (found := cache._entries.get(bytes([each])))]
        assert cache.bytes == sum(each.size for each in held) <= 8_000
        assert len(cache) == len(held) == put - len(dropped)


def test_the_least_recently_used_gives_way() -> None:
    cache = ExactCache(HERE, 3 * (ENTRY_BYTES + 10), clock=lambda: 100.0)
    for name in (b"a", b"b", b"c"):
        assert cache.put(name, kept())
    assert cache.get(b"a", 60)
    assert cache.put(b"d", kept())
    assert [name for name in (b"a", b"b", b"c", b"d") if cache.get(name, 60)] == [b"a", b"c", b"d"]
    assert not cache.put(b"e", kept(3_000)), "larger than all of it"
    assert len(cache) == 3


def test_an_answer_is_given_until_its_time_is_over() -> None:
    clock = Clock()
    cache = ExactCache(HERE, 10_000, clock=clock)
    cache.put(b"a", kept())
    clock.now = 160
    assert cache.get(b"a", 60)
    assert cache.get(b"a", 59) is None, "too old for who asks, and still there for others"
    assert cache.get(b"a", 60)
    clock.now = 160.1
    assert cache.get(b"a", 1_000) is None
    assert (len(cache), cache.bytes) == (0, 0)


def test_what_is_outdated_is_swept_out() -> None:
    clock, epochs = Clock(), {ENDPOINT: 1}
    caches = Caches(CacheLimits(), lambda: epochs, clock=clock)
    cache = caches.of(HERE)
    for name, each in {b"a": kept(epoch=0), b"b": kept(epoch=1), b"c": kept(epoch=1, seconds=10)}.items():
        caches.keep(cache, name, each)
    clock.now = 120
    caches.sweep()
    assert [name for name in (b"a", b"b", b"c") if cache.exact.get(name, 60)] == [b"b"]
    epochs.clear()
    caches.sweep()
    assert caches.bytes == 0
    assert caches.of(HERE) is not cache, "one that holds nothing is given up"


def test_the_process_has_a_cap_too_and_the_largest_cache_gives_way() -> None:
    size = ENTRY_BYTES + 488
    caches = Caches(CacheLimits(max_bytes=10 * size, workspace_bytes=8 * size), dict, clock=lambda: 100.0)
    large, small = caches.of(HERE), caches.of(UUID(int=9))
    for number in range(8):
        caches.keep(large, bytes([number]), kept(488))
    for number in range(4):
        caches.keep(small, bytes([number]), kept(488))
        assert caches.bytes <= 10 * size
    assert (len(large.exact), len(small.exact)) == (6, 4)
    assert large.exact.get(bytes([0]), 60) is None
    assert small.exact.get(bytes([0]), 60)


def test_without_bytes_nothing_is_kept() -> None:
    caches = Caches(CacheLimits(max_bytes=0), dict)
    assert not caches.keep(caches.of(HERE), b"a", kept(0))
    assert caches.bytes == 0


def test_an_empty_cache_has_no_oldest() -> None:
    with pytest.raises(KeyError):
        ExactCache(HERE, 10).drop_oldest()
