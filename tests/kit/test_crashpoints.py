"""Crash points, in processes of their own: they kill when they were chosen, once, and else do nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from charkha.kit.crashpoints import crashpoint, markers, parse

PROGRAM = """
from charkha.kit.crashpoints import crashpoint
for time in range(4):
    print(time, flush=True)
    crashpoint("one")
    crashpoint("two")
"""


def pass_through(home: Path, crash_at: str) -> tuple[int, int]:
    """The program's exit status, and how many rounds it began."""
    env = {**os.environ, "CHARKHA_HOME": str(home), "CHARKHA_CRASH_AT": crash_at}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=False)
    return done.returncode, len(done.stdout.split())


def test_nothing_happens_unless_a_place_is_chosen(tmp_path: Path) -> None:
    crashpoint("one")
    assert pass_through(tmp_path, "") == (0, 4)
    assert pass_through(tmp_path, "three") == (0, 4)
    assert not markers(tmp_path).exists()


def test_each_place_kills_once_in_a_home(tmp_path: Path) -> None:
    assert pass_through(tmp_path, "one:3,two:2") == (-signal.SIGKILL, 2)
    assert pass_through(tmp_path, "one:3,two:2") == (-signal.SIGKILL, 3)
    assert pass_through(tmp_path, "one:3,two:2") == (0, 4)
    assert sorted(path.name for path in markers(tmp_path).iterdir()) == ["one", "two"]


def test_the_variable_is_checked() -> None:
    assert parse(" a , b:2,") == {"a": 1, "b": 2}
    for wrong in ("a:0", "a:x"):
        with pytest.raises(ValueError):
            parse(wrong)
