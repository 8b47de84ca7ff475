"""Descriptions of Debian packages and the section of the archive that each is in, from the archive's own lists.

Owns the boundary to apt: the lists are fetched by `apt-get update` into a private directory, as any user and without
touching the machine's own lists, from the archives that the machine already trusts and with their signatures checked.
Fetching and parsing are apart: the parsers take lines of text.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from charkha.core.errors import Unavailable
from charkha.core.messages import Example
from charkha.data.connectors.source import Source, gather, labelled

name = "debian"

# Sections that differ in meaning and hold more than 200 source packages each.
SECTIONS = ("fonts", "games", "gnu-r", "graphics", "java", "mail", "math", "perl", "php", "sound")
# The synopsis and this many words of the text keep a prompt, with the classes named, at about 90 tokens.
WORDS = 24
PER_CLASS = 220

Parsed = TypeVar("Parsed")
Progress = Callable[[float, str], None]

_REMEDY = "Give a file with --dataset, or use the docstrings of the installed libraries."
_HELPERS = (Path("/usr/lib/apt/apt-helper"), Path("/usr/libexec/apt/apt-helper"))


@dataclass(frozen=True, slots=True)
class Package:
    """A binary package as the archive lists it: the source that it is built from, its section, its description's id."""

    source: str
    section: str
    description: str


def load(*, timeout: float = 120, progress: Progress = lambda _share, _message: None) -> Source:
    """Fetch the lists (about 16 MB over the wire, 32 MB on disk for the while) and make balanced examples of them.

    `timeout` bounds the fetching, in seconds; `progress` is called with a share from 0 to 1 and what is being done.
    Raises Unavailable if there is no apt, no network, or the archive holds too little.
    """
    with tempfile.TemporaryDirectory(prefix="charkha-debian-") as directory:
        lists = fetch(Path(directory), timeout, progress)
        progress(0.9, "reading descriptions")
        packages = [package for path in _found(lists, "*_Packages*") for package in _read(path, parse_packages)]
        texts = dict(
            pair for path in _found(lists, "*i18n_Translation-en*") for pair in _read(path, parse_descriptions)
        )
    return assemble(packages, texts)


def assemble(packages: Iterable[Package], texts: dict[str, str], per_class: int = PER_CLASS) -> Source:
    """Equally many examples of each section, one package of each source, chosen by a hash of the text.

    Packages of one source share whole sentences: two of them would carry the answer from training into the test.
    """
    chosen: dict[str, list[Example]] = defaultdict(list)
    seen: set[str] = set()
    for package in packages:
        if package.section in SECTIONS and package.source not in seen and package.description in texts:
            seen.add(package.source)
            chosen[package.section].append(labelled(shorten(texts[package.description]), package.section))
    fewest = min((len(chosen[section]) for section in SECTIONS), default=0)
    if not fewest:
        raise Unavailable("The archive's lists hold no descriptions of some sections.", remedy=_REMEDY)
    balanced = [
        example for section in SECTIONS for example in sorted(chosen[section], key=_order)[: min(per_class, fewest)]
    ]
    notes = ("Descriptions of Debian packages, from the archive's own lists; the class is the archive section.",)
    return gather("Debian package descriptions → section", balanced, instruct=True, notes=notes)


def _order(example: Example) -> bytes:
    return hashlib.sha256(example.prompt[0].content.encode()).digest()


def shorten(description: str, words: int = WORDS) -> str:
    """Synopsis and the first words of the text of a Debian description field, as one line."""
    synopsis, _, text = description.partition("\n")
    lines = (line.strip() for line in text.split("\n"))
    body = " ".join(line for line in lines if line != ".").split()
    return f"{synopsis.strip().rstrip('.')}. {' '.join(body[:words])}".strip()


