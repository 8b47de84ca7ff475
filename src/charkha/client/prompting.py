"""What the API answers about prompts: versions, differences, and runs of tests."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class PromptVariable(msgspec.Struct, frozen=True):
    """A value that a request gives by name; without a `default` it has to."""

    name: str
    default: str | None = None
    description: str = ""


class TestSummary(msgspec.Struct, frozen=True):
    """How the last run of a version's tests ended."""

    id: UUID
    model: str
    passed: int
    failed: int
    created_at: datetime


class PromptVersion(msgspec.Struct, frozen=True):
    """One immutable version of a prompt; `reference` is `name@number`. `messages` are `{"role", "content"}`."""

    id: UUID
    prompt_id: UUID
    reference: str
    number: int
    messages: list[dict[str, str]]
    variables: list[PromptVariable]
    note: str
    author: str
    created_at: datetime
    last_test: TestSummary | None = None


class Prompt(msgspec.Struct, frozen=True):
    """A prompt, the number of its newest version, and where one was asked for that version and the tests."""

    id: UUID
    name: str
    description: str
    newest: int
    created_at: datetime
    version: PromptVersion | None = None
    tests: list[dict[str, Any]] = []


class MessageDiff(msgspec.Struct, frozen=True):
    """One message: its places in both versions, from 1, and a unified diff of its text without a head."""

    change: str
    role: str
    before: int | None
    after: int | None
    unified: str


class VariableDiff(msgspec.Struct, frozen=True):
    """One variable that differs."""

    change: str
    name: str
    before: PromptVariable | None
    after: PromptVariable | None


class Difference(msgspec.Struct, frozen=True):
    """From one version of a prompt to another."""

    before: str
    after: str
    messages: list[MessageDiff]
    variables: list[VariableDiff]


class CaseResult(msgspec.Struct, frozen=True):
    """What became of one test. `reasons` say why it failed."""

    name: str
    passed: bool
    reasons: list[str]
    answer: str | None
    inference_id: UUID | None
    duration_ms: float


class TestRun(msgspec.Struct, frozen=True):
    """One run of all tests on a version."""

    id: UUID
    prompt_version_id: UUID
    model: str
    passed: int
    failed: int
    results: list[CaseResult]
    author: str
    created_at: datetime | None = None
