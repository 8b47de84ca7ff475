"""Several ways behind one endpoint, on real sockets: fallback, deadlines, hedging, and what the client and the log see."""

import asyncio
import time
from typing import Any

import aiohttp
import anthropic
import pytest

from charkha.core.records import Closed
from charkha.serve.gateway import GatewayLimits
from charkha.serve.routing.breaker import Breaker, Thresholds
from charkha.serve.routing.domain import Alternative, Routing
from charkha.serve.variants import VariantSpec
from tests.serve.conftest import Rig
from tests.serve.routing.conftest import Faulty
from tests.serve.test_limits import limit, price

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "hello there"}]
SPARE = Alternative(engine="spare", model="spare-model")


@pytest.fixture
def limits() -> GatewayLimits:
    return GatewayLimits(request_seconds=5, engine_patience_seconds=2, drain_seconds=1)


@pytest.fixture
def first(rig: Rig) -> Faulty:
    """The first engine's model, which can fail in more ways than the usual one."""
    assert isinstance(rig.model, Faulty)
    return rig.model


@pytest.fixture(autouse=True)
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.serve.conftest.FakeModel", Faulty)


async def ways(rig: Rig, *alternatives: Alternative, **routing: Any) -> None:
    """The endpoint "support", whose own way is the engine "local"."""
    found = list(alternatives) or [SPARE]
    await rig.endpoint(spec=VariantSpec(engine="local", model="tiny", alternatives=found, routing=Routing(**routing)))


async def ask(rig: Rig, *, stream: bool = False, headers: dict[str, str] | None = None, **more: Any) -> Any:
    """Status, headers and text of an answer of the endpoint."""
    body = {"model": "support", "messages": HELLO, "stream": stream, **more}
    key = {"authorization": f"Bearer {rig.key}", **(headers or {})}
    async with (
        aiohttp.ClientSession(headers=key) as http,
        http.post(rig.url + "/chat/completions", json=body) as answer,
    ):
        return answer.status, answer.headers, (await answer.read()).decode()


async def closed(rig: Rig, count: int = 1) -> list[Closed]:
    async with asyncio.timeout(5):
        while len(found := rig.records()[1]) < count:
            await asyncio.sleep(0.01)
    return found


def break_down(rig: Rig, model: Faulty, how: str) -> None:
    """Make an engine fail."""
    match how:
        case "refused":
            rig.engine.address = "http://127.0.0.1:1"
        case "away":
            rig.engine.address = ""
        case "cut":
            model.break_after = 0
        case "hang":
            model.pause = 30
        case _ if how.isdecimal():
            model.failure = int(how), {"message": "no"}
        case _:
            model.fault = how


