"""What tests of a prompt may say, and how their expectations are judged, whatever a pattern or a schema would take."""

import time
from typing import Any

import pytest

from charkha.core.errors import CharkhaError, Invalid
from charkha.serve.prompts import cases, judging
from charkha.serve.prompts.cases import Case, Expectation, Said, check_cases
from charkha.serve.prompts.domain import TemplateMessage

pytestmark = pytest.mark.anyio
SAID = Said("Grüß Gott, Ada!", 5)


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        (Expectation(contains="Ada"), None),
        (Expectation(contains="Bob"), "does not contain “Bob”"),
        (Expectation(not_contains="Bob"), None),
        (Expectation(not_contains="Ada"), "contains “Ada”"),
        (Expectation(equals=" Grüß Gott, Ada!\n"), None),
        (Expectation(equals="Ada"), "is not “Ada”"),
        (Expectation(max_tokens=5), None),
        (Expectation(max_tokens=4), "has 5 tokens, more than 4"),
        (Expectation(max_characters=15), None),
        (Expectation(max_characters=14), "has 15 characters, more than 14"),
    ],
)
def test_simple_expectations(expected: Expectation, reason: str | None) -> None:
    assert cases.unmet([expected], SAID) == ([reason] if reason else [])


def test_an_answer_without_a_count_has_no_bounded_tokens() -> None:
    assert cases.unmet([Expectation(max_tokens=5)], Said("a")) == ["its tokens were not counted"]


SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.mark.parametrize(
    ("expected", "text", "reason"),
    [
        ([Expectation(regex=r"^\w+ Gott"), Expectation(contains="no business of judging's")], SAID.text, ""),
        ([Expectation(regex=r"\d")], SAID.text, "matches not"),
        ([Expectation(json_schema=SCHEMA), Expectation(regex="age")], '{"age": 3}', ""),
        ([Expectation(json_schema=SCHEMA)], '{"age": "3"}', "is not of the json_schema"),
        ([Expectation(json_schema=SCHEMA)], "three", "is no JSON"),
        ([Expectation(json_schema={"type": "nonsense"})], "{}", "the json_schema is none"),
        ([Expectation(json_schema={"$ref": "http://127.0.0.1:9/x"})], "{}", "the json_schema is none"),
        ([Expectation(json_schema={"$ref": "file:///etc/passwd"})], "{}", "the json_schema is none"),
        ([Expectation(contains="x")], "never looked at here", ""),
    ],
)
async def test_patterns_and_schemas(expected: Any, text: str, reason: str) -> None:
    found = await judging.unmet(expected, text)
    assert (len(found), reason in "".join(found)) == (1 if reason else 0, True)


def doubling() -> dict[str, Any]:
    """A schema of 64 steps, each of which asks the next one twice."""
    steps = {f"s{n}": {"allOf": [{"not": {"$ref": f"#/$defs/s{n + 1}"}}] * 2} for n in range(64)}
    return {"$ref": "#/$defs/s0", "$defs": {**steps, "s64": {"pattern": "^(([a-z])+.)+[A-Z]([a-z])+$"}}}


@pytest.mark.parametrize(
    "expected", [Expectation(regex="(a+)+$"), Expectation(json_schema={"pattern": "(?=(a+)+$)b"}), None]
)
async def test_nothing_that_people_write_takes_for_ever(expected: Expectation | None) -> None:
    began = time.monotonic()
    found = await judging.unmet([expected or Expectation(json_schema=doubling())], '"' + "a" * 60 + '!"')
    assert (
        time.monotonic() - began < judging.WALL_SECONDS + 20
    )  # the machine may be busy; without a bound it takes years
    assert len(found) <= 1
    if expected and expected.regex:
        assert "more than 2 seconds" in found[0]


async def test_a_judge_that_fails_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "environment", lambda: {"PYTHONPATH": "/nowhere"})
    monkeypatch.setattr(judging, "__name__", "charkha.no_such_module")
    with pytest.raises(CharkhaError, match="could not be judged"):
        await judging.unmet([Expectation(regex="a")], "a")


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (Case("", expect=[Expectation(contains="a")]), "a name"),
        (Case("a"), "expects 1 to 20"),
        (Case("a", expect=[Expectation()]), "exactly one field"),
        (Case("a", expect=[Expectation(contains="a", equals="a")]), "exactly one field"),
        (Case("a", expect=[Expectation(max_tokens=0)]), "at least 1"),
        (Case("a", expect=[Expectation(regex="(")]), "cannot be used"),
        (Case("a", expect=[Expectation(regex="a" * 2_000)]), "cannot be used"),
        (Case("a", {"who": "a\0b"}, expect=[Expectation(contains="a")]), "NUL"),
        (Case("a", messages=[TemplateMessage("tool", "x")], expect=[Expectation(contains="a")]), "role 'tool'"),
    ],
)
def test_a_test_that_could_not_be_judged_is_refused(case: Case, told: str) -> None:
    with pytest.raises(Invalid, match=told) as refused:
        check_cases([case])
    assert refused.value.remedy


def test_tests_are_few_and_have_names() -> None:
    sound = Case("a", expect=[Expectation(contains="a")])
    check_cases([sound])
    with pytest.raises(Invalid, match="Two tests"):
        check_cases([sound, sound])
    with pytest.raises(Invalid, match="at most 100"):
        check_cases([Case(f"n{n}", expect=sound.expect) for n in range(101)])
    with pytest.raises(Invalid, match="bytes"):
        check_cases([Case("a", {"a": "x" * cases.MAX_BYTES}, expect=sound.expect)])
