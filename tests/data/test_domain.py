"""Same texts, contradictions, splits without leakage, canonical bytes, and refusals that say what to do."""

import random
import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.core.messages import Example, Message
from charkha.data.domain import (
    apportion,
    canonical,
    check,
    check_labels_seen,
    deduplicate,
    digest,
    fingerprint,
    fitting_sizes,
    normalise,
    parse,
    split,
    statistics,
    without,
)


def example(text: str, label: str | None = "a", system: str = "", answer: str = "") -> Example:
    prompt = [Message("user", text)]
    return Example(tuple([Message("system", system), *prompt] if system else prompt), answer or label or "free", label)


def distinct(counts: dict[str, int]) -> list[Example]:
    return [example(f"text {place} of {label}", label) for label, count in counts.items() for place in range(count)]


EXAMPLES = st.lists(st.builds(example, st.text(min_size=1, max_size=8), st.sampled_from(["a", "b", None])), max_size=30)
COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(2, 30), min_size=1, max_size=6)


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
    assert normalise(f"  {text}\n") == normalise(text)


@given(st.text(alphabet="abcßÄéﬁ１ ΣσςİJ", max_size=12))
def test_case_and_compatibility_forms_are_the_same_text(text: str) -> None:
    assert normalise(text.upper()) == normalise(text.lower()) == normalise(text) or "İ" in text
    assert normalise(unicodedata.normalize("NFKD", text)) == normalise(text)


def test_a_system_prompt_does_not_make_a_new_text_but_a_conversation_does() -> None:
    plain, prompted = example("Hello there"), example("hello  THERE", system="Classify.")
    assert fingerprint(plain) == fingerprint(prompted)
    longer = Example((Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "Hello there")), "a", "a")
    assert fingerprint(longer) != fingerprint(plain)


def test_duplicates_are_kept_once_and_contradictions_not_at_all() -> None:
    told = deduplicate([example("One"), example("two"), example("one "), example("TWO", "b"), example("three", "b")])
    assert [each.prompt[0].content for each in told.examples] == ["One", "three"]
    assert (told.repeated, told.contradictory) == (1, 2)


def test_free_answers_to_the_same_prompt_are_repeats_not_contradictions() -> None:
    told = deduplicate([example("q", None, answer="x"), example("q", None, answer="y")])
    assert (len(told.examples), told.repeated, told.contradictory) == (1, 1, 0)


@given(EXAMPLES)
def test_deduplication_loses_nothing_uncounted_and_settles(examples: list[Example]) -> None:
    told = deduplicate(examples)
    assert len(told.examples) + told.repeated + told.contradictory == len(examples)
    assert deduplicate(told.examples).examples == told.examples


@given(EXAMPLES, EXAMPLES)
def test_without_leaves_no_text_of_the_held_out(examples: list[Example], held_out: list[Example]) -> None:
    kept = without(examples, held_out)
    assert not {fingerprint(each) for each in kept} & {fingerprint(each) for each in held_out}


@given(COUNTS, st.integers(0, 3), st.data())
def test_a_split_has_exact_sizes_shows_each_class_and_shares_no_text(
    counts: dict[str, int], seed: int, data: st.DataObject
) -> None:
    examples = distinct(counts)
    test = data.draw(st.integers(len(counts), len(examples) - len(counts)))
    train = data.draw(st.integers(len(counts), len(examples) - test))
    parts = split(examples, test=test, train=train, seed=seed)
    assert (len(parts.test), len(parts.train)) == (test, train)
    assert {each.label for each in parts.test} == {each.label for each in parts.train} == set(counts)
    together = [*parts.test, *parts.train, *parts.rest]
    assert Counter(map(fingerprint, together)) == Counter(map(fingerprint, examples))
    shuffled = random.Random(seed).sample(examples, len(examples))
    assert split(shuffled, test=test, train=train, seed=seed) == parts


def test_a_split_keeps_proportions_and_another_seed_splits_otherwise() -> None:
    examples = distinct({"a": 300, "b": 100})
    parts = split(examples, test=80)
    assert Counter(each.label for each in parts.test) == {"a": 60, "b": 20}
    assert len(parts.train) == 320
    assert split(examples, test=80, seed=1).test != parts.test


