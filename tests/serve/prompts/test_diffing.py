"""Differences between versions: what was added, removed and changed, and that a diff leads from one to the other."""

import time
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from charkha.serve.prompts.diffing import MAX_LINES, difference
from charkha.serve.prompts.domain import PromptVersion, TemplateMessage, Variable


def version(number: int, messages: list[TemplateMessage], *variables: Variable) -> PromptVersion:
    return PromptVersion(uuid4(), uuid4(), f"p@{number}", number, messages, list(variables), "", "test")


def system(content: str) -> TemplateMessage:
    return TemplateMessage("system", content)


def user(content: str) -> TemplateMessage:
    return TemplateMessage("user", content)


def test_messages_and_variables_are_told_apart() -> None:
    before = version(1, [system("Be brief.\nBe kind."), user("{{ q }}"), user("Thanks.")], Variable("q"), Variable("z"))
    after = version(
        3, [system("Be brief.\nBe {{ how }}."), TemplateMessage("assistant", "Well?"), user("Thanks.")], Variable("how")
    )
    found = difference(before, after)
    assert (found.before, found.after) == ("p@1", "p@3")
    assert [(each.change, each.role, each.before, each.after) for each in found.messages] == [
        ("changed", "system", 1, 1),
        ("removed", "user", 2, None),
        ("added", "assistant", None, 2),
        ("same", "user", 3, 3),
    ]
    assert found.messages[0].unified.splitlines() == ["@@ -1,2 +1,2 @@", " Be brief.", "-Be kind.", "+Be {{ how }}."]
    assert found.messages[3].unified == ""
    assert [(each.change, each.name) for each in found.variables] == [
        ("added", "how"),
        ("removed", "q"),
        ("removed", "z"),
    ]


def test_a_variable_that_has_another_default_has_changed() -> None:
    text = [user("{{ q }}")]
    found = difference(version(1, text, Variable("q")), version(2, text, Variable("q", "why")))
    assert [(each.change, each.before, each.after) for each in found.variables] == [
        ("changed", Variable("q"), Variable("q", "why"))
    ]


def sides(unified: str) -> tuple[list[str], list[str]]:
    """The lines that a diff without left-out context has on its two sides."""
    lines = unified.split("\n")[1:] if unified else []
    return [line[1:] for line in lines if line[:1] in " -"], [line[1:] for line in lines if line[:1] in " +"]


short = st.text(st.sampled_from("ab\n"), max_size=4)


@given(short, short)
def test_a_diff_leads_from_one_text_to_the_other(old: str, new: str) -> None:
    (found,) = difference(version(1, [user(old)]), version(2, [user(new)])).messages
    assert (found.change == "same") == (old == new) == (found.unified == "")
    if old != new:
        assert tuple("\n".join(side) for side in sides(found.unified)) == (old, new)


@given(st.lists(st.builds(TemplateMessage, st.sampled_from(["user", "assistant"]), short), min_size=1, max_size=5))
def test_every_message_stands_in_a_diff_once(messages: list[TemplateMessage]) -> None:
    for old, new in ((messages, messages[::-1]), (messages[1:], messages), (messages, messages)):
        found = difference(version(1, old), version(2, new)).messages
        assert [each.before for each in found if each.before] == [*range(1, len(old) + 1)]
        assert [each.after for each in found if each.after] == [*range(1, len(new) + 1)]


def test_long_texts_are_told_as_replaced_and_take_no_time() -> None:
    old, new = ["\n".join([line] * (120_000 // 2)) for line in "ab"]
    began = time.process_time()
    (found,) = difference(version(1, [user(old)]), version(2, [user(new)])).messages
    assert time.process_time() - began < 5
    assert found.change == "changed"
    assert found.unified.count("\n") > 2 * MAX_LINES
