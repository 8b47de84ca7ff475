"""What every engine plugin must do. Subclass `EngineConformance` in your tests and give it a `subject` fixture.

    class TestMyEngine(EngineConformance):
        @pytest.fixture
        async def subject(self): ...yield Subject(engine, session, "model-name", two_adapters)

An engine that takes no adapters gives none: the tests of adapters are then skipped. Needs pytest and anyio.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from charkha.serve.ports import COUNT_PATH, CountsTokens, Engine, Response, UpstreamCall
from charkha.serve.recording import Outcome
from charkha.serve.refusals import Refusal
from charkha.serve.streaming import Lines, Relay
from charkha.serve.translated import translated
from charkha.serve.upstream import read_whole

CHAT = "/v1/chat/completions"
_TELLING = 8  # characters of an answer that tell which adapter gave it


@dataclass(frozen=True)
class Subject:
    """An engine to try, running. `adapters` are (digest, file) of two whose answers differ from each other's."""

    engine: Engine
    session: aiohttp.ClientSession
    model: str
    adapters: tuple[tuple[str, Path], ...] = ()

    def body(self, **fields: Any) -> dict[str, Any]:
        """A short, greedy chat request."""
        messages = [{"role": "user", "content": "Name a colour and say why it is yours."}]
        return {"model": self.model, "messages": messages, "max_tokens": 8, "temperature": 0, **fields}

    async def ask(self, adapters: Sequence[tuple[str, float]] = (), path: str = CHAT, **fields: Any) -> tuple[int, Any]:
        """Status and decoded body of an answer that is not streamed."""
        async with await self._post(self.engine.upstream(path, self.body(**fields), adapters)) as response:
            return response.status, msgspec.json.decode(await read_whole(response))

    async def text(self, adapters: Sequence[tuple[str, float]] = ()) -> str:
        """The answer's text. The request must succeed."""
        status, answer = await self.ask(adapters)
        assert status == 200, answer
        text: str = answer["choices"][0]["message"]["content"]
        return text

    async def events(self, *, usage: bool = False, **fields: Any) -> list[dict[str, Any]]:
        """The events of a streamed answer as the gateway asks for it and hands it on; it must end with [DONE]."""
        body = self.body(stream=True, stream_options={"include_usage": True}, **fields)
        relay = Relay("chatcmpl-1", self.model, Outcome(), wants_usage=usage, keeps_content=False)
        async with await self._post(self.engine.upstream(CHAT, body, ())) as response:
            assert response.status == 200
            assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
            payloads = list(Lines().feed(await read_whole(response)))
        told = b"".join([relay.chunk(payload) for payload in payloads])
        assert relay.done
        return [msgspec.json.decode(payload) for payload in Lines().feed(told)]

    async def _post(self, call: UpstreamCall) -> Response:
        response = await self.session.post(call.url, data=call.body, headers=call.headers)
        return translated(response, call)

    async def load(self) -> list[str]:
        """Load both adapters; their digests."""
        if len(self.adapters) < 2:
            pytest.skip("this engine takes no adapters")
        for digest, file in self.adapters:
            await self.engine.load_adapter(digest, file)
        return [digest for digest, _ in self.adapters]


def _calls_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls of a streamed answer, put together by the rule that OpenAI's clients go by: pieces belong by index."""
    calls: dict[int, dict[str, Any]] = {}
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    for piece in [piece for delta in deltas for piece in delta.get("tool_calls") or []]:
        call = calls.setdefault(piece["index"], {"id": "", "function": {"name": "", "arguments": ""}})
        call["id"] += piece.get("id") or ""
        for field in ("name", "arguments"):
            call["function"][field] += piece["function"].get(field) or ""
    return [calls[index] for index in sorted(calls)]