@pytest.mark.parametrize(
    ("examples", "test", "train"),
    [(distinct({"a": 5, "b": 5}), 8, 8), (distinct({"a": 5, "b": 5}), 1, None), (distinct({"a": 9, "b": 1}), 4, None)],
)
def test_impossible_splits_are_refused(examples: list[Example], test: int, train: int | None) -> None:
    with pytest.raises(Invalid) as refused:
        split(examples, test=test, train=train)
    assert refused.value.code == "split_impossible"
    assert refused.value.remedy


def test_a_text_that_occurs_twice_is_not_split() -> None:
    with pytest.raises(Invalid, match="more than once"):
        split([example("x"), example("X"), *distinct({"b": 4})], test=2)


@given(COUNTS, st.data())
def test_apportioned_seats_add_up_within_one_and_the_count(counts: dict[str | None, int], data: st.DataObject) -> None:
    size = data.draw(st.integers(len(counts), sum(counts.values())))
    seats = apportion(counts, size)
    assert sum(seats.values()) == size
    assert all(1 <= seats[label] <= count for label, count in counts.items())


@given(st.integers(2, 3000), st.integers(1, 12))
def test_fitting_sizes_never_ask_for_more_than_there_is(available: int, classes: int) -> None:
    train, test = fitting_sizes(available, classes, 600, 200)
    assert train + test <= available
    assert (train, test) == (600, 200) or (train + test == available and test >= min(classes, available))


@given(EXAMPLES)
def test_canonical_bytes_do_not_depend_on_order_and_are_read_back(examples: list[Example]) -> None:
    content = canonical(examples)
    assert canonical(reversed(examples)) == content
    assert Counter(parse(content)) == Counter(examples)
    assert canonical(parse(content)) == content
    assert len(digest(content)) == 64


def test_canonical_bytes_stay_what_they_are() -> None:
    # Version digests stand in stored rows: a change here makes every stored version another one.
    content = canonical([Example((Message("user", "é"),), "a", "a"), Example((Message("user", "q"),), "free")])
    assert sorted(content.splitlines()) == [
        b'{"prompt":[{"role":"user","content":"q"}],"answer":"free"}',
        '{"prompt":[{"role":"user","content":"é"}],"answer":"a","label":"a"}'.encode(),
    ]


def test_a_broken_line_is_named() -> None:
    with pytest.raises(Invalid, match="Line 2"):
        parse(canonical([example("x")]) + b"{}\n")


def test_statistics_count_classes_and_lengths() -> None:
    told = statistics([example("1234", "b"), example("12", "a"), example("1", None, answer="x")])
    assert (told.examples, told.unlabelled, told.classes) == (3, 1, (("a", 1), ("b", 1)))
    assert (told.mean_characters, told.longest_characters) == (10 / 3, 5)
    assert statistics([]).mean_characters == 0


@pytest.mark.parametrize(
    ("examples", "code", "word"),
    [
        ([], "empty", "two classes"),
        (distinct({"a": 9}), "single_class", "two classes"),
        (distinct({"a": 9, "b": 3}), "too_few_per_class", "at least 4"),
        ([*distinct({"a": 9, "b": 9}), example("x" * 20_000)], "example_too_long", "Shorten"),
    ],
)
def test_what_cannot_teach_is_refused_with_a_remedy(examples: list[Example], code: str, word: str) -> None:
    with pytest.raises(Invalid) as refused:
        check(examples)
    assert refused.value.code == code
    assert word in refused.value.remedy


def test_free_answers_need_no_classes() -> None:
    assert check([example("q", None, answer="x")]).unlabelled == 1


def test_labels_never_seen_are_named() -> None:
    check_labels_seen(distinct({"a": 1, "b": 1}), distinct({"a": 1}))
    with pytest.raises(Invalid, match="zebra"):
        check_labels_seen(distinct({"a": 1}), distinct({"zebra": 1}))
