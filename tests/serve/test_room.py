"""Places for requests: as many as there are, given back however a request ends, and none once it drains."""

import asyncio

import pytest

from charkha.core.errors import Unavailable
from charkha.serve.room import Room

pytestmark = pytest.mark.anyio


async def test_places_are_given_back_however_a_request_ends() -> None:
    room = Room(1)
    with pytest.raises(ValueError), room:
        with pytest.raises(Unavailable), room:
            raise AssertionError("there was a second place")
        raise ValueError
    assert room.taken == 0
    with room:
        assert room.taken == 1


async def test_draining_refuses_the_new_and_waits_for_the_running() -> None:
    room = Room(2)
    running = asyncio.Event()

    async def request() -> None:
        with room:
            await running.wait()

    task = asyncio.create_task(request())
    await asyncio.sleep(0)
    draining = asyncio.create_task(room.drain(5))
    await asyncio.sleep(0.01)
    with pytest.raises(Unavailable), room:
        pass
    assert not draining.done()
    running.set()
    await asyncio.gather(task, draining)
    assert room.taken == 0


async def test_draining_waits_no_longer_than_it_may() -> None:
    room = Room(1)
    with room:
        await asyncio.wait_for(room.drain(0.01), 1)
