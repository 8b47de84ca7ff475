"""The gateway with the official client: answers, streams, names of models, tenancy, what is written down."""

import asyncio
from uuid import UUID

import aiohttp
import httpx
import openai
import pytest

from charkha.core.ids import minted_by, uuid7
from charkha.core.targets import VersionTarget
from charkha.serve.variants import VariantSpec

from .conftest import Rig

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "hello there"}]
SPEC = VariantSpec(engine="local", model="tiny", system_prompt="Be brief.", parameters={"temperature": 0.5, "top_k": 3})


async def test_a_chat_is_answered_and_written_down(rig: Rig) -> None:
    endpoint = await rig.endpoint(spec=SPEC)
    async with rig.client() as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="support", messages=HELLO, user="u-1", max_tokens=9, extra_headers={"x-charkha-episode": "e-1"}
        )
    answer = raw.parse()
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("echo: hello there", "stop")
    assert answer.model == "support"
    inference_id = UUID(answer.id.removeprefix("chatcmpl-"))
    assert raw.headers["x-request-id"] == raw.headers["x-charkha-inference-id"] == str(inference_id)
    assert (raw.headers["x-charkha-variant"], raw.headers["x-charkha-plan"]) == ("base", "1")
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert minted_by(inference_id, rig.secrets.derive("inference-id", rig.workspace_id))
    opened, body, closed = rig.last()
    assert body == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be brief."}, *HELLO],
        "temperature": 0.5,
        "top_k": 3,
        "max_tokens": 9,
    }
    assert (opened.id, opened.workspace_id, opened.endpoint_id) == (inference_id, rig.workspace_id, endpoint.id)
    assert (opened.variant_id, opened.plan_id) == (endpoint.variants[0].id, endpoint.live_plan_id)
    assert (opened.subject_id, opened.episode_id, opened.purpose) == ("u-1", "e-1", "live")
    assert (closed.status, closed.answer, closed.prompt_tokens, closed.completion_tokens) == (
        200,
        "echo: hello there",
        7,
        3,
    )


@pytest.mark.parametrize("include_usage", [False, True])
async def test_a_stream_passes_through_with_usage_only_if_asked(rig: Rig, include_usage: bool) -> None:
    await rig.endpoint()
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    async with rig.client() as client:
        stream = await client.chat.completions.create(model="support", messages=HELLO, stream=True, **options)
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "echo: hello there"
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([10] if include_usage else [])
    assert all(chunk.choices for chunk in chunks[:-1])
    assert bool(chunks[-1].choices) is not include_usage
    opened, _, closed = rig.last()
    assert {(chunk.id, chunk.model) for chunk in chunks} == {(f"chatcmpl-{opened.id}", "support")}
    assert opened.stream
    assert (closed.answer, closed.prompt_tokens, closed.finish_reason) == ("echo: hello there", 7, "stop")
    assert closed.first_token_ms is not None
    assert closed.first_token_ms <= closed.duration_ms


async def test_the_synchronous_client_works(rig: Rig) -> None:
    await rig.endpoint()

    def call() -> tuple[str, str]:
        with openai.OpenAI(base_url=rig.url, api_key=rig.key, max_retries=0) as client:
            whole = client.completions.create(model="support", prompt="say it")
            with client.completions.create(model="support", prompt="say it", stream=True) as stream:
                return whole.choices[0].text, "".join(chunk.choices[0].text for chunk in stream)

    assert await asyncio.to_thread(call) == ("echo: say it", "echo: say it")
    assert rig.last()[2].answer == "echo: say it"


async def test_embeddings_and_models(rig: Rig) -> None:
    endpoint = await rig.endpoint()
    version = VersionTarget(uuid7(), "local", "tiny", (), None)
    rig.versions[rig.workspace_id, "summaries@3"] = rig.versions[rig.workspace_id, str(version.version_id)] = version
    rig.versions[rig.other_id, "foreign@1"] = version
    rig.snapshots.version = -1
    await rig.snapshots.refresh()
    async with rig.client() as client:
        found = await client.embeddings.create(model="tiny", input=["a", "b"], encoding_format="float")
        assert found.data[0].embedding == [0.5, -0.5]
        assert found.model == "tiny"
        names = [model.id async for model in client.models.list()]
        assert names == ["support", "summaries@3", "tiny"]
        model = await client.models.retrieve("support")
        assert abs(model.created - endpoint.created_at.timestamp()) < 5
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("foreign@1")
        for name in ("summaries@3", str(version.version_id)):
            await client.chat.completions.create(model=name, messages=HELLO)
            opened, body, closed = rig.last()
            assert (opened.version_id, opened.endpoint_id, body, closed.answer) == (
                version.version_id,
                None,
                None,
                None,
            )


async def test_a_content_free_endpoint_keeps_no_content(rig: Rig) -> None:
    await rig.endpoint(keeps_content=False)
    async with rig.client() as client:
        await client.chat.completions.create(model="support", messages=[{"role": "user", "content": "my secret"}])
    opened, _, closed = rig.last()
    assert (opened.request, closed.answer, closed.completion_tokens) == (None, None, 3)
    assert all(b"secret" not in path.read_bytes() for path in rig.directory.iterdir())


