"""Limits at the gateway: refusals, headers, reservations and what is settled, with the official client and without."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiohttp
import openai
import pytest

from charkha.core.errors import Unavailable
from charkha.core.records import Closed
from charkha.govern.limits import leases
from charkha.govern.limits.accounts import Account
from charkha.govern.limits.domain import Limit
from charkha.govern.limits.service import LimitService, LimitState
from charkha.govern.prices.service import PriceService
from charkha.kit.snapshot import wait_until_served
from charkha.serve.bounds import DEFAULT_COMPLETION_TOKENS

from .conftest import Rig

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "hello there"}]


async def limit(
    rig: Rig, measure: Any, amount: int, *, subject: Any = "workspace", window: Any = "total", **more: Any
) -> LimitState:
    """A limit on the rig's workspace, its organisation or its key, which the gateway knows when this returns."""
    caller = rig.authenticator.authenticate(f"Bearer {rig.key}")
    owner = caller._replace(permissions=caller.permissions | {"workspace.manage"})
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        made, version = await LimitService().create(
            tx,
            owner,
            subject=subject,
            key_id=caller.key_id if subject == "key" else None,
            measure=measure,
            window=window,
            amount=amount,
            **more,
        )
    await wait_until_served(rig.database, version)
    return made


async def price(rig: Rig, prompt: int, completion: int, **more: Any) -> None:
    """A price of the rig's model, in EUR unless it says otherwise."""
    caller = rig.authenticator.authenticate(f"Bearer {rig.key}")
    terms = {"subject": "workspace", "engine": "local", "model": "tiny", "currency": "EUR", **more}
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        _, version = await PriceService().add(tx, caller, prompt=prompt, completion=completion, **terms)
    await wait_until_served(rig.database, version)


async def remaining(rig: Rig, limit_id: UUID) -> int:
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        return (await LimitService().get(tx, limit_id)).remaining


async def ask(rig: Rig, **more: Any) -> Any:
    async with rig.client() as client:
        return await client.chat.completions.with_raw_response.create(
            model="tiny", messages=HELLO, **{"max_tokens": 20, **more}
        )


async def closed(rig: Rig, count: int) -> list[Closed]:
    """The close records, once there are `count`."""
    async with asyncio.timeout(5):
        while len(found := rig.records()[1]) < count:
            await asyncio.sleep(0.01)
    return found


