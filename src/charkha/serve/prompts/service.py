"""Prompts of a workspace: made, given new versions, and found by those that speak with one."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.exc import IntegrityError

from charkha.core.errors import Conflict, NotFound
from charkha.core.ids import uuid7
from charkha.govern import audit
from charkha.kit.db import Tx
from charkha.kit.paging import Page
from charkha.serve.prompts import store
from charkha.serve.prompts.compiled import Rendered
from charkha.serve.prompts.domain import (
    Prompt,
    PromptVersion,
    TemplateMessage,
    Variable,
    check_prompt,
    check_text,
    checked,
    reference,
)


async def create(
    tx: Tx,
    *,
    name: str,
    messages: Sequence[TemplateMessage],
    variables: Sequence[Variable] | None = None,
    description: str = "",
    note: str = "",
) -> Prompt:
    """Make a prompt and its version 1. Raises Invalid, or Conflict where the name is taken."""
    check_prompt(name, description)
    prompt_id = uuid7()
    declared = _sound(messages, variables, note)
    try:
        async with tx.conn.begin_nested():
            await store.add(tx, prompt_id, name, description)
    except IntegrityError as error:
        raise Conflict(
            f"There is a prompt '{name}' already.", param="name", remedy="Choose another name, or add a version to it."
        ) from error
    await _add(tx, prompt_id, name, messages, declared, note)
    await audit.record(tx, "prompt.created", "prompt", prompt_id, name=name)
    return await get(tx, prompt_id)


async def add_version(
    tx: Tx,
    name_or_id: str | UUID,
    *,
    messages: Sequence[TemplateMessage],
    variables: Sequence[Variable] | None = None,
    note: str = "",
) -> PromptVersion:
    """Add the next version to a prompt. No variant speaks with it until one names it."""
    declared = _sound(messages, variables, note)
    found = await _find(tx, name_or_id)
    number = await _add(tx, found.id, found.name, messages, declared, note)
    await audit.record(tx, "prompt.version_added", "prompt", found.id, name=found.name, number=number)
    return await version(tx, found.id, number)


async def get(tx: Tx, name_or_id: str | UUID) -> Prompt:
    """A prompt with its newest version and its tests, by name or id. Raises NotFound."""
    found = await _find(tx, name_or_id)
    return msgspec.structs.replace(found, version=await version(tx, found.id, found.newest))


async def listed(tx: Tx, *, after: UUID | None = None, limit: int = 50) -> Page[Prompt]:
    """The workspace's prompts, newest first."""
    return await store.listed(tx, after=after, limit=limit)


async def version(tx: Tx, name_or_id: str | UUID, number: int | None) -> PromptVersion:
    """A version of a prompt by its number; None is the newest. Raises NotFound."""
    found = await _find(tx, name_or_id)
    wanted = found.newest if number is None else number
    made = await store.version(tx, found.id, wanted)
    if made is None:
        raise NotFound(
            f"The prompt '{found.name}' has no version {wanted}.",
            remedy=f"Its newest is {found.newest}.",
            param="prompt",
        )
    return made


async def versions(
    tx: Tx, name_or_id: str | UUID, *, after: UUID | None = None, limit: int = 50
) -> Page[PromptVersion]:
    """The versions of a prompt, newest first."""
    return await store.versions(tx, (await _find(tx, name_or_id)).id, after=after, limit=limit)


async def find(tx: Tx, text: str) -> PromptVersion:
    """The version that `name@number` names, or the newest of `name`. Raises Invalid or NotFound."""
    name, number = reference(text)
    return await version(tx, name, number)


async def rendered(tx: Tx, name_or_id: str | UUID, number: int, values: Mapping[str, str]) -> Rendered:
    """What a version says with these values. Raises Invalid naming one that is missing or unknown."""
    made = await version(tx, name_or_id, number)
    return store.compiled_of(made, made.reference.partition("@")[0]).render(values)


def _sound(messages: Sequence[TemplateMessage], variables: Sequence[Variable] | None, note: str) -> Sequence[Variable]:
    check_text(note, "note")
    return checked(messages, variables)


async def _add(
    tx: Tx,
    prompt_id: UUID,
    name: str,
    messages: Sequence[TemplateMessage],
    variables: Sequence[Variable],
    note: str,
) -> int:
    number = await store.next_number(tx, prompt_id)
    fields: dict[str, Any] = {"messages": list(messages), "variables": list(variables), "note": note}
    made = PromptVersion(uuid7(), prompt_id, f"{name}@{number}", number, **fields, author=tx.actor)
    await store.add_version(tx, made)
    return number


async def _find(tx: Tx, name_or_id: str | UUID) -> Prompt:
    found = await store.prompt(tx, _as_id(name_or_id))
    if found is None:
        raise NotFound(
            f"There is no prompt '{str(name_or_id)[:200]}' in this workspace.",
            remedy="See `charkha prompts list`.",
            param="prompt",
        )
    return found


def _as_id(text: str | UUID) -> str | UUID:
    """An id where it reads as one; no name does. PostgreSQL's text holds no NUL."""
    if isinstance(text, UUID):
        return text
    try:
        return UUID(text)
    except ValueError:
        return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
