"""Looking for inferences: by a text in any spelling, in bounded pages that together miss nothing."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.ids import id_range
from charkha.kit import paging
from charkha.kit.db import Tx
from charkha.observe import search
from charkha.observe.domain import escaped, spellings
from charkha.observe.service import InferenceLog
from charkha.observe.store import FAILED, between
from charkha.observe.tables import inferences
from charkha.observe.values import Wanted
from tests.observe.spooling import Shipped

LOG = InferenceLog()
_MANY = """
INSERT INTO inferences (workspace_id, id, started_at, operation, model, purpose, actor, engine, adapters, stream, status)
SELECT CAST(:workspace_id AS uuid), overlay(CAST(gen_random_uuid() AS text) placing left(uuid, 13) from 1)::uuid,
       now(), 'chat', 'm', 'live', 'key:x', 'local', '[]', false, 200
FROM generate_series(1, 3000), CAST(charkha_uuid_at(now()) AS text) AS uuid
"""


def asks(content: str, **options: Any) -> dict[str, Any]:
    """A request that says `content`; `options` are those of `json.dumps`."""
    return {"request": json.dumps({"messages": [{"role": "user", "content": content}]}, **options).encode()}


async def walked(tx: Tx, limit: int, **query: Any) -> tuple[list[UUID], int]:
    """Everything that following `next` finds, and in how many pages."""
    ids, pages, after = [], 0, None
    while True:
        page = await LOG.listed(tx, Wanted(**query), after=after, limit=limit)
        assert len(page.data) <= limit
        ids += [row.id for row in page.data]
        pages, after = pages + 1, page.next
        if after is None:
            return ids, pages


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "found", "not_found"),
    [
        (asks("Which Bird?"), ("which bird", "WHICH", "?"), ("which fish", "wh_ch", "%", "which%bird")),
        (asks("café 🙂"), ("café", "CAFé", "🙂"), ("cafe", "🙃")),
        (asks("café 🙂", ensure_ascii=False), ("café", "caf", "🙂"), ("cafè",)),
        (asks('say "a\\b"\nnow'), ('"a\\b"', "\nnow", "a\\b"), ("a/b", "\tnow")),
        ({"request": b'{"messages":[{"role":"user","content":"to a\\/b"}]}'}, ("to a/b",), ("to a/c",)),
        ({"request": b"no json \xff\xfe at 100%_of\\"}, ("NO JSON", "100%_of\\"), ("\ufffd", "1000")),
        ({"request": b"{}", "end": {"answer": "Ein Vögelein\n\0 singt"}}, ("vögelein", "\n", "SINGT"), ("vogelein",)),
        ({"request": b"{}", "end": {"answer": None}}, ("{",), ("none", "null")),
        ({"request": None}, (), ("a", "{", "net")),
    ],
)
async def test_a_text_is_found_however_it_is_spelt(
    ship: Shipped, workspace_id: UUID, body: dict[str, Any], found: tuple[str, ...], not_found: tuple[str, ...]
) -> None:
    (one,) = await ship(body)
    async with ship.database.workspace(workspace_id, "test") as tx:
        for text in found:
            assert [row.id for row in (await LOG.listed(tx, Wanted(q=text))).data] == [one], text
        for text in not_found:
            assert (await LOG.listed(tx, Wanted(q=text))).data == [], text
    async with ship.database.workspace(uuid4(), "test") as tx:
        assert (await LOG.listed(tx, Wanted(q="a"))).data == []


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_every_text_is_found_in_the_json_that_holds_it(text: str) -> None:
    forms = spellings(text)
    for ascii_alone in (False, True):
        assert any(form in json.dumps(["<" + text + ">"], ensure_ascii=ascii_alone).encode() for form in forms)
    assert all(escaped(form).isascii() for form in forms)


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_pages_of_a_bounded_search_miss_nothing_and_repeat_nothing(
    ship: Shipped, workspace_id: UUID, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 4)
    monkeypatch.setattr(search, "BODIES", 3)
    model = {True: "rare", False: "usual"}
    ids = await ship(
        *({"minute": n, "model": model[n in (2, 3, 17)], **asks(f"bird {n % 5}")} for n in range(20)),
    )
    async with ship.database.workspace(workspace_id, "test") as tx:
        found, pages = await walked(tx, limit, model="rare")
        assert found == [ids[17], ids[3], ids[2]]
        assert pages > 3, "each page reads 4 rows"
        found, _ = await walked(tx, limit, q="bird 3")
        assert found == [ids[n] for n in (18, 13, 8, 3)]
        found, _ = await walked(tx, limit, q="bird 3", model="rare")
        assert found == [ids[3]]
        assert (await walked(tx, limit, q="fish"))[0] == (await walked(tx, limit, status=404))[0] == []
        assert (await walked(tx, limit, q="bird"))[0] == (await walked(tx, limit, failed=False))[0] == ids[::-1]


@pytest.mark.anyio
async def test_a_page_searches_so_many_bytes_and_no_more(
    ship: Shipped, workspace_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "BODY_BYTES", 1000)
    ids = await ship(*({"minute": n, **asks("x" * 400)} for n in range(5)))
    async with ship.database.workspace(workspace_id, "test") as tx:
        page = await LOG.listed(tx, Wanted(q="nowhere"))
        assert (page.data, page.next) == ([], ids[2]), "the third body ends the first thousand bytes"
        assert (await walked(tx, 50, q="xxx"))[0] == ids[::-1]


@pytest.mark.anyio
async def test_what_failed_is_read_from_its_own_index(ship: Shipped, workspace_id: UUID) -> None:
    _, failing = await ship({}, {"end": {"status": 499, "error_code": "process_died"}})
    async with ship.database.begin("charkha_ingest") as conn:
        await conn.execute(sa.text(_MANY), {"workspace_id": workspace_id})
    async with ship.database.workspace(workspace_id, "test") as tx:
        for query, expected in (
            ({"failed": True}, [failing]),
            ({"status": 500}, []),
            ({"failed": True, "q": "fish"}, []),
        ):
            assert [row.id for row in (await LOG.listed(tx, Wanted(**query))).data] == expected
        indexed, others = search._conditions(Wanted(failed=True, model="m"))
        assert (indexed is FAILED, len(others)) == (True, 1)
        query = between(tx, id_range(None, None)).where(FAILED).order_by(inferences.c.id.desc()).limit(50)
        text = query.compile(dialect=tx.conn.dialect, compile_kwargs={"literal_binds": True})
        plan = "\n".join(row[0] for row in await tx.all(sa.text(f"EXPLAIN {text}")))
    assert "workspace_id_id_idx" in plan, plan
