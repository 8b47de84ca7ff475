"""Feedback on a real database: once under a key however often it is sent, and never across workspaces."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from charkha.core.errors import CharkhaError, Conflict, Invalid, NotFound
from charkha.core.events import FeedbackGathered
from charkha.core.ids import mint
from charkha.govern import audit
from charkha.govern.access import Access
from charkha.govern.keyring import Principal
from charkha.govern.permissions import ALL
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.eventlog import EventLog, events
from charkha.kit.http import install_errors
from charkha.kit.jobs import Jobs
from charkha.learn.feedback.api import router
from charkha.learn.feedback.domain import Draft, Kind, Lesson
from charkha.learn.feedback.service import Feedback, FeedbackService
from charkha.learn.tables import feedback

pytestmark = pytest.mark.anyio


class Desk:
    """Where feedback is given, in one workspace; each call is a transaction."""

    def __init__(self, database: Database, jobs: Jobs, secrets: Secrets, workspace_id: UUID) -> None:
        self.database, self.workspace_id, self._secrets = database, workspace_id, secrets
        self.service = FeedbackService(EventLog(database, jobs), secrets)

    def answered(self, workspace_id: UUID | None = None) -> UUID:
        """The id of an answer, as the gateway mints it; no row need exist."""
        return mint(self._secrets.derive("inference-id", workspace_id or self.workspace_id))

    async def give(self, kind: Kind, **fields: Any) -> Feedback:
        (given,) = await self.give_all(Draft(kind=kind, **fields))
        return given

    async def give_all(self, *drafts: Draft) -> list[Feedback]:
        async with self.database.workspace(self.workspace_id, "key:test") as tx:
            return await self.service.give_all(tx, drafts)

    async def rows(self) -> int:
        async with self.database.workspace(self.workspace_id, "test") as tx:
            return int(await tx.scalar(sa.select(sa.func.count()).select_from(feedback)))

    async def told(self) -> list[FeedbackGathered]:
        async with self.database.workspace(self.workspace_id, "test") as tx:
            rows = await tx.all(sa.select(events).order_by(events.c.created_at))
        return [msgspec.convert(row.body, FeedbackGathered) for row in rows]

    async def lessons(self, **query: Any) -> list[Lesson]:
        async with self.database.workspace(self.workspace_id, "test") as tx:
            return await self.service.lessons(tx, **query)


@pytest.fixture
def desk(database: Database, jobs: Jobs, secrets_of_test: Secrets, workspace_id: UUID) -> Desk:
    return Desk(database, jobs, secrets_of_test, workspace_id)


async def test_every_kind_is_kept_as_given(desk: Desk) -> None:
    one, other = desk.answered(), desk.answered()
    given = await desk.give_all(
        Draft(kind="score", inference_id=one, value=0.25),
        Draft(kind="thumb", episode_id="e1", value=1.0, subject_id="ann"),
        Draft(kind="comment", inference_id=one, text="नमस्ते 👍"),
        Draft(kind="correction", inference_id=one, text="net"),
        Draft(kind="preference", inference_id=one, other_inference_id=other),
        Draft(kind="metric", episode_id="e1", name="sales", value=12.5),
    )
    async with desk.database.workspace(desk.workspace_id, "test") as tx:
        listed = (await desk.service.listed(tx)).data
        assert listed == given[::-1], "newest first, and in a batch in its order"
        assert [row.kind for row in (await desk.service.listed(tx, inference_ids=[one], kind="comment")).data] == [
            "comment"
        ]
        assert len((await desk.service.listed(tx, episode_id="e1")).data) == 2
        first = await desk.service.listed(tx, limit=4)
        rest = await desk.service.listed(tx, limit=4, after=first.next)
        assert (first.data + rest.data, rest.next) == (listed, None)
    assert {row.actor for row in given} == {"key:test"}


async def test_a_batch_is_one_event_and_one_line_of_audit(desk: Desk) -> None:
    single = await desk.give("thumb", inference_id=desk.answered(), value=1.0)
    batch = await desk.give_all(*(Draft(kind="thumb", inference_id=desk.answered(), value=0.0) for _ in range(1_000)))
    assert await desk.told() == [
        FeedbackGathered(feedback_id=single.id, inference_id=single.inference_id),
        FeedbackGathered(feedback_id=batch[-1].id, inference_id=None),
    ]
    async with desk.database.workspace(desk.workspace_id, "test") as tx:
        rows = (await audit.listed(tx, action="feedback.given")).data
    assert [row.detail["count"] for row in rows] == [1_000, 1]
    with pytest.raises(Invalid):
        await desk.give_all(*(Draft(kind="thumb", inference_id=desk.answered(), value=0.0) for _ in range(1_001)))


async def test_the_same_under_one_key_is_one_piece(desk: Desk) -> None:
    one = desk.answered()
    first = await desk.give("correction", inference_id=one, text="net", idempotency_key="k")
    assert await desk.give("correction", inference_id=one, text="net", idempotency_key="k") == first
    with pytest.raises(Conflict):
        await desk.give("correction", inference_id=one, text="web", idempotency_key="k")
    assert (await desk.rows(), len(await desk.told())) == (1, 1)


async def test_without_a_key_twice_is_two(desk: Desk) -> None:
    one = desk.answered()
    await desk.give("thumb", inference_id=one, value=1.0)
    await desk.give("thumb", inference_id=one, value=1.0)
    assert await desk.rows() == 2


async def test_twenty_at_once_under_one_key_are_one(desk: Desk) -> None:
    one = desk.answered()
    given = await asyncio.gather(
        *(desk.give("score", inference_id=one, value=0.5, idempotency_key="race") for _ in range(20))
    )
    assert len({row.id for row in given}) == 1
    assert (await desk.rows(), len(await desk.told())) == (1, 1)


async def test_twenty_different_bodies_at_once_under_one_key_leave_one_winner(desk: Desk) -> None:
    one = desk.answered()
    outcomes = await asyncio.gather(
        *(desk.give("score", inference_id=one, value=part / 20, idempotency_key="race") for part in range(20)),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 19 + ["Feedback"]
    assert await desk.rows() == 1


async def test_batches_with_keys_in_common_neither_double_nor_block(desk: Desk) -> None:
    drafts = [
        Draft(kind="thumb", inference_id=desk.answered(), value=1.0, idempotency_key=f"k{place}") for place in range(80)
    ]
    batches = [drafts[start:] + drafts[:start] for start in range(0, 80, 20)]
    backwards = [batch[::-1] for batch in batches]
    given = await asyncio.gather(*(desk.give_all(*batch) for batch in batches + backwards))
    assert await desk.rows() == 80
    for batch, answers in zip(batches + backwards, given, strict=True):
        assert [row.idempotency_key for row in answers] == [draft.idempotency_key for draft in batch]


async def test_a_batch_is_all_or_nothing(desk: Desk) -> None:
    good = Draft(kind="thumb", inference_id=desk.answered(), value=1.0, idempotency_key="k")
    await desk.give_all(good, good)
    assert await desk.rows() == 1
    bad: list[tuple[type[CharkhaError], Draft]] = [
        (Invalid, Draft(kind="thumb", inference_id=desk.answered(), value=2.0)),
        (NotFound, Draft(kind="thumb", inference_id=uuid4(), value=1.0)),
        (Conflict, Draft(kind="thumb", inference_id=desk.answered(), value=1.0, idempotency_key="k")),
    ]
    for error, draft in bad:
        with pytest.raises(error):
            await desk.give_all(Draft(kind="thumb", inference_id=desk.answered(), value=1.0), draft)
    assert await desk.rows() == 1


async def test_ids_of_others_and_invented_ones_do_not_exist(desk: Desk) -> None:
    mine, theirs = desk.answered(), desk.answered(uuid4())
    for wrong in (theirs, uuid4()):
        with pytest.raises(NotFound):
            await desk.give("thumb", inference_id=wrong, value=1.0)
        with pytest.raises(NotFound):
            await desk.give("preference", inference_id=mine, other_inference_id=wrong)
    assert await desk.rows() == 0


async def test_lessons_are_the_latest_correction_or_an_accepted_answer(desk: Desk) -> None:
    corrected, accepted, rejected, scored = (desk.answered() for _ in range(4))
    await desk.give("correction", inference_id=corrected, text="web")
    await desk.give("thumb", inference_id=accepted, value=0.0)
    up = await desk.give("thumb", inference_id=accepted, value=1.0)
    await desk.give("thumb", inference_id=rejected, value=1.0)
    await desk.give("thumb", inference_id=rejected, value=0.0)
    await desk.give("score", inference_id=scored, value=1.0)
    await desk.give("correction", inference_id=corrected, text="net")
    lessons = await desk.lessons()
    assert [(each.inference_id, each.kind, each.answer, each.accepted) for each in lessons] == [
        (accepted, "thumb", None, True),
        (corrected, "correction", "net", False),
    ]
    assert [each.inference_id for each in await desk.lessons(after=up.id)] == [corrected]
    assert [each.inference_id for each in await desk.lessons(limit=1)] == [corrected]
    await desk.give("thumb", inference_id=corrected, value=1.0)
    assert await desk.lessons(after=lessons[-1].feedback_id) == [], "decided by what was there before"


async def test_scores_of_many_answers(desk: Desk) -> None:
    up, down, corrected, graded, unrated = (desk.answered() for _ in range(5))
    await desk.give_all(
        Draft(kind="thumb", inference_id=up, value=1.0),
        Draft(kind="score", inference_id=down, value=1.0),
        Draft(kind="thumb", inference_id=down, value=0.0),
        Draft(kind="correction", inference_id=corrected, text="x"),
        Draft(kind="score", inference_id=graded, value=0.75),
        Draft(kind="correction", inference_id=graded, text="x"),
        Draft(kind="comment", inference_id=unrated, text="x"),
    )
    async with desk.database.workspace(desk.workspace_id, "test") as tx:
        asked = [up, down, corrected, graded, unrated, *(desk.answered() for _ in range(70_000))]
        assert await desk.service.scores(tx, asked) == {up: 1.0, down: 0.0, corrected: 0.0, graded: 0.75}
        assert await desk.service.scores(tx, []) == {}


async def test_no_method_reaches_another_workspace(
    desk: Desk, database: Database, jobs: Jobs, secrets_of_test: Secrets
) -> None:
    one = desk.answered()
    await desk.give("correction", inference_id=one, text="net", idempotency_key="k")
    other = Desk(database, jobs, secrets_of_test, uuid4())
    async with database.workspace(other.workspace_id, "test") as tx:
        assert (await other.service.listed(tx, inference_ids=[one])).data == []
        assert await other.service.lessons(tx) == []
        assert await other.service.scores(tx, [one]) == {}
    theirs = await other.give("thumb", inference_id=other.answered(), value=1.0, idempotency_key="k")
    assert theirs.kind == "thumb", "keys of one workspace mean nothing in another"
    assert (await desk.rows(), await other.rows()) == (1, 1)


class OneKey:
    """An authenticator that knows one caller."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def authenticate(self, _: str | None) -> Principal:
        return self._principal

    def in_workspace(self, principal: Principal, _: str | None) -> Principal:
        return principal


