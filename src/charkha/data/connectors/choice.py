"""Which data a demonstration turns on: a person's file, else Debian's descriptions, else the installed docstrings."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from charkha.core.errors import Unavailable
from charkha.data.connectors import debian, docstrings, jsonl
from charkha.data.connectors.source import Source

Progress = Callable[[float, str], None]


def choose(
    file: Path | None = None, *, timeout: float = 120, progress: Progress = lambda _share, _message: None
) -> Source:
    """The examples of `file`, or of the Debian archive where apt reaches it within `timeout` seconds, or docstrings.

    The notes of the Source say why the archive was passed over. `progress` is called with a share from 0 to 1 and
    what is being done. Raises as the connectors do; what is wrong with a person's file is never papered over.
    """
    if file is not None:
        return jsonl.load(file)
    try:
        return debian.load(timeout=timeout, progress=progress)
    except Unavailable as missing:
        progress(0.9, "reading the docstrings of installed libraries")
        source = docstrings.load()
        return replace(source, notes=(f"{missing.message} Using docstrings instead.", *source.notes))
