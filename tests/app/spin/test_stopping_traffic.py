"""Traffic without end has to stop when it is told to, however quickly answers come."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from charkha.app.spin.traffic import Users, drawn
from charkha.client.types import Answer
from charkha.core.messages import Example, Message

EXAMPLES = (Example((Message("user", "a b c"),), "bird", label="bird"),)


class Prompt:
    """As much of a client as traffic needs; it answers at once, and takes all feedback."""

    def __init__(self) -> None:
        self.feedback = self

    async def ask(self, *_: Any, **__: Any) -> Answer:
        await asyncio.sleep(0)
        return Answer("bird", uuid4())

    async def give_many(self, _: list[dict[str, Any]]) -> None:
        await asyncio.sleep(0)


@pytest.mark.anyio
@pytest.mark.parametrize("turns_of_the_loop", range(40, 80))
async def test_traffic_stops_at_whatever_moment_it_is_cancelled(turns_of_the_loop: int) -> None:
    async def send_for_ever() -> None:
        async for _ in Users(Prompt(), "endpoint", graded=False).send(drawn(EXAMPLES)):  # type: ignore[arg-type]
            pass

    traffic = asyncio.create_task(send_for_ever())
    for _ in range(turns_of_the_loop):
        await asyncio.sleep(0)
    traffic.cancel()
    done, _ = await asyncio.wait({traffic}, timeout=5)
    assert done, "the cancellation was lost"
    assert traffic.cancelled()
