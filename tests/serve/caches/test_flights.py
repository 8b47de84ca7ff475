"""One way to the engine for equal requests: who leads, who waits, and what becomes of them when a leader does not land."""

import asyncio

import pytest

from charkha.serve.caches.flights import Flights

pytestmark = pytest.mark.anyio
KEY = b"k"


async def waiting(flights: Flights[str], count: int) -> list[asyncio.Task[object]]:
    """So many who wait."""
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(flights.join(KEY, 5)) for _ in range(count)]
    await asyncio.sleep(0.01)
    return tasks


async def test_all_who_wait_get_what_the_leader_brings() -> None:
    flights: Flights[str] = Flights()
    answer, lead = await flights.join(KEY, 5)
    assert answer is None
    assert lead is not None
    tasks = await waiting(flights, 20)
    assert not any(task.done() for task in tasks)
    lead.land("landed")
    assert await asyncio.gather(*tasks) == [("landed", None)] * 20
    assert not flights
    lead.fail()
    _, second = await flights.join(KEY, 5)
    lead.fail()
    assert len(flights) == 1, "a flight that has ended ends no other"
    assert second is not None


async def test_if_the_leader_fails_one_of_those_who_wait_leads() -> None:
    flights: Flights[str] = Flights()
    _, lead = await flights.join(KEY, 5)
    assert lead is not None
    tasks = await waiting(flights, 5)
    lead.fail()
    await asyncio.sleep(0.01)
    done = [task for task in tasks if task.done()]
    assert len(done) == 1
    answer, second = done[0].result()  # type: ignore[misc]
    assert (answer, second is not None) == (None, True)
    second.land("landed")
    others = [task for task in tasks if task not in done]
    assert await asyncio.gather(*others) == [("landed", None)] * 4


async def test_what_breaks_its_leaders_is_asked_by_everybody_alone() -> None:
    flights: Flights[str] = Flights()
    _, lead = await flights.join(KEY, 5)
    assert lead is not None
    tasks = await waiting(flights, 5)
    lead.fail()
    await asyncio.sleep(0.01)
    second = next(task.result()[1] for task in tasks if task.done())  # type: ignore[index]
    second.fail()
    found = await asyncio.gather(*tasks)
    assert sum(flight is not None for _, flight in found) == 2, "the second leader and the third"  # type: ignore[misc]
    assert sum(each == (None, None) for each in found) == 3


async def test_an_answer_that_is_not_for_others_lets_them_go() -> None:
    flights: Flights[str] = Flights()
    _, lead = await flights.join(KEY, 5)
    assert lead is not None
    tasks = await waiting(flights, 5)
    lead.part()
    assert await asyncio.gather(*tasks) == [(None, None)] * 5


async def test_nobody_waits_for_ever_and_who_goes_takes_nobody_along() -> None:
    flights: Flights[str] = Flights()
    _, lead = await flights.join(KEY, 5)
    assert lead is not None
    assert await flights.join(KEY, 0.02) == (None, None)
    first, second = await waiting(flights, 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert not second.done()
    lead.land("landed")
    assert await second == ("landed", None)
