"""Scores by greedy answers: each held-out example is put to a version through Charkha's own gateway, as a user would."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any
from uuid import UUID

from charkha.core.errors import Invalid, Unavailable
from charkha.core.messages import Example
from charkha.evaluate.likelihood import MeasurementFailed, Outcome
from charkha.evaluate.ports import Answers
from charkha.evaluate.scoring import Metric, most_tokens, score, wanted
from charkha.kit.process import Backoff

CONCURRENCY = 8
MOST_TRIES = 6


class Greedy:
    """Asks eight at a time; a gateway or engine that is not there now is waited for, within reason."""

    def __init__(self, answers: Answers) -> None:
        self._answers, self._backoff = answers, Backoff(first=0.5, most=16.0)

    async def measure(
        self,
        workspace_id: UUID,
        model: str,
        examples: Sequence[Example],
        metric: Metric,
        advance: Callable[[int], None],
    ) -> Outcome:
        """The outcome of a version that the gateway calls `model`; an example that it refuses is passed over.

        Raises MeasurementFailed when every example is refused, or the gateway stays away.
        """
        found: list[str | None] = [None] * len(examples)
        refusals: list[Invalid] = []
        queue = iter(enumerate(examples))

        async def asker(places: Iterator[tuple[int, Example]]) -> None:
            for place, example in places:
                try:
                    found[place] = await self._ask(workspace_id, model, example, most_tokens(examples))
                except Invalid as error:
                    refusals.append(error)
                advance(1)

        await _all_or_none([asker(queue) for _ in range(CONCURRENCY)])
        if len(refusals) == len(examples):
            raise MeasurementFailed(f"The gateway refuses {model}: {refusals[-1].message}", remedy=refusals[-1].remedy)
        scores = [
            None if answer is None else score(metric, answer, wanted(example))
            for answer, example in zip(found, examples, strict=True)
        ]
        return Outcome(scores, found)

    async def _ask(self, workspace_id: UUID, model: str, example: Example, max_tokens: int) -> str:
        for tries in range(1, MOST_TRIES):
            try:
                return await self._answers.ask(workspace_id, model, example.prompt, max_tokens)
            except Unavailable:
                await asyncio.sleep(self._backoff.draw(tries))
        try:
            return await self._answers.ask(workspace_id, model, example.prompt, max_tokens)
        except Unavailable as error:
            raise MeasurementFailed(
                f"{model} did not answer {MOST_TRIES} times: {error}", remedy=error.remedy
            ) from error


async def _all_or_none(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Wait for all; when one fails the others are stopped first."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
