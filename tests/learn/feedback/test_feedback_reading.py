"""Reading feedback: of a page of answers at once, by time, as a trend, and what it would teach."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from charkha.core.clock import now
from charkha.core.errors import Invalid
from charkha.core.ids import mint, uuid7
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.eventlog import EventLog
from charkha.kit.jobs import Jobs
from charkha.learn.feedback import service as services
from charkha.learn.feedback.api import router
from charkha.learn.feedback.domain import Draft
from charkha.learn.feedback.service import FeedbackService, TrendPoint
from charkha.learn.tables import feedback
from tests.callers import Callers, callers

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


class Desk:
    """Feedback of one workspace; each call is a transaction."""

    def __init__(self, database: Database, service: FeedbackService, workspace_id: UUID, key: bytes) -> None:
        self.database, self.service, self.workspace_id, self._key = database, service, workspace_id, key

    def answered(self) -> UUID:
        return mint(self._key)

    async def give(self, **fields: Any) -> UUID:
        async with self.database.workspace(self.workspace_id, "key:test") as tx:
            return (await self.service.give(tx, Draft(**fields))).id

    async def gave(self, at: datetime, kind: str, value: float | None = None) -> UUID:
        """A row as it would stand there if it had been given at another time."""
        new_id = uuid7(int(at.timestamp() * 1000))
        async with self.database.workspace(self.workspace_id, "key:test") as tx:
            values = {"id": new_id, "created_at": at, "kind": kind, "value": value, "episode_id": "e"}
            await tx.insert(feedback, **values, actor="key:test", body_hash=b"h")
        return new_id

    async def read(self, method: str, **query: Any) -> Any:
        async with self.database.workspace(self.workspace_id, "test") as tx:
            return await getattr(self.service, method)(tx, **query)


@pytest.fixture
def desk(database: Database, jobs: Jobs, secrets_of_test: Secrets, workspace_id: UUID) -> Desk:
    service = FeedbackService(EventLog(database, jobs), secrets_of_test)
    return Desk(database, service, workspace_id, secrets_of_test.derive("inference-id", workspace_id))


@pytest.fixture
async def app(database: Database, secrets_of_test: Secrets, desk: Desk) -> Callers:
    made = await callers(database, secrets_of_test, lambda access: router(desk.service, access))
    desk.workspace_id = made.workspaces["first"]
    desk._key = secrets_of_test.derive("inference-id", desk.workspace_id)
    return made


@pytest.fixture
async def client(app: Callers) -> AsyncIterator[httpx.AsyncClient]:
    async with app.client() as client:
        yield client


async def test_which_of_a_page_of_answers_have_feedback(desk: Desk, app: Callers, client: httpx.AsyncClient) -> None:
    one, two, other, silent = (desk.answered() for _ in range(4))
    first = await desk.give(kind="thumb", inference_id=one, value=1.0)
    second = await desk.give(kind="comment", inference_id=two, text="good")
    await desk.give(kind="thumb", inference_id=other, value=0.0)
    asked = {"inference_id": [str(one), f"chatcmpl-{two}", str(silent)]}
    found = (await client.get("/feedback", params=asked)).json()
    assert ([row["id"] for row in found["data"]], found["next"]) == ([str(second), str(first)], None)
    found = (await client.get("/feedback", params={**asked, "kind": "comment"})).json()
    assert [row["id"] for row in found["data"]] == [str(second)]
    hundred = [str(one), *(str(desk.answered()) for _ in range(99))]
    assert len((await client.get("/feedback", params={"inference_id": hundred})).json()["data"]) == 1
    assert (await client.get("/feedback", params={"inference_id": [*hundred, str(one)]})).status_code == 422
    assert (await client.get("/feedback", params={"inference_id": "1" * 101})).status_code == 422
    assert (await client.get("/feedback", params={"inference_id": "x"})).status_code == 404
    async with app.client("second") as stranger:
        assert (await stranger.get("/feedback", params=asked)).json() == {"data": [], "next": None}


async def test_a_range_of_time(desk: Desk) -> None:
    a, b, c = [await desk.gave(NOON + n * HOUR, "thumb", 1.0) for n in range(3)]
    for query, expected in (
        ({"since": NOON + HOUR}, [c, b]),
        ({"until": NOON + HOUR}, [a]),
        ({"since": NOON, "until": NOON + 2 * HOUR, "kind": "thumb"}, [b, a]),
        ({"since": NOON, "kind": "score"}, []),
        ({"episode_id": "e", "until": NOON + HOUR}, [a]),
    ):
        assert [row.id for row in (await desk.read("listed", **query)).data] == expected, query
    with pytest.raises(Invalid):
        await desk.read("listed", since=NOON + HOUR, until=NOON)


async def test_the_trend_by_day_and_by_hour(desk: Desk) -> None:
    await desk.gave(NOON - DAY, "thumb", 1.0)
    for at, kind, value in (
        (NOON, "thumb", 1.0),
        (NOON + HOUR, "thumb", 0.0),
        (NOON + HOUR, "comment", None),
        (NOON + HOUR, "metric", 7.0),
        (NOON + DAY, "score", 0.25),
    ):
        await desk.gave(at, kind, value)
    since, until = NOON.replace(hour=0, minute=0), NOON + DAY + HOUR
    day = since
    assert await desk.read("trend", since=since, until=until) == [
        TrendPoint(day, "comment", 1, None),
        TrendPoint(day, "metric", 1, None),
        TrendPoint(day, "thumb", 2, 0.5),
        TrendPoint(day + DAY, "score", 1, 0.25),
    ]
    by_hour = await desk.read("trend", since=NOON, until=NOON + HOUR, bucket="hour")
    assert by_hour == [TrendPoint(day + 12 * HOUR, "thumb", 1, 1.0)], "the end is not in it"


async def test_the_trend_of_the_last_14_days(desk: Desk) -> None:
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
    for days in (0, 13, 14):
        await desk.gave(midnight - days * DAY, "thumb", 1.0)
    found = await desk.read("trend")
    assert [point.at for point in found] == [midnight - 13 * DAY, midnight]
    other = Desk(desk.database, desk.service, uuid4(), b"k" * 32)
    assert await other.read("trend") == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200),
        ("bucket=hour", 200),
        ("bucket=week", 422),
        ("since=2026-01-01T00:00:00", 422),
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", 400),
        ("since=2020-01-01T00:00:00Z&until=2026-01-01T00:00:00Z", 400),
        ("since=2026-01-01T00:00:00Z&until=2026-04-01T00:00:00Z", 200),
        ("since=2026-01-01T00:00:00Z&until=2026-04-01T00:00:00Z&bucket=hour", 400),
        ("until=0001-01-01T00:00:00%2B14:00", 200),
        ("since=9999-12-31T00:00:00-12:00&until=9999-12-31T23:59:59-12:00", 200),
        ("since=9999-12-31T00:00:00%2B12:00&until=9999-12-31T23:59:59%2B12:00", 200),
    ],
)
async def test_odd_trends_get_plain_answers(client: httpx.AsyncClient, query: str, status: int) -> None:
    answer = await client.get(f"/feedback/trend?{query}")
    assert answer.status_code == status, answer.text
    assert status == 200 or answer.json()["error"]["remedy"]


async def test_too_many_buckets_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "TREND_LIMIT", 2)
    await desk.read("trend", since=NOON, until=NOON + 2 * DAY)
    with pytest.raises(Invalid, match="more than 2 days"):
        await desk.read("trend", since=NOON, until=NOON + 2 * DAY + HOUR)


async def test_what_would_teach_is_what_there_are_lessons_about(desk: Desk) -> None:
    corrected, accepted, rejected, scored, both = (desk.answered() for _ in range(5))
    steps: list[dict[str, Any]] = [
        {"kind": "correction", "inference_id": corrected, "text": "web"},
        {"kind": "thumb", "inference_id": accepted, "value": 0.0},
        {"kind": "thumb", "inference_id": both, "value": 1.0},
        {"kind": "thumb", "inference_id": accepted, "value": 1.0},
        {"kind": "thumb", "inference_id": rejected, "value": 1.0},
        {"kind": "score", "inference_id": scored, "value": 1.0},
        {"kind": "thumb", "inference_id": rejected, "value": 0.0},
        {"kind": "correction", "inference_id": both, "text": "net"},
        {"kind": "thumb", "inference_id": corrected, "value": 1.0},
        {"kind": "thumb", "inference_id": both, "value": 0.0},
        {"kind": "thumb", "episode_id": "e", "value": 1.0},
    ]
    given = [await desk.give(**step) for step in steps]
    for after in (None, *given):
        taught = {lesson.inference_id for lesson in await desk.read("lessons", after=after)}
        counted = await desk.read("teaching", after=after)
        assert (set(counted), len(counted)) == (taught, len(taught)), after
    assert len(await desk.read("teaching", limit=2)) == 2
