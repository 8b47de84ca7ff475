"""The tests of a prompt and the results of their runs, as they are kept."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from charkha.core.errors import Invalid
from charkha.core.ids import uuid7
from charkha.govern import audit
from charkha.kit.db import Tx
from charkha.kit.paging import Page
from charkha.serve.prompts import service, store
from charkha.serve.prompts.cases import Case, CaseResult, TestRun, check_cases
from charkha.serve.prompts.compiled import Compiled
from charkha.serve.prompts.domain import Prompt


class Trial(NamedTuple):
    """What a run needs: the version, read, and the cases."""

    prompt_id: UUID
    prompt: Compiled
    cases: list[Case]


async def set_cases(tx: Tx, name_or_id: str | UUID, cases: Sequence[Case]) -> Prompt:
    """Replace the tests of a prompt. Raises Invalid naming the one that is wrong."""
    check_cases(cases)
    found = await service.get(tx, name_or_id)
    await store.change(tx, found.id, tests=msgspec.to_builtins(cases))
    await audit.record(tx, "prompt.tests_set", "prompt", found.id, name=found.name, tests=len(cases))
    return await service.get(tx, found.id)


async def prepared(tx: Tx, name_or_id: str | UUID, number: int) -> Trial:
    """A version and the tests to run on it. Raises NotFound, or Invalid where there are no tests."""
    found = await service.get(tx, name_or_id)
    if not found.tests:
        raise Invalid(
            f"The prompt '{found.name}' has no tests.",
            remedy="Give it some: PUT /prompts/{name}/tests, or `charkha prompts tests`.",
        )
    made = await service.version(tx, found.id, number)
    return Trial(found.id, store.compiled_of(made, found.name), msgspec.convert(found.tests, list[Case]))


async def keep(tx: Tx, trial: Trial, model: str, results: Sequence[CaseResult]) -> TestRun:
    """Write how a run ended."""
    passed = sum(each.passed for each in results)
    run = TestRun(
        uuid7(), trial.prompt.version_id, model, passed, len(results) - passed, list(results), author=tx.actor
    )
    await store.add_run(tx, run)
    detail = {"version": trial.prompt.reference, "model": model, "passed": run.passed, "failed": run.failed}
    await audit.record(tx, "prompt.tested", "prompt", trial.prompt_id, **detail)
    return run


async def runs(
    tx: Tx, name_or_id: str | UUID, number: int, *, after: UUID | None = None, limit: int = 50
) -> Page[TestRun]:
    """The runs on a version, newest first."""
    version = await service.version(tx, name_or_id, number)
    return await store.runs(tx, version.id, after=after, limit=limit)
