"""Rows of prompts, their versions and test runs; and the versions that the hot path speaks with, read for its picture.

Row-level security keeps each query in the transaction's workspace; `compiled` alone crosses workspaces.
"""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from charkha.kit.db import Tx
from charkha.kit.paging import Page, page
from charkha.serve.prompts.cases import CaseResult, TestRun
from charkha.serve.prompts.compiled import Compiled
from charkha.serve.prompts.domain import Prompt, PromptVersion, TemplateMessage, TestSummary, Variable
from charkha.serve.prompts.tables import prompt_test_runs, prompt_versions, prompts


async def compiled(conn: AsyncConnection, ids: Collection[UUID | None]) -> Mapping[tuple[UUID, UUID], Compiled]:
    """Versions by workspace and id, read and ready to be rendered."""
    if not ids:
        return {}
    query = _versions().where(prompt_versions.c.id == sa.any_(sa.literal(list(ids), ARRAY(sa.Uuid))))
    rows = (await conn.execute(query)).all()
    return {(row.workspace_id, row.id): compiled_of(_version(row), row.name) for row in rows}


def compiled_of(version: PromptVersion, name: str) -> Compiled:
    """A version as the hot path has it."""
    return Compiled.of(version.id, name, version.number, version.messages, version.variables)


async def add(tx: Tx, prompt_id: UUID, name: str, description: str) -> None:
    """Insert a prompt without versions. Raises sqlalchemy's IntegrityError where the name is taken."""
    await tx.insert(prompts, id=prompt_id, name=name, description=description, newest=0, tests=[])


async def next_number(tx: Tx, prompt_id: UUID) -> int:
    """The number of the next version; of two that are made at once one waits for the other."""
    raised = prompts.update().where(*_is(tx, prompt_id)).values(newest=prompts.c.newest + 1)
    return int(await tx.scalar(raised.returning(prompts.c.newest)))


async def add_version(tx: Tx, version: PromptVersion) -> None:
    """Insert a version."""
    values = msgspec.to_builtins(version, builtin_types=(UUID,))
    del values["reference"], values["created_at"], values["last_test"]
    await tx.insert(prompt_versions, **values)


async def change(tx: Tx, prompt_id: UUID, **values: Any) -> None:
    """Update columns of a prompt."""
    await tx.execute(prompts.update().where(*_is(tx, prompt_id)).values(**values))


async def prompt(tx: Tx, name_or_id: str | UUID) -> Prompt | None:
    """A prompt by id or name, without its version."""
    column = prompts.c.id if isinstance(name_or_id, UUID) else prompts.c.name
    row = await tx.one(_prompts(tx).where(column == name_or_id))
    return _prompt(row) if row else None


async def listed(tx: Tx, *, after: UUID | None, limit: int) -> Page[Prompt]:
    """Prompts, newest first."""
    return await page(tx, _prompts(tx), prompts, _prompt, after=after, limit=limit)


async def version(tx: Tx, prompt_id: UUID, number: int) -> PromptVersion | None:
    """A version by its number, with how its last tests ended."""
    row = await tx.one(_tested(tx, prompt_id).where(prompt_versions.c.number == number))
    return _version(row) if row else None


async def versions(tx: Tx, prompt_id: UUID, *, after: UUID | None, limit: int) -> Page[PromptVersion]:
    """The versions of a prompt, newest first, each with how its last tests ended."""
    return await page(tx, _tested(tx, prompt_id), prompt_versions, _version, after=after, limit=limit)


def _is(tx: Tx, prompt_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return prompts.c.workspace_id == tx.workspace_id, prompts.c.id == prompt_id


def _prompts(tx: Tx) -> sa.Select[Any]:
    return sa.select(prompts).where(prompts.c.workspace_id == tx.workspace_id)


def _versions() -> sa.Select[Any]:
    joined = (prompts.c.workspace_id == prompt_versions.c.workspace_id) & (prompts.c.id == prompt_versions.c.prompt_id)
    return sa.select(prompt_versions, prompts.c.name).join(prompts, joined)


def _tested(tx: Tx, prompt_id: UUID) -> sa.Select[Any]:
    """Versions, each with the last run of its tests, which an index finds."""
    runs = prompt_test_runs
    last = (
        sa.select(runs.c.id, runs.c.model, runs.c.passed, runs.c.failed, runs.c.created_at)
        .where(runs.c.workspace_id == prompt_versions.c.workspace_id)
        .where(runs.c.prompt_version_id == prompt_versions.c.id)
        .order_by(runs.c.id.desc())
        .limit(1)
        .lateral("last")
    )
    of = last.c
    columns = [column.label(f"test_{column.name}") for column in (of.id, of.model, of.passed, of.failed, of.created_at)]
    query = _versions().add_columns(*columns).outerjoin(last, sa.true())
    return query.where(prompt_versions.c.workspace_id == tx.workspace_id, prompt_versions.c.prompt_id == prompt_id)


def _prompt(row: sa.Row[Any]) -> Prompt:
    return Prompt(row.id, row.name, row.description, row.newest, row.created_at, tests=row.tests)


def _version(row: sa.Row[Any]) -> PromptVersion:
    values = row._mapping
    last = {name: values.get(f"test_{name}") for name in TestSummary.__struct_fields__}
    return PromptVersion(
        id=row.id,
        prompt_id=row.prompt_id,
        reference=f"{row.name}@{row.number}",
        number=row.number,
        messages=msgspec.convert(row.messages, list[TemplateMessage]),
        variables=msgspec.convert(row.variables, list[Variable]),
        note=row.note,
        author=row.author,
        created_at=row.created_at,
        last_test=msgspec.convert(last, TestSummary) if last["id"] is not None else None,
    )


async def add_run(tx: Tx, run: TestRun) -> None:
    """Insert a run of tests."""
    values = msgspec.to_builtins(run, builtin_types=(UUID,))
    del values["created_at"]
    await tx.insert(prompt_test_runs, **{**values, "results": msgspec.to_builtins(run.results)})


async def runs(tx: Tx, version_id: UUID, *, after: UUID | None, limit: int) -> Page[TestRun]:
    """The runs of a version's tests, newest first."""
    table = prompt_test_runs
    of = (table.c.workspace_id == tx.workspace_id, table.c.prompt_version_id == version_id)
    return await page(tx, sa.select(table).where(*of), table, _run, after=after, limit=limit)


def _run(row: sa.Row[Any]) -> TestRun:
    values = {name: getattr(row, name) for name in TestRun.__struct_fields__}
    return TestRun(**{**values, "results": msgspec.convert(row.results, list[CaseResult])})