def _text_of(events: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


@pytest.mark.anyio
class EngineConformance:
    """The suite. Every test stands alone and may run against the same engine in any order."""

    async def test_is_healthy(self, subject: Subject) -> None:
        """A running engine says that it is ready."""
        assert (await subject.engine.health()).ready

    async def test_the_base_model_answers_and_counts_its_tokens(self, subject: Subject) -> None:
        """A plain request is answered, the same way twice, with usage that adds up."""
        (status, first), (_, second) = await subject.ask(), await subject.ask()
        assert status == 200
        assert first["choices"][0]["message"] == second["choices"][0]["message"]
        assert first["choices"][0]["finish_reason"] in ("stop", "length")
        usage = first["usage"]
        assert usage["prompt_tokens"] > 0
        assert 0 < usage["completion_tokens"] <= 8
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]

    async def test_a_stream_says_the_same(self, subject: Subject) -> None:
        """Streaming changes how an answer comes, not what it is."""
        assert _text_of(await subject.events()) == await subject.text()

    async def test_usage_is_streamed_only_when_asked_for(self, subject: Subject) -> None:
        """One usage event at the end, or none at all."""
        silent = await subject.events()
        telling = await subject.events(usage=True)
        assert not any(event.get("usage") for event in silent)
        assert [bool(event.get("usage")) for event in telling].count(True) == 1
        assert telling[-1]["usage"]["completion_tokens"] > 0
        assert telling[-1]["choices"] == []

    async def test_several_choices_are_counted_together(self, subject: Subject) -> None:
        """`n` choices, numbered, the prompt counted once; an engine that gives but one says so."""
        try:
            status, answer = await subject.ask(n=3, seed=1, temperature=1.0)
        except ValueError as refusal:
            pytest.skip(f"this engine refuses several choices: {refusal}")
        _, one = await subject.ask(seed=1, temperature=1.0)
        assert status == 200
        assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
        assert answer["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]
        assert answer["usage"]["completion_tokens"] <= 24

    async def test_tokens_are_counted_as_they_are_used(self, subject: Subject) -> None:
        """An engine that says it can count tells of a request what an answer to it would."""
        if not isinstance(subject.engine, CountsTokens):
            pytest.skip("this engine does not count tokens")
        (status, counted), (_, answer) = await subject.ask(path=COUNT_PATH), await subject.ask()
        assert status == 200
        assert counted["input_tokens"] == answer["usage"]["prompt_tokens"]

    async def test_errors_say_what_is_wrong(self, subject: Subject) -> None:
        """A wrong value is the client's error, told in one of the shapes in which the gateway finds the message."""
        status, answer = await subject.ask(temperature="hot")
        assert 400 <= status < 500
        assert Refusal.of(msgspec.json.encode(answer)).message

    async def test_a_tools_calls_are_told_apart(self, subject: Subject) -> None:
        """Every call has an id and a name of its own and arguments that are JSON, streamed or whole."""
        tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
        try:
            status, answer = await subject.ask(tools=[tool])
            events = await subject.events(tools=[tool]) if status == 200 else []
        except ValueError as refusal:
            pytest.skip(f"this engine refuses tools: {refusal}")
        if status != 200:
            assert Refusal.of(msgspec.json.encode(answer)).message
            return
        whole, streamed = answer["choices"][0]["message"].get("tool_calls") or [], _calls_of(events)
        for calls in (whole, streamed):
            assert len({call["id"] for call in calls}) == len(calls)
            assert all(call["id"] and call["function"]["name"] for call in calls)
            assert all(isinstance(msgspec.json.decode(call["function"]["arguments"]), dict) for call in calls)
        assert [call["function"] for call in whole] == [call["function"] for call in streamed]

    async def test_an_unknown_adapter_is_an_error(self, subject: Subject) -> None:
        """Never an answer by the base model, silently."""
        await subject.load()
        status, answer = await subject.ask([("0" * 64, 1.0)])
        assert 400 <= status < 500
        assert answer["error"]["code"] == "adapter_not_loaded"

    async def test_the_right_adapter_answers(self, subject: Subject) -> None:
        """Base and adapters answer differently, and each the same in any order and all at once."""
        first, second = await subject.load()
        ways = [[], [(first, 1.0)], [(second, 1.0)], [(first, 0.5), (second, 0.5)]]
        expected = [await subject.text(way) for way in ways]
        assert len(set(expected[:3])) == 3
        assert expected[3] != expected[0]
        order = [index * 7 % len(ways) for index in range(24)]
        answers = [await subject.text(ways[index]) for index in order]
        assert answers == [expected[index] for index in order]

    async def test_a_weight_of_nothing_is_the_base_model(self, subject: Subject) -> None:
        """Weight 0 switches an adapter off."""
        first, _ = await subject.load()
        assert await subject.text([(first, 0.0)]) == await subject.text()

    async def test_no_request_fails_while_adapters_come_and_go(self, subject: Subject) -> None:
        """Traffic on the base and on one adapter goes on while the other is unloaded and loaded again."""
        first, second = await subject.load()
        expected = {(): await subject.text(), first: await subject.text([(first, 1.0)])}
        done = asyncio.Event()

        async def traffic(adapters: list[tuple[str, float]], wanted: str) -> int:
            count = 0
            while not done.is_set() or count < 3:
                # What else is in the batch may tip a near tie late in an answer; another adapter differs at once.
                assert (await subject.text(adapters))[:_TELLING] == wanted[:_TELLING]
                count += 1
            return count

        async def changes() -> None:
            for _ in range(2):
                await subject.engine.unload_adapter(second)
                assert second not in await subject.engine.adapters()
                await subject.engine.load_adapter(second, dict(subject.adapters)[second])
            done.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(traffic([], expected[()]))
            group.create_task(traffic([(first, 1.0)], expected[first]))
            group.create_task(changes())
        assert set(await subject.engine.adapters()) >= {first, second}

    async def test_adapters_can_be_loaded_twice_and_unloaded_twice(self, subject: Subject) -> None:
        """Both are idempotent."""
        await subject.load()
        first, _ = await subject.load()
        assert (await subject.engine.adapters()).count(first) == 1
        await subject.engine.unload_adapter(first)
        await subject.engine.unload_adapter(first)
        assert first not in await subject.engine.adapters()
