"""The gateway when things go wrong: bad input, engines that break, clients that leave, no room, a full disk."""

import asyncio
import contextlib
import io
import json
from typing import Any

import aiohttp
import openai
import pytest

from charkha.core.errors import StorageFull
from charkha.serve import gateway
from charkha.serve.gateway import GatewayLimits
from charkha.testing.serving import serving

from .conftest import Rig

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json"}
HELLO = [{"role": "user", "content": "hello there"}]
LONG = [{"role": "user", "content": "word " * 500}]


def session(rig: Rig, **headers: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(rig.url + "/", headers={"authorization": f"Bearer {rig.key}", **headers})


BAD_BODIES = [
    (b"", "invalid_json", None),
    (b"{", "invalid_json", None),
    (b"[]", "invalid_json", None),
    (b'"\xff"', "invalid_json", None),
    (b"[" * 200_000, "invalid_json", None),
    (b'{"model":"tiny"}', "missing_required_parameter", "messages"),
    (b'{"messages":[]}', "missing_required_parameter", "model"),
    (b'{"model":7,"messages":[]}', "invalid_value", "model"),
    (b'{"model":"tiny","messages":[]}', "invalid_value", "messages"),
    (b'{"model":"tiny","messages":[{"role":"king","content":""}]}', "invalid_value", "messages[0].role"),
    (b'{"model":"tiny","messages":[{"role":["user"],"content":""}]}', "invalid_value", "messages[0].role"),
    (b'{"model":"tiny","messages":[{"role":"user"}]}', "invalid_value", "messages[0].content"),
    (b'{"model":"tiny","messages":[{"role":"user","content":"a"}],"n":99}', "invalid_value", "n"),
    (b'{"model":"tiny","messages":[{"role":"user","content":"a"}],"stream":"yes"}', "invalid_value", "stream"),
    (b'{"model":"tiny","messages":[{"role":"user","content":"a"}],"user":"a\\nb"}', "invalid_value", "user"),
    (b'{"model":"tiny","messages":[{"role":"user","content":"a"}],"adapters":[]}', "unknown_parameter", "adapters"),
]


async def test_bad_bodies_are_refused_and_nothing_is_written(rig: Rig) -> None:
    async with session(rig) as http:
        for body, code, param in BAD_BODIES:
            async with http.post("chat/completions", data=body, headers=JSON) as answer:
                told = (await answer.json())["error"]
                assert (answer.status, told["code"], told["param"]) == (400, code, param), body[:99]
                assert told["type"] == "invalid_request_error"
                assert answer.headers["x-request-id"]
    assert rig.records() == ([], [])


BAD_REQUESTS = [
    ("POST", "chat/completions", {"authorization": "Bearer nope"}, 401, "invalid_api_key"),
    ("POST", "chat/completions", {"authorization": ""}, 401, "invalid_api_key"),
    ("POST", "chat/completions", {"authorization": "Bearer charkha_it_e30=.00"}, 401, "invalid_api_key"),
    ("GET", "models", {"authorization": "Basic abc"}, 401, "invalid_api_key"),
    ("GET", "chat/completions", {}, 405, "method_not_allowed"),
    ("POST", "models", {}, 405, "method_not_allowed"),
    ("POST", "nothing", {}, 404, "unknown_url"),
    ("GET", "models/none", {}, 404, "model_not_found"),
    ("POST", "chat/completions", {"content-type": "text/plain"}, 400, "invalid_content_type"),
    ("POST", "chat/completions", {"content-encoding": "gzip", **JSON}, 400, "invalid_content_type"),
    ("POST", "chat/completions", {"x-charkha-unit": "u" * 257}, 400, "invalid_value"),
    ("POST", "chat/completions", {"x-charkha-workspace": "nowhere"}, 403, "permission_denied"),
]


async def test_bad_requests_have_a_true_status(rig: Rig) -> None:
    good = b'{"model":"tiny","messages":[{"role":"user","content":"a"}]}'
    async with session(rig) as http:
        for method, path, headers, status, code in BAD_REQUESTS:
            body = good if method == "POST" else None
            async with http.request(method, path, data=body, headers={**JSON, **headers}) as answer:
                told = (await answer.json())["error"]
                assert (answer.status, told["code"]) == (status, code), (method, path, headers)
    assert rig.records() == ([], [])


async def test_the_official_client_raises_what_it_should(rig: Rig) -> None:
    async with rig.client("wrong") as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()
    client = rig.client()
    with pytest.raises(openai.NotFoundError, match="no model 'nothing'"):
        await client.chat.completions.create(model="nothing", messages=HELLO)
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="tiny", messages=HELLO, temperature=9)
    for status, kind in ((422, openai.UnprocessableEntityError), (429, openai.RateLimitError)):
        rig.model.failure = status, {"message": "too much", "code": "context_length_exceeded"}
        with pytest.raises(kind, match="too much"):
            await client.chat.completions.create(model="tiny", messages=HELLO)
    for status in (401, 404, 500):  # an engine's own trouble is not the client's
        rig.model.failure = status, {"message": "internal detail"}
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="tiny", messages=HELLO)
        assert caught.value.status_code == 502
        assert "internal detail" not in str(caught.value)
    assert [record.status for record in rig.records()[1]] == [422, 429, 502, 502, 502]
    await client.close()


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_cap_is_refused(rig: Rig, announced: bool) -> None:
    size = 8 * 2**20 + 1

    async def parts() -> Any:
        for start in range(0, size, 2**16):
            yield b"x" * min(2**16, size - start)

    async with session(rig) as http:
        data: Any = io.BytesIO(b"x" * size) if announced else parts()
        async with http.post("chat/completions", data=data, headers=JSON) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (413, "too_large")
    large = [{"role": "user", "content": "x" * 7_000_000}]  # under the cap, and it passes
    async with rig.client() as client:
        answered = await client.chat.completions.create(model="tiny", messages=large)
        assert len(answered.choices[0].message.content or "") == 7_000_006


