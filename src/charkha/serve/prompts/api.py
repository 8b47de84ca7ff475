"""Routes of prompts, their versions and differences, and of their tests."""

import asyncio
from typing import Any
from uuid import UUID

import msgspec
from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from charkha.govern.access import Access, Caller
from charkha.kit.http import Router
from charkha.kit.paging import Page
from charkha.serve.prompts import diffing, service, trials
from charkha.serve.prompts.cases import Case, TestRun
from charkha.serve.prompts.diffing import Difference
from charkha.serve.prompts.domain import MAX_MESSAGES, Prompt, PromptVersion, TemplateMessage, Variable
from charkha.serve.prompts.testing import Asked, PromptTests

_NUMBER = Path(ge=1, le=2**31 - 1, description="A version's number.")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MessageIn(_Body):
    """One message of a template."""

    role: str = Field(max_length=40, description="system (first message alone), user or assistant.")
    content: str = Field(description="Text with {{ name }} where a value goes.")


class VariableIn(_Body):
    """A variable that is declared."""

    name: str = Field(max_length=64, description="As it stands in the template.")
    default: str | None = Field(None, description="Its value where a request gives none.")
    description: str = Field("", description="For whoever gives a value.")


class VersionIn(_Body):
    """A version to add."""

    messages: list[MessageIn] = Field(min_length=1, max_length=MAX_MESSAGES, description="The templates, in order.")
    variables: list[VariableIn] | None = Field(None, description="Found in the template where left out.")
    note: str = Field("", description="What changed, for whoever reads the history.")

    def parts(self) -> dict[str, Any]:
        """The same for the service."""
        return {
            "messages": msgspec.convert([each.model_dump() for each in self.messages], list[TemplateMessage]),
            "variables": msgspec.convert([each.model_dump() for each in self.variables], list[Variable])
            if self.variables is not None
            else None,
            "note": self.note,
        }


class PromptIn(VersionIn):
    """A prompt to make, with its version 1."""

    name: str = Field(max_length=64, description="What variants and people call it.")
    description: str = Field("", description="What it is for.")


class RenderIn(_Body):
    """Values to render a version with."""

    variables: dict[str, str] = Field({}, description="Values by name.")


class ExpectationIn(_Body):
    """One thing that an answer has to be; exactly one field."""

    contains: str | None = Field(None, description="Text that is in it.")
    not_contains: str | None = Field(None, description="Text that is not in it.")
    equals: str | None = Field(None, description="The whole of it, but for space around it.")
    regex: str | None = Field(None, description="A pattern (Python's re) that is found in it, within two seconds.")
    json_schema: dict[str, Any] | None = Field(None, description="It is JSON of this schema.")
    max_tokens: int | None = Field(None, description="It has at most so many tokens.")
    max_characters: int | None = Field(None, description="It has at most so many characters.")


class CaseIn(_Body):
    """A test of a prompt."""

    name: str = Field(max_length=200, description="What the test is called.")
    variables: dict[str, str] = Field({}, description="Values to render with.")
    messages: list[MessageIn] = Field([], max_length=MAX_MESSAGES, description="What follows the prompt.")
    expect: list[ExpectationIn] = Field(description="What the answer has to be.")


class CasesIn(_Body):
    """All tests of a prompt."""

    tests: list[CaseIn] = Field(description="They replace those that there were.")


class RunIn(_Body):
    """What to run the tests on."""

    model: str = Field(max_length=512, description="A base model, a version, or an endpoint, whose model is asked.")
    max_tokens: int = Field(512, ge=1, le=2**16, description="Tokens of an answer at most.")


class RenderedPrompt(msgspec.Struct, frozen=True):
    """What a version says with the values that were given."""

    messages: list[dict[str, Any]]


def router(tests: PromptTests, access: Access) -> Router:
    """The routes, bound to their services."""
    api = Router(tags=["prompts"])
    _prompts(api, access)
    _versions(api, access)
    _tests(api, tests, access)
    return api


