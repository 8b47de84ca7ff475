"""Reading the log: by id, endpoint, variant and time, page by page, and never another workspace's."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import CharkhaError, Invalid, NotFound
from charkha.core.ids import id_range, mint
from charkha.core.messages import Message
from charkha.govern.access import Access
from charkha.govern.keyring import Principal
from charkha.govern.permissions import ALL
from charkha.kit.db import Database
from charkha.kit.http import install_errors
from charkha.observe.api import router
from charkha.observe.domain import failed, inference_id, prompt_of
from charkha.observe.service import InferenceLog
from charkha.observe.store import FAILED, between
from charkha.observe.tables import inferences
from charkha.observe.values import Wanted
from tests.observe.spooling import KEY, Shipped, at

LOG = InferenceLog()


@pytest.mark.anyio
async def test_an_answer_that_called_tools_is_no_answer_to_learn_from(ship: Shipped, workspace_id: UUID) -> None:
    asked = b'{"messages":[{"role":"user","content":"Look."}]}'
    ends = [{"answer": "I look.", "finish_reason": reason} for reason in ("tool_calls", "stop")]
    ids = await ship(*({"request": asked, "end": end} for end in ends))
    async with ship.database.workspace(workspace_id, "test") as tx:
        contents = await LOG.contents(tx, ids)
        assert [contents[each].answer for each in ids] == ["", "I look."]
        assert (await LOG.get(tx, ids[0])).answer == "I look."


@pytest.mark.anyio
async def test_one_inference_with_its_content_and_without(ship: Shipped, workspace_id: UUID) -> None:
    kept, bare = await ship({"subject_id": "ann"}, {"request": None})
    async with ship.database.workspace(workspace_id, "test") as tx:
        detail = await LOG.get(tx, kept)
        assert (detail.id, detail.kept, detail.prompt, detail.answer, detail.subject_id) == (
            kept,
            True,
            (Message("user", "Which?"),),
            "net",
            "ann",
        )
        assert detail.request == {"messages": [{"role": "user", "content": "Which?"}]}
        detail = await LOG.get(tx, bare)
        assert (detail.kept, detail.prompt, detail.request, detail.answer) == (False, (), None, None)
        with pytest.raises(NotFound):
            await LOG.get(tx, mint(KEY))


@pytest.mark.anyio
async def test_lists_narrow_by_everything_that_is_given(ship: Shipped, workspace_id: UUID) -> None:
    endpoint, variant, version = uuid4(), uuid4(), uuid4()
    a, b, c, d = await ship(
        {"minute": 0, "endpoint_id": endpoint, "episode_id": "e"},
        {
            "minute": 1,
            "endpoint_id": endpoint,
            "variant_id": variant,
            "end": {"status": 503, "error_code": "engine_failed"},
        },
        {"minute": 2, "variant_id": variant, "version_id": version, "subject_id": "ann"},
        {"minute": 3, "purpose": "evaluation", "end": {"duration_ms": 40.0}},
    )
    cases: list[tuple[dict[str, Any], list[UUID]]] = [
        ({}, [d, c, b, a]),
        ({"endpoint_id": endpoint}, [b, a]),
        ({"variant_id": variant}, [c, b]),
        ({"version_id": version}, [c]),
        ({"status": 503}, [b]),
        ({"purpose": "evaluation"}, [d]),
        ({"episode_id": "e"}, [a]),
        ({"model": "sorter"}, [d, c, b, a]),
        ({"model": "other"}, []),
        ({"subject_id": "ann"}, [c]),
        ({"error_code": "engine_failed"}, [b]),
        ({"failed": True}, [b]),
        ({"failed": False}, [d, c, a]),
        ({"failed": True, "variant_id": variant}, [b]),
        ({"failed": True, "variant_id": version}, []),
        ({"min_duration_ms": 12.5}, [d]),
        ({"min_duration_ms": 12}, [d, c, b, a]),
        ({"since": at(1)}, [d, c, b]),
        ({"until": at(1)}, [a]),
        ({"since": at(1), "until": at(3), "variant_id": variant}, [c, b]),
        ({"since": datetime(1, 1, 1, tzinfo=UTC), "until": datetime(9999, 1, 1, tzinfo=UTC)}, [d, c, b, a]),
        ({"endpoint_id": uuid4()}, []),
    ]
    async with ship.database.workspace(workspace_id, "test") as tx:
        for query, expected in cases:
            assert [row.id for row in (await LOG.listed(tx, Wanted(**query))).data] == expected, query
        with pytest.raises(Invalid):
            await LOG.listed(tx, Wanted(since=at(2), until=at(1)))


@pytest.mark.anyio
async def test_pages_follow_one_another_and_end(ship: Shipped, workspace_id: UUID) -> None:
    ids = await ship(*({"minute": minute} for minute in range(7)))
    async with ship.database.workspace(workspace_id, "test") as tx:
        seen, after = [], None
        for size in (3, 3, 1):
            page = await LOG.listed(tx, after=after, limit=3)
            assert len(page.data) == size
            seen += [row.id for row in page.data]
            after = page.next
        assert (seen, after) == (ids[::-1], None)


@pytest.mark.anyio
async def test_observations_are_the_variants_live_requests_in_order(ship: Shipped, workspace_id: UUID) -> None:
    endpoint, one, two = uuid4(), uuid4(), uuid4()
    here = {"endpoint_id": endpoint}
    _, a, b, *_ = await ship(
        {"minute": 0, **here, "variant_id": one},
        {"minute": 2, **here, "variant_id": two, "end": {"status": 500, "error_code": "engine_failed"}},
        {"minute": 3, **here, "variant_id": one, "end": {"status": 429}},
        {"minute": 4, **here, "variant_id": uuid4()},
        {"minute": 5, **here, "variant_id": one, "purpose": "evaluation"},
        {"minute": 6, "endpoint_id": uuid4(), "variant_id": one},
    )
    async with ship.database.workspace(workspace_id, "test") as tx:
        found = await LOG.observations(tx, endpoint, variant_ids=[one, two], since=at(1))
        assert [(each.inference_id, each.variant_id, each.status, each.error) for each in found] == [
            (a, two, 500, True),
            (b, one, 429, False),
        ]
        assert found[0].duration_ms == 12.0
        found = await LOG.observations(tx, endpoint, variant_ids=[one, two], since=at(1), limit=1)
        assert [each.inference_id for each in found] == [a]
        assert await LOG.observations(tx, endpoint, variant_ids=[], since=at(0)) == []


@pytest.mark.anyio
async def test_statistics_by_variant(ship: Shipped, workspace_id: UUID) -> None:
    endpoint, variant = uuid4(), uuid4()
    here = {"endpoint_id": endpoint, "variant_id": variant}
    await ship(
        *({"minute": 1, **here, "end": {"duration_ms": float(ms)}} for ms in range(1, 101)),
        {"minute": 1, **here, "end": {"status": 502, "error_code": "engine_failed", "duration_ms": 9_999.0}},
        {"minute": 9, **here},
        {"minute": 1},
    )
    async with ship.database.workspace(workspace_id, "test") as tx:
        (stats,) = await LOG.stats(tx, endpoint_id=endpoint, until=at(5))
        assert (stats.variant_id, stats.requests, stats.errors) == (variant, 101, 1)
        assert (stats.p50_ms, round(stats.p95_ms or 0, 2)) == (50.5, 95.05)
        assert (stats.prompt_tokens, stats.completion_tokens) == (707, 101)
        assert len(await LOG.stats(tx)) == 2
        (newest,) = await LOG.stats(tx, endpoint_id=endpoint, until=at(5), newest=10)
        assert (newest.variant_id, newest.requests) == (variant, 10)


@pytest.mark.anyio
async def test_failures_are_told_alike_by_database_and_domain(database: Database) -> None:
    async with database.begin("charkha_app") as conn:
        for status in (200, 400, 429, 499, 500, 599):
            for code in (None, "process_died", "abandoned", "client_gone"):
                values = sa.select(
                    sa.literal(status, sa.Integer).label("status"), sa.literal(code, sa.Text).label("error_code")
                ).subquery()
                expression = sa.text(str(FAILED.compile(compile_kwargs={"literal_binds": True})))
                query = sa.select(expression).select_from(values.alias(inferences.name))
                assert (await conn.execute(query)).scalar_one() == failed(status, code)


@pytest.mark.anyio
async def test_no_method_reaches_another_workspace(ship: Shipped, workspace_id: UUID) -> None:
    endpoint, variant = uuid4(), uuid4()
    ids = await ship({"endpoint_id": endpoint, "variant_id": variant})
    async with ship.database.workspace(workspace_id, "test") as tx:
        assert await LOG.known(tx, [*ids, mint(KEY)]) == set(ids)
        assert (await LOG.contents(tx, ids))[ids[0]].answer == "net"
    async with ship.database.workspace(uuid4(), "test") as tx:
        with pytest.raises(NotFound):
            await LOG.get(tx, ids[0])
        assert (await LOG.listed(tx, Wanted(endpoint_id=endpoint))).data == []
        assert await LOG.contents(tx, ids) == {}
        assert await LOG.known(tx, ids) == set()
        assert await LOG.observations(tx, endpoint, variant_ids=[variant], since=at(-1)) == []
        assert await LOG.stats(tx, endpoint_id=endpoint) == []


@pytest.mark.anyio
async def test_contents_hold_the_conversation_or_say_that_none_is_kept(ship: Shipped, workspace_id: UUID) -> None:
    body = b'{"messages":[{"role":"system","content":"Sort."},{"role":"user","content":"x"}]}'
    full, bare = await ship({"request": body, "version_id": uuid4()}, {"request": None})
    async with ship.database.workspace(workspace_id, "test") as tx:
        contents = await LOG.contents(tx, [full, bare, mint(KEY)])
        assert set(contents) == {full, bare}
        assert contents[full].prompt == (Message("system", "Sort."), Message("user", "x"))
        assert (contents[bare].prompt, contents[bare].answer) == ((), "")
        assert await LOG.contents(tx, []) == {}


@pytest.mark.anyio
async def test_kept_contents_of_an_endpoint_are_counted(ship: Shipped, workspace_id: UUID) -> None:
    endpoint = uuid4()
    here = {"endpoint_id": endpoint}
    ids = await ship(here, here, {**here, "request": None, "end": {"answer": None}}, {"endpoint_id": uuid4()}, here)
    async with ship.database.workspace(workspace_id, "test") as tx:
        assert await LOG.count_kept(tx, endpoint, [*ids[:-1], mint(KEY)]) == 2
        assert await LOG.count_kept(tx, endpoint, []) == 0
    async with ship.database.workspace(uuid4(), "test") as tx:
        assert await LOG.count_kept(tx, endpoint, ids) == 0


@pytest.mark.anyio
async def test_content_of_a_newer_form_is_refused(ship: Shipped, workspace_id: UUID) -> None:
    (one,) = await ship({})
    async with ship.database.begin("charkha_system") as conn:
        await conn.execute(sa.text("UPDATE inference_bodies SET version = 99"))
    async with ship.database.workspace(workspace_id, "test") as tx:
        with pytest.raises(CharkhaError, match="form 99"):
            await LOG.contents(tx, [one])


@pytest.mark.anyio
async def test_a_range_of_time_reads_only_its_partitions(ship: Shipped, workspace_id: UUID) -> None:
    await ship({})
    async with ship.database.workspace(workspace_id, "test") as tx:
        query = between(tx, id_range(at(0), at(1))).compile(
            dialect=tx.conn.dialect, compile_kwargs={"literal_binds": True}
        )
        plan = "\n".join(row[0] for row in await tx.all(sa.text(f"EXPLAIN {query}")))
        assert plan.count("inferences_p_") <= 2 * 2  # a table and its index, in at most two months


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, ()),
        (b"no json", ()),
        (b"[1]", ()),
        (b'{"input":"embed me"}', ()),
        (b'{"prompt":"Once"}', (Message("user", "Once"),)),
        (
            b'{"messages":[{"role":"developer","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},'
            b'{"type":"image_url"}]},{"role":"assistant","content":null},{"role":"alien","content":"c"},7]}',
            (Message("system", "a"), Message("user", "b"), Message("assistant", "")),
        ),
    ],
)
def test_conversations_are_read_from_bodies(body: bytes | None, expected: tuple[Message, ...]) -> None:
    assert prompt_of(body) == expected


@given(st.binary())
def test_no_body_breaks_the_reading(body: bytes) -> None:
    assert isinstance(prompt_of(body), tuple)


def test_ids_of_answers_are_understood() -> None:
    value = mint(KEY)
    assert inference_id(str(value)) == inference_id(f"chatcmpl-{value}") == value
    with pytest.raises(NotFound):
        inference_id("chatcmpl-1")


class OneKey:
    """An authenticator that knows one caller."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def authenticate(self, _: str | None) -> Principal:
        return self._principal

    def in_workspace(self, principal: Principal, _: str | None) -> Principal:
        return principal