async def test_a_request_waits_for_an_engine_that_restarts(rig: Rig) -> None:
    rig.engine.address, address = "", rig.engine.address
    async with rig.client() as client:
        waiting = asyncio.create_task(client.chat.completions.create(model="tiny", messages=HELLO))
        await asyncio.sleep(0.2)
        rig.engine.address = "http://127.0.0.1:1"  # refused
        await asyncio.sleep(0.2)
        rig.engine.address = address
        assert (await waiting).choices[0].message.content == "echo: hello there"
    assert len(rig.records()[0]) == 1


@pytest.fixture
def limits(request: pytest.FixtureRequest) -> GatewayLimits:
    usual = {"request_seconds": 10, "engine_patience_seconds": 2, "drain_seconds": 1}
    return GatewayLimits(**{**usual, **getattr(request, "param", {})})


@pytest.mark.parametrize("limits", [{"engine_patience_seconds": 0.3}], indirect=True)
async def test_an_engine_that_stays_away_is_told_with_retry_after(rig: Rig) -> None:
    rig.engine.address = "http://127.0.0.1:1"
    async with session(rig) as http, http.post("chat/completions", json={"model": "tiny", "messages": HELLO}) as answer:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert (await answer.json())["error"]["code"] == "engine_unavailable"
    assert rig.last()[2].error_code == "engine_unavailable"


async def test_an_engine_that_dies_in_mid_stream_never_looks_done(rig: Rig) -> None:
    rig.model.break_after = 2
    async with rig.client() as client:
        stream = await client.chat.completions.create(model="tiny", messages=HELLO, stream=True)
        with pytest.raises(openai.APIError) as caught:
            _ = [chunk async for chunk in stream]
    assert caught.value.code == "engine_lost"
    closed = rig.last()[2]
    assert (closed.status, closed.error_code, closed.finish_reason) == (502, "engine_lost", None)
    body = {"model": "tiny", "messages": HELLO, "stream": True}
    async with session(rig) as http, http.post("chat/completions", json=body) as answer:
        assert b"[DONE]" not in await answer.read()


async def test_a_request_that_breaks_its_engine_is_not_sent_for_ever(rig: Rig) -> None:
    rig.model.break_after = 0
    async with rig.client() as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(model="tiny", messages=HELLO)
    assert caught.value.status_code in (502, 503)
    assert len(rig.model.requests) <= 2


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_the_engine(rig: Rig, stream: bool) -> None:
    rig.model.pause = 0.05 if stream else 30
    async with session(rig) as http:
        body = {"model": "tiny", "messages": LONG, "stream": stream}
        asking = asyncio.create_task(http.post("chat/completions", json=body))
        while not rig.model.running:
            await asyncio.sleep(0.01)
        if stream:
            answer = await asking
            await answer.content.readany()
            answer.close()
        else:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
    async with asyncio.timeout(5):
        while not rig.records()[1] or (stream and rig.model.running):
            await asyncio.sleep(0.01)
    closed = rig.last()[2]
    assert (closed.status, closed.error_code) == (499, "client_closed")