def _prompts(api: Router, access: Access) -> None:
    @api.post("/prompts", status_code=201)
    async def create_prompt(body: PromptIn, caller: Caller = access.require("prompt.write")) -> Prompt:
        """Make a prompt with its version 1."""
        async with caller.transaction() as tx:
            return await service.create(tx, name=body.name, description=body.description, **body.parts())

    @api.get("/prompts")
    async def list_prompts(
        after: UUID | None = None, limit: int = 50, caller: Caller = access.require("prompt.read")
    ) -> Page[Prompt]:
        """The workspace's prompts, newest first, without their versions' texts."""
        async with caller.transaction() as tx:
            return await service.listed(tx, after=after, limit=limit)

    @api.get("/prompts/{name_or_id}")
    async def get_prompt(name_or_id: str, caller: Caller = access.require("prompt.read")) -> Prompt:
        """A prompt with its newest version and its tests."""
        async with caller.transaction() as tx:
            return await service.get(tx, name_or_id)

    @api.get("/prompts/{name_or_id}/diff")
    async def diff_prompt(
        name_or_id: str,
        before: int = Query(alias="from", ge=1, le=2**31 - 1, description="The older version's number."),
        after: int = Query(alias="to", ge=1, le=2**31 - 1, description="The newer version's number."),
        caller: Caller = access.require("prompt.read"),
    ) -> Difference:
        """What changed from one version to another, message by message and variable by variable."""
        async with caller.transaction() as tx:
            older = await service.version(tx, name_or_id, before)
            newer = await service.version(tx, name_or_id, after)
        return await asyncio.to_thread(diffing.difference, older, newer)


def _versions(api: Router, access: Access) -> None:
    @api.post("/prompts/{name_or_id}/versions", status_code=201)
    async def add_prompt_version(
        name_or_id: str, body: VersionIn, caller: Caller = access.require("prompt.write")
    ) -> PromptVersion:
        """Add a prompt's next version. It answers nowhere until a variant names it."""
        async with caller.transaction() as tx:
            return await service.add_version(tx, name_or_id, **body.parts())

    @api.get("/prompts/{name_or_id}/versions")
    async def list_prompt_versions(
        name_or_id: str, after: UUID | None = None, limit: int = 50, caller: Caller = access.require("prompt.read")
    ) -> Page[PromptVersion]:
        """The versions of a prompt, newest first, each with how its last tests ended."""
        async with caller.transaction() as tx:
            return await service.versions(tx, name_or_id, after=after, limit=limit)

    @api.get("/prompts/{name_or_id}/versions/{number}")
    async def get_prompt_version(
        name_or_id: str, number: int = _NUMBER, caller: Caller = access.require("prompt.read")
    ) -> PromptVersion:
        """One version of a prompt."""
        async with caller.transaction() as tx:
            return await service.version(tx, name_or_id, number)

    @api.post("/prompts/{name_or_id}/versions/{number}/render")
    async def render_prompt(
        name_or_id: str, body: RenderIn, number: int = _NUMBER, caller: Caller = access.require("prompt.read")
    ) -> RenderedPrompt:
        """The messages that a version is with these values; nothing is asked and nothing kept."""
        async with caller.transaction() as tx:
            said = await service.rendered(tx, name_or_id, number, body.variables)
        system = [{"role": "system", "content": said.system}] if said.system is not None else []
        return RenderedPrompt([*system, *said.turns])


def _tests(api: Router, tests: PromptTests, access: Access) -> None:
    @api.put("/prompts/{name_or_id}/tests")
    async def set_prompt_tests(
        name_or_id: str, body: CasesIn, caller: Caller = access.require("prompt.write")
    ) -> Prompt:
        """Give a prompt these tests; each of its versions can be run against them."""
        cases = msgspec.convert(body.model_dump(exclude_none=True)["tests"], list[Case])
        async with caller.transaction() as tx:
            return await trials.set_cases(tx, name_or_id, cases)

    @api.post("/prompts/{name_or_id}/versions/{number}/test")
    async def test_prompt(
        name_or_id: str, body: RunIn, number: int = _NUMBER, caller: Caller = access.require("prompt.write")
    ) -> TestRun:
        """Ask a model every test of a prompt with one version, as the caller, and tell which passed."""
        caller.principal.require("inference.create")
        async with caller.transaction() as tx:
            trial = await trials.prepared(tx, name_or_id, number)
            model = await tests.model(tx, body.model)
        results = await tests.run(trial.prompt, trial.cases, Asked(caller.principal, model, body.max_tokens))
        async with caller.transaction() as tx:
            return await trials.keep(tx, trial, body.model, results)

    @api.get("/prompts/{name_or_id}/versions/{number}/tests")
    async def list_prompt_test_runs(
        name_or_id: str,
        number: int = _NUMBER,
        after: UUID | None = None,
        limit: int = 50,
        caller: Caller = access.require("prompt.read"),
    ) -> Page[TestRun]:
        """How the tests went on a version, the last run first."""
        async with caller.transaction() as tx:
            return await trials.runs(tx, name_or_id, number, after=after, limit=limit)
