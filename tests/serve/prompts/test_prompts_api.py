"""Routes of prompts on a real database: versions, differences, tests through a gateway that is played, tenancy, audit."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from charkha.core.errors import Invalid, NotFound, Unavailable
from charkha.govern.keyring import Principal
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database, Tx
from charkha.serve.domain import Endpoint, Plan, Share, Variant
from charkha.serve.prompts import api, testing
from charkha.serve.prompts.cases import Said
from tests.callers import Callers, callers

pytestmark = pytest.mark.anyio
INFERENCE, VERSION = uuid4(), uuid4()
GREETING = {
    "name": "greeting",
    "description": "Says hello.",
    "messages": [{"role": "system", "content": "Greet {{ who }}.\nBe kind."}],
    "note": "First.",
}
EXPECT = [{"contains": "Ada"}]


class Answers:
    """Says back what it was told, in capitals for one model; knows no other than these."""

    def __init__(self) -> None:
        self.asked: list[tuple[Principal, str, list[dict[str, Any]], int]] = []
        self.running = self.most = 0

    async def answered(
        self, principal: Principal, model: str, messages: Sequence[dict[str, Any]], max_tokens: int
    ) -> Said:
        """The last message."""
        if model == "down":
            raise Unavailable("The gateway has not started yet.")
        if model not in ("tiny", str(VERSION)):
            raise NotFound(f"There is no model '{model}'.", param="model")
        self.asked.append((principal, model, list(messages), max_tokens))
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.01)
        self.running -= 1
        if messages[-1]["content"] == "refuse":
            raise Invalid("The engine refuses this.")
        return Said(f"echo: {messages[-1]['content']}\0", 3, INFERENCE)


class Endpoints:
    """One endpoint, `support`, whose main variant is a version; `blend` speaks with a prompt and is none."""

    async def get(self, tx: Tx, name_or_id: str | UUID, *, only_live: bool = False) -> Endpoint:
        """An endpoint of these."""
        if name_or_id not in ("support", "blend"):
            raise NotFound("no such endpoint")
        of, version = uuid4(), VERSION if name_or_id == "support" else None
        shown = [
            Variant(uuid4(), of, name, "local", "tiny", which, [], None, {}, prompt="other@1")
            for name, which in (("small", uuid4()), ("main", version))
        ]
        shares = [Share(shown[0].id, 10), Share(shown[1].id, 90)]
        plan = Plan(uuid4(), of, 1, shares, "test", "test", None)
        return Endpoint(of, str(name_or_id), None, True, plan.id, None, plan, shown)  # type: ignore[arg-type]


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
async def world(database: Database, secrets_of_test: Secrets, answers: Answers) -> Callers:
    tests = testing.PromptTests(answers, Endpoints())
    return await callers(database, secrets_of_test, lambda access: api.router(tests, access))


@pytest.fixture
async def client(world: Callers) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client() as client:
        yield client


async def made(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/prompts", json={**GREETING, **changes})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_prompt_and_its_versions(client: httpx.AsyncClient) -> None:
    first = await made(client)
    assert (first["name"], first["newest"], first["version"]["reference"]) == ("greeting", 1, "greeting@1")
    assert first["version"]["variables"] == [{"name": "who", "default": None, "description": ""}]
    assert first["version"]["author"].startswith("key:")
    messages = [*GREETING["messages"], {"role": "user", "content": "{{ question }}"}]  # type: ignore[misc]
    second = await client.post("/prompts/greeting/versions", json={"messages": messages, "note": "Asks."})
    assert (second.status_code, second.json()["number"], second.json()["note"]) == (201, 2, "Asks.")
    listed = (await client.get("/prompts/greeting/versions", params={"limit": 1})).json()
    assert ([each["number"] for each in listed["data"]], listed["next"]) == ([2], second.json()["id"])
    older = (await client.get(f"/prompts/{first['id']}/versions", params={"after": listed["next"]})).json()
    assert [each["number"] for each in older["data"]] == [1]
    assert (await client.get("/prompts/greeting/versions/1")).json()["messages"] == GREETING["messages"]
    whole = (await client.get("/prompts/greeting")).json()
    assert (whole["newest"], whole["version"]["number"], whole["description"]) == (2, 2, "Says hello.")
    assert [each["name"] for each in (await client.get("/prompts")).json()["data"]] == ["greeting"]


async def test_versions_made_at_once_have_numbers_without_gaps(client: httpx.AsyncClient) -> None:
    await made(client)
    body = {"messages": GREETING["messages"]}
    added = await asyncio.gather(*(client.post("/prompts/greeting/versions", json=body) for _ in range(6)))
    assert sorted(each.json()["number"] for each in added) == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"name": "a b"}, 400, "no name for a prompt"),
        ({"messages": []}, 422, "messages"),
        ({"messages": [{"role": "user", "content": "{{ a.b }}"}]}, 400, "is no variable"),
        ({"messages": [{"role": "user", "content": "x", "cache": 1}]}, 422, "cache"),
        ({"variables": []}, 400, "which is not declared"),
        ({"variables": [{"name": "who"}, {"name": "why"}]}, 400, "why"),
        ({"note": "x" * 3_000}, 400, "note"),
        ({"description": "a\0b"}, 400, "description"),
    ],
)
async def test_what_is_unsound_is_refused_and_nothing_kept(
    client: httpx.AsyncClient, change: Any, status: int, told: str
) -> None:
    answer = await client.post("/prompts", json={**GREETING, **change})
    assert (answer.status_code, told in answer.json()["error"]["message"]) == (status, True), answer.text
    assert (await client.get("/prompts")).json()["data"] == []


async def test_a_name_is_taken_once_in_a_workspace_and_unknown_ones_are_told(world: Callers) -> None:
    async with world.client() as client, world.client("second") as other, world.client("viewer") as viewer:
        first = await made(client)
        assert (await client.post("/prompts", json=GREETING)).status_code == 409
        await made(other, description="Theirs.")
        for path in (f"/prompts/{first['id']}", "/prompts/nobody", "/prompts/greeting/versions/2"):
            assert (await other.get(path)).status_code == 404
        assert (await other.get("/prompts/greeting")).json()["description"] == "Theirs."
        assert (await viewer.get("/prompts/greeting")).status_code == 200
        assert (await viewer.post("/prompts/greeting/versions", json=GREETING)).status_code == 403
        assert (await client.get("/prompts/greeting/versions/99999999999")).status_code == 422


async def test_a_version_is_rendered_without_being_asked(client: httpx.AsyncClient, answers: Answers) -> None:
    await made(client)
    told = await client.post("/prompts/greeting/versions/1/render", json={"variables": {"who": "{{ who }}"}})
    assert told.json() == {"messages": [{"role": "system", "content": "Greet {{ who }}.\nBe kind."}]}
    missing = await client.post("/prompts/greeting/versions/1/render", json={})
    assert (missing.status_code, missing.json()["error"]["param"]) == (400, "variables.who")
    assert answers.asked == []


async def test_two_versions_are_compared(client: httpx.AsyncClient) -> None:
    await made(client)
    changed = [{"role": "system", "content": "Greet {{ whom }}.\nBe kind."}]
    await client.post("/prompts/greeting/versions", json={"messages": changed})
    told = (await client.get("/prompts/greeting/diff", params={"from": 1, "to": 2})).json()
    assert (told["before"], told["after"], told["messages"][0]["change"]) == ("greeting@1", "greeting@2", "changed")
    assert "-Greet {{ who }}.\n+Greet {{ whom }}." in told["messages"][0]["unified"]
    assert [(each["change"], each["name"]) for each in told["variables"]] == [("removed", "who"), ("added", "whom")]
    assert (await client.get("/prompts/greeting/diff", params={"from": 1, "to": 3})).status_code == 404
    assert (await client.get("/prompts/greeting/diff", params={"from": 1})).status_code == 422


async def test_tests_are_run_on_any_version_and_their_results_kept(client: httpx.AsyncClient, answers: Answers) -> None:
    await made(client)
    assert (await client.post("/prompts/greeting/versions/1/test", json={"model": "tiny"})).status_code == 400
    asked = [{"role": "user", "content": "hello Ada"}]
    tests = [
        {"name": "polite", "variables": {"who": "Ada"}, "messages": asked, "expect": [*EXPECT, {"regex": "^echo"}]},
        {"name": "wrong", "variables": {"who": "Bob"}, "messages": asked, "expect": [{"equals": "hello"}]},
        {"name": "unfit", "variables": {"whom": "Bob"}, "messages": asked, "expect": EXPECT},
        {
            "name": "refused",
            "variables": {"who": "Bob"},
            "messages": [{**asked[0], "content": "refuse"}],
            "expect": EXPECT,
        },
        *({"name": f"n{n}", "variables": {"who": "x"}, "messages": asked, "expect": EXPECT} for n in range(9)),
    ]
    kept = await client.put("/prompts/greeting/tests", json={"tests": tests})
    assert (kept.status_code, [each["name"] for each in kept.json()["tests"]][:2]) == (200, ["polite", "wrong"])
    run = await client.post("/prompts/greeting/versions/1/test", json={"model": "support", "max_tokens": 9})
    told = run.json()
    assert (run.status_code, told["passed"], told["failed"], told["model"]) == (200, 10, 3, "support"), run.text
    results = {each["name"]: each for each in told["results"]}
    assert [*results] == [each["name"] for each in tests]
    assert (results["polite"]["passed"], results["polite"]["answer"]) == (
        True,
        "echo: hello Ada\N{REPLACEMENT CHARACTER}",
    )
    assert results["polite"]["inference_id"] == str(INFERENCE)
    assert results["wrong"]["reasons"] == ["is not “hello”"]
    assert "no variable 'whom'" in results["unfit"]["reasons"][0]
    assert (results["refused"]["reasons"], results["refused"]["answer"]) == (["The engine refuses this."], None)
    assert 1 < answers.most <= testing.AT_ONCE
    principal, model, messages, tokens = answers.asked[0]
    assert (model, messages[0]["role"], tokens, principal.key_id is not None) == (str(VERSION), "system", 9, True)
    page = (await client.get("/prompts/greeting/versions/1/tests")).json()
    assert (page["data"][0]["results"], page["next"]) == (told["results"], None)
    last = (await client.get("/prompts/greeting/versions/1")).json()["last_test"]
    assert (last["id"], last["passed"], last["failed"]) == (told["id"], 10, 3)
    assert (await client.get("/prompts/greeting")).json()["version"]["last_test"]["model"] == "support"


async def test_a_run_that_cannot_be_keeps_nothing(
    world: Callers, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(client)
    case = {"name": "a", "variables": {"who": "Ada"}, "messages": [{"role": "user", "content": "x"}], "expect": EXPECT}
    assert (await client.put("/prompts/greeting/tests", json={"tests": [{**case, "expect": []}]})).status_code == 400
    await client.put("/prompts/greeting/tests", json={"tests": [case]})
    for model, status in (("nobody", 404), ("blend", 400), ("down", 503)):
        answer = await client.post("/prompts/greeting/versions/1/test", json={"model": model})
        assert answer.status_code == status, answer.text
    assert (await client.get("/prompts/greeting/versions/1/tests")).json()["data"] == []
    async with world.client("viewer") as viewer:
        assert (await viewer.post("/prompts/greeting/versions/1/test", json={"model": "tiny"})).status_code == 403
    monkeypatch.setattr(testing, "RUN_SECONDS", 0.0)
    late = (await client.post("/prompts/greeting/versions/1/test", json={"model": "tiny"})).json()
    assert (late["failed"], "seconds were over" in late["results"][0]["reasons"][0]) == (1, True)


async def test_every_change_is_audited(world: Callers, client: httpx.AsyncClient, database: Database) -> None:
    from charkha.govern.audit import listed

    first = await made(client)
    await client.post("/prompts/greeting/versions", json={"messages": GREETING["messages"]})
    await client.put("/prompts/greeting/tests", json={"tests": []})
    async with database.workspace(world.workspaces["first"], "test") as tx:
        trail = (await listed(tx, target_id=first["id"])).data
    assert [each.action for each in trail] == ["prompt.tests_set", "prompt.version_added", "prompt.created"]
