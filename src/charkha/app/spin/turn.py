"""One turn of the wheel: score the base, send traffic, gather corrections, and watch the loop do the rest.

Everything after the corrections happens by itself; this only sends traffic and looks. It speaks to Charkha through
the public client alone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from charkha.app.spin.domain import Portions, endpoint_name, held_out_line, longest_answer, training_seconds
from charkha.app.spin.screen import Bar, Screen, duration, interval, percent, points, rows
from charkha.app.spin.traffic import Tally, Users, drawn
from charkha.client import ApiError, AsyncCharkha
from charkha.client.types import Endpoint, Evaluation, Rollout, Run
from charkha.core.errors import CharkhaError, Timeout
from charkha.core.messages import Example
from charkha.data.connectors.source import Source

T = TypeVar("T")
_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 900.0


@dataclass(frozen=True)
class Outcome:
    """How a turn ended. `before`, `after` and `interval` are held-out accuracies and of their difference."""

    live: bool
    before: float | None
    after: float | None
    interval: tuple[float, float] | None
    seconds: float
    endpoint: str
    version: str | None
    reason: str


class TurnFailed(CharkhaError):
    """A stage of the turn did not get there; the message says which and why."""

    code = "turn_failed"


class Turn:
    """A turn on one source, split in portions."""

    def __init__(self, client: AsyncCharkha, source: Source, parts: Portions, screen: Screen) -> None:
        self._client, self._source, self._parts, self._screen = client, source, parts, screen
        self._graded = not source.labels
        self._started = time.monotonic()

    async def run(self, name: str | None = None, config: dict[str, Any] | None = None) -> Outcome:
        """The whole turn. Raises TurnFailed where a stage cannot be finished."""
        endpoint = await self._endpoint(name)
        suite_id = await self._suite(endpoint)
        begun = time.monotonic()
        base = await self._score_base(endpoint, suite_id)
        config = {"max_seconds": training_seconds(time.monotonic() - begun)} | (config or {})
        await self._client.policies.set(endpoint.id, minimum_examples=len(self._parts.train), **config)
        served = await self._send(endpoint)
        run = await self._watch_training(endpoint, config)
        evaluation = await self._watch_scorecard(suite_id, run)
        scorecard = evaluation.scorecard or {}
        release = await self._watch_rollout(endpoint, scorecard)
        return self._finish(endpoint, base, served, evaluation, release)

    async def _endpoint(self, name: str | None) -> Endpoint:
        taken = [each.name for each in (await self._client.endpoints.list(limit=500)).data]
        variant = {
            "name": "base",
            "system_prompt": self._source.instruction or None,
            "parameters": {"temperature": 0, "max_tokens": longest_answer(self._source.examples)},
        }
        return await self._client.endpoints.create(
            name or endpoint_name(self._source.title, taken), labels=list(self._source.labels) or None, variant=variant
        )

    async def _suite(self, endpoint: Endpoint) -> UUID:
        """Freeze the held-out examples, as the endpoint will put them to the model."""
        examples = [held_out_line(self._source, example) for example in self._parts.held_out]
        version = await self._client.datasets.upload(f"{endpoint.name}-held-out", examples)
        suite = await self._client.suites.create(endpoint.name, endpoint_id=endpoint.id, dataset_version_id=version.id)
        return suite.id

    async def _score_base(self, endpoint: Endpoint, suite_id: UUID) -> Evaluation:
        live = endpoint.variants[0].version_id
        assert live is not None
        evaluation = await self._client.evaluations.start(suite_id=suite_id, candidate_version_id=live)
        with self._screen.stage("Score of the base model") as bar:
            evaluation = await self._evaluated(evaluation, bar)
        card = evaluation.scorecard or {}
        text = f"{percent(card['candidate']['value'])} of {card['n']} held-out examples"
        if not self._graded:
            text += f" by its preferred label; {percent(card['greedy']['candidate'])} as it answers by itself"
        self._screen.done("Score of the base model", text)
        return evaluation

    async def _send(self, endpoint: Endpoint) -> Tally:
        users, total = Users(self._client, endpoint.name, graded=self._graded), len(self._parts.train)
        with self._screen.stage("Traffic") as bar:
            async for tally in users.send(self._parts.train):
                rate = tally.requests / max(time.monotonic() - self._started, 1e-9)
                bar.at(
                    tally.requests,
                    total,
                    f"{tally.requests}/{total} sent, {percent(tally.accuracy)} right {rate:.0f}/s",
                )
        tally = users.tally
        if tally.failures:
            raise TurnFailed(
                f"{tally.failures} of {total} requests failed; the last: {tally.last_error}",
                remedy="See `charkha status` and the logs.",
            )
        self._screen.done("Traffic", f"{tally.requests} requests through the gateway, {percent(tally.accuracy)} right")
        self._screen.done("Corrections", f"{tally.corrections} received; in this demonstration the labels give them")
        return tally

    async def _watch_training(self, endpoint: Endpoint, config: dict[str, Any]) -> Run:
        with self._screen.stage("Data set") as bar:
            run = await self._until(lambda: self._newest_run(endpoint), "the loop to freeze a data set", bar)
        # One turn was asked for: what users say during its rollout shall not begin the next one beside it.
        enough = len(self._parts.train)
        await self._client.policies.set(endpoint.id, minimum_examples=enough, enabled=False, **config)
        frozen = await self._client.datasets.version(run.dataset_version_id)
        self._screen.done("Data set frozen", f"{frozen.examples} examples, sha256 {frozen.digest[:12]}…")
        with self._screen.stage("Training an adapter") as bar:
            run = await self._until(lambda: self._ended_run(run.id, bar), "training", None)
        if run.status != "succeeded":
            raise TurnFailed(f"Training {run.status}: {run.error}", remedy=f"See `charkha runs show {run.id}`.")
        curve = await self._client.runs.points(run.id)
        losses = f"loss {curve[0].loss:.2f} → {curve[-1].loss:.2f}" if curve else "no curve"
        self._screen.done("Adapter trained", f"{run.step} steps, {losses}, {_took(run)}")
        return run

    async def _newest_run(self, endpoint: Endpoint) -> Run | None:
        page = await self._client.runs.list(endpoint_id=endpoint.id, limit=1)
        return page.data[0] if page.data else None

    async def _ended_run(self, run_id: UUID, bar: Bar) -> Run | None:
        run = await self._client.runs.get(run_id)
        points_so_far = await self._client.runs.points(run_id)
        loss = f"loss {points_so_far[-1].loss:.2f}, " if points_so_far else ""
        bar.at(run.step, run.steps, f"{loss}{duration(run.seconds_left)} left" if run.steps else "loading the model")
        return run if run.status in ("succeeded", "failed", "cancelled") else None

    async def _watch_scorecard(self, suite_id: UUID, run: Run) -> Evaluation:
        async def begun() -> Evaluation | None:
            page = await self._client.evaluations.list(suite_id=suite_id, limit=1)
            newest = page.data[0] if page.data else None
            return newest if newest and newest.incumbent_version_id else None

        with self._screen.stage("Scorecard") as bar:
            evaluation = await self._until(begun, f"run {run.id} to be registered and evaluated", bar)
            evaluation = await self._evaluated(evaluation, bar)
        self._screen.done(
            "Scorecard", f"{points(evaluation.scorecard or {})}: {(evaluation.scorecard or {})['verdict']}"
        )
        return evaluation

    async def _evaluated(self, evaluation: Evaluation, bar: Bar) -> Evaluation:
        async def ended() -> Evaluation | None:
            now = await self._client.evaluations.get(evaluation.id)
            bar.at(now.done, now.total, f"{now.done}/{now.total or '?'}")
            return now if now.status in ("succeeded", "failed") else None

        found = await self._until(ended, "an evaluation", None)
        if found.status == "failed":
            raise TurnFailed(
                f"The evaluation failed: {found.error}", remedy=f"See `charkha evaluations show {found.id}`."
            )
        return found

    async def _watch_rollout(self, endpoint: Endpoint, scorecard: dict[str, Any]) -> Rollout | None:
        """Send live traffic until the rollout has ended; None where the evidence did not allow one."""

        async def begun() -> Rollout | None:
            page = await self._client.releases.list(endpoint=endpoint.id, limit=1)
            return page.data[0] if page.data else None

        if scorecard["verdict"] != "better":
            return None
        with self._screen.stage("Rollout") as bar:
            release = await self._until(begun, "a rollout to begin", bar)
            users = Users(self._client, endpoint.name, graded=self._graded)
            traffic = asyncio.create_task(_drain(users, self._parts.live))
            try:
                return await self._follow(release, users.tally, bar)
            finally:
                traffic.cancel()
                await asyncio.gather(traffic, return_exceptions=True)

    async def _follow(self, release: Rollout, tally: Tally, bar: Bar) -> Rollout:
        shown = 0

        async def ended() -> Rollout | None:
            nonlocal shown
            now = (await self._client.releases.get(release.id)).rollout
            if now.share != shown and now.status == "running":
                shown = now.share
                self._screen.done(f"Canary at {now.share} %", now.reason or "live feedback decides the next step")
            verdict = (now.judgement or {}).get("reason", "waiting for feedback")
            bar.at(now.share, 100, f"{tally.requests} live requests; {verdict}"[:100])
            return now if now.ended_at is not None else None

        return await self._until(ended, "the rollout", None)

    async def _until(self, look: Callable[[], Awaitable[T | None]], what: str, bar: Bar | None) -> T:
        """Look twice a second until there is something; faults of a restarting part are waited out."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                found = await look()
            except ApiError as error:
                if not error.transient:
                    raise
                found = None
            if found is not None:
                return found
            if bar is not None:
                bar.at(0, None, f"waiting for {what}")
            await asyncio.sleep(_LOOK_SECONDS)
        raise Timeout(f"Waited {_PATIENCE_SECONDS:.0f} s for {what}.", remedy="See `charkha status` and the logs.")

    def _finish(
        self, endpoint: Endpoint, base: Evaluation, served: Tally, evaluation: Evaluation, release: Rollout | None
    ) -> Outcome:
        before, after = (base.scorecard or {})["candidate"]["value"], (evaluation.scorecard or {})["candidate"]["value"]
        live, seconds = release is not None and release.status == "promoted", time.monotonic() - self._started
        reason = (release.reason if release else None) or (evaluation.scorecard or {})["verdict"]
        version = release.candidate if release else None
        if live:
            self._screen.done("Live", f"{version} answers all traffic of '{endpoint.name}'")
        else:
            self._screen.failed("Not live", f"{reason}; the base model keeps the traffic")
        self._screen.table(
            f"One turn of the wheel in {duration(seconds)}",
            rows(base.scorecard or {}, evaluation.scorecard or {}, graded=self._graded),
        )
        bounds = interval(evaluation.scorecard or {})
        return Outcome(live, before, after, bounds, round(seconds, 1), endpoint.name, version, reason)


async def _drain(users: Users, live: tuple[Example, ...]) -> None:
    async for _ in users.send(drawn(live)):
        pass


def _took(run: Run) -> str:
    if run.started_at is None or run.ended_at is None:
        return "–"
    return duration((run.ended_at - run.started_at).total_seconds())
