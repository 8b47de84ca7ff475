"""The routes of data sets: every form of upload, every refusal, and nothing across workspaces."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from charkha.data import api, uploads
from charkha.data.service import DatasetService
from charkha.kit.blobs import Blobs
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from tests.callers import Callers, callers

pytestmark = pytest.mark.anyio

JSONL = {"content-type": "application/jsonl"}


@pytest.fixture
async def app(database: Database, secrets_of_test: Secrets, tmp_path: Path) -> Callers:
    datasets = DatasetService(Blobs(f"file://{tmp_path}/blobs", secrets_of_test))
    return await callers(database, secrets_of_test, lambda access: api.router(datasets, access))


@pytest.fixture
async def client(app: Callers) -> AsyncIterator[httpx.AsyncClient]:
    async with app.client() as client:
        yield client


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


LABELLED = [{"input": f"{kind} number {n}", "label": kind} for kind in ("spam", "ham") for n in range(4)]
OURS = [
    {
        "prompt": [{"role": "system", "content": "Say."}, {"role": "user", "content": kind}],
        "answer": kind,
        "label": kind,
    }
    for kind in ("spam", "ham")
]


async def test_json_lines_and_one_document_make_the_same_version(client: httpx.AsyncClient) -> None:
    first = await client.post("/datasets", params={"name": "mail"}, content=lines(LABELLED), headers=JSONL)
    second = await client.post("/datasets", json={"name": "mail", "examples": LABELLED})
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    version = first.json()
    assert (version["examples"], version["labels"], version["number"]) == (8, ["ham", "spam"], 1)
    assert (await client.get(f"/dataset-versions/{version['id']}")).json() == version
    listed = (await client.get("/datasets")).json()["data"]
    assert [(each["name"], each["versions"]) for each in listed] == [("mail", 1)]
    versions = (await client.get(f"/datasets/{version['dataset_id']}/versions")).json()["data"]
    assert versions == [version]


async def test_examples_in_our_own_form_are_kept_as_they_are(client: httpx.AsyncClient) -> None:
    made = await client.post("/datasets", params={"name": "suite"}, content=lines(OURS), headers=JSONL)
    path = f"/dataset-versions/{made.json()['id']}/examples"
    all_of_them = (await client.get(path)).json()
    assert sorted(all_of_them, key=lambda each: each["answer"], reverse=True) == OURS
    assert (await client.get(path, params={"offset": 1, "limit": 1})).json() == all_of_them[1:]
    assert (await client.get(path, params={"limit": 0})).status_code == 422


async def test_examples_are_found_by_what_they_say(client: httpx.AsyncClient) -> None:
    rows = [
        {
            "prompt": [{"role": "user", "content": f'He said "Größe {n}"\n and left.'}],
            "answer": "content",
            "label": label,
        }
        for n, label in ((1, "Ärger"), (2, "role"))
    ]
    made = await client.post("/datasets", params={"name": "said"}, content=lines(rows), headers=JSONL)
    path = f"/dataset-versions/{made.json()['id']}/examples"

    async def found(q: str, **more: int) -> list[str]:
        answer = await client.get(path, params={"q": q, **more})
        return sorted(each["label"] for each in answer.json())

    assert await found("größe") == ["role", "Ärger"]
    assert await found('"GRÖSSE 1"\n and') == ["Ärger"]
    assert await found("ärger") == ["Ärger"]
    assert await found("ROLE") == ["role"]  # what it says, not how it is written down
    assert await found("user") == []
    assert len(await found("size") + await found("größe", offset=1)) == 1
    assert await found("größe", limit=1) != await found("größe", limit=1, offset=1)


async def test_content_is_what_the_digest_is_of(client: httpx.AsyncClient) -> None:
    made = (await client.post("/datasets", params={"name": "suite"}, content=lines(OURS), headers=JSONL)).json()
    answer = await client.get(f"/dataset-versions/{made['id']}/content")
    assert hashlib.sha256(answer.content).hexdigest() == made["digest"]
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.headers["content-disposition"] == f'attachment; filename="dataset-{made["digest"][:12]}.jsonl"'
    again = await client.post("/datasets", params={"name": "suite"}, content=answer.content, headers=JSONL)
    assert again.json()["id"] == made["id"]


async def test_data_sets_are_listed_with_their_newest_version(client: httpx.AsyncClient) -> None:
    await client.post("/datasets", json={"name": "100 % mail", "examples": LABELLED})
    await client.post("/datasets", json={"name": "talk", "examples": LABELLED})
    newest = (await client.post("/datasets", params={"name": "talk"}, content=lines(OURS), headers=JSONL)).json()
    listed = (await client.get("/datasets")).json()["data"]
    assert [(each["name"], each["versions"], each["examples"]) for each in listed] == [
        ("talk", 2, 2),
        ("100 % mail", 1, 8),
    ]
    assert (listed[0]["newest_version_id"], listed[0]["updated_at"]) == (newest["id"], newest["created_at"])
    assert (await client.get(f"/datasets/{listed[0]['id']}")).json() == listed[0]
    for text, names in (("TALK", ["talk"]), ("%", ["100 % mail"]), ("_", []), ("a", ["talk", "100 % mail"])):
        found = (await client.get("/datasets", params={"q": text})).json()
        assert [each["name"] for each in found["data"]] == names
    first = (await client.get("/datasets", params={"q": "a", "limit": 1})).json()
    rest = (await client.get("/datasets", params={"q": "a", "limit": 1, "after": first["next"]})).json()
    assert [each["name"] for each in first["data"] + rest["data"]] == ["talk", "100 % mail"]
    assert rest["next"] is None


async def test_conversations_are_taken(client: httpx.AsyncClient) -> None:
    turns = [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}]}
        for n in range(3)
    ]
    made = await client.post("/datasets", json={"name": "talk", "examples": turns})
    assert (made.json()["examples"], made.json()["labels"]) == (3, None)


ID = {"inference_id": "mine"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "There are no examples"),
        (lines(LABELLED[:4]), "Every example has the label 'spam'"),
        (b'{"input": "a", "label": "b"}\nno json', "Line 2 is not JSON"),
        (lines([{"input": "a"}]), "Line 1 has 'input' but no label"),
        (lines([OURS[0] | ID]), "Line 1 has an inference_id that is no id"),
        (lines([OURS[0] | {"answer": " "}]), "Line 1 has an empty prompt or answer"),
        (lines([OURS[0], OURS[1] | {"label": "a\0b"}]), "Line 2 has a NUL"),
        (lines([OURS[0], {"prompt": 3}]), "Line 2 is no example"),
    ],
)
async def test_a_bad_file_is_refused_with_its_line(client: httpx.AsyncClient, body: bytes, told: str) -> None:
    answer = await client.post("/datasets", params={"name": "bad"}, content=body, headers=JSONL)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]
    assert answer.json()["error"]["remedy"]
    assert (await client.get("/datasets")).json()["data"] == []


async def test_a_file_needs_a_name_and_a_document_its_fields(client: httpx.AsyncClient) -> None:
    nameless = await client.post("/datasets", content=lines(OURS), headers=JSONL)
    assert (nameless.status_code, nameless.json()["error"]["param"]) == (400, "name")
    for document in ({"name": "x"}, {"name": "x", "examples": {}}, [], {"name": "x", "examples": [], "more": 1}):
        assert (await client.post("/datasets", json=document)).status_code == 400


async def test_a_body_over_the_cap_is_refused_while_it_comes(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "LARGEST_UPLOAD", 1 << 20)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 2**26:
            sent += 2**16
            yield b"x" * 2**16

    answer = await client.post("/datasets", params={"name": "big"}, content=endless(), headers=JSONL)
    assert answer.status_code == 413
    assert "larger than 1 MiB" in answer.json()["error"]["message"]
    assert sent < 2**22


async def test_permissions_and_other_workspaces(app: Callers, client: httpx.AsyncClient) -> None:
    made = (await client.post("/datasets", json={"name": "mail", "examples": LABELLED})).json()
    async with app.client("viewer") as viewer:
        assert (await viewer.get(f"/dataset-versions/{made['id']}")).status_code == 200
        assert (await viewer.post("/datasets", json={"name": "mail", "examples": LABELLED})).status_code == 403
    async with app.client("second") as other:
        assert (await other.get("/datasets")).json()["data"] == []
        for path in ("", "/versions"):
            assert (await other.get(f"/datasets/{made['dataset_id']}{path}")).status_code == 404
        for path in ("", "/examples", "/content"):
            assert (await other.get(f"/dataset-versions/{made['id']}{path}")).status_code == 404
