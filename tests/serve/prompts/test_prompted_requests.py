"""Prompts at the gateway, in every dialect: what the engine is sent, what is written down, what is refused and counted."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import anthropic
import httpx
import msgspec
import openai
import pytest

from charkha.core.errors import Invalid, NotFound
from charkha.govern.limits.service import LimitService
from charkha.kit.snapshot import wait_until_served
from charkha.serve.domain import Endpoint, Share
from charkha.serve.prompts import service as prompts
from charkha.serve.prompts.domain import PromptVersion, TemplateMessage, Variable
from charkha.serve.variants import VariantSpec
from tests.serve.conftest import Rig

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "hello there"}]
MESSAGES = [TemplateMessage("system", "You are {{ who }}."), TemplateMessage("user", "Speak {{ tongue }}.")]
VARIABLES = [Variable("who"), Variable("tongue", "English")]
SAID = [{"role": "system", "content": "You are Ada."}, {"role": "user", "content": "Speak English."}]


async def version(rig: Rig, messages: Sequence[TemplateMessage] = MESSAGES, **more: Any) -> PromptVersion:
    """A version of the prompt `greeting`, which is made if it is not there."""
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        try:
            return await prompts.add_version(tx, "greeting", messages=messages, **more)
        except NotFound:
            made = await prompts.create(tx, name="greeting", messages=messages, **more)
            assert made.version
            return made.version


async def prompted(rig: Rig) -> tuple[Endpoint, PromptVersion]:
    """The endpoint `support`, which speaks with version 1 of `greeting`."""
    made = await version(rig, variables=VARIABLES)
    return await rig.endpoint(spec=spec("greeting@1")), made


def spec(prompt: str, **more: Any) -> VariantSpec:
    return VariantSpec(engine="local", model="tiny", prompt=prompt, **more)


def sent(rig: Rig) -> Any:
    return rig.model.requests[-1]["messages"]


async def test_a_chat_is_rendered_before_it_is_sent_and_kept(rig: Rig) -> None:
    endpoint, made = await prompted(rig)
    variant = endpoint.variants[0]
    assert (variant.prompt, variant.prompt_version_id, variant.system_prompt) == ("greeting@1", made.id, None)
    async with rig.client() as client:
        answer = await client.chat.completions.create(
            model="support", messages=HELLO, extra_body={"variables": {"who": "Ada"}}
        )
        assert answer.choices[0].message.content == "echo: hello there"
        assert sent(rig) == [*SAID, *HELLO]
        assert "variables" not in rig.model.requests[-1]
        opened, body, _ = rig.last()
        assert body is not None
        assert (body["messages"], opened.prompt_version_id) == ([*SAID, *HELLO], made.id)
        stream = await client.chat.completions.create(
            model="support", messages=[], stream=True, extra_body={"variables": {"who": "Ada", "tongue": "{{ who }}"}}
        )
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert said == "echo: Speak {{ who }}."


async def test_anthropics_messages_and_responses_take_values(rig: Rig) -> None:
    await prompted(rig)
    async with anthropic.AsyncAnthropic(base_url=rig.url.removesuffix("/v1"), api_key=rig.key, max_retries=0) as client:
        answer = await client.messages.create(
            model="support", max_tokens=9, messages=HELLO, extra_body={"variables": {"who": "Ada"}}
        )
        assert answer.content[0].text == "echo: hello there"
        assert sent(rig) == [*SAID, *HELLO]
        await client.messages.create(
            model="support", max_tokens=9, messages=[], extra_body={"variables": {"who": "Ada"}}
        )
        assert sent(rig) == SAID
    async with rig.client() as client:
        told = await client.responses.create(
            model="support", prompt={"id": "greeting", "version": "1", "variables": {"who": "Ada"}}
        )
        assert told.output_text == "echo: Speak English."
        assert sent(rig) == SAID
        await client.responses.create(
            model="support", instructions="Be brief.", input="hello there", extra_body={"variables": {"who": "Ada"}}
        )
        assert sent(rig) == [{"role": "system", "content": "Be brief."}, SAID[1], *HELLO]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"messages": HELLO}, "missing_variable", "variables.who"),
        ({"messages": HELLO, "variables": {"who": "Ada", "x": "y"}}, "unknown_variable", "variables.x"),
        ({"messages": HELLO, "variables": {"who": 3}}, "invalid_value", "variables.who"),
        ({"messages": HELLO, "variables": "Ada"}, "invalid_value", "variables"),
        ({"messages": HELLO, "prompt": {"id": "other"}}, "prompt_mismatch", "prompt"),
        ({"messages": HELLO, "model": "tiny", "variables": {"who": "Ada"}}, "unknown_variable", "variables.who"),
        ({"messages": [], "model": "tiny"}, "invalid_value", "messages"),
    ],
)
async def test_one_clear_refusal_names_what_is_wrong(rig: Rig, body: Any, code: str, param: str) -> None:
    await prompted(rig)
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {rig.key}"}) as client:
        answer = await client.post(f"{rig.url}/chat/completions", json={"model": "support", **body})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert rig.model.requests == []
    assert rig.records() == ([], [])


async def test_a_completion_has_no_prompt(rig: Rig) -> None:
    await prompted(rig)
    async with rig.client() as client:
        answer = await client.completions.create(model="support", prompt="say it")
        assert answer.choices[0].text == "echo: say it"
        assert rig.last()[0].prompt_version_id is None
        with pytest.raises(openai.BadRequestError, match="variables"):
            await client.completions.create(model="support", prompt="say it", extra_body={"variables": {}})


async def test_two_variants_of_a_plan_speak_with_two_versions(rig: Rig) -> None:
    endpoint, first = await prompted(rig)
    second = await version(rig, [TemplateMessage("system", "{{ mood }}, {{ who }}!")])
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        added = await rig.endpoints.put_variant(tx, "support", spec("greeting", name="moody"))
        assert added.prompt == "greeting@2"
        shares = [Share(endpoint.variants[0].id, 50), Share(added.id, 50)]
        plan = await rig.endpoints.swap(
            tx, endpoint.id, expected_plan_id=endpoint.live_plan_id, shares=shares, reason="A/B"
        )
    await wait_until_served(rig.database, plan.served_from or 0)
    async with rig.client() as client:
        for unit in range(12):
            await client.chat.completions.create(
                model="support",
                messages=HELLO,
                user=f"u-{unit}",
                extra_body={"variables": {"who": "Ada", "mood": "Glad"}},
            )
    met: dict[UUID | None, set[str]] = {}
    for opened in rig.records()[0]:
        assert opened.request
        met.setdefault(opened.prompt_version_id, set()).add(
            msgspec.json.decode(opened.request)["messages"][0]["content"]
        )
    assert met == {first.id: {"You are Ada."}, second.id: {"Glad, Ada!"}}


async def test_a_candidate_speaks_with_the_same_version(rig: Rig) -> None:
    endpoint, made = await prompted(rig)
    plan = await rig.candidate(endpoint, "ab" * 32, 100)
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        assert (await rig.endpoints.variant(tx, plan.shares[-1].variant_id)).prompt_version_id == made.id


async def test_tokens_are_counted_with_the_prompt(rig: Rig) -> None:
    await prompted(rig)
    await rig.endpoint("plain")
    counts = []
    async with anthropic.AsyncAnthropic(base_url=rig.url.removesuffix("/v1"), api_key=rig.key, max_retries=0) as client:
        for model, more in (("plain", {}), ("support", {"extra_body": {"variables": {"who": "Ada " * 100}}})):
            counts.append((await client.messages.count_tokens(model=model, messages=HELLO, **more)).input_tokens)
        with pytest.raises(anthropic.BadRequestError, match="needs a value for"):
            await client.messages.count_tokens(model="support", messages=HELLO)
    assert counts[1] >= counts[0] + 100


async def test_a_limit_reserves_what_the_prompt_adds(rig: Rig) -> None:
    await prompted(rig)
    caller = rig.authenticator.authenticate(f"Bearer {rig.key}")
    async with rig.database.workspace(rig.workspace_id, "test") as tx:
        _, served = await LimitService().create(
            tx, caller, subject="workspace", key_id=None, measure="tokens", window="total", amount=6_000
        )
    await wait_until_served(rig.database, served)
    async with rig.client() as client:
        for who in ("Ada", "Ada " * 300):
            await client.chat.completions.create(
                model="support", messages=HELLO, max_tokens=9, extra_body={"variables": {"who": who}}
            )
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(
                model="support", messages=HELLO, max_tokens=9, extra_body={"variables": {"who": "Ada " * 1_000}}
            )
    reserved = [sum(units for _, _, units in opened.reserved) for opened in rig.records()[0]]
    assert reserved[1] - reserved[0] >= 2 * 299 * 4


async def test_a_variant_names_a_prompt_or_a_system_prompt_of_its_workspace(rig: Rig) -> None:
    await version(rig)
    for wrong, error in (
        (spec("greeting@9"), NotFound),
        (spec("nobody"), NotFound),
        (spec("greeting@x"), Invalid),
        (spec("greeting@1", system_prompt="Be brief."), Invalid),
    ):
        with pytest.raises(error):
            await rig.endpoint(spec=wrong)
    async with rig.database.workspace(rig.other_id, "test") as tx:
        with pytest.raises(NotFound):
            await rig.endpoints.create(tx, name="theirs", variant=spec("greeting@1"))
