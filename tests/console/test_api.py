"""The way from pages to the REST API: what is sent, what comes back, and how a refusal is told."""

from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from charkha.console.api import Api, Refused, RestApi

pytestmark = pytest.mark.anyio


class Rest:
    """A REST API that answers as told and remembers what it was asked."""

    def __init__(self, answer: Response | None = None) -> None:
        self.answer = answer or JSONResponse({"data": []})
        self.seen: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        asked = {"method": request.method, "path": request.url.path, "query": request.query_params.multi_items()}
        self.seen.append({**asked, "headers": dict(request.headers), "body": await request.body()})
        await self.answer(scope, receive, send)


def _api(rest: Rest) -> Api:
    tokens = iter(f"token-{n}" for n in range(9))
    return RestApi(rest).of(lambda: next(tokens))


async def test_what_is_not_given_is_not_asked() -> None:
    rest = Rest()
    assert await _api(rest).get("/things", a=None, b="", c=[], d=0, e=False, f=["x", "y"]) == {"data": []}
    assert rest.seen[0]["query"] == [("d", "0"), ("e", "false"), ("f", "x"), ("f", "y")]


async def test_each_call_carries_the_rights_of_its_moment() -> None:
    rest = Rest()
    api = _api(rest)
    await api.get("/a")
    await api.send("POST", "/b", {"x": 1})
    assert [seen["headers"]["authorization"] for seen in rest.seen] == ["Bearer token-0", "Bearer token-1"]


async def test_a_change_is_json_and_a_file_is_itself() -> None:
    rest = Rest()
    await _api(rest).send("PUT", "/a", {"é": [1, None]}, name="x")
    await _api(rest).send("DELETE", "/a")
    await _api(rest).upload("/b", b"\x00\xff", "application/jsonl", name="x")
    assert msgspec.json.decode(rest.seen[0]["body"]) == {"é": [1, None]}
    assert (rest.seen[1]["method"], rest.seen[1]["body"]) == ("DELETE", b"")
    assert rest.seen[2]["body"] == b"\x00\xff"
    assert rest.seen[2]["headers"]["content-type"] == "application/jsonl"
    assert rest.seen[2]["query"] == [("name", "x")]


async def test_a_refusal_is_told_as_the_api_told_it() -> None:
    error = {"message": "It is taken. Choose another.", "remedy": "Choose another.", "param": "name"}
    with pytest.raises(Refused) as refused:
        await _api(Rest(JSONResponse({"error": error}, 409))).get("/a")
    found = refused.value
    assert (found.status, found.message, found.remedy, found.param) == (409, "It is taken.", "Choose another.", "name")


@pytest.mark.parametrize("body", ["", "<html>", "[]", '{"error": "text"}', '{"x": 1}'])
async def test_a_refusal_in_any_other_form_is_told_by_its_status(body: str) -> None:
    with pytest.raises(Refused, match="status 502") as refused:
        await _api(Rest(Response(body, 502))).get("/a")
    assert refused.value.remedy is None


async def test_an_empty_answer_is_none() -> None:
    assert await _api(Rest(Response(status_code=204))).send("DELETE", "/a") is None
