"""A turn of the miniature wheel that does not give up: what fails while something is down is said again.

It writes every acknowledgement into a ledger. Each piece of feedback has an idempotency key of its own, so that
saying it again is safe, and a second effect would show.
"""

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID, uuid4

from charkha.app.spin.domain import score
from charkha.app.spin.traffic import judged
from charkha.client import ApiError, AsyncCharkha, ConnectionFailed
from charkha.client.types import Endpoint, Evaluation, Rollout, Run
from charkha.core.messages import Example
from tests.chaos.ledger import Ledger
from tests.e2e.miniature import MODEL, Miniature
from tests.e2e.tiny_examples import as_json, held_out, questions

T = TypeVar("T")
PATIENCE = 100.0
_USERS, _PAUSE, _LOOK = 3, 0.05, 0.2


class Turn:
    """One endpoint's way from its base to its candidate. `outcome` is its rollout when it has ended."""

    def __init__(self, wheel: Miniature, name: str, ledger: Ledger, *, seed: int) -> None:
        self.name, self.stage = name, "beginning"
        self.outcome: Rollout | None = None
        self.accuracy = 0.0
        self._wheel, self._ledger, self._chance = wheel, ledger, random.Random(seed)
        self._examples = questions(wheel.task)
        self._clients: dict[str, AsyncCharkha] = {}

    async def run(self) -> None:
        """The whole turn. Raises AssertionError where it does not get on."""
        try:
            endpoint = await self._prepared()
            self.stage = "lessons"
            await self._teach(endpoint)
            self.stage = "training"
            traffic = asyncio.create_task(self._traffic())
            try:
                await self._watch(endpoint)
            finally:
                traffic.cancel()
                await asyncio.gather(traffic, return_exceptions=True)
            self.accuracy = await self._measured()
            self.stage = "ended"
        finally:
            for client in self._clients.values():
                await client.close()

    async def _prepared(self) -> Endpoint:
        """The endpoint with its suite and its policy, made once however often that is asked for."""
        prompt, parameters = self._wheel.task.system_prompt, {"temperature": 0, "max_tokens": 4}
        variant = {"version": MODEL, "system_prompt": prompt, "parameters": parameters}
        labels = list(self._wheel.task.labels)
        endpoint = await self._made(
            lambda client: client.endpoints.create(self.name, labels=labels, variant=variant),
            lambda client: client.endpoints.get(self.name),
        )
        examples = as_json(held_out(self._wheel.task))
        version = await self._said(lambda client: client.datasets.upload("held out", examples))
        await self._made(
            lambda client: client.suites.create(self.name, endpoint_id=endpoint.id, dataset_version_id=version.id),
            lambda client: client.suites.list(limit=100),
        )
        await self._policy(endpoint, enabled=True)
        return endpoint

    async def _policy(self, endpoint: Endpoint, *, enabled: bool) -> None:
        """`enabled` until the run is there: a turn makes one candidate."""
        minimum, config = len(self._examples), self._wheel.task.config
        await self._said(
            lambda client: client.policies.set(endpoint.id, minimum_examples=minimum, enabled=enabled, **config)
        )

    async def _teach(self, endpoint: Endpoint) -> None:
        queue = iter(self._examples)

        async def user() -> None:
            for example in queue:
                await self._exchange(example, insist=True)

        await asyncio.gather(*(user() for _ in range(_USERS)))

    async def _traffic(self) -> None:
        async def user() -> None:
            while True:
                await self._exchange(self._chance.choice(self._examples), insist=False)
                await asyncio.sleep(_PAUSE)

        await asyncio.gather(*(user() for _ in range(_USERS)))

    async def _exchange(self, example: Example, *, insist: bool) -> None:
        """Ask, and give feedback; `insist` on an answer where a lesson depends on it."""
        messages = [message.as_dict() for message in example.prompt]

        async def ask(client: AsyncCharkha) -> tuple[str, UUID]:
            answer = await client.ask(self.name, messages, unit=uuid4().hex)
            return answer.text, answer.inference_id

        answered = await self._said(ask) if insist else await self._tried(ask)
        if answered is None:
            return
        text, inference_id = answered
        self._ledger.answered.append(inference_id)
        items = judged(inference_id, score(text, example.answer, graded=False), example, graded=False)
        items = [{**item, "idempotency_key": uuid4().hex} for item in items]
        stored = await self._said(lambda client: client.feedback.give_many(items))
        for item, one in zip(items, stored, strict=True):
            self._ledger.feedback[item["idempotency_key"]] = one.id

    async def _watch(self, endpoint: Endpoint) -> None:
        """Wait until the run, the evaluation and the rollout have ended, each well."""
        run = await self._until(lambda client: self._run(client, endpoint))
        await self._policy(endpoint, enabled=False)
        run = await self._until(lambda client: _ended_run(client, run.id))
        assert run.status == "succeeded", f"the run {run.status}: {run.error}"
        self.stage = "evaluation"
        evaluation = await self._until(lambda client: self._evaluation(client, endpoint))
        assert evaluation.status == "succeeded", f"the evaluation {evaluation.status}: {evaluation.error}"
        self.stage = "rollout"
        self.outcome = await self._until(lambda client: _ended_rollout(client, endpoint))

    async def _run(self, client: AsyncCharkha, endpoint: Endpoint) -> Run | None:
        return next(iter((await client.runs.list(endpoint_id=endpoint.id, limit=1)).data), None)

    async def _evaluation(self, client: AsyncCharkha, endpoint: Endpoint) -> Evaluation | None:
        suites = (await client.suites.list(limit=100)).data
        suite = next(suite for suite in suites if suite.endpoint_id == endpoint.id)
        found = next(iter((await client.evaluations.list(suite_id=suite.id, limit=1)).data), None)
        return found if found and found.status in ("succeeded", "failed") else None

    async def _measured(self) -> float:
        """The accuracy of what answers now, on the held-out examples."""
        right = 0
        sample = held_out(self._wheel.task)[:12]
        for example in sample:
            messages = [message.as_dict() for message in example.prompt]
            answer = await self._said(lambda client, asked=messages: client.ask(self.name, asked))
            self._ledger.answered.append(answer.inference_id)
            right += answer.text.strip() == example.answer
        return right / len(sample)

    async def _made(
        self,
        make: Callable[[AsyncCharkha], Awaitable[T]],
        find: Callable[[AsyncCharkha], Awaitable[Any]],
    ) -> Any:
        """Make something of a name; where that is taken, because an answer was lost, find it."""
        try:
            return await self._said(make)
        except ApiError as error:
            if error.status != 409:
                raise
            return await self._said(find)

    async def _until(self, look: Callable[[AsyncCharkha], Awaitable[T | None]]) -> T:
        deadline = time.monotonic() + PATIENCE
        while (found := await self._said(look)) is None:
            assert time.monotonic() < deadline, f"{self.name} did not get on from {self.stage} in {PATIENCE:.0f} s"
            await asyncio.sleep(_LOOK)
        return found

    async def _said(self, say: Callable[[AsyncCharkha], Awaitable[T]]) -> T:
        """Say it until it is answered."""
        deadline = time.monotonic() + PATIENCE
        for wait in itertools.count(1):
            answered = await self._tried(lambda client: _boxed(say(client)))
            if answered is not None:
                return answered[0]
            assert time.monotonic() < deadline, f"{self.name}: no answer in {PATIENCE:.0f} s"
            await asyncio.sleep(min(0.05 * wait, 0.5))
        raise AssertionError("unreachable")

    async def _tried(self, say: Callable[[AsyncCharkha], Awaitable[T]]) -> T | None:
        """Say it once; None where something was down. Anything else that goes wrong is a fault, or the caller's."""
        try:
            return await say(await self._connected())
        except ConnectionFailed:
            self._ledger.interruptions["connection"] += 1
        except ApiError as error:
            if error.status >= 500 and not error.transient:
                self._ledger.faults.append(f"{error.status} {error.code}: {error}")
            elif not error.transient:
                raise
            self._ledger.interruptions[f"{error.status} {error.code}"] += 1
        return None

    async def _connected(self) -> AsyncCharkha:
        """A client of where the installation listens now: another port after another `up`."""
        url = self._wheel.url
        if url not in self._clients:
            self._clients[url] = self._wheel.async_client(timeout=30.0)
        return self._clients[url]


class TurnThread(threading.Thread):
    """A turn in a thread of its own, so that the test can kill meanwhile. `failure` is what it raised."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(name=turn.name, daemon=True)
        self.turn = turn
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Turn."""
        try:
            asyncio.run(self.turn.run())
        except BaseException as error:  # noqa: BLE001  (told by `result`, in the test's own thread)
            self.failure = error

    def result(self) -> Rollout:
        """Wait for the end. Raises what the turn raised."""
        self.join()
        if self.failure is not None:
            raise self.failure
        assert self.turn.outcome is not None
        return self.turn.outcome


async def _boxed(awaited: Awaitable[T]) -> tuple[T]:
    """The value in a tuple, so that an answer that is None differs from no answer."""
    return (await awaited,)


async def _ended_run(client: AsyncCharkha, run_id: UUID) -> Run | None:
    run = await client.runs.get(run_id)
    return run if run.status in ("succeeded", "failed", "cancelled") else None


async def _ended_rollout(client: AsyncCharkha, endpoint: Endpoint) -> Rollout | None:
    found: Sequence[Rollout] = (await client.releases.list(endpoint=endpoint.id, limit=1)).data
    return found[0] if found and found[0].ended_at is not None else None
