"""How long a request may live: to its deadline, or until its client has gone."""

import asyncio
import time

import pytest

from charkha.serve.asgi import WATCH_SECONDS, Deadline, Lifetime, Message

pytestmark = pytest.mark.anyio


class Client:
    """The receiving end of a request whose body was read."""

    def __init__(self) -> None:
        self.gone, self.asked = asyncio.Event(), 0

    async def receive(self) -> Message:
        self.asked += 1
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def test_a_block_that_takes_too_long_is_ended() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError), Deadline(0.05):
        await asyncio.sleep(5)
    assert 0.04 < time.monotonic() - began < 1


async def test_a_block_in_time_goes_on_undisturbed() -> None:
    with Deadline(0.05):
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)


async def test_an_error_of_the_block_stays_what_it_is() -> None:
    with pytest.raises(KeyError), Deadline(5):
        raise KeyError("ours")


async def test_who_cancels_from_outside_is_told_so() -> None:
    async def work() -> None:
        with Deadline(5):
            await asyncio.sleep(5)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_outer_deadline_ends_the_inner_block() -> None:
    reached = []
    with pytest.raises(TimeoutError), Deadline(0.05):
        try:
            with Deadline(5):
                await asyncio.sleep(5)
        except asyncio.CancelledError:
            reached.append("cancelled, not timed out")
            raise
    assert reached


async def test_the_inner_deadline_leaves_the_outer_block_alone() -> None:
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError), Deadline(0.02):
            await asyncio.sleep(5)
        await asyncio.sleep(0)


async def test_a_quick_answer_never_asks_after_its_client() -> None:
    client = Client()
    async with Lifetime(client.receive, 5) as lifetime:
        await asyncio.sleep(0.01)
    assert (client.asked, lifetime.departed) == (0, False)


async def test_a_client_that_leaves_ends_the_wait() -> None:
    client = Client()
    lifetime, began = Lifetime(client.receive, 30), time.monotonic()
    asyncio.get_running_loop().call_later(0.02, client.gone.set)
    with pytest.raises(TimeoutError):
        async with lifetime:
            await asyncio.sleep(30)
    assert lifetime.departed
    assert time.monotonic() - began < WATCH_SECONDS + 1


@pytest.mark.parametrize("seconds", [0.03, WATCH_SECONDS, 3 * WATCH_SECONDS])
async def test_a_deadline_holds_before_and_after_the_watch_begins(seconds: float) -> None:
    client = Client()
    lifetime, began = Lifetime(client.receive, seconds), time.monotonic()
    with pytest.raises(TimeoutError):
        async with lifetime:
            await asyncio.sleep(30)
    assert not lifetime.departed
    assert seconds - 0.01 < time.monotonic() - began < seconds + 1


async def test_the_watch_ends_with_the_block() -> None:
    client = Client()
    async with Lifetime(client.receive, 30):
        await asyncio.sleep(2 * WATCH_SECONDS)
    assert client.asked == 1
    client.gone.set()
    await asyncio.sleep(0.05)  # nobody is cancelled any more
