"""Diffs on pages: every line stands once, and what was removed faces what came in its place."""

from hypothesis import given
from hypothesis import strategies as st

from charkha.console.prompt_diffs import Line, Row, lines, rows

DIFF = "@@ -1,3 +1,4 @@\n same\n-old\n-older\n+new\n end\n+more"


def test_lines_and_what_they_face() -> None:
    assert [each.kind for each in lines(DIFF)] == ["place", "same", "removed", "removed", "added", "same", "added"]
    assert rows(DIFF)[2:] == [
        Row(Line("removed", "old"), Line("added", "new")),
        Row(Line("removed", "older"), None),
        Row(Line("same", "end"), Line("same", "end")),
        Row(None, Line("added", "more")),
    ]
    assert (lines(""), rows("")) == ([], [])


@given(st.lists(st.tuples(st.sampled_from("+- "), st.text(st.characters(exclude_characters="\n"), max_size=3))))
def test_no_line_is_lost(given_lines: list[tuple[str, str]]) -> None:
    unified = "\n".join(mark + text for mark, text in given_lines)
    sides = rows(unified)
    before = [text for mark, text in given_lines if mark in "- "]
    after = [text for mark, text in given_lines if mark in "+ "]
    assert [row.before.text for row in sides if row.before] == before
    assert [row.after.text for row in sides if row.after] == after
