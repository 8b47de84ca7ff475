"""Docstrings read from made-up libraries: parsed and never run, masked, balanced and the same each time."""

from pathlib import Path

import pytest

from charkha.core.errors import Unavailable
from charkha.data.connectors import docstrings
from charkha.data.connectors.docstrings import MASK, mask

NAMES = tuple(f"lib{letter}x" for letter in "abcdefgh")


def function(library: str, n: int) -> str:
    text = (
        f"Does thing number {n} with the {library.upper()} engine, and calls {library}.core.run for it.\n\n    More.\n"
    )
    return f'def f{n}():\n    """{text}"""\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for library in NAMES:
        (tmp_path / library / "tests").mkdir(parents=True)
        (tmp_path / library / "__init__.py").write_text("raise SystemExit('imported')\n")
        (tmp_path / library / "core.py").write_text("".join(function(library, n) for n in range(20)))
        (tmp_path / library / "broken.py").write_text("def (:\n")
        (tmp_path / library / "bytes.py").write_bytes(b"# \xff\x00\n")
        (tmp_path / library / "tests" / "test_core.py").write_text(
            '"""A test module that should never be read by us."""'
        )
    return tmp_path


def test_eight_libraries_are_enough_and_no_name_is_left(folder: Path) -> None:
    # The made-up texts differ in the number alone once masked, so each library counts from another one.
    for start, library in enumerate(NAMES):
        core = "".join(function(library, 100 * start + n) for n in range(20))
        (folder / library / "core.py").write_text(core)
    source = docstrings.load(folder=folder, preferred=NAMES, per_class=10)
    assert source.labels == NAMES
    assert len(source.examples) == 80
    assert all("lib" not in each.prompt[0].content.lower() for each in source.examples)
    assert all("never be read" not in each.prompt[0].content for each in source.examples)
    assert MASK in source.examples[0].prompt[0].content
    assert "More" not in source.examples[0].prompt[0].content
    assert source == docstrings.load(folder=folder, preferred=NAMES, per_class=10)
    assert source.instruction.startswith("Classify the text by library. Answer with one of: libax, ")


def test_too_few_libraries_are_told(folder: Path) -> None:
    for file in (folder / NAMES[0]).rglob("*.py"):
        file.unlink()
    with pytest.raises(Unavailable, match="Only 7") as told:
        docstrings.load(folder=folder, preferred=NAMES, per_class=10)
    assert "--dataset" in told.value.remedy


def test_masking_hides_names_and_spares_words() -> None:
    told = mask(
        "PyTorch and torch.nn use path_registry, e.g. for a tree or my_value.", ["torch"], {"path_registry", "tree"}
    )
    assert told == f"{MASK} and {MASK} use {MASK}, e.g. for a tree or my_value."


def test_the_installed_libraries_are_read() -> None:
    source = docstrings.load(per_class=60)
    assert len(source.labels) >= docstrings.FEWEST_LIBRARIES
    for each in source.examples:
        assert each.label is not None
        assert each.label not in each.prompt[0].content.lower()