FAULTS = {
    "refused": {"engine_unavailable"},
    "away": {"engine_unavailable"},
    "cut": {"engine_lost", "engine_failed"},  # of a whole answer the server makes a 500
    "hang": {"timeout"},
    "500": {"engine_failed"},
    "503": {"engine_unavailable"},
    "401": {"engine_refused"},
    "404": {"engine_refused"},
    "nonsense": {"engine_failed"},
    "half": {"engine_lost"},
    "ends": {"engine_lost", "engine_failed"},
    "error": {"engine_failed"},
    "busy": {"rate_limited"},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_fails_before_the_first_byte_the_next_way_answers(
    rig: Rig, first: Faulty, second: Faulty, fault: str, stream: bool
) -> None:
    await ways(rig, first_token_seconds=1 if fault == "hang" else None)
    break_down(rig, first, fault)
    began = time.monotonic()
    status, headers, text = await ask(rig, stream=stream)
    assert status == 200, text
    assert time.monotonic() - began < 4
    assert "echo:" in text
    assert ("[DONE]" in text) == stream
    assert headers["x-charkha-engine"] == "spare"
    told = headers["x-charkha-degraded"]
    assert told in FAULTS[fault]
    opened, record = rig.records()[0], (await closed(rig))[0]
    assert len(opened) == len(rig.records()[1]) == 1
    assert (record.status, record.engine, record.engine_model) == (200, "spare", "spare-model")
    assert (record.degraded, record.completion_tokens) == (told, 3)
    assert record.tries >= (2 if fault not in ("away",) else 1)
    assert rig.gateway.health["local"].pending == rig.gateway.health["spare"].pending == 0


async def test_an_answer_of_the_first_way_says_who_it_is_and_nothing_else(rig: Rig) -> None:
    await ways(rig)
    _, headers, _ = await ask(rig)
    assert headers["x-charkha-engine"] == "local"
    assert "x-charkha-degraded" not in headers
    record = (await closed(rig))[0]
    assert (record.engine, record.degraded, record.tries) == ("", None, 1)
    await rig.endpoint("alone")
    _, headers, _ = await ask(rig, model="alone")
    assert "x-charkha-engine" not in headers


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_what_is_wrong_with_the_request_is_told_and_not_tried_elsewhere(
    rig: Rig, first: Faulty, second: Faulty, status: int
) -> None:
    await ways(rig)
    first.failure = status, {"message": "a bad field", "param": "tools"}
    answered, _, text = await ask(rig)
    assert (answered, "a bad field" in text) == (status, True)
    assert (len(first.requests), len(second.requests)) == (1, 0)


async def test_a_request_too_long_for_one_way_may_fit_the_next(rig: Rig, first: Faulty, second: Faulty) -> None:
    await ways(rig)
    first.failure = 400, {"message": "too long", "code": "context_length_exceeded"}
    status, headers, _ = await ask(rig)
    assert (status, headers["x-charkha-engine"]) == (200, "spare")
    second.failure = first.failure
    status, _, text = await ask(rig)
    assert (status, "context_length_exceeded" in text) == (400, True)


async def test_after_the_first_byte_nothing_is_tried_again(rig: Rig, first: Faulty, second: Faulty) -> None:
    await ways(rig)
    first.break_after = 1
    status, _, text = await ask(rig, stream=True)
    assert status == 200
    assert "engine_lost" in text
    assert "[DONE]" not in text
    assert (len(first.requests), len(second.requests)) == (1, 0)
    assert (await closed(rig))[0].engine == ""
    assert rig.gateway.health["local"].pending == 0


async def test_a_dialect_that_is_told_anew_begins_anew_on_the_next_way(rig: Rig, first: Faulty) -> None:
    await ways(rig)
    first.fault = "error"
    client = anthropic.AsyncAnthropic(base_url=rig.url.removesuffix("/v1"), api_key=rig.key, max_retries=0)
    async with client, client.messages.stream(model="support", max_tokens=20, messages=HELLO) as stream:  # type: ignore[arg-type]
        said = await stream.get_final_text()
    assert said == "echo: hello there"


async def test_when_every_way_fails_the_client_gets_one_error(rig: Rig, first: Faulty, second: Faulty) -> None:
    await ways(rig)
    first.failure = second.failure = (500, {"message": "no"})
    status, headers, text = await ask(rig)
    assert status == 502
    assert "spare" in text
    assert "x-charkha-degraded" not in headers
    record = (await closed(rig))[0]
    assert (record.status, record.error_code, record.tries) == (502, "engine_failed", 4)
    second.failure, second.pause = None, 30
    rig.gateway.health["local"].breaker = Breaker()
    await ways_named(rig, "slow", first_token_seconds=0.2)
    status, _, text = await ask(rig, model="slow")
    assert (status, '"code":"timeout"' in text) == (504, True)


async def ways_named(rig: Rig, name: str, *alternatives: Alternative, **routing: Any) -> None:
    spec = VariantSpec(
        engine="local", model="tiny", alternatives=list(alternatives) or [SPARE], routing=Routing(**routing)
    )
    await rig.endpoint(name, spec)


async def test_a_variants_own_deadline_holds(rig: Rig, first: Faulty) -> None:
    first.pause = 30
    await ways(rig, request_seconds=0.2)
    began = time.monotonic()
    status, _, text = await ask(rig)
    assert (status, "0.2 seconds" in text) == (504, True)
    assert time.monotonic() - began < 4


async def test_a_failure_that_passes_is_tried_again(rig: Rig, first: Faulty, second: Faulty) -> None:
    await ways(rig, retries=2)
    first.failure = 500, {"message": "once"}

    async def recover() -> None:
        while not first.requests:
            await asyncio.sleep(0.001)
        first.failure = None

    recovering = asyncio.create_task(recover())
    _, headers, _ = await ask(rig)
    await recovering
    assert headers["x-charkha-engine"] == "local"
    assert "x-charkha-degraded" not in headers
    assert (await closed(rig))[0].tries in (2, 3)
    assert second.requests == []


async def test_a_short_rest_that_an_engine_asks_for_is_waited_for(rig: Rig, first: Faulty) -> None:
    await rig.endpoint()
    first.fault, first.rest = "busy", b"0.2"
    began = time.monotonic()
    asking = asyncio.create_task(ask(rig))
    while not first.requests:
        await asyncio.sleep(0.005)
    first.fault = ""
    assert (await asking)[0] == 200
    assert time.monotonic() - began >= 0.2
    first.fault, first.rest = "busy", b"30"
    began = time.monotonic()
    status, headers, text = await ask(rig)
    assert (status, headers["retry-after"]) == (429, "30")
    assert "slow_down" in text
    assert time.monotonic() - began < 5


async def test_an_engine_that_rests_is_asked_last(rig: Rig, first: Faulty, second: Faulty) -> None:
    await ways(rig)
    first.fault, first.rest = "busy", b"30"
    assert (await ask(rig))[1]["x-charkha-degraded"] == "rate_limited"
    asked = len(first.requests)
    assert (await ask(rig))[1]["x-charkha-degraded"] == "rate_limited"
    assert len(first.requests) == asked
    second.failure = 500, {"message": "no"}
    first.fault = ""
    assert (await ask(rig))[1]["x-charkha-engine"] == "local"


async def test_a_hedge_wins_and_the_slow_one_is_let_go(rig: Rig, first: Faulty, second: Faulty) -> None:
    await ways(rig, hedge_ms=50)
    first.pause = 6
    began = time.monotonic()
    status, headers, text = await ask(rig, stream=True)
    assert time.monotonic() - began < 5
    assert (status, headers["x-charkha-engine"], headers["x-charkha-degraded"]) == (200, "spare", "slow")
    assert "[DONE]" in text
    async with asyncio.timeout(2):
        while not first.abandoned:
            await asyncio.sleep(0.01)
    record = (await closed(rig))[0]
    assert (record.tries, record.engine, record.completion_tokens) == (2, "spare", 3)
    assert rig.gateway.health["local"].pending == rig.gateway.health["spare"].pending == 0
    first.pause = 0
    _, headers, _ = await ask(rig)
    assert headers["x-charkha-engine"] == "local"
    assert len(second.requests) == 1, "an answer in time needs no hedge"


async def test_a_lone_way_is_hedged_with_itself_while_the_budget_lasts(rig: Rig, first: Faulty) -> None:
    await rig.endpoint(spec=VariantSpec(engine="local", model="tiny", routing=Routing(hedge_ms=30)))
    first.pause = 0.15
    assert (await ask(rig))[0] == 200
    assert len(first.requests) == 2
    rig.gateway.health["local"].budget.left = -100
    assert (await ask(rig))[0] == 200
    assert len(first.requests) == 3


async def test_a_hedge_that_fails_does_not_hurt_and_two_that_fail_are_one_error(
    rig: Rig, first: Faulty, second: Faulty
) -> None:
    await ways(rig, hedge_ms=30, retries=0)
    first.pause, second.failure = 0.2, (500, {"message": "no"})
    status, headers, _ = await ask(rig)
    assert (status, headers["x-charkha-engine"]) == (200, "local")
    first.break_after = 0
    status, _, _ = await ask(rig)
    assert status in (502, 503)
    assert len(await closed(rig, 2)) == 2


async def test_a_client_that_leaves_ends_both_of_a_race(rig: Rig, first: Faulty, second: Faulty) -> None:
    await ways(rig, hedge_ms=20)
    first.pause = second.pause = 30
    asking = asyncio.create_task(ask(rig, stream=True))
    async with asyncio.timeout(5):
        while not (first.running and second.running):
            await asyncio.sleep(0.01)
        asking.cancel()
        while first.running or second.running:
            await asyncio.sleep(0.01)
    assert (await closed(rig))[0].status == 499
    health = rig.gateway.health
    assert [health[name].pending for name in ("local", "spare")] == [0, 0]
    assert health["local"].breaker.state(time.monotonic()) == "closed"


async def test_the_breaker_opens_spares_the_engine_and_closes_again(rig: Rig, first: Faulty, second: Faulty) -> None:
    await ways(rig, retries=0)
    breaker = rig.gateway.health["local"].breaker = Breaker(Thresholds(minimum=4, pause=1.5))
    first.failure = 500, {"message": "no"}
    for _ in range(4):
        assert (await ask(rig))[1]["x-charkha-degraded"] == "engine_failed"
    assert breaker.state(time.monotonic()) == "open"
    for _ in range(5):
        assert (await ask(rig))[1]["x-charkha-degraded"] == "breaker_open"
    assert len(first.requests) == 4
    first.failure, first.pause = None, 1
    await asyncio.sleep(1.5)
    answers = await asyncio.gather(*(ask(rig) for _ in range(6)))
    engines = sorted(headers["x-charkha-engine"] for _, headers, _ in answers)
    assert engines == ["local", *["spare"] * 5], "one probe at a time"
    assert breaker.state(time.monotonic()) == "closed"
    assert (await ask(rig))[1]["x-charkha-engine"] == "local"


async def test_an_open_breaker_refuses_at_once_where_there_is_no_other_way(rig: Rig, first: Faulty) -> None:
    await rig.endpoint()
    rig.gateway.health["local"].breaker = Breaker(Thresholds(minimum=4, pause=5))
    first.failure = 500, {"message": "no"}
    for _ in range(2):  # each is tried twice
        assert (await ask(rig))[0] == 502
    began = time.monotonic()
    status, headers, text = await ask(rig)
    assert time.monotonic() - began < 1.5
    assert (status, headers["retry-after"], "engine_unavailable" in text) == (503, "5", True)
    assert len(first.requests) == 4


async def test_the_retry_budget_bounds_a_storm(rig: Rig, first: Faulty) -> None:
    await rig.endpoint(spec=VariantSpec(engine="local", model="tiny", routing=Routing(retries=5)))
    health = rig.gateway.health["local"]
    health.breaker = Breaker(Thresholds(minimum=10**9))
    health.budget.left = 5
    first.failure = 500, {"message": "no"}
    began = time.monotonic()
    answers = await asyncio.gather(*(ask(rig) for _ in range(60)))
    assert {status for status, _, _ in answers} == {502}
    retries = len(first.requests) - 60
    assert 5 <= retries <= 5 + 0.2 * 60 + (time.monotonic() - began) + 1


async def test_an_engine_that_is_restarting_is_waited_for_only_where_nothing_else_answers(
    rig: Rig, first: Faulty, second: Faulty
) -> None:
    await ways(rig)
    rig.engine.address, address = "", rig.engine.address
    began = time.monotonic()
    assert (await ask(rig))[1]["x-charkha-engine"] == "spare"
    assert time.monotonic() - began < 1.5
    second.failure = 401, {"message": "no"}
    asking = [asyncio.create_task(ask(rig)) for _ in range(12)]  # enough to open the breaker
    await asyncio.sleep(0.3)
    rig.engine.address = address
    answers = await asyncio.gather(*asking)
    assert [(status, headers["x-charkha-engine"]) for status, headers, _ in answers] == [(200, "local")] * 12


async def test_a_fallback_is_reserved_at_the_dearest_and_billed_once_at_its_own_price(
    rig: Rig, first: Faulty, second: Faulty
) -> None:
    made = await limit(rig, "money", 5_000_000, currency="EUR")
    await price(rig, 1_000_000, 1_000_000)
    await ways(rig)
    status, _, text = await ask(rig, max_tokens=20)
    assert (status, "price_missing" in text) == (500, True), "the alternative may answer, so it needs a price"
    await price(rig, 3_000_000, 5_000_000, engine="spare", model="spare-model")
    assert (await ask(rig, max_tokens=20))[0] == 200
    first.failure = 500, {"message": "no"}
    assert (await ask(rig, max_tokens=20))[1]["x-charkha-engine"] == "spare"
    own, spare = (await closed(rig, 2))[-2:]
    size = rig.records()[0][-1].reserved[0][2]
    assert (own.cost, own.charges) == (7 + 3, [(made.id, 0, 10)])
    assert (spare.cost, spare.charges) == (7 * 3 + 3 * 5, [(made.id, 0, 36)])
    assert size > 256 * 3 + 20 * 5, "reserved as if the dearest answered"
    second.failure = first.failure
    assert (await ask(rig, max_tokens=20))[0] == 502
    assert (await closed(rig, 3))[-1].charges == [(made.id, 0, 0)]


async def test_what_an_engine_began_and_lost_is_not_billed_when_another_answers(rig: Rig, first: Faulty) -> None:
    await limit(rig, "tokens", 50_000)
    await ways(rig)
    first.fault = "half"
    assert (await ask(rig))[0] == 200
    record = (await closed(rig))[0]
    assert [units for _, _, units in record.charges] == [7 + 3]


async def test_the_cheapest_way_goes_first_and_is_not_called_degraded(rig: Rig, first: Faulty) -> None:
    await price(rig, 9_000_000, 9_000_000)
    await price(rig, 1_000_000, 1_000_000, engine="spare", model="spare-model")
    await ways(rig, order="cost")
    _, headers, _ = await ask(rig)
    assert headers["x-charkha-engine"] == "spare"
    assert "x-charkha-degraded" not in headers


async def test_the_fastest_and_the_idlest_way_go_first(rig: Rig, first: Faulty, second: Faulty) -> None:
    await ways_named(rig, "fast", order="latency")
    await ways_named(rig, "idle", order="pending")
    first.pause = 1
    engines = [(await ask(rig, model="fast"))[1]["x-charkha-engine"] for _ in range(4)]
    assert engines == ["local", "spare", "spare", "spare"], "each is measured once"
    second.pause = 1
    both = await asyncio.gather(*(ask(rig, model="idle") for _ in range(6)))
    assert sorted(headers["x-charkha-engine"] for _, headers, _ in both) == ["local"] * 3 + ["spare"] * 3


async def test_a_declared_task_goes_to_the_way_that_is_kept_for_it(rig: Rig, second: Faulty) -> None:
    await ways(rig, Alternative(engine="spare", model="coder", tasks=["code"]))
    for more in ({"headers": {"x-charkha-task": "code"}}, {"metadata": {"task": "code"}}):
        _, headers, _ = await ask(rig, **more)
        assert (headers["x-charkha-engine"], second.requests[-1]["model"]) == ("spare", "coder")
        assert "metadata" not in second.requests[-1]
    assert (await ask(rig, headers={"x-charkha-task": "poetry"}))[1]["x-charkha-engine"] == "local"
    assert (await ask(rig, metadata=7))[1]["x-charkha-engine"] == "local"
    await ways_named(rig, "strict", Alternative(engine="spare", model="coder", tasks=["code"]), tasks=["chat"])
    status, _, text = await ask(rig, model="strict")
    assert (status, "task_not_served" in text, "chat, code" in text) == (400, True, True)


async def test_a_long_request_goes_where_it_fits(rig: Rig, first: Faulty, second: Faulty) -> None:
    await ways(rig, Alternative(engine="spare", model="long", context_tokens=2_000), context_tokens=100)
    assert (await ask(rig, max_tokens=50))[1]["x-charkha-engine"] == "local"
    _, headers, _ = await ask(rig, max_tokens=500)
    assert headers["x-charkha-engine"] == "spare"
    assert "x-charkha-degraded" not in headers
    status, _, text = await ask(rig, max_tokens=5_000)
    assert (status, "context_length_exceeded" in text, "2000" in text) == (400, True, True)


async def test_an_alternative_has_parameters_of_its_own(rig: Rig, first: Faulty, second: Faulty) -> None:
    await ways(rig, Alternative(engine="spare", model="spare-model", parameters={"temperature": 0.5}))
    first.failure = 500, {"message": "no"}
    await ask(rig)
    assert second.requests[-1]["temperature"] == 0.5
    assert "temperature" not in first.requests[-1]
