"""Traffic as an application sends it, and feedback as its users give it: in the demonstration the labels are the users.

A right answer gets a thumb up, a wrong one a correction; a free-form answer a score and the wanted answer beside it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from charkha.app.spin.domain import score
from charkha.client import ApiError, AsyncCharkha, ConnectionFailed
from charkha.core.messages import Example

CONCURRENCY = 8
_BATCH = 16


@dataclass
class Tally:
    """What was sent and how it was received."""

    requests: int = 0
    failures: int = 0
    corrections: int = 0
    total_score: float = 0.0
    last_error: str = ""
    waiting: list[dict[str, Any]] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """The mean score of the answers."""
        return self.total_score / self.requests if self.requests else 0.0


class Users:
    """Ask an endpoint and judge its answers."""

    def __init__(self, client: AsyncCharkha, endpoint: str, *, graded: bool) -> None:
        self._client, self._endpoint, self._graded = client, endpoint, graded
        self.tally = Tally()

    async def send(self, examples: Iterable[Example]) -> AsyncIterator[Tally]:
        """Send each example once, eight at a time, with feedback after it; yields after every answer."""
        queue: Iterator[Example] = iter(examples)
        answered: asyncio.Queue[None] = asyncio.Queue()

        async def user() -> None:
            for example in queue:
                await self._ask(example)
                answered.put_nowait(None)

        users = asyncio.gather(*(user() for _ in range(CONCURRENCY)))
        try:
            while not users.done() or not answered.empty():
                try:
                    async with asyncio.timeout(0.2):  # Python 3.11's wait_for can lose a cancellation
                        await answered.get()
                except TimeoutError:
                    continue
                yield self.tally
            await users
        finally:
            users.cancel()
            await asyncio.gather(users, return_exceptions=True)
        await self._give(everything=True)

    async def _ask(self, example: Example) -> None:
        messages = [message.as_dict() for message in example.prompt if message.role != "system"]
        try:
            answer = await self._client.ask(self._endpoint, messages, unit=uuid4().hex)
        except (ApiError, ConnectionFailed) as error:
            self.tally.failures += 1
            self.tally.last_error = str(error)
            return
        value = score(answer.text, example.answer, graded=self._graded)
        self.tally.requests += 1
        self.tally.total_score += value
        self.tally.corrections += value < 1.0
        self.tally.waiting += judged(answer.inference_id, value, example, graded=self._graded)
        await self._give()

    async def _give(self, *, everything: bool = False) -> None:
        """Feedback goes out in batches; what is taken here is nobody else's to send."""
        while len(self.tally.waiting) >= (1 if everything else _BATCH):
            batch, self.tally.waiting = self.tally.waiting[:500], self.tally.waiting[500:]
            await self._client.feedback.give_many(batch)


def judged(inference_id: UUID, value: float, example: Example, *, graded: bool) -> list[dict[str, Any]]:
    """The feedback on one answer."""
    about = {"inference_id": str(inference_id), "subject_id": example.subject_id}
    about = {key: content for key, content in about.items() if content is not None}
    if value == 1.0:
        return [{"kind": "thumb", "value": True, **about}]
    correction = {"kind": "correction", "text": example.answer, **about}
    return [correction, {"kind": "score", "value": value, **about}] if graded else [correction]


def drawn(examples: tuple[Example, ...], seed: int = 0) -> Iterator[Example]:
    """Live traffic without end: all texts in a random order, then draws with replacement."""
    chance = random.Random(seed)
    first = list(examples)
    chance.shuffle(first)
    yield from first
    while True:
        yield chance.choice(examples)