@pytest.fixture
async def http(desk: Desk, anyio_backend: str) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    install_errors(app)
    principal = Principal("key:test", uuid4(), desk.workspace_id, ALL)
    access = Access(OneKey(principal), desk.database)  # type: ignore[arg-type]
    app.include_router(router(desk.service, access))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


async def test_over_http(desk: Desk, http: httpx.AsyncClient) -> None:
    one = desk.answered()
    body = {"kind": "correction", "inference_id": f"chatcmpl-{one}", "text": "net"}
    first = await http.post("/feedback", json=body, headers={"Idempotency-Key": "k"})
    again = await http.post("/feedback", json={**body, "inference_id": str(one), "idempotency_key": "k"})
    assert (first.status_code, first.content) == (200, again.content)
    other = await http.post("/feedback", json={**body, "text": "web"}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    listed = (await http.get("/feedback", params={"inference_id": str(one), "kind": "correction"})).json()
    assert [row["text"] for row in listed["data"]] == ["net"]


async def test_a_batch_sent_again_under_its_key_has_one_effect(desk: Desk, http: httpx.AsyncClient) -> None:
    up = {"kind": "thumb", "value": True}
    items = [{**up, "inference_id": str(desk.answered())} for _ in range(3)]
    items[1]["idempotency_key"] = "own"
    first = await http.post("/feedback/batch", json={"items": items}, headers={"Idempotency-Key": "b"})
    again = await http.post("/feedback/batch", json={"items": items}, headers={"Idempotency-Key": "b"})
    assert (first.status_code, first.content) == (200, again.content)
    assert [row["idempotency_key"] for row in first.json()] == ["b#0", "own", "b#2"]
    assert await desk.rows() == 3


async def test_the_form_of_tensorzero_is_understood(desk: Desk, http: httpx.AsyncClient) -> None:
    one = str(desk.answered())
    said = []
    for metric_name, value in (("comment", "good"), ("demonstration", "net"), ("solved", True), ("stars", 4)):
        body = {"metric_name": metric_name, "value": value, "inference_id": one}
        answer = (await http.post("/feedback", json=body)).json()
        said.append((answer["kind"], answer["name"], answer["text"], answer["value"]))
    assert said == [
        ("comment", None, "good", None),
        ("correction", None, "net", None),
        ("metric", "solved", None, 1.0),
        ("metric", "stars", None, 4.0),
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        (b"[]", 422),
        (b'{"kind":"thumb","value":true}', 400),
        (b'{"value":true,"inference_id":"ID"}', 400),
        (b'{"kind":"thumb","value":true,"inference_id":"ID","colour":"red"}', 422),
        (b'{"kind":"thumb","value":"true","inference_id":"ID"}', 400),
        (b'{"kind":"thumb","value":[1],"inference_id":"ID"}', 422),
        (b'{"kind":"thumb","value":true,"inference_id":"nonsense"}', 404),
        (b'{"kind":"thumb","value":true,"inference_id":"' + b"9" * 200 + b'"}', 422),
        (b'{"kind":"metric","name":"m","value":NaN,"inference_id":"ID"}', 400),
        (b'{"kind":"metric","name":"m","value":1' + b"0" * 400 + b',"inference_id":"ID"}', 422),
        (b'{"kind":"comment","text":"a\\u0000","inference_id":"ID"}', 400),
        (b'{"kind":"comment","text":"\\ud83d","inference_id":"ID"}', 422),
        (b'{"kind":"comment","text":"x","metric_name":"comment","value":"x","inference_id":"ID"}', 400),
        (b'{"metric_name":"comment","value":1,"inference_id":"ID"}', 400),
        (b'{"metric_name":"m","value":"1","inference_id":"ID"}', 400),
        (b'{"kind":"thumb","value":true,"inference_id":"ID","idempotency_key":"other"}', 400),
        (b'{"kind":"thumb","value":true,"inference_id":"ID"}', 200),
    ],
)
async def test_odd_bodies_get_plain_answers(desk: Desk, http: httpx.AsyncClient, body: bytes, status: int) -> None:
    body = body.replace(b"ID", str(desk.answered()).encode())
    headers = {"content-type": "application/json", "Idempotency-Key": "header"}
    answer = await http.post("/feedback", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert status == 200 or answer.json()["error"]["message"]
