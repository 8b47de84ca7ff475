"""Files as people write them, and a refusal with line and remedy for each that cannot be used."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import CharkhaError, Invalid, NotFound, TooLarge
from charkha.data.connectors import jsonl
from charkha.data.connectors.source import Source, classification_prompt


def read(rows: list[object]) -> Source:
    return jsonl.read(io.BytesIO(b"".join(json.dumps(row).encode() + b"\n" for row in rows)), "rows")


def refusal(content: bytes) -> CharkhaError:
    with pytest.raises(CharkhaError) as refused:
        jsonl.read(io.BytesIO(content), "rows")
    assert refused.value.remedy
    return refused.value


def conversation(text: str, answer: str) -> dict[str, object]:
    said = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Yes?"), ("user", text), ("assistant", answer)]
    return {"messages": [{"role": role, "content": content} for role, content in said]}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(("spam", "ham"), ("ham", "spam")), ((0, 1), ("0", "1")), ((True, False), ("false", "true"))],
)
def test_labels_of_any_type_become_classes(labels: tuple[object, ...], expected: tuple[str, ...]) -> None:
    source = read([{"input": f"text {n}", "label": labels[n % 2], "id": n} for n in range(10)])
    assert source.labels == expected
    assert source.instruction == f"Classify the text. Answer with one of: {', '.join(expected)}."
    assert {each.label for each in source.examples} == {each.answer for each in source.examples} == set(expected)


def test_twelve_classes_are_read() -> None:
    assert len(read([{"text": f"text {n}", "label": f"class {n % 12}"} for n in range(60)]).labels) == 12


def test_a_conversation_is_the_prompt_and_its_end_the_answer() -> None:
    source = read([conversation(f"question {n}", f"a free answer, number {n}") for n in range(6)])
    assert (source.labels, source.instruction) == ((), "")
    first = source.examples[0]
    assert [message.role for message in first.prompt] == ["system", "user", "assistant", "user"]
    assert first.answer == "a free answer, number 0"


def test_answers_that_keep_coming_back_are_classes_and_no_prompt_is_added_to_conversations() -> None:
    source = read([conversation(f"question {n}", ("yes", "no")[n % 2]) for n in range(20)])
    assert (source.labels, source.instruction) == (("no", "yes"), "")


@pytest.mark.parametrize(("text", "answer"), [("prompt", "completion"), ("input", "output"), ("text", "answer")])
def test_prompts_with_completions(text: str, answer: str) -> None:
    free = read([{text: f"write about {n}", answer: f"story number {n}"} for n in range(10)])
    assert (free.labels, free.instruction) == ((), "")
    assert "one of: a, b." in read([{text: f"t{n}", answer: "ab"[n % 2]} for n in range(20)]).instruction


def test_marks_line_ends_and_blank_lines_do_no_harm() -> None:
    lines = [json.dumps({"input": f"text {n}", "label": "ab"[n % 2]}) for n in range(10)]
    content = b"\xef\xbb\xbf" + "\r\n\r\n  \r\n".join(lines).encode()
    assert len(jsonl.read(io.BytesIO(content), "rows").examples) == 10


def test_repeats_and_contradictions_are_told() -> None:
    rows = [{"input": f"text {n}", "label": "ab"[n % 2]} for n in range(10)]
    source = read([*rows, rows[0], {"input": "odd", "label": "a"}, {"input": "Odd", "label": "b"}])
    assert len(source.examples) == 10
    assert any(note.startswith("1 repeated") for note in source.notes)
    assert any(note.startswith("2 examples") for note in source.notes)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not JSON"),
        (b"[1, 2]", "no JSON object"),
        (b"\xff\xfe\x00", "Line 2"),
        (b'{"input": "\xff", "label": "a"}', "Line 2"),
        (b"[" * 100_000, "not JSON"),
        (b"{}", "none of the fields"),
        (b'{"input": "x"}', "no label"),
        (b'{"input": "x", "label": null}', "neither text"),
        (b'{"input": "x", "label": 1.5}', "neither text"),
        (b'{"input": "x", "label": ["a"]}', "neither text"),
        (b'{"input": "x", "label": " "}', "empty 'label'"),
        (b'{"input": 3, "label": "a"}', "no text"),
        (b'{"input": "  ", "label": "a"}', "empty 'input'"),
        (b'{"messages": "hello"}', "cannot be read"),
        (b'{"messages": [{"role": "bot", "content": "x"}]}', "cannot be read"),
        (b'{"messages": []}', "assistant"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "assistant"),
        (b'{"messages": [{"role": "assistant", "content": "x"}]}', "no user message"),
        (b'{"input": "x", "output": "y"}', "form completion"),
    ],
)
def test_a_bad_line_is_named_with_a_remedy(line: bytes, problem: str) -> None:
    told = refusal(b'{"input": "good", "label": "a"}\n' + line + b"\n")
    assert isinstance(told, Invalid)
    assert told.message.startswith("Line 2 ")
    assert problem in told.message
    assert len(str(told)) < 500


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no examples"),
        (b'{"input": "x", "label": "a"}\n' * 9, "Every example"),
        ('{"input": "x", "label": "a"}'.encode("utf-16"), "UTF-16"),
    ],
)
def test_a_file_that_cannot_teach_is_refused(content: bytes, problem: str) -> None:
    assert problem in refusal(content).message


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(refusal(b" " * (jsonl.LONGEST_LINE + 2)), TooLarge)
    monkeypatch.setattr(jsonl, "LARGEST_FILE", 1000)
    assert isinstance(refusal(b'{"input": "x", "label": "a"}\n' * 99), TooLarge)


def test_a_file_is_read_from_disk_and_a_missing_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(json.dumps({"input": f"text {n}", "label": n % 2}) for n in range(10)))
    assert jsonl.load(file).title == "mine.jsonl"
    for missing in (tmp_path / "other.jsonl", tmp_path):
        with pytest.raises(NotFound, match="no file"):
            jsonl.load(missing)


@given(st.binary(max_size=200))
def test_no_bytes_whatever_teach_anything_or_escape_our_own_errors(content: bytes) -> None:
    assert refusal(content).message


def test_a_list_of_classes_that_is_too_long_is_not_listed() -> None:
    assert classification_prompt(["a", "b"], "mood") == "Classify the text by mood. Answer with one of: a, b."
    assert len(classification_prompt([f"class number {n}" for n in range(200)])) < 100