async def test_a_unit_keeps_its_variant_and_shares_are_honoured(rig: Rig) -> None:
    endpoint = await rig.endpoint()
    await rig.candidate(endpoint, "c" * 64, 50)

    async def ask(user: str) -> str:
        answer = await client.chat.completions.create(model="support", messages=HELLO, user=user)
        return answer.choices[0].message.content or ""

    async with rig.client() as client:
        first, again = [await asyncio.gather(*(ask(f"u{each}") for each in range(60))) for _ in range(2)]
    assert first == again
    assert 12 < sum(answer.startswith("<cccc*1>") for answer in first) < 48
    opened, _ = rig.records()
    assert {tuple(record.adapters) for record in opened} == {(), (("c" * 64, 1.0),)}


async def test_another_workspace_reaches_nothing(rig: Rig) -> None:
    await rig.endpoint()
    async with rig.client(rig.other_key) as client:
        with pytest.raises(openai.NotFoundError) as caught:
            await client.chat.completions.create(model="support", messages=HELLO)
        assert caught.value.code == "model_not_found"
        assert [model.id async for model in client.models.list()] == ["tiny"]
        with pytest.raises(openai.PermissionDeniedError):
            await client.models.list(extra_headers={"x-charkha-workspace": "default"})
    assert rig.records() == ([], [])


async def test_a_revoked_key_is_refused_within_a_second(rig: Rig) -> None:
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        made = await rig.keys.create(tx, name="short")
    async with rig.client(made.key) as client:
        await until(client.models.list, works=True)
        async with rig.database.workspace(rig.workspace_id, "test") as tx:
            await rig.keys.revoke(tx, made.id)
        async with asyncio.timeout(1):
            await until(client.models.list, works=False)


async def until(call: object, *, works: bool) -> None:
    """Repeat a call until it succeeds, or until it is refused."""
    while True:
        try:
            await call()  # type: ignore[operator]
        except openai.AuthenticationError:
            if not works:
                return
        else:
            if works:
                return
        await asyncio.sleep(0.01)


async def test_only_the_installation_itself_may_say_that_it_evaluates(rig: Rig) -> None:
    internal = rig.authenticator.internal_token(rig.workspace_id, "job:evaluate", frozenset({"inference.create"}))
    seen = []
    for key in (rig.key, internal):
        async with rig.client(key) as client:
            await client.chat.completions.create(
                model="tiny", messages=HELLO, extra_headers={"x-charkha-purpose": "evaluation"}
            )
        seen.append((rig.last()[0].purpose, rig.last()[0].actor.split(":")[0]))
    assert seen == [("live", "key"), ("evaluation", "job")]


async def test_a_missing_adapter_is_loaded_for_all_who_wait_at_once(rig: Rig) -> None:
    endpoint = await rig.endpoint()
    rig.model.held = set()
    await rig.candidate(endpoint, "d" * 64, 100)
    async with rig.client() as client:
        answers = await asyncio.gather(
            *(client.chat.completions.create(model="support", messages=HELLO) for _ in range(20))
        )
    assert {answer.choices[0].message.content for answer in answers} == {"<dddd*1> echo: hello there"}
    assert rig.ensured == {("local", "d" * 64, rig.workspace_id, None)}


async def test_plans_move_under_streams_and_none_fails(rig: Rig) -> None:
    endpoint = await rig.endpoint()
    rig.model.pause = 0.005

    async def ask(number: int) -> tuple[str, str]:
        stream = await client.chat.completions.create(
            model="support", messages=[{"role": "user", "content": f"word {number}"}], user=f"u{number}", stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        return text.rpartition("> ")[0], text.rpartition("> ")[2]

    async def move() -> None:
        for share in (1, 10, 50, 100):
            await rig.candidate(endpoint, f"{share:064x}", share)

    limits = httpx.Limits(max_connections=200)
    async with (
        httpx.AsyncClient(limits=limits, timeout=30) as http,
        openai.AsyncOpenAI(base_url=rig.url, api_key=rig.key, max_retries=0, http_client=http) as client,
    ):
        moving = asyncio.create_task(move())
        answers = await asyncio.gather(*(ask(number) for number in range(200)))
        await moving
        assert (await ask(1))[0] == "<0000*1"
    assert [text for _, text in answers] == [f"echo: word {number}" for number in range(200)]
    opened, closed = rig.records()
    assert sorted(record.id for record in opened) == sorted(record.id for record in closed)
    assert {record.error_code for record in closed} == {None}


async def test_trace_ids_are_taken_and_unsound_ones_are_not(rig: Rig) -> None:
    headers = {"authorization": f"Bearer {rig.key}"}
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with aiohttp.ClientSession(rig.url + "/", headers=headers) as http:
        for given, kept in ((f"00-{trace}-00f067aa0ba902b7-01", trace), ("00-nonsense-x-01", None), ("", None)):
            body = {"model": "tiny", "messages": HELLO}
            async with http.post("chat/completions", json=body, headers={"traceparent": given}) as answer:
                assert answer.status == 200
            assert rig.last()[0].trace_id == kept
