"""Child processes die with their parent, and end politely or else; waits between tries grow and are bounded."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.kit import process
from charkha.kit.lockfile import LockFile, is_locked, started_at
from charkha.kit.process import Backoff, spawn, terminate

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]
PARENT = (
    "import sys, time; from charkha.kit.process import spawn;"
    "child = spawn([sys.executable, '-c', 'import time; time.sleep(600)']); print(child.pid, flush=True); time.sleep(600)"
)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def up(argv: list[str]) -> subprocess.Popen[bytes]:
    child = spawn(argv, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    return child


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_waits_stay_within_their_bounds(failures: int, chance: float) -> None:
    policy = Backoff(first=0.5, most=20, jitter=0.25)
    delay = policy.delay(failures, chance)
    assert 0.5 * 0.75 <= delay <= 20 * 1.25
    assert policy.delay(failures + 1, chance) >= delay


def test_waits_double() -> None:
    policy = Backoff(first=1, most=100, jitter=0)
    assert [policy.delay(n, 0.3) for n in (1, 2, 3, 4)] == [1, 2, 4, 8]


def test_a_child_dies_with_its_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert started_at(pid)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not started_at(pid))


def test_a_polite_child_ends_by_the_signal() -> None:
    assert terminate(up(SLEEPER)) == -signal.SIGTERM


def test_a_stubborn_child_is_killed_after_the_grace() -> None:
    assert terminate(up(STUBBORN), grace=0.05) == -signal.SIGKILL


def test_terminating_what_has_ended_gives_its_status() -> None:
    child = spawn([sys.executable, "-c", "raise SystemExit(3)"])
    child.wait()
    assert terminate(child) == 3


def test_a_child_has_its_own_group_niceness_and_environment(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "child.log"
    program = "import os; print(os.getpgrp() == os.getpid(), os.nice(0), os.environ['ADDED'], 'HOME' in os.environ)"
    child = spawn([sys.executable, "-c", program], env={"ADDED": "yes", "HOME": "/"}, log=log, nice=5)
    assert child.wait() == 0
    assert process.tail(log) == f"True {os.nice(0) + 5} yes True"
    assert log.stat().st_mode & 0o077 == 0


def test_an_environment_can_stand_alone(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    spawn(["/usr/bin/env"], env={"ONLY": "this"}, inherit_env=False, log=log).wait()
    assert log.read_text() == "ONLY=this\n"


def test_a_log_is_appended_to_and_its_tail_is_short(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    for text in ("first", "second"):
        spawn([sys.executable, "-c", f"print('{text}')"], log=log).wait()
    assert log.read_text() == "first\nsecond\n"
    assert process.tail(log, lines=1) == "second"
    assert process.tail(tmp_path / "absent.log") == ""


def test_a_long_log_is_moved_aside_under_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    with log.open("a") as writer:
        for number in range(10):
            print(number, file=writer, flush=True)
            process.rotate(log, limit=10)
    assert (tmp_path / "child.log.1").read_text() + log.read_text() == "".join(f"{n}\n" for n in range(10))
    process.rotate(tmp_path / "absent.log", limit=10)


@pytest.mark.parametrize(("status", "words"), [(0, "exit 0"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")])
def test_an_exit_status_in_words(status: int, words: str) -> None:
    assert process.explain(status) == words


def test_a_program_that_is_not_there_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        spawn(["/no/such/program"])


def test_a_lock_has_one_owner_and_tells_who(tmp_path: Path) -> None:
    with LockFile(tmp_path / "lock") as mine, LockFile(tmp_path / "lock") as other:
        assert mine.acquire()
        assert not other.acquire(wait=0.05)
        assert other.owner() == os.getpid()
        mine.release()
        assert other.acquire()
    assert not is_locked(tmp_path / "lock")
    assert not is_locked(tmp_path / "absent")


@pytest.mark.parametrize("content", ["", "garbage", "1 1", "{own} 7", "999999999 5"])
def test_what_a_stale_lock_says_is_not_believed(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content.format(own=os.getpid()))
    with LockFile(tmp_path / "lock") as lock:
        assert lock.owner() is None
        assert lock.acquire()


def test_a_child_that_was_handed_the_lock_keeps_it(tmp_path: Path) -> None:
    with LockFile(tmp_path / "lock") as lock:
        assert lock.acquire()
        child = spawn(SLEEPER, stdout=subprocess.DEVNULL, pass_fds=[lock.descriptor])
    assert is_locked(tmp_path / "lock")
    child.kill()
    child.wait()
    assert not is_locked(tmp_path / "lock")
