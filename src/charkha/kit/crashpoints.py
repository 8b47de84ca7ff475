"""Named places at which the crash suite may kill a process: between two effects, where a bug of ordering would show.

`crashpoint("feedback.before_commit")` does nothing unless CHARKHA_CRASH_AT names the place, as "name" or as "name:3" for
the third time that one process passes it; several are parted by commas. Then the process kills itself with SIGKILL,
once in a home's life: a file in `$CHARKHA_HOME/run/crashes` says that it has been, so that the process which follows
lives. Unset, a call costs a look into an empty dictionary.
"""

import os
import signal
from collections import Counter
from pathlib import Path

VARIABLE = "CHARKHA_CRASH_AT"


def parse(text: str) -> dict[str, int]:
    """What the variable says: which passing of which place is fatal. Raises ValueError for a count that is none."""
    chosen = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, count = part.partition(":")
        chosen[name] = int(count or 1)
        if chosen[name] < 1:
            raise ValueError(f"{VARIABLE}: '{part}' counts from 1.")
    return chosen


def markers(home: Path) -> Path:
    """The directory of a home in which each place leaves a file when it has killed."""
    return home / "run" / "crashes"


def crashpoint(name: str) -> None:
    """Die here if this passing of this place was chosen."""
    if name in _chosen:
        _passed[name] += 1
        if _passed[name] >= _chosen[name] and _is_first(name):
            os.kill(os.getpid(), signal.SIGKILL)


def _is_first(name: str) -> bool:
    """Leave the marker; False where there is one already."""
    directory = markers(Path(os.environ["CHARKHA_HOME"]))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        (directory / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


_chosen = parse(os.environ.get(VARIABLE, ""))
_passed: Counter[str] = Counter()
