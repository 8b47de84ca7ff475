"""References to versions: what is read back, and that nothing else is."""

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.release.registry.domain import Aliased, Numbered, check_alias, parse

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,40}", fullmatch=True)
ALIASES = st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True)


@given(NAMES, st.integers(0, 999_999_999))
def test_a_number_is_read_back(name: str, number: int) -> None:
    assert parse(f"{name}@{number}") == Numbered(name, number)


@given(NAMES, ALIASES)
def test_an_alias_is_read_back(name: str, alias: str) -> None:
    assert parse(f"{name}@{alias}") == Aliased(name, alias)
    assert check_alias(alias) == alias


def test_an_id_is_read_back() -> None:
    version = uuid4()
    assert parse(str(version)) == version


@given(st.text(max_size=60))
def test_anything_else_is_invalid_and_nothing_breaks(text: str) -> None:
    try:
        found = parse(text)
    except Invalid:
        return
    assert isinstance(found, UUID | Numbered | Aliased)


@pytest.mark.parametrize("alias", ["", "7", "1st", "Live", "a b", "ä", "a" * 65])
def test_what_could_be_taken_for_a_number_is_no_alias(alias: str) -> None:
    with pytest.raises(Invalid):
        check_alias(alias)
