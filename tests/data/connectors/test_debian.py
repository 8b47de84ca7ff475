"""The archive's lists: parsed from made-up ones, fetched for real once, and told clearly when out of reach."""

import shutil

import pytest

from charkha.core.errors import CharkhaError, Unavailable
from charkha.data.connectors import choice, debian
from charkha.data.connectors.debian import Package, assemble, parse_descriptions, parse_packages, shorten

PACKAGES = """\
Package: libfoo1
Source: foo (1.2-3)
Section: universe/games
Description: not this one
Description-md5: aa
Tag: x,
 y

Package: bar
Section: mail
Description-md5: bb

Package: broken
Section: mail
"""

DESCRIPTIONS = """\
Package: libfoo1
Description-md5: aa
Description-en: a game of foo.
 Foo is played
 .
   * by many

Package: half
Description-md5: cc
"""


def archive(per_section: int, sections: tuple[str, ...] = debian.SECTIONS) -> tuple[list[Package], dict[str, str]]:
    packages = [Package(f"{s}-{n}", s, f"{s}{n}") for s in sections for n in range(per_section)]
    return packages, {package.description: f"about {package.source}\n text" for package in packages}


def test_packages_have_their_source_and_bare_section() -> None:
    assert list(parse_packages(PACKAGES.splitlines())) == [Package("foo", "games", "aa"), Package("bar", "mail", "bb")]


def test_descriptions_keep_their_lines() -> None:
    assert list(parse_descriptions(DESCRIPTIONS.splitlines())) == [
        ("aa", "a game of foo.\nFoo is played\n.\n* by many")
    ]


def test_a_description_becomes_one_short_line() -> None:
    assert shorten("a game of foo.\nFoo is played\n.\n* by many", words=4) == "a game of foo. Foo is played *"
    assert shorten("only a synopsis") == "only a synopsis."


def test_sections_are_balanced_and_a_source_gives_one_example() -> None:
    packages, texts = archive(8)
    packages += [Package("games-0", "games", "twin"), Package("extra", "games", "extra")]
    source = assemble(packages, texts | {"twin": "a twin", "extra": "extra"}, per_class=50)
    assert source.labels == debian.SECTIONS
    assert len(source.examples) == 8 * len(debian.SECTIONS)
    assert all("twin" not in each.prompt[0].content for each in source.examples)
    assert (
        assemble(packages[::-1], texts | {"extra": "extra"}).examples
        == assemble(packages, texts | {"extra": "extra"}).examples
    )
    assert "fonts, games" in source.instruction


def test_lists_without_some_sections_are_told() -> None:
    with pytest.raises(Unavailable) as told:
        assemble(*archive(8, debian.SECTIONS[:3]))
    assert "--dataset" in told.value.remedy


def test_the_real_archive_or_a_clear_word() -> None:
    shares: list[float] = []
    if shutil.which("apt-get") is None:
        with pytest.raises(Unavailable, match="no apt-get"):
            debian.load()
        return
    source = debian.load(timeout=90, progress=lambda share, _message: shares.append(share))
    assert source.labels == debian.SECTIONS
    assert len(source.examples) >= 1000
    assert shares == sorted(shares)


def test_an_archive_out_of_reach_is_told_and_the_choice_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    # A port of this machine where nobody listens stands for a network that is not there.
    for scheme in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")
    source = choice.choose(timeout=30)
    assert source.title.startswith("Docstrings")
    assert source.notes[0].endswith("Using docstrings instead.")


def test_without_apt_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CharkhaError, match="no apt-get") as told:
        debian.load()
    assert told.value.code == "unavailable"