@pytest.fixture
async def http(ship: Shipped, workspace_id: UUID, anyio_backend: str) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    install_errors(app)
    principal = Principal("key:test", uuid4(), workspace_id, ALL)
    app.include_router(router(LOG, Access(OneKey(principal), ship.database)))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


@pytest.mark.anyio
async def test_over_http(ship: Shipped, http: httpx.AsyncClient) -> None:
    endpoint = uuid4()
    a, b = await ship({"minute": 0, "endpoint_id": endpoint}, {"minute": 1, "endpoint_id": endpoint})
    first = (await http.get("/inferences", params={"limit": 1, "since": at(0).isoformat()})).json()
    assert ([row["id"] for row in first["data"]], first["next"]) == ([str(b)], str(b))
    second = (await http.get("/inferences", params={"limit": 1, "after": first["next"]})).json()
    assert ([row["id"] for row in second["data"]], second["next"]) == ([str(a)], None)
    detail = (await http.get(f"/inferences/chatcmpl-{a}")).json()
    assert (detail["id"], detail["prompt"], detail["answer"]) == (
        str(a),
        [{"role": "user", "content": "Which?"}],
        "net",
    )
    (stats,) = (await http.get("/inferences/stats", params={"endpoint_id": str(endpoint)})).json()
    assert stats["requests"] == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/inferences/none", 404),
        ("/inferences/0190a1b2-0000-7000-8000-000000000000", 404),
        ("/inferences?status=7", 422),
        ("/inferences?limit=0", 422),
        ("/inferences?since=2026-01-01T00:00:00", 422),
        ("/inferences?since=0001-01-01T00:00:00%2B14:00", 200),
        ("/inferences?until=9999-12-31T23:59:59-12:00", 200),
        ("/inferences?episode_id=%00", 422),
        ("/inferences?episode_id=%ff", 200),
        ("/inferences?endpoint_id=x", 422),
        ("/inferences?failed=perhaps", 422),
        ("/inferences?min_duration_ms=inf", 422),
        ("/inferences?min_duration_ms=-1", 422),
        ("/inferences?q=", 422),
        ("/inferences?q=%00", 422),
        ("/inferences?q=%ff%25_%5C", 200),
        ("/inferences?q=" + "a" * 201, 422),
        ("/inferences/stats?until=0001-01-01T00:00:00Z", 200),
        ("/inferences/stats?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", 400),
    ],
)
async def test_odd_questions_get_plain_answers(http: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await http.get(path)
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]["message"]