@pytest.mark.parametrize("subject", ["key", "workspace", "organisation"])
async def test_a_limit_of_requests_holds_and_is_told_in_openais_form(rig: Rig, subject: str) -> None:
    await limit(rig, "requests", 3, subject=subject, window="day")
    for left in (2, 1, 0):
        answer = await ask(rig)
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert int(answer.headers["x-ratelimit-remaining-requests"]) <= left
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
        assert "x-ratelimit-limit-tokens" not in answer.headers
    with pytest.raises(openai.RateLimitError, match="3 requests a day") as caught:
        await ask(rig)
    told = caught.value
    assert (told.status_code, told.code, told.type) == (429, "rate_limit_exceeded", "rate_limit_error")
    midnight = (int(time.time()) // 86_400 + 1) * 86_400
    assert abs(int(told.response.headers["retry-after"]) - (midnight - time.time())) < 5
    assert told.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert len(rig.records()[0]) == 3, "a refused request goes nowhere"
    async with rig.client(rig.other_key) as stranger:
        if subject == "organisation":
            with pytest.raises(openai.RateLimitError):
                await stranger.chat.completions.create(model="tiny", messages=HELLO)
        else:
            await stranger.chat.completions.create(model="tiny", messages=HELLO)


async def test_every_answer_of_a_limited_key_tells_of_its_limits(rig: Rig) -> None:
    await limit(rig, "tokens", 10_000, window="hour")
    await limit(rig, "requests", 100, window="minute")
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {rig.key}"}) as http:
        for method, path, body in (
            ("GET", "/models", None),
            ("POST", "/chat/completions", {"model": "tiny", "messages": HELLO, "temperature": 9}),
            ("POST", "/chat/completions", {"model": "nothing", "messages": HELLO}),
            ("POST", "/chat/completions", {"model": "tiny", "messages": HELLO, "stream": True}),
            ("POST", "/embeddings", {"model": "tiny", "input": "a"}),
        ):
            async with http.request(method, rig.url + path, json=body) as answer:
                names = {name.lower() for name in answer.headers if name.lower().startswith("x-ratelimit")}
                assert len(names) == 6, (path, answer.status, names)
                assert int(answer.headers["x-ratelimit-remaining-requests"]) > 0, (path, body)


async def test_what_is_reserved_is_settled_with_what_was_used(rig: Rig) -> None:
    made = await limit(rig, "tokens", 50_000)
    await ask(rig)
    opened, _, last = rig.last()
    assert opened.holder == "test"
    assert opened.reserved[0][2] > 256 + 20
    assert last.charges == [(made.id, 0, 7 + 3)]
    await rig.gateway.stop()
    assert await remaining(rig, made.id) == 50_000 - 10


async def test_an_answer_without_a_cap_gets_one_where_tokens_are_limited(rig: Rig) -> None:
    async with rig.client() as client:
        await client.chat.completions.create(model="tiny", messages=HELLO)
        assert "max_completion_tokens" not in rig.model.requests[-1]
        await limit(rig, "tokens", 50_000)
        await client.chat.completions.create(model="tiny", messages=HELLO)
        assert rig.model.requests[-1]["max_completion_tokens"] == DEFAULT_COMPLETION_TOKENS
        await client.completions.create(model="tiny", prompt="say it", max_tokens=9)
        assert rig.model.requests[-1]["max_tokens"] == 9


async def test_a_request_that_can_never_fit_is_told_so(rig: Rig) -> None:
    await limit(rig, "tokens", 1_000, window="minute")
    with pytest.raises(openai.RateLimitError, match="more than the limit of this workspace has"):
        await ask(rig, max_tokens=900)
    assert (await ask(rig, max_tokens=5)).headers["x-ratelimit-limit-tokens"] == "1000"


async def test_a_stream_that_is_cut_is_charged_for_what_came_through(rig: Rig) -> None:
    made = await limit(rig, "tokens", 50_000)
    rig.model.pause = 0.02
    words = [{"role": "user", "content": " ".join(f"w{n}" for n in range(200))}]
    async with rig.client() as client:
        stream = await client.chat.completions.create(model="tiny", messages=words, stream=True, max_tokens=300)
        seen = 0
        async for _ in stream:
            seen += 1
            if seen == 5:
                break
        await stream.close()
    last = (await closed(rig, 1))[-1]
    assert (last.status, last.prompt_tokens) == (499, None)
    assert last.completion_tokens is not None
    assert 5 <= last.completion_tokens < 50
    (_, _, units), reserved = last.charges[0], rig.records()[0][-1].reserved[0][2]
    assert units == reserved - 300 + last.completion_tokens, "all that the prompt can have been, and what was written"
    rig.model.break_after = 3
    with pytest.raises(openai.APIError):
        async with rig.client() as client:
            async for _ in await client.chat.completions.create(model="tiny", messages=HELLO, stream=True):
                pass
    assert (await closed(rig, 2))[-1].completion_tokens == 3
    rig.model.failure = 500, {"message": "no"}
    with pytest.raises(openai.InternalServerError):
        await ask(rig)
    assert (await closed(rig, 3))[-1].charges == [(made.id, 0, 0)], "an engine that never answered costs nothing"


async def test_money_needs_a_price_and_is_settled_to_the_millionth(rig: Rig) -> None:
    made = await limit(rig, "money", 5_000_000, currency="EUR")
    with pytest.raises(openai.InternalServerError, match="charkha prices add") as caught:
        await ask(rig)
    assert caught.value.code == "price_missing"
    await price(rig, 1, 1, currency="USD")
    with pytest.raises(openai.InternalServerError, match="it has one in USD"):
        await ask(rig)
    assert rig.records() == ([], [])
    await price(rig, 2_000_000, 6_000_001)
    await ask(rig)
    last = rig.last()[2]
    assert (last.cost, last.currency) == (7 * 2 + 3 * 6 + 1, "EUR"), "rounded up"
    assert last.charges == [(made.id, 0, last.cost)]
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    await price(rig, 0, 0, valid_from=long_ago)
    await ask(rig)
    assert rig.last()[2].cost == last.cost, "the price that began last holds"


async def test_a_price_is_told_without_any_limit(rig: Rig) -> None:
    await ask(rig)
    assert (rig.last()[2].cost, rig.last()[2].currency) == (None, None)
    await price(rig, 1_000_000, 1_000_000)
    await ask(rig)
    assert (rig.last()[2].cost, rig.last()[2].charges) == (10, [])


async def test_requests_at_once_are_limited_and_freed_when_a_client_goes_away(rig: Rig) -> None:
    await limit(rig, "concurrency", 2)
    rig.model.pause = 5
    async with rig.client() as client:
        running = [asyncio.create_task(client.chat.completions.create(model="tiny", messages=HELLO)) for _ in range(2)]
        async with asyncio.timeout(5):
            while rig.model.running < 2:
                await asyncio.sleep(0.01)
        with pytest.raises(openai.RateLimitError, match="2 requests at once") as caught:
            await ask(rig)
        assert caught.value.response.headers["retry-after"] == "1"
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    await closed(rig, 2)
    rig.model.pause = 0
    for _ in range(5):
        await ask(rig)


async def test_without_the_database_what_was_leased_is_spent_and_no_more(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await limit(rig, "requests", 1_000)
    await ask(rig)

    async def gone(*_: object) -> None:
        raise Unavailable("The database does not answer.")

    monkeypatch.setattr(leases.Leases, "grant", gone)
    monkeypatch.setattr(leases.Leases, "give_back", gone)
    answered = 1
    with pytest.raises(openai.InternalServerError) as caught:
        for _ in range(1_000):
            await ask(rig)
            answered += 1
    assert (caught.value.status_code, caught.value.code) == (503, "limits_unavailable")
    assert "retry-after" in caught.value.response.headers
    account = accounts(rig)[0]
    assert account.part is not None
    assert 1 < answered == account.part.granted < 1_000
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(openai.InternalServerError):
            await ask(rig)
    assert time.monotonic() - began < 1, "nobody waits for a database that is gone"


async def test_a_warm_key_does_not_wait_for_the_database(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await limit(rig, "requests", 100_000, window="month")
    for _ in range(20):
        await ask(rig)

    async def never(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(leases.Leases, "grant", never)
    part = accounts(rig)[0].part
    assert part is not None
    assert part.available > 2
    slowest = 0.0
    for _ in range(part.available):
        began = time.monotonic()
        await ask(rig)
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1, "a request waited for the database"


async def test_a_changed_limit_holds_at_once_and_a_deleted_one_no_more(rig: Rig) -> None:
    made = await limit(rig, "requests", 1)
    await ask(rig)
    with pytest.raises(openai.RateLimitError) as caught:
        await ask(rig)
    assert caught.value.code == "insufficient_quota"
    owner = rig.authenticator.authenticate(f"Bearer {rig.key}")
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        _, version = await LimitService().change(tx, owner, made.id, 2)
    await wait_until_served(rig.database, version)
    await ask(rig)
    with pytest.raises(openai.RateLimitError):
        await ask(rig)
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        version = await LimitService().delete(tx, owner, made.id)
    await wait_until_served(rig.database, version)
    assert "x-ratelimit-limit-requests" not in (await ask(rig)).headers


async def test_a_lease_that_is_not_needed_is_handed_back(rig: Rig) -> None:
    made = await limit(rig, "requests", 1_000)
    await ask(rig)
    assert await remaining(rig, made.id) < 999
    account, books = accounts(rig)[0], leases.Leases(rig.database, "test")
    for _ in range(2):  # once for what was drawn since, and once for nothing drawn
        task = account.hand_back(books, time.time())
        if task is not None:
            await task
    assert await remaining(rig, made.id) == 999
    await ask(rig)


async def test_a_clock_that_is_set_back_opens_no_window_twice() -> None:
    now = 1_000_000.0
    fields = (UUID(int=1), UUID(int=2), "key", UUID(int=3), "requests", "minute", 10, None, datetime.now(UTC))
    account = Account(Limit(*fields))  # type: ignore[arg-type]

    class Books:
        def __init__(self) -> None:
            self.spans: list[int] = []

        async def grant(self, limit: Limit, span: Any, need: int, size: int) -> leases.Granted:
            self.spans.append(span.start)
            return leases.Granted(need, 5)

    books: Any = Books()
    for clock in (now, now + 60, now, now + 1):
        if account.current(clock) is None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("charkha.govern.limits.accounts.time.time", lambda clock=clock: clock)
                await account.refill(books, 1)
    assert len(books.spans) == len(set(books.spans)) == 2


def accounts(rig: Rig) -> list[Account]:
    """What the gateway's meter holds."""
    return list(rig.gateway._meter._accounts.values())
