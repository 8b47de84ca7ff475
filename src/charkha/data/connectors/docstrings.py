"""First paragraphs of the docstrings of installed libraries, and the library that each is of: text on any machine.

Owns the reading of other people's source files: they are parsed, never imported. The names of all libraries and of
their own modules are masked in every text alike, so that neither a name nor its absence tells the answer.
"""

import ast
import hashlib
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import islice
from pathlib import Path

from charkha.core.errors import Unavailable
from charkha.core.messages import Example
from charkha.data.connectors.source import Source, gather, labelled

name = "docstrings"

# Libraries that Charkha itself stands on, most telling first; what is missing is made up from what else is installed.
PREFERRED = (
    "sqlalchemy", "networkx", "sympy", "torch", "numpy", "pydantic", "rich", "transformers", "aiohttp", "psycopg",
    "click", "alembic", "fsspec", "peft", "jinja2",
)  # fmt: skip
LIBRARIES = 10
FEWEST_LIBRARIES = 8
PER_CLASS = 160
WORDS = 30
MASK = "…"

_FEWEST_WORDS = 8
_LARGEST_FILE = 400_000
_NOT_THE_LIBRARY = {"tests", "test", "testing", "_vendor", "vendor", "_vendored", "third_party", "site-packages"}
_STANDARD = "python"
_NOTES = (
    "First paragraphs of docstrings of installed libraries; the class is the library.",
    "Dotted names, and the names of the libraries and their modules, are masked in every text.",
)
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_MARKUP = re.compile(r":\w+(?::\w+)*:(?=`)|[`*]+")


def load(*, folder: Path | None = None, preferred: Sequence[str] = PREFERRED, per_class: int = PER_CLASS) -> Source:
    """Balanced examples of up to ten libraries in `folder` (this Python's own packages, and then its standard library).

    The same files give the same examples. Raises Unavailable if fewer than eight libraries have texts enough.
    """
    found: dict[str, list[str]] = {}
    modules: set[str] = set()
    for library, place in _places(folder, preferred):
        files = _files(place)
        texts = list(islice(_paragraphs(files), 2 * per_class))
        if len(texts) >= per_class:
            found[library] = texts
            modules.update(file.stem for file in files)
        if len(found) == LIBRARIES:
            break
    if len(found) < FEWEST_LIBRARIES:
        raise Unavailable(
            f"Only {len(found)} installed libraries have docstrings enough, {FEWEST_LIBRARIES} are needed.",
            remedy="Give a file with --dataset, or install Charkha with its training extra.",
        )
    examples = _balanced(found, modules, per_class)
    return gather("Docstrings of installed libraries → library", examples, instruct=True, noun="library", notes=_NOTES)


def _places(folder: Path | None, preferred: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Libraries and their folders: the preferred ones, then the others by name, then the standard library."""
    root = folder or Path(sysconfig.get_path("purelib"))
    others = sorted(path.parent.name for path in root.glob("*/__init__.py"))
    for library in dict.fromkeys([*preferred, *(other for other in others if not other.startswith("_"))]):
        if (root / library / "__init__.py").is_file():
            yield library, root / library
    if folder is None:
        yield _STANDARD, Path(sysconfig.get_path("stdlib"))


def _files(place: Path) -> list[Path]:
    """The library's own source files, in the order of a hash of their names: any first few are a fair sample."""
    inside = (path for path in place.rglob("*.py") if not _NOT_THE_LIBRARY & set(path.relative_to(place).parts))
    return sorted(inside, key=lambda path: hashlib.sha256(path.relative_to(place).as_posix().encode()).digest())


def _paragraphs(files: Iterable[Path]) -> Iterator[str]:
    """First paragraphs that say something, each once, in the order of the files and of their lines."""
    seen: set[str] = set()
    for file in files:
        for paragraph in _of_file(file):
            if len(paragraph.split()) >= _FEWEST_WORDS and paragraph not in seen:
                seen.add(paragraph)
                yield paragraph


def _of_file(file: Path) -> Iterator[str]:
    if file.stat().st_size > _LARGEST_FILE:
        return
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return  # templates and files for other Pythons are no fault of ours: they simply give no text
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node) or ""
            yield " ".join(_MARKUP.sub("", re.split(r"\n\s*\n", docstring, maxsplit=1)[0]).split())


def mask(text: str, libraries: Sequence[str], modules: Set[str]) -> str:
    """The text with dotted names, words that hold a library's name, and compound names of modules replaced by MASK."""
    lowered = [library.casefold() for library in libraries]

    def hide(match: re.Match[str]) -> str:
        word = match[0]
        dotted = "." in word and word.lower() not in {"e.g", "i.e"}
        named = any(library in word.casefold() for library in lowered)
        return MASK if dotted or named or ("_" in word and word in modules) else word

    return _NAME.sub(hide, text)


def _balanced(found: dict[str, list[str]], modules: Set[str], per_class: int) -> list[Example]:
    examples: dict[str, list[Example]] = {}
    for library, texts in found.items():
        masked = (" ".join(mask(text, list(found), modules).split()[:WORDS]) for text in texts)
        telling = (text for text in masked if len(text.replace(MASK, "").split()) >= _FEWEST_WORDS)
        examples[library] = [labelled(text, library) for text in dict.fromkeys(telling)]
    fewest = min(per_class, *map(len, examples.values()))
    return [example for library in sorted(examples) for example in examples[library][:fewest]]
