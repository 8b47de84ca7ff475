"""Prompts by the Python client and on the command line, on the whole product: made, compared, tested, spoken with."""

import asyncio
import contextlib
import io
import json
import runpy
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from charkha.app.cli.main import cli
from charkha.client import ApiError
from charkha.client._async.client import AsyncCharkha
from charkha.testing.serving import serving
from tests.console.world import MODEL, World

pytestmark = pytest.mark.anyio
FILE = """\
name: welcome
description: Says hello.
note: First.
messages:
- role: system
  content: |
    You greet {{ who }}.
    Be {{ how }}.
- role: user
  content: Say hello to {{ who }}.
variables:
- name: who
- name: how
  default: kind
tests:
- name: names them
  variables: {who: Ada}
  expect: [{contains: Ada}, {max_tokens: 50}, {regex: '^echo: .*Ada'}]
- name: is JSON
  variables: {who: Bob}
  expect: [{json_schema: {type: object}}]
"""


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    """Where the product answers, which it finds itself for the tests of prompts."""
    async with serving(world.app) as address:
        file = world.wiring.installation.address_file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(address)
        yield address


@pytest.fixture
def run(world: World, address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command as the developer."""
    monkeypatch.setenv("CHARKHA_URL", address)
    monkeypatch.setenv("CHARKHA_API_KEY", world.seeded.keys["developer"])

    async def command(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, cli, ["prompts", *words], standalone_mode=False)

    return command


async def test_the_client_does_all_of_it(world: World, address: str) -> None:
    async with AsyncCharkha(address, world.seeded.keys["developer"]) as client:
        made = await client.prompts.create("welcome", [{"role": "user", "content": "Say {{ what }}."}], note="First.")
        added = await client.prompts.add_version(
            made.id, [{"role": "user", "content": "Shout {{ what }}!"}], variables=[{"name": "what", "default": "hey"}]
        )
        assert (added.reference, added.variables[0].default) == ("welcome@2", "hey")
        assert [each.name for each in (await client.prompts.list()).data] == ["welcome", "greeting"]
        assert [each.number for each in (await client.prompts.versions("welcome")).data] == [2, 1]
        assert await client.prompts.render("welcome", 2) == [{"role": "user", "content": "Shout hey!"}]
        assert (await client.prompts.diff("welcome", 1, 2)).messages[0].change == "changed"
        await client.prompts.set_tests("welcome", [{"name": "loud", "expect": [{"contains": "Shout hey!"}]}])
        run = await client.prompts.test("welcome", 2, MODEL)
        assert (run.passed, run.failed, run.results[0].answer) == (1, 0, "echo: Shout hey!")
        assert run.results[0].inference_id is not None
        assert [each.id for each in (await client.prompts.test_runs("welcome", 2)).data] == [run.id]
        last = (await client.prompts.version("welcome", 2)).last_test
        assert last is not None
        assert (last.id, last.passed) == (run.id, 1)
        first = await client.prompts.test("welcome", 1, world.things["endpoint_name"])
        assert (first.failed, "needs a value for 'what'" in first.results[0].reasons[0]) == (1, True)
        with pytest.raises(ApiError, match="no model 'nobody'"):
            await client.prompts.test("welcome", 2, "nobody")
        endpoint = await client.endpoints.create("greeter", variant={"prompt": "welcome"})
        assert endpoint.variants[0].prompt == "welcome@2"
        assert (await client.ask("greeter", [], variables={"what": "ho"})).text == "echo: Shout ho!"


async def test_the_command_line_does_all_of_it(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "welcome.yaml"
    file.write_text(FILE)
    assert (await run("create", str(file))).exit_code == 0
    told = await run("show", "welcome")
    again = tmp_path / "again.yaml"
    again.write_text(told.output.replace("Be {{ how }}.", "Be very {{ how }}."))
    assert "  content: |\n    You greet {{ who }}.\n" in told.output
    added = await run("new-version", "welcome", str(again), "--note", "Kinder.", "--json")
    assert (json.loads(added.output)["number"], json.loads(added.output)["note"]) == (2, "Kinder.")
    assert (await run("show", "welcome@1")).output.startswith("name: welcome\nnote: First.\n")
    diff = (await run("diff", "welcome", "1", "2")).output
    assert diff.splitlines()[:3] == ["--- welcome@1", "+++ welcome@2", "@@ system message 1 → 1, changed"]
    assert "-Be {{ how }}.\n+Be very {{ how }}.\n" in diff
    rendered = await run("render", "welcome@1", "--var", "who=Ada=Bob")
    assert rendered.output == "system\nYou greet Ada=Bob.\nBe kind.\n\nuser\nSay hello to Ada=Bob.\n"
    tested = await run("test", "welcome", MODEL)
    assert (tested.return_value, "1 passed, 1 failed." in tested.output) == (1, True)
    assert "is no JSON" in tested.output
    assert "1 of 2 on tiny" in (await run("versions", "welcome")).output
    assert "Says hello." in (await run("list")).output
    file.write_text(json.dumps({"tests": [{"name": "a", "variables": {"who": "A"}, "expect": [{"contains": "A"}]}]}))
    assert (await run("tests", "welcome", str(file))).output == "1 tests.\n"
    assert json.loads((await run("test", "welcome@1", MODEL, "--json")).output)["passed"] == 1


async def test_the_example_runs_and_can_be_run_again(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    example = str(Path(__file__).parents[2] / "examples" / "prompts.py")
    monkeypatch.setattr(sys, "argv", [example, MODEL])
    for _ in range(2):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            await asyncio.to_thread(runpy.run_path, example, run_name="__main__")
    assert "says something: passed\necho: What do you do all day?" in printed.getvalue()
    assert "speaks with example@3: echo: What do you do all day?" in printed.getvalue()


async def test_a_question_brings_values(world: World, run: Any) -> None:
    messages = [{"role": "user", "content": "Say {{ what }}."}, {"role": "assistant", "content": "{{ what }}!"}]
    rest = world.rest("developer")
    assert (await rest.post("/prompts", json={"name": "welcome-of-cli", "messages": messages})).is_success
    body = {"name": "greeter", "variant": {"prompt": "welcome-of-cli"}}
    assert (await rest.post("/endpoints", json=body)).is_success
    words = ["chat", "greeter", "Again.", "--var", "what=hey"]
    told = await asyncio.to_thread(CliRunner().invoke, cli, words, standalone_mode=False)
    assert told.output.startswith("echo: Again.")
    assert [each["content"] for each in world.model.requests[-1]["messages"]] == ["Say hey.", "hey!", "Again."]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("messages: [", "cannot be read"),
        ("- a", "holds no prompt"),
        ("name: a", "has no 'messages'"),
        ("name: a\nmessage: []", "has 'message'"),
    ],
)
async def test_a_file_that_is_no_prompt_is_refused(run: Any, tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    refused = (await run("create", str(file))).exception
    assert told in str(refused)
    assert refused.exit_code == 2