def parse_packages(lines: Iterable[str]) -> Iterator[Package]:
    """Packages of a Packages file (deb822: one stanza each, blank lines between). Incomplete stanzas are passed over."""
    for stanza in _stanzas(lines, ("Package", "Source", "Section", "Description-md5")):
        if "Section" in stanza and "Description-md5" in stanza:
            source = stanza.get("Source", stanza.get("Package", "")).split(" ")[0]
            yield Package(source, stanza["Section"].rpartition("/")[2], stanza["Description-md5"])


def parse_descriptions(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(id, description) pairs of a Translation-en file."""
    for stanza in _stanzas(lines, ("Description-md5", "Description-en")):
        if len(stanza) == 2:
            yield stanza["Description-md5"], stanza["Description-en"]


def _stanzas(lines: Iterable[str], wanted: tuple[str, ...]) -> Iterator[dict[str, str]]:
    stanza: dict[str, str] = {}
    field = ""
    for line in lines:
        if not line.strip():
            if stanza:
                yield stanza
            stanza, field = {}, ""
        elif line[0] in " \t":
            if field in stanza:
                stanza[field] += "\n" + line.strip()
        else:
            field, _, value = line.partition(":")
            if field in wanted:
                stanza[field] = value.strip()
    if stanza:
        yield stanza


def fetch(directory: Path, timeout: float, progress: Progress) -> Path:
    """Fetch the lists into `directory` (empty, ours) and return the folder that holds them. Raises Unavailable."""
    command = shutil.which("apt-get")
    if command is None:
        raise Unavailable("This machine has no apt-get.", remedy=_REMEDY)
    for part in ("lists/partial", "cache/archives/partial"):
        (directory / part).mkdir(parents=True)
    complaint = "it did not answer in time"
    with _running([command, *_options(directory), "update"], timeout) as output:
        for line in output:
            if line.startswith("dlstatus:"):
                progress(0.9 * float(line.split(":")[2]) / 100, "fetching the archive's lists")
            elif line.startswith(("E:", "W:")):
                complaint = line.strip()[:300]
    lists = directory / "lists"
    if not _found(lists, "*_Packages*") or not _found(lists, "*i18n_Translation-en*"):
        raise Unavailable(f"The package archive cannot be reached: {complaint}.", remedy=_REMEDY)
    return lists


def _options(directory: Path) -> list[str]:
    """Settings of apt: everything in our directory, English descriptions (images leave them out), short waits."""
    settings = {
        "Acquire::Languages": "en",
        "Acquire::Retries": "1",
        "Acquire::http::Timeout": "15",
        "Acquire::https::Timeout": "15",
        "APT::Status-Fd": "1",
        "Debug::NoLocking": "1",
        "Dir::State": directory,
        "Dir::State::Lists": directory / "lists",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": directory / "cache",
    }
    return [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]


def _found(lists: Path, pattern: str) -> list[Path]:
    return sorted(path for path in lists.glob(pattern) if path.is_file())


def _read(path: Path, parse: Callable[[Iterable[str]], Iterator[Parsed]]) -> list[Parsed]:
    """Parse a list in whatever compression apt has kept it."""
    helper = shutil.which("apt-helper") or next((str(place) for place in _HELPERS if place.exists()), None)
    if helper is None:
        raise Unavailable("This machine has apt-get but no apt-helper.", remedy=_REMEDY)
    with _running([helper, "cat-file", str(path)], timeout=60) as output:
        return list(parse(output))


@contextmanager
def _running(command: list[str], timeout: float) -> Iterator[IO[str]]:
    """The output, errors included, of a command that is killed with its children after `timeout` seconds, or on leaving."""
    process = subprocess.Popen(  # noqa: S603  our own fixed command, no shell
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    alarm = threading.Timer(timeout, _kill, [process])
    alarm.start()
    try:
        assert process.stdout is not None
        yield process.stdout
    finally:
        alarm.cancel()
        _kill(process)
        process.communicate()


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill the whole group: apt downloads in children that would hold the pipe open. A group that is gone is fine."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
