"""What makes a version sound, what a compiled one says, and how a request and a prompt become one conversation."""

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.serve.prompts import compiled
from charkha.serve.prompts.applying import applied
from charkha.serve.prompts.compiled import Compiled
from charkha.serve.prompts.domain import (
    MAX_TEMPLATE_BYTES,
    TemplateMessage,
    Variable,
    check_prompt,
    checked,
    reference,
)
from charkha.serve.targets import Target

SYSTEM = TemplateMessage("system", "You are {{ who }}.")
USER = TemplateMessage("user", "Say {{ what }} to {{ who }}.")
HELLO = {"role": "user", "content": "hello"}


def made(*messages: TemplateMessage, variables: list[Variable] | None = None) -> Compiled:
    return Compiled.of(uuid4(), "greeting", 3, messages, checked(messages, variables))


def test_variables_are_found_in_the_template() -> None:
    assert checked([SYSTEM, USER], None) == [Variable("who"), Variable("what")]
    declared = [Variable("what", "hello", "The word."), Variable("who")]
    assert checked([SYSTEM, USER], declared) == declared


@pytest.mark.parametrize(
    ("messages", "variables", "told"),
    [
        ([], None, "1 to 64"),
        ([USER, SYSTEM], None, "role 'system'"),
        ([TemplateMessage("tool", "x")], None, "role 'tool'"),
        ([TemplateMessage("user", "a\0b")], None, "NUL"),
        ([TemplateMessage("user", "é" * (MAX_TEMPLATE_BYTES // 2 + 1))], None, "bytes"),
        ([TemplateMessage("user", "{{ a.b }}")], None, "no variable"),
        ([TemplateMessage("user", "".join(f"{{{{ v{n} }}}}" for n in range(65)))], None, "at most 64 variables"),
        ([USER], [Variable("what")], "which is not declared"),
        ([USER], [Variable("what"), Variable("who"), Variable("why")], "has no {{ why }}"),
        ([USER], [Variable("what"), Variable("who"), Variable("who")], "declared twice"),
        ([USER], [Variable("what", "x" * 20_000), Variable("who")], "default of 'what'"),
        ([USER], [Variable("what", description="x" * 3_000), Variable("who")], "variables.description"),
    ],
)
def test_what_is_unsound_is_refused(messages: Any, variables: Any, told: str) -> None:
    with pytest.raises(Invalid, match="(?s)" + told.replace("{", r"\{")) as refused:
        checked(messages, variables)
    assert refused.value.remedy


@pytest.mark.parametrize("name", ["", "a b", "@", "a@1", "-a", "x" * 65, "906a3aad-5346-4ad9-9cd8-439b243ffd87"])
def test_a_prompt_has_a_name_that_can_be_referred_to(name: str) -> None:
    with pytest.raises(Invalid):
        check_prompt(name, "")
    with pytest.raises(Invalid):
        check_prompt("fine", "x" * 3_000)
    check_prompt("fine-1.2_b", "")


def test_references() -> None:
    assert (reference("greeting@12"), reference("a.b-c_d")) == (("greeting", 12), ("a.b-c_d", None))
    for wrong in ("greeting@", "greeting@0", "greeting@x", "@1", "", "a@1@2", "greeting@1234567890"):
        with pytest.raises(Invalid, match="names no version"):
            reference(wrong)


def test_defaults_and_values_are_rendered() -> None:
    prompt = made(SYSTEM, USER, variables=[Variable("who", "a poet"), Variable("what")])
    assert prompt.render({"what": "hi"})[:2] == (
        "You are a poet.",
        [{"role": "user", "content": "Say hi to a poet."}],
    )
    assert prompt.render({"what": "{{ who }}", "who": "{{ what }}"}).system == "You are {{ what }}."


def test_missing_and_unknown_values_are_named() -> None:
    prompt = made(SYSTEM, USER)
    with pytest.raises(Invalid, match="'what'") as missing:
        prompt.render({"who": "a poet"})
    assert (missing.value.code, missing.value.param) == ("missing_variable", "variables.what")
    with pytest.raises(Invalid, match=r"greeting@3 has no variable 'why'.*who, what") as unknown:
        prompt.render({"who": "a", "what": "b", "why": "c"})
    assert (unknown.value.code, unknown.value.param) == ("unknown_variable", "variables.why")
    assert prompt.render({"who": "a", "what": "b", "why": "c"}, {"why"}).system == "You are a."


@given(st.text(max_size=30), st.text(max_size=30))
def test_the_size_is_known_before_it_is_rendered(who: str, what: str) -> None:
    said = made(SYSTEM, USER).render({"who": who, "what": what})
    texts = [said.system or "", *(turn["content"] for turn in said.turns)]
    assert said.size == sum(len(text.encode()) for text in texts) + 2 * 32


def test_a_value_cannot_blow_a_prompt_up() -> None:
    prompt = made(TemplateMessage("user", "{{ a }}" * 10_000))
    with pytest.raises(Invalid, match="bytes with these values") as refused:
        prompt.render({"a": "x" * (compiled.MAX_RENDERED_BYTES // 10_000 + 1)})
    assert refused.value.code == "prompt_too_large"


def request(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "support", "messages": list(messages), **more}


def said(asked: dict[str, Any], target: Target) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in applied(asked, target)[0]["messages"]]


def target(*messages: TemplateMessage) -> Target:
    return Target("local", "tiny", prompt=made(*messages) if messages else None)


def test_the_prompts_messages_come_before_the_requests() -> None:
    values = {"who": "a poet", "what": "hi"}
    conversation = [("system", "You are a poet."), ("user", "Say hi to a poet.")]
    assert said(request(HELLO, variables=values), target(SYSTEM, USER)) == [*conversation, ("user", "hello")]
    assert said(request(variables=values), target(SYSTEM, USER)) == conversation
    own = {"role": "developer", "content": "Be brief."}
    assert said(request(own, HELLO, variables=values), target(SYSTEM, USER)) == [
        ("developer", "Be brief."),
        ("user", "Say hi to a poet."),
        ("user", "hello"),
    ]
    assert said(request(HELLO, prompt={"variables": {"who": "it"}}), target(SYSTEM))[0] == ("system", "You are it.")


def test_a_target_without_a_prompt_changes_nothing() -> None:
    asked = request(HELLO)
    assert applied(asked, Target("local", "tiny")) == (asked, 0)
    other = Target("local", "tiny", variables=frozenset({"who"}))
    assert applied(request(HELLO, variables={"who": "x"}), other)[1] == 0


@pytest.mark.parametrize(
    ("asked", "messages", "code", "param"),
    [
        (request(), (), "invalid_value", "messages"),
        (request(variables={"who": "x"}), (SYSTEM,), "invalid_request", "messages"),
        (request(HELLO, variables={"x": "y"}), (), "unknown_variable", "variables.x"),
        (request(HELLO), (SYSTEM,), "missing_variable", "variables.who"),
        (request(HELLO, variables={}, prompt={"variables": {}}), (SYSTEM,), "invalid_request", "variables"),
        (request(HELLO, variables={"who": "x"}, prompt={"id": "other"}), (SYSTEM,), "prompt_mismatch", "prompt"),
        (request(HELLO, prompt={"id": "greeting", "version": "2"}), (SYSTEM,), "prompt_mismatch", "prompt"),
        (request(HELLO, prompt={"id": "greeting"}), (), "prompt_mismatch", "prompt"),
    ],
)
def test_what_cannot_be_said_is_refused(asked: Any, messages: Any, code: str, param: str) -> None:
    with pytest.raises(Invalid) as refused:
        applied(asked, target(*messages))
    assert (refused.value.code, refused.value.param) == (code, param)


def test_the_prompt_that_a_client_names_is_the_one_that_answers() -> None:
    for named in ({"id": "greeting"}, {"id": "greeting@3"}, {"id": "greeting", "version": "3"}, {"id": None}):
        asked = request(HELLO, prompt={**named, "variables": {"who": "it"}})
        assert said(asked, target(SYSTEM))[0] == ("system", "You are it.")
