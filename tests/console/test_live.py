"""What moves on pages: made once for all who watch, sent where it differs, ended with its thing, and never too much work."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from itertools import pairwise
from uuid import UUID

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.console import live as module
from charkha.console.api import Refused
from charkha.console.live import MOST_SHARE, Fragments, Live
from charkha.console.security import COOKIE
from charkha.core.errors import NotFound, Unavailable
from charkha.learn.runs.claim import Claim
from charkha.learn.runs.domain import Heard
from charkha.testing.serving import serving
from tests.console.world import Browser, World, parse

pytestmark = pytest.mark.anyio
BEAT = 0.01


class Shown:
    """What a page shows after the events that it got; `sent` counts fragments."""

    def __init__(self) -> None:
        self.fragments: Fragments = {}
        self.sent, self.ended = 0, False

    def take(self, event: bytes) -> None:
        if event.startswith(b"event: end"):
            self.ended = True
        elif event.startswith(b"event: fragment"):
            data = msgspec.json.decode(event.partition(b"data: ")[2])
            self.fragments[data["id"]] = data["html"]
            self.sent += 1


async def _watch(events: AsyncIterator[bytes], shown: Shown, until: Callable[[], bool]) -> None:
    """Take events until something is so; the watcher leaves then."""
    async with asyncio.timeout(5), aclosing(events) as stream:  # type: ignore[type-var]
        async for event in stream:
            shown.take(event)
            if until():
                return


def _making(*states: Fragments | Exception) -> tuple[Callable[[], Awaitable[Fragments]], list[float]]:
    """A maker of these states in turn, of the last one for ever, and when it was asked."""
    asked: list[float] = []

    async def make() -> Fragments:
        asked.append(time.monotonic())
        state = states[min(len(asked), len(states)) - 1]
        if isinstance(state, Exception):
            raise state
        return state

    return make, asked


async def test_however_many_watch_it_is_made_once_a_beat() -> None:
    live, (make, asked) = Live(beat=0.05), _making({"page": "a"})
    pages = [Shown() for _ in range(50)]
    began = time.monotonic()
    await asyncio.gather(*(_watch(live.stream("k", make), page, lambda page=page: page.sent == 1) for page in pages))  # type: ignore[misc]
    assert all(page.fragments == {"page": "a"} for page in pages)
    assert len(asked) <= 1 + (time.monotonic() - began) / 0.05


async def test_pages_with_other_rights_have_makers_of_their_own() -> None:
    live, (mine, _), (other, _) = Live(beat=BEAT), _making({"page": "mine"}), _making({"page": "other"})
    first, second = Shown(), Shown()
    await asyncio.gather(
        _watch(live.stream("a", mine), first, lambda: first.sent == 1),
        _watch(live.stream("b", other), second, lambda: second.sent == 1),
    )
    assert (first.fragments, second.fragments) == ({"page": "mine"}, {"page": "other"})


async def test_only_what_differs_is_sent() -> None:
    make, _ = _making({"a": "1", "b": "1"}, {"a": "1", "b": "2"}, {"a": "1", "b": "2"}, {"a": "3", "b": "2"})
    shown = Shown()
    await _watch(Live(beat=BEAT).stream("k", make), shown, lambda: shown.fragments.get("a") == "3")
    assert shown.fragments == {"a": "3", "b": "2"}
    assert shown.sent == 4


@settings(max_examples=30, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.text(min_size=1, max_size=3)), min_size=1, max_size=8))
def test_a_page_ends_up_with_the_last_of_everything(states: list[Fragments]) -> None:
    async def watch() -> Shown:
        make, asked = _making(*states, Refused(404, "gone"))
        shown = Shown()
        await _watch(Live(beat=0).stream("k", make), shown, lambda: shown.ended)
        assert len(asked) == len(states) + 1
        return shown

    wanted: Fragments = {}
    for state in states:
        wanted |= state
    assert asyncio.run(watch()).fragments == wanted


@pytest.mark.parametrize("end", [Refused(404, "gone"), Refused(403, "no more"), NotFound("gone")])
async def test_a_stream_ends_with_what_it_shows(end: Exception) -> None:
    live, (make, asked) = Live(beat=BEAT), _making({"page": "a"}, end)
    shown = Shown()
    await _watch(live.stream("k", make), shown, lambda: False)
    assert shown.ended
    assert shown.fragments == {"page": "a"}
    await asyncio.sleep(5 * BEAT)
    assert (len(asked), live.count) == (2, 0)


@pytest.mark.parametrize("fault", [Refused(503, "away"), Unavailable("away"), RuntimeError("a fault of a template")])
async def test_a_stream_goes_on_after_a_fault(fault: Exception) -> None:
    make, _ = _making({"page": "a"}, fault, fault, {"page": "b"})
    shown = Shown()
    await _watch(Live(beat=BEAT).stream("k", make), shown, lambda: shown.fragments.get("page") == "b")
    assert not shown.ended


async def test_a_reader_that_leaves_stops_the_maker_if_it_was_the_last() -> None:
    live, (make, asked) = Live(beat=BEAT), _making(*({"page": str(n)} for n in range(1000)))
    stays, leaves = Shown(), Shown()
    staying = asyncio.create_task(_watch(live.stream("k", make), stays, lambda: stays.sent > 1000))
    await _watch(live.stream("k", make), leaves, lambda: leaves.sent == 3)
    assert live.count == 1
    before = stays.sent
    await asyncio.sleep(10 * BEAT)
    assert stays.sent > before
    staying.cancel()
    await asyncio.gather(staying, return_exceptions=True)
    assert live.count == 0
    made = len(asked)
    await asyncio.sleep(10 * BEAT)
    assert len(asked) <= made + 1


async def test_the_beat_slows_down_so_that_watching_takes_a_part_of_the_time_alone() -> None:
    work = 0.02
    live, asked = Live(beat=0), 0

    async def make() -> Fragments:
        nonlocal asked
        asked += 1
        await asyncio.sleep(work)
        return {"page": str(asked)}

    pages = [Shown() for _ in range(5)]
    watching = [
        asyncio.create_task(_watch(live.stream(number, make), page, lambda: False)) for number, page in enumerate(pages)
    ]
    began = time.monotonic()
    await asyncio.sleep(2)
    took = time.monotonic() - began
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    # Each is made once before the beat is known; then all of them together may take their share.
    assert asked <= len(pages) + took * MOST_SHARE / work + len(pages)
    assert asked > len(pages)


async def test_the_beat_slows_down_while_nothing_changes_and_quickens_with_the_first_change() -> None:
    still: list[Fragments | Exception] = [{"page": "same"}] * 12
    make, asked = _making(*still, {"page": "new"}, {"page": "newer"}, {"page": "newest"})
    shown = Shown()
    await _watch(Live(beat=BEAT).stream("k", make), shown, lambda: shown.fragments.get("page") == "newest")
    gaps = [after - before for before, after in pairwise(asked)]
    assert gaps[10] > 3 * gaps[0]
    assert gaps[13] < gaps[10]


async def test_a_quiet_stream_says_that_it_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.05)
    make, _ = _making({"page": "a"})
    async with asyncio.timeout(2), aclosing(Live(beat=BEAT).stream("k", make)) as events:
        seen = [await anext(events) for _ in range(4)]
    assert seen[0].startswith(b"retry: ")
    assert seen[1].startswith(b"event: fragment")
    assert seen[2:] == [b": still here\n\n"] * 2


async def _events(http: httpx.AsyncClient, address: str, shown: Shown, until: Callable[[], bool]) -> None:
    async with asyncio.timeout(10), http.stream("GET", address) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        event = b""
        async for line in answer.aiter_lines():
            event += line.encode() + b"\n"
            if line == "":
                shown.take(event.strip())
                event = b""
                if until():
                    return


def _outside(browser: Browser, address: str) -> httpx.AsyncClient:
    """The browser on a real socket: a client in process waits for the whole of an answer."""
    return httpx.AsyncClient(base_url=address, headers={"cookie": f"{COOKIE}={browser.cookie}"}, timeout=10)


async def test_the_wheel_turns_before_ones_eyes(world: World) -> None:
    browser, shown = await world.browser(), Shown()
    async with serving(world.app) as address, _outside(browser, address) as http:
        turned = lambda: "20 of 40" in parse(shown.fragments.get("page", "")).text()  # noqa: E731
        watching = asyncio.create_task(_events(http, browser.href("/live/wheel"), shown, turned))
        while not shown.sent:
            await asyncio.sleep(0.02)
        assert "12 of 40" in parse(shown.fragments["page"]).text()
        async with world.tx() as tx:
            run = await world.wiring.runs.get(tx, UUID(world.things["running_run"]))
        claim = Claim(world.wiring.database, world.wiring.events, world.workspace_id, run)
        await claim.beat(Heard(step=20, steps=40, seconds_left=30.0))
        await watching


async def test_a_stream_ends_with_its_session(world: World) -> None:
    browser, shown = await world.browser("viewer"), Shown()
    async with serving(world.app) as address, _outside(browser, address) as http:
        watching = asyncio.create_task(_events(http, browser.href("/live/wheel"), shown, lambda: False))
        while not shown.sent:
            await asyncio.sleep(0.02)
        assert (await world.rest().delete(f"/keys/{world.things['viewer_key']}")).is_success
        await asyncio.wait_for(watching, 10)
    assert world.things["endpoint_name"] in shown.fragments["page"]
