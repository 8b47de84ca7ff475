"""Runs of a prompt's tests: each case is rendered and asked through Charkha's own gateway, and its answer judged.

So an answer is what a user of that model would have got, and it is metered, limited and logged as its asker's.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from charkha.core.errors import CharkhaError, Invalid, NotFound, Unavailable
from charkha.govern.keyring import Principal
from charkha.kit.db import Tx
from charkha.serve.domain import Endpoint
from charkha.serve.prompts import judging
from charkha.serve.prompts.applying import applied
from charkha.serve.prompts.cases import Case, CaseResult, Said, unmet
from charkha.serve.prompts.compiled import Compiled
from charkha.serve.targets import Target

AT_ONCE, RUN_SECONDS = 4, 100.0
MAX_ANSWER = 16_000
_LATE = f"the run's {RUN_SECONDS:g} seconds were over"


class Answers(Protocol):
    """The gateway, asked as somebody who may ask it."""

    async def answered(
        self, principal: Principal, model: str, messages: Sequence[dict[str, Any]], max_tokens: int
    ) -> Said:
        """One answer, at temperature 0. Raises one of our errors, NotFound where there is no such model."""
        ...


class Endpoints(Protocol):
    """Endpoints, which stand for the model that answers most of their traffic."""

    async def get(self, tx: Tx, name_or_id: str | UUID, *, only_live: bool = False) -> Endpoint:
        """An endpoint with its live plan and what that names. Raises NotFound."""
        ...


class Asked(NamedTuple):
    """What a run is: who asks which model, and how many tokens an answer may have."""

    principal: Principal
    model: str
    max_tokens: int


class PromptTests:
    """Asks and judges. Holds no transaction while it does."""

    def __init__(self, answers: Answers, endpoints: Endpoints) -> None:
        self._answers, self._endpoints = answers, endpoints

    async def model(self, tx: Tx, name: str) -> str:
        """What to ask in place of `name`: for an endpoint its main variant's version, so that this prompt alone is said."""
        try:
            endpoint = await self._endpoints.get(tx, name, only_live=True)
        except NotFound:
            return name
        assert endpoint.plan is not None, "a living endpoint has a plan"
        largest = max(endpoint.plan.shares, key=lambda share: share.share)
        variant = next(each for each in endpoint.variants if each.id == largest.variant_id)
        if variant.version_id is not None:
            return str(variant.version_id)
        if variant.prompt is not None:
            raise Invalid(
                f"'{name}' answers with no registered version, and with the prompt {variant.prompt} before this one.",
                param="model",
                remedy="Name a version, a base model, or another endpoint.",
            )
        return name

    async def run(self, prompt: Compiled, cases: Sequence[Case], asked: Asked) -> list[CaseResult]:
        """The results in the order of the cases.

        Raises NotFound where there is no such model, and Unavailable where not one case could be asked.
        """
        deadline, room = time.monotonic() + RUN_SECONDS, asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._case(prompt, case, asked, room, deadline)) for case in cases]
        except* NotFound as missing:
            raise missing.exceptions[0] from None
        ended = [task.result() for task in tasks]
        if ended and all(isinstance(error, Unavailable) for _, error in ended):
            raise ended[0][1] or Unavailable("Nothing answers.", remedy="Try again.")
        return [result for result, _ in ended]

    async def _case(
        self, prompt: Compiled, case: Case, asked: Asked, room: asyncio.Semaphore, deadline: float
    ) -> tuple[CaseResult, CharkhaError | None]:
        """What became of a case, and the error that kept it from being asked."""
        failure: CharkhaError | None = None
        async with room:
            began, said, reasons = time.monotonic(), None, [_LATE]
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - began):
                    said = await self._said(prompt, case, asked)
                    reasons = unmet(case.expect, said) + await judging.unmet(case.expect, said.text)
            except TimeoutError:
                reasons = [_LATE]
            except NotFound:
                raise
            except CharkhaError as error:
                failure, reasons = error, [str(error)]
        answer = said.text[:MAX_ANSWER].replace("\0", "\N{REPLACEMENT CHARACTER}") if said else None
        told = [reason.replace("\0", "\N{REPLACEMENT CHARACTER}") for reason in reasons]
        milliseconds = (time.monotonic() - began) * 1000
        inference_id = said.inference_id if said else None
        return CaseResult(case.name, not told, told, answer, inference_id, milliseconds), failure

    async def _said(self, prompt: Compiled, case: Case, asked: Asked) -> Said:
        messages = [{"role": each.role, "content": each.content} for each in case.messages]
        request = {"model": asked.model, "messages": messages, "variables": case.variables}
        whole, _ = applied(request, Target("", asked.model, prompt=prompt))
        return await self._answers.answered(asked.principal, asked.model, whole["messages"], asked.max_tokens)