@pytest.mark.parametrize("limits", [{"request_seconds": 0.3}], indirect=True)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_takes_too_long_is_broken_off(rig: Rig, stream: bool) -> None:
    rig.model.pause = 0.1 if stream else 5
    body = {"model": "tiny", "messages": LONG, "stream": stream}
    async with session(rig) as http, http.post("chat/completions", json=body) as answer:
        content = await answer.read()
        assert answer.status == (200 if stream else 504)
    assert b'"code":"timeout"' in content
    assert b"[DONE]" not in content
    assert rig.last()[2].error_code == "timeout"


@pytest.mark.parametrize("limits", [{"request_seconds": 4}], indirect=True)
async def test_a_client_that_reads_nothing_is_let_go(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "_LAST_WORD_SECONDS", 0.1)
    content = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "w " * 90_000}], "stream": True})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {rig.key}\r\n"
    host, port = rig.url.removesuffix("/v1").removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(f"{head}content-length: {len(content)}\r\n\r\n{content}".encode())
    async with asyncio.timeout(10):
        while not rig.records()[1]:
            await asyncio.sleep(0.02)
    assert rig.last()[2].error_code == "timeout"
    assert rig.gateway._room.taken == 0
    assert len(await reader.readexactly(1024)) == 1024
    writer.close()


@pytest.mark.parametrize("limits", [{"max_in_flight": 2}], indirect=True)
async def test_no_more_than_there_is_room_for(rig: Rig) -> None:
    rig.model.pause = 0.3
    async with session(rig) as http:

        async def ask() -> tuple[int, str | None]:
            async with http.post("chat/completions", json={"model": "tiny", "messages": HELLO}) as answer:
                await answer.read()
                return answer.status, answer.headers.get("retry-after")

        answers = await asyncio.gather(*(ask() for _ in range(6)))
        assert sorted(answers, key=str) == [(200, None)] * 2 + [(503, "1")] * 4
        assert (await ask())[0] == 200


async def test_a_full_disk_is_told_before_anything_is_served(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(record: bytes) -> None:
        raise StorageFull("no room")

    spool = rig.gateway._recorder._spool
    monkeypatch.setattr(spool, "append", full)
    async with session(rig) as http:
        async with http.post("chat/completions", json={"model": "tiny", "messages": HELLO}) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (507, "storage_full")
        assert rig.model.requests == []
        monkeypatch.undo()
        async with http.post("chat/completions", json={"model": "tiny", "messages": HELLO}) as answer:
            assert answer.status == 200


async def test_a_disk_that_fills_up_in_mid_stream_never_looks_done(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = rig.gateway._recorder._spool
    append, left = spool.append, [1]

    def filling(record: bytes) -> None:
        if not left:
            raise StorageFull("no room")
        left.pop()
        append(record)

    monkeypatch.setattr(spool, "append", filling)
    body = {"model": "tiny", "messages": HELLO, "stream": True}
    async with session(rig) as http, http.post("chat/completions", json=body) as answer:
        content = await answer.read()
    assert b"storage_full" in content
    assert b"[DONE]" not in content


async def test_stopping_lets_the_running_requests_end(rig: Rig) -> None:
    rig.model.pause = 0.3
    async with session(rig) as http:
        asking = asyncio.create_task(http.post("chat/completions", json={"model": "tiny", "messages": HELLO}))
        while not rig.model.running:
            await asyncio.sleep(0.01)
        stopping = asyncio.create_task(rig.gateway.stop())
        await asyncio.sleep(0)
        async with http.post("chat/completions", json={"model": "tiny", "messages": HELLO}) as answer:
            assert answer.status == 503
        assert (await asking).status == 200
        await stopping
    assert [record.status for record in rig.records()[1]] == [200]


async def test_an_engine_that_comes_back_elsewhere_is_found(rig: Rig) -> None:
    async with serving(rig.model) as elsewhere, rig.client() as client:
        rig.engine.address = elsewhere
        answer = await client.chat.completions.create(model="tiny", messages=HELLO)
        assert answer.choices[0].message.content == "echo: hello there"
