"""Slots: what one read before is used again by its owner and by nobody else, and a call goes where most of it was read."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.serve.engines.llama_slots import Place, Slots, common
from charkha.serve.engines.models import find_model
from charkha.testing.engine_process import running_engine
from charkha.testing.tiny import make_tiny_gguf

words = st.text("ab", max_size=12)


@given(words, words)
def test_what_texts_begin_with_alike(one: str, other: str) -> None:
    shared = common(one, other)
    assert one[:shared] == other[:shared]
    assert shared in (len(one), len(other)) or one[shared] != other[shared]


async def place(slots: Slots, owner: str, prompt: str) -> Place:
    async with slots.place(owner, prompt) as found:
        return found


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from("xyz"), words), max_size=30))
def test_a_slot_is_read_on_from_by_its_last_owner_alone(count: int, calls: list[tuple[str, str]]) -> None:
    async def run() -> None:
        slots, owners = Slots(count), dict[int, str]()
        for owner, prompt in calls:
            found = await place(slots, owner, prompt)
            assert found.reuse is (owners.get(found.number) == owner)
            owners[found.number] = owner

    asyncio.run(run())


@pytest.mark.anyio
async def test_a_call_goes_where_most_of_it_was_read() -> None:
    slots = Slots(3)
    first = await place(slots, "x", "long system prompt: one")
    second = await place(slots, "x", "another thing altogether")
    stranger = await place(slots, "y", "long system prompt: one")
    assert len({first.number, second.number, stranger.number}) == 3
    assert await place(slots, "x", "long system prompt: two") == (first.number, True)
    assert await place(slots, "y", "long system prompt: two") == (stranger.number, True)
    assert await place(slots, "z", "long system prompt: two") == (second.number, False), "the one that rested longest"


@pytest.mark.anyio
async def test_a_call_waits_for_a_slot_and_one_that_is_given_up_frees_it() -> None:
    slots = Slots(1)
    async with slots.place("x", "a"):
        waiting = [asyncio.create_task(place(slots, owner, "a")) for owner in "xy"]
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in waiting)
        waiting[0].cancel()
    assert await waiting[1] == (0, False)
    assert await place(slots, "y", "a") == (0, True)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home: Path = tmp_path_factory.mktemp("home")
    model = make_tiny_gguf(home / "tiny.gguf", find_model(None, home).path)
    with running_engine(home, model, parallel=2) as engine, engine.client() as client:
        yield client


def cached(client: httpx.Client, partition: str, text: str, **more: Any) -> int:
    """Tokens of a prompt that were not read anew."""
    messages = [{"role": "system", "content": "word " * 60}, {"role": "user", "content": text}]
    body = {"model": "m", "messages": messages, "max_tokens": 2, "partition": partition, **more}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    found: int = usage["prompt_tokens_details"]["cached_tokens"]
    assert 0 <= found < usage["prompt_tokens"]
    return found


def test_no_partition_reads_on_from_what_another_has_read(client: httpx.Client) -> None:
    assert cached(client, "a", "one") == 0
    assert cached(client, "a", "two") > 50
    assert cached(client, "b", "one") == 0
    assert cached(client, "b", "two") > 50
    assert cached(client, "c", "two") == 0, "in the slot of one of them, which had read it"
    assert cached(client, "c", "two") > 50
    assert cached(client, "c", "two", n=4) > 50
    told = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "a"}], "partition": 7})
    assert (told.status_code, told.json()["error"]["param"]) == (400, "partition")
