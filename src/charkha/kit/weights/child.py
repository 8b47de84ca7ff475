"""What a process that computes with weights does to itself at its start: die with its parent, step back, speak JSON.

A spawner must start such a child from a thread that lives as long as the child is wanted: Linux ties the death signal
to the parent's *thread*, so a child started from a pool's worker dies when the pool does.
"""

import ctypes
import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from charkha.core.errors import CharkhaError, Invalid, StorageFull

FAILED: Final = 1
"""Exit status of a program that has reported an `error` event: starting it again without a change cannot help."""

_PR_SET_PDEATHSIG: Final = 1
_DISK_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Document = TypeVar("Document", bound=BaseModel)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however that ends (Linux; elsewhere nothing happens).

    What a killed child leaves is either complete or a temporary file: nothing is written in place.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent:  # the parent ended before the kernel was asked
        raise SystemExit(1)


class Reporter:
    """JSON objects, one a line, on what was standard output when this was made.

    Standard output itself is then turned to standard error, so that no library's print can break the protocol.
    """

    def __init__(self) -> None:
        self._stream: IO[str] = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)

    def __call__(self, event: str, **fields: Any) -> None:
        """Write one event. Raises BrokenPipeError when nobody reads any more."""
        self._stream.write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\n")


def run(program: Callable[[Path, Reporter], int], argv: Sequence[str], niceness: int) -> int:
    """Run `program` on the document that `argv` names, as a child should be; its exit status.

    Its errors become one `error` event: code, message, remedy. What is nobody's input is raised again, for the log.
    """
    die_with_parent()
    os.nice(niceness)
    report = Reporter()
    try:
        with disk_errors():
            return program(Path(argv[0]), report)
    except CharkhaError as error:
        report("error", code=error.code, message=error.message, remedy=error.remedy)
    except Exception as error:
        report("error", code="internal_error", message=f"The program failed: {error!r}.", remedy="See its log.")
        raise
    return FAILED


def read(path: Path, kind: type[Document]) -> Document:
    """The document that a program was given. Raises Invalid naming its first wrong field."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"{field}: {first['msg']}.", param=field, remedy=f"Correct {field} in {path.name}.") from error


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn what the file system refuses into errors of ours."""
    try:
        yield
    except BrokenPipeError:  # nobody listens any more: not the disk's doing
        raise
    except OSError as error:
        if error.errno in _DISK_FULL:
            remedy = "Free space, then start it again: it goes on from its last checkpoint if it keeps any."
            raise StorageFull("The disk is full.", remedy=remedy) from error
        message = f"{error.filename or 'A file'}: {error.strerror or error}."
        raise Invalid(message, remedy="Check that path.", code="unreadable") from error
