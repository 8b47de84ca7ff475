"""Suites and evaluations on a real database with real child processes: what is measured, kept, compared and told."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from charkha.core.errors import Conflict, Invalid, NotFound, Unavailable
from charkha.core.events import VersionRegistered
from charkha.core.ids import uuid7
from charkha.data.store import text_hash
from charkha.evaluate import greedy, likelihood, store
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.eventlog import events
from charkha.kit.jobs import Jobs
from charkha.kit.lineage import Node, sources_of
from charkha.kit.process import Backoff
from tests.evaluate import world as worlds
from tests.evaluate.world import World, example

pytestmark = pytest.mark.anyio

LABELLED = [example(f"{label} {n}", label) for n in range(12) for label in ("bird", "fish")]
FREE = [example(f"question {n}", None, f"the answer {n}") for n in range(24)]


@pytest.fixture
def world(
    database: Database,
    jobs: Jobs,
    secrets_of_test: Secrets,
    workspace_id: UUID,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    monkeypatch.setattr(likelihood, "MODULE", "tests.evaluate.fake_evaluator")
    made = worlds.make(database, jobs, secrets_of_test, workspace_id, tmp_path)
    made.evaluator._greedy._backoff = Backoff(first=0.001, most=0.001)
    return made


def calls(world: World) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (world.home / "calls.jsonl").read_text().splitlines()]


async def topics(world: World) -> list[str]:
    async with world.database.workspace(world.workspace_id, "test") as tx:
        return [row.topic for row in await tx.all(sa.select(events.c.topic).order_by(events.c.id))]


async def test_a_better_candidate_gets_a_scorecard_that_says_so(world: World) -> None:
    suite = await world.suite(LABELLED)
    base, candidate = world.registry.add(), await world.adapter("20")
    world.gateway.rule = lambda model, text: text.split()[0].upper() if model == candidate.callable_name else "none"
    found = await world.evaluate(suite, candidate, base)
    card = found.scorecard or {}
    assert (found.status, found.error, found.done, found.total) == ("succeeded", None, 4 * 24 - 2, 4 * 24)
    assert (card["metric"], card["verdict"], card["n"], card["skipped"]) == ("label_accuracy", "better", 23, 1)
    assert (card["incumbent"]["value"], card["candidate"]["value"]) == (2 / 23, 20 / 23)
    assert card["interval"]["low"] > 0.5
    assert card["greedy"]["metric"] == "exact_match"
    assert (card["greedy"]["incumbent"], card["greedy"]["candidate"], card["greedy"]["n"]) == (0, 1, 24)
    async with world.database.workspace(world.workspace_id, "test") as tx:
        judged = await world.evaluations.scorecard(tx, found.id)
        made_of = await sources_of(tx, Node("evaluation", str(found.id)))
    assert (judged.verdict, judged.endpoint_id, judged.candidate_version_id) == (
        "better",
        suite.endpoint_id,
        candidate.id,
    )
    assert "0.087 → 0.870 on 23 examples: +0.783" in judged.summary
    assert {node.kind for node in made_of} == {"version", "dataset_version"}
    assert await topics(world) == ["scorecard.ready"]
    assert not (world.home / "evaluations" / str(found.id)).exists()
    assert {(workspace, tokens) for workspace, _, _, tokens in world.gateway.asked} == {(world.workspace_id, 5)}


async def test_what_is_measured_once_is_not_measured_again(world: World) -> None:
    suite = await world.suite(LABELLED)
    base, first, second = world.registry.add(), await world.adapter("20"), await world.adapter("21")
    alone = await world.evaluate(suite, base)
    card = alone.scorecard or {}
    assert (card["candidate"]["value"], card["incumbent"], card["difference"], card["interval"]) == (
        2 / 23,
        None,
        None,
        None,
    )
    assert card["greedy"]["candidate"] == 1
    assert await topics(world) == []
    await world.evaluate(suite, first, base)
    again = await world.evaluate(suite, second, first)
    assert [[variant["name"] for variant in call["variants"]] for call in calls(world)] == [
        [str(base.id)],
        [str(first.id)],
        [str(second.id)],
    ]
    assert len(world.gateway.asked) == 3 * 24
    assert (again.done, again.total) == (4 * 24 - 1, 4 * 24)
    assert (again.scorecard or {})["verdict"] == "not enough data"


async def test_free_answers_are_scored_by_tokens_and_words(world: World) -> None:
    suite = await world.suite(FREE)
    base, candidate = world.registry.add(), await world.adapter("20")
    world.gateway.rule = lambda model, text: f"answer {text.split()[1]}"
    card = (await world.evaluate(suite, candidate, base)).scorecard or {}
    assert (card["metric"], card["graded"], card["verdict"]) == ("token_accuracy", True, "better")
    assert card["greedy"]["metric"] == "token_f1"
    assert card["greedy"]["candidate"] == pytest.approx(0.8)
    assert {call["labels"] for call in calls(world)} == {None}


async def test_a_model_that_is_served_elsewhere_is_compared_by_its_answers(world: World) -> None:
    suite = await world.suite(LABELLED)
    base, far = world.registry.add(), world.registry.add(base_model="far")
    uploaded = world.registry.add(kind="adapter")
    for candidate in (far, uploaded):
        card = (await world.evaluate(suite, candidate, base)).scorecard or {}
        assert (card["metric"], card["candidate"]["value"], card["n"]) == ("exact_match", 1, 24)


async def test_the_versions_system_prompt_is_put_before_bare_examples(world: World) -> None:
    suite = await world.suite(LABELLED)
    await world.evaluate(suite, await world.adapter("3", system_prompt="Name the kind."), world.registry.add())
    assert sorted(call["first"][0]["content"] == "Name the kind." for call in calls(world)) == [False, True]


async def test_an_evaluator_that_is_killed_is_started_again(world: World) -> None:
    found = await world.evaluate(await world.suite(LABELLED), await world.adapter("die_once"))
    assert (found.status, found.done, found.total) == ("succeeded", 47, 48)
    assert len(calls(world)) == 2


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("complain", "The adapter is of another base. Give another."),
        ("die", "The evaluator ended without a result (killed by SIGKILL) 3 times"),
    ],
)
async def test_what_cannot_be_measured_fails_with_its_reason(world: World, told: str, reason: str) -> None:
    found = await world.evaluate(await world.suite(LABELLED), await world.adapter(told), world.registry.add())
    assert found.status == "failed"
    assert reason in str(found.error)
    async with world.database.workspace(world.workspace_id, "test") as tx:
        with pytest.raises(NotFound, match="failed and has no scorecard"):
            await world.evaluations.scorecard(tx, found.id)
    assert await topics(world) == []


async def test_a_gateway_that_is_away_is_waited_for(world: World) -> None:
    world.gateway.away = 5
    assert (await world.evaluate(await world.suite(LABELLED), world.registry.add())).status == "succeeded"


async def test_a_gateway_that_stays_away_fails_the_evaluation(world: World) -> None:
    world.gateway.away = 10_000
    found = await world.evaluate(await world.suite(LABELLED), world.registry.add())
    assert found.status == "failed"
    assert f"did not answer {greedy.MOST_TRIES} times: The engine is restarting." in str(found.error)


async def test_examples_that_the_gateway_refuses_are_passed_over_unless_all_are(world: World) -> None:
    def refuse(model: str, text: str) -> str:
        if text.endswith("0") or model == "no":
            raise Invalid("The text is too long.", remedy="Shorten it.")
        return text.split()[0]

    world.gateway.rule = refuse
    suite = await world.suite(LABELLED)
    card = (await world.evaluate(suite, world.registry.add())).scorecard or {}
    assert (card["greedy"]["n"], card["greedy"]["candidate"]) == (20, 1)
    found = await world.evaluate(suite, world.registry.add(callable_name="no"))
    assert (found.status, found.error) == ("failed", "The gateway refuses no: The text is too long. Shorten it.")


async def test_a_job_that_runs_again_goes_on_with_the_rest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    suite, candidate = await world.suite(LABELLED), world.registry.add()
    finish = world.evaluator._finish

    async def lose_the_database(work: Any) -> None:
        monkeypatch.setattr(world.evaluator, "_finish", finish)
        raise Unavailable("The database does not answer.")

    monkeypatch.setattr(world.evaluator, "_finish", lose_the_database)
    with pytest.raises(Unavailable):
        await world.evaluate(suite, candidate)
    found = await world.evaluate(suite, candidate)  # the same one: it is still under way
    assert found.status == "succeeded"
    assert len(calls(world)) == 1
    assert len(world.gateway.asked) == 24


async def test_two_workers_on_one_evaluation_tell_of_it_once(world: World) -> None:
    suite, candidate, base = await world.suite(LABELLED), await world.adapter("20"), world.registry.add()
    async with world.database.workspace(world.workspace_id, "test") as tx:
        ids = {"candidate_version_id": candidate.id, "incumbent_version_id": base.id}
        asked = await world.evaluations.request(tx, suite_id=suite.id, **ids)
        assert await world.evaluations.request(tx, suite_id=suite.id, **ids) == asked
        versions = [await world.registry.get(tx, version_id) for version_id in asked.versions()]
        for version in versions:
            for metric in ("label_accuracy", "exact_match"):
                await store.add_outcome(tx, suite.id, version.id, metric, [1.0] * 24, [None] * 24)
    await asyncio.gather(*(world.evaluator.work(world.workspace_id, evaluation_id=str(asked.id)) for _ in range(3)))
    assert await topics(world) == ["scorecard.ready"]
    async with world.database.workspace(world.workspace_id, "test") as tx:
        assert not await store.finish(tx, asked.id, "failed", error="late")


async def test_a_registered_candidate_is_evaluated_against_what_is_live(world: World) -> None:
    suite, base, candidate = await world.suite(LABELLED), world.registry.add(), await world.adapter("20")
    newer = await world.suite(FREE, "newer")
    world.registry.incumbents[suite.endpoint_id] = base.id
    async with world.database.workspace(world.workspace_id, "event:test") as tx:
        for version_id, endpoint_id in (
            (candidate.id, suite.endpoint_id),
            (base.id, suite.endpoint_id),
            (base.id, None),
            (base.id, newer.endpoint_id),
            (base.id, uuid7()),
        ):
            await world.evaluations.score(tx, VersionRegistered(version_id=version_id, endpoint_id=endpoint_id))
        listed = (await world.evaluations.listed(tx)).data
        on_first = (await world.evaluations.listed(tx, suite_id=suite.id)).data
    assert [(each.suite_id, each.candidate_version_id, each.incumbent_version_id) for each in reversed(listed)] == [
        (suite.id, candidate.id, base.id),
        (suite.id, base.id, None),
        (newer.id, base.id, None),
    ]
    assert on_first == listed[1:]


async def test_a_deleted_endpoints_candidate_is_not_evaluated(world: World) -> None:
    suite = await world.suite(LABELLED)
    world.registry.endpoints.clear()
    async with world.database.workspace(world.workspace_id, "event:test") as tx:
        event = VersionRegistered(version_id=uuid7(), endpoint_id=suite.endpoint_id)
        await world.evaluations.score(tx, event)
        assert (await world.evaluations.listed(tx)).data == []


async def test_what_is_held_out_is_every_suite_of_the_endpoint(world: World) -> None:
    suite = await world.suite(LABELLED)
    async with world.database.workspace(world.workspace_id, "test") as tx:
        more = await world.datasets.freeze(tx, name="more", examples=FREE)
        second = await world.suites.create(tx, name="more", endpoint_id=suite.endpoint_id, dataset_version_id=more.id)
        hashes = await world.suites.held_out_hashes(tx, suite.endpoint_id)
        assert await world.suites.of_endpoint(tx, suite.endpoint_id) == second
        assert await world.suites.held_out_hashes(tx, uuid7()) == set()
    assert hashes == {text_hash(each) for each in [*LABELLED, *FREE]}


async def test_a_wrong_suite_or_evaluation_is_refused(world: World) -> None:
    suite, base = await world.suite(LABELLED), world.registry.add()
    async with world.database.workspace(world.workspace_id, "test") as tx:
        empty = await world.datasets.freeze(tx, name="empty", examples=[])
        good = {"name": "new", "endpoint_id": suite.endpoint_id, "dataset_version_id": suite.dataset_version_id}
        for change, error in (
            ({"name": suite.name}, Conflict),
            ({"name": " "}, Invalid),
            ({"endpoint_id": uuid4()}, NotFound),
            ({"dataset_version_id": uuid4()}, NotFound),
            ({"dataset_version_id": empty.id}, Invalid),
        ):
            with pytest.raises(error):
                await world.suites.create(tx, **(good | change))
        for suite_id, candidate, incumbent, error in (
            (uuid4(), base.id, None, NotFound),
            (suite.id, uuid4(), None, NotFound),
            (suite.id, base.id, uuid4(), NotFound),
            (suite.id, base.id, base.id, Invalid),
        ):
            with pytest.raises(error):
                await world.evaluations.request(
                    tx, suite_id=suite_id, candidate_version_id=candidate, incumbent_version_id=incumbent
                )


async def test_another_workspace_reaches_nothing(world: World) -> None:
    suite = await world.suite(LABELLED)
    found = await world.evaluate(suite, world.registry.add())
    async with world.database.workspace(uuid4(), "test") as tx:
        assert (await world.suites.listed(tx)).data == []
        assert (await world.evaluations.listed(tx)).data == []
        assert await world.suites.of_endpoint(tx, suite.endpoint_id) is None
        assert await store.measured(tx, suite.id, [found.candidate_version_id]) == {found.candidate_version_id: {}}
        for reach in (world.evaluations.get, world.evaluations.scorecard):
            with pytest.raises(NotFound):
                await reach(tx, found.id)
        with pytest.raises(NotFound):
            await world.suites.get(tx, suite.id)
