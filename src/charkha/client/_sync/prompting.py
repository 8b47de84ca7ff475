# Written by scripts/unasync.py from the asynchronous module beside it; do not edit.
"""Prompts: templates with numbered versions, which endpoints' variants speak with."""

from collections.abc import Mapping
from typing import Any

from charkha.client import prompting, types
from charkha.client._sync.resources import Id, Items, Resource

Messages = list[dict[str, Any]]  # named here, because inside the class `list` is a method


class Prompts(Resource):
    """Prompts by name or id; a variant names a version as `name@number` in its field `prompt`."""

    def create(
        self,
        name: str,
        messages: Items,
        *,
        variables: Items | None = None,
        description: str = "",
        note: str = "",
    ) -> prompting.Prompt:
        """Make a prompt with its version 1. `messages` are `{"role", "content"}` with `{{ name }}` for values."""
        body = {"name": name, "description": description, **_version(messages, variables, note)}
        return self._post("/prompts", prompting.Prompt, body)

    def add_version(
        self, prompt: Id, messages: Items, *, variables: Items | None = None, note: str = ""
    ) -> prompting.PromptVersion:
        """Add the next version."""
        return self._post(f"/prompts/{prompt}/versions", prompting.PromptVersion, _version(messages, variables, note))

    def list(self, *, after: Id | None = None, limit: int = 50) -> types.Page[prompting.Prompt]:
        """Prompts, newest first, without their versions."""
        return self._page("/prompts", prompting.Prompt, {"after": after, "limit": limit})  # type: ignore[no-any-return]

    def get(self, prompt: Id) -> prompting.Prompt:
        """A prompt with its newest version and its tests."""
        return self._get(f"/prompts/{prompt}", prompting.Prompt)

    def versions(self, prompt: Id, *, after: Id | None = None, limit: int = 50) -> types.Page[prompting.PromptVersion]:
        """The versions of a prompt, newest first, each with how its last tests ended."""
        query = {"after": after, "limit": limit}
        return self._page(f"/prompts/{prompt}/versions", prompting.PromptVersion, query)  # type: ignore[no-any-return]

    def version(self, prompt: Id, number: int) -> prompting.PromptVersion:
        """One version."""
        return self._get(f"/prompts/{prompt}/versions/{number}", prompting.PromptVersion)

    def render(self, prompt: Id, number: int, variables: Mapping[str, str] | None = None) -> Messages:
        """The messages that a version is with these values; nothing is asked."""
        path, body = f"/prompts/{prompt}/versions/{number}/render", {"variables": variables or {}}
        return (self._post(path, dict[str, Any], body))["messages"]  # type: ignore[no-any-return]

    def diff(self, prompt: Id, before: int, after: int) -> prompting.Difference:
        """What changed from one version to another."""
        query = {"from": before, "to": after}
        return self._get(f"/prompts/{prompt}/diff", prompting.Difference, **query)

    def set_tests(self, prompt: Id, tests: Items) -> prompting.Prompt:
        """Give a prompt these tests: `{"name", "variables", "messages", "expect": [{"contains": …}, …]}`."""
        path, body = f"/prompts/{prompt}/tests", {"tests": [*tests]}
        return self._transport.call("PUT", path, prompting.Prompt, body=body)

    def test(self, prompt: Id, number: int, model: str, *, max_tokens: int = 512) -> prompting.TestRun:
        """Ask a model every test with one version, and tell which passed."""
        path, body = f"/prompts/{prompt}/versions/{number}/test", {"model": model, "max_tokens": max_tokens}
        return self._post(path, prompting.TestRun, body)

    def test_runs(
        self, prompt: Id, number: int, *, after: Id | None = None, limit: int = 50
    ) -> types.Page[prompting.TestRun]:
        """How the tests went on a version, the last run first."""
        query = {"after": after, "limit": limit}
        return self._page(f"/prompts/{prompt}/versions/{number}/tests", prompting.TestRun, query)  # type: ignore[no-any-return]


def _version(messages: Items, variables: Items | None, note: str) -> dict[str, Any]:
    declared = None if variables is None else [*variables]
    return {"messages": [*messages], "variables": declared, "note": note}
