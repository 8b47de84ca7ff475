"""The supervisor, with small real programs as its parts: order, restarts, the inherited socket, and every way to end."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from charkha.app import listener
from charkha.app.supervisor import Part, Supervisor
from charkha.app.supervisor_state import State, detach, read_state, shut_down
from charkha.core.errors import Conflict, Misconfigured, Unavailable
from charkha.kit.lockfile import started_at
from charkha.kit.process import Backoff

QUICK = Backoff(first=0.01, most=0.05)
SERVER = """
import http.server, os, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *words): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=int(os.environ["CHARKHA_LISTEN_FD"]))
server.socket.setblocking(True)
server.serve_forever()
"""
UP = """
import sys, pathlib
from charkha.app.supervisor import Part, Supervisor
home = pathlib.Path(sys.argv[1])
with Supervisor(home) as supervisor:
    supervisor.listen("127.0.0.1", 0)
    supervisor.run([Part("sleeper", [sys.executable, "-c", sys.argv[2]], ready=lambda: True)])
"""
SLEEP = "import time; time.sleep(600)"


def python(name: str, program: str, *arguments: str, **options: object) -> Part:
    return Part(name, [sys.executable, "-c", program, *arguments], **options)  # type: ignore[arg-type]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(pid: int) -> bool:
    return not started_at(pid)


@contextlib.contextmanager
def supervised(home: Path, *parts: Part) -> Iterator[Supervisor]:
    """A supervisor with its parts up, in a thread of its own; stopped at the end."""
    with Supervisor(home, backoff=QUICK) as supervisor:
        supervisor.listen("127.0.0.1", 0)
        ready = threading.Event()
        thread = threading.Thread(target=supervisor.run, args=[parts], kwargs={"on_ready": lambda _: ready.set()})
        thread.start()
        try:
            assert ready.wait(60)
            yield supervisor
        finally:
            supervisor.stop()
            thread.join()


def state(home: Path) -> State:
    told = read_state(home)
    assert told is not None
    return told


def test_parts_start_in_order_and_stop_in_reverse(tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, sys, time; diary, name, ready = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]\n"
        "def end(*_): diary.open('a').write(f'{name} ends\\n'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); diary.open('a').write(f'{name} begins\\n')\n"
        "time.sleep(0.1); diary.open('a').write(f'{name} ready\\n'); pathlib.Path(ready).touch(); time.sleep(600)"
    )
    diary, ready = tmp_path / "diary", [tmp_path / name for name in "ab"]
    parts = [python(path.name, program, str(diary), path.name, str(path), ready_file=path) for path in ready]
    migration = python("m", f"open({str(diary)!r}, 'a').write('m done\\n')", once=True)
    with supervised(tmp_path, parts[0], migration, parts[1]):
        assert [part.state for part in state(tmp_path).parts] == ["ready", "done", "ready"]
    expected = ["a begins", "a ready", "m done", "b begins", "b ready", "b ends", "a ends"]
    assert diary.read_text().splitlines() == expected
    assert read_state(tmp_path) is None


def test_a_dead_part_is_started_again_and_its_end_is_told(tmp_path: Path) -> None:
    with supervised(tmp_path, python("sleeper", SLEEP, ready=lambda: True)):
        for restarts in (1, 2):
            pid = state(tmp_path).parts[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: state(tmp_path).parts[0].restarts == restarts and state(tmp_path).parts[0].pid)  # noqa: B023
        assert state(tmp_path).parts[0].last_exit == "killed by SIGKILL"


def test_a_restarting_gateway_refuses_nobody(tmp_path: Path) -> None:
    def ask() -> int:
        with socket.create_connection(address, timeout=60) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return int(client.makefile("rb").read().rpartition(b"\r\n")[2])

    with supervised(tmp_path, python("api", SERVER, listens=True, ready=lambda: True)) as supervisor:
        assert supervisor.listener is not None
        address = supervisor.listener.getsockname()
        assert state(tmp_path).url == f"http://127.0.0.1:{address[1]}"
        wait_until(lambda: listener.answers(*address, "/"))
        first = ask()
        os.kill(first, signal.SIGKILL)
        assert ask() != first


def test_an_essential_part_that_does_not_come_up_is_told_with_its_words(tmp_path: Path) -> None:
    broken = python("engine", "raise SystemExit('the model is missing')", ready=lambda: False)
    with Supervisor(tmp_path, backoff=QUICK) as supervisor:
        with pytest.raises(Unavailable, match="engine did not start \\(exit 1\\)") as caught:
            supervisor.run([python("sleeper", SLEEP, ready=lambda: True), broken])
        assert "the model is missing" in caught.value.message
        assert str(tmp_path / "log" / "engine.log") in caught.value.remedy
        assert state(tmp_path).parts[0].state == "stopped"


@pytest.mark.parametrize(
    "part",
    [
        python("slow", SLEEP, ready=lambda: False, ready_seconds=0.05),
        python("migrations", "raise SystemExit(2)", once=True),
        Part("absent", ["/no/such/program"]),
    ],
    ids=lambda part: part.name,
)
def test_every_way_not_to_come_up_ends_the_start(tmp_path: Path, part: Part) -> None:
    with Supervisor(tmp_path, backoff=QUICK) as supervisor, pytest.raises(Unavailable, match=part.name):
        supervisor.run([part])


def test_a_part_that_is_not_essential_may_be_missing(tmp_path: Path) -> None:
    missing = python("extra", "raise SystemExit(1)", essential=False, ready=lambda: False)
    with supervised(tmp_path, missing, python("sleeper", SLEEP, ready=lambda: True)):
        extra, sleeper = state(tmp_path).parts
        assert extra.last_exit == "exit 1"
        assert sleeper.state == "ready"


def test_a_part_without_a_check_is_ready_when_it_has_lived_a_while(tmp_path: Path) -> None:
    with supervised(tmp_path, python("plain", SLEEP)):
        assert state(tmp_path).parts[0].state == "ready"


def test_two_supervisors_on_one_home_cannot_be(tmp_path: Path) -> None:
    with Supervisor(tmp_path), pytest.raises(Conflict, match=f"process {os.getpid()}") as caught, Supervisor(tmp_path):
        pass
    assert "charkha down" in caught.value.remedy
    with Supervisor(tmp_path):  # the lock was let go
        pass


def test_a_taken_port_is_told_with_the_remedy(tmp_path: Path) -> None:
    with listener.bind("127.0.0.1", 0) as taken, Supervisor(tmp_path) as supervisor:
        with pytest.raises(Conflict, match="is taken") as caught:
            supervisor.listen("127.0.0.1", taken.getsockname()[1])
        assert "CHARKHA_PORT" in caught.value.remedy


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
def test_an_address_that_is_not_ours_is_told(tmp_path: Path, host: str) -> None:
    with Supervisor(tmp_path) as supervisor, pytest.raises(Misconfigured, match=host):
        supervisor.listen(host, 0)


def test_an_address_for_people(tmp_path: Path) -> None:
    with listener.bind("0.0.0.0", 0) as wide:
        assert listener.url_of(wide, secure=True) == f"https://127.0.0.1:{wide.getsockname()[1]}"


@contextlib.contextmanager
def process_up(home: Path, program: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A supervisor as a process, with the pid of its part."""
    child = subprocess.Popen([sys.executable, "-c", UP, str(home), program])
    try:
        wait_until(lambda: (told := read_state(home)) and told.ready)
        pid = state(home).parts[0].pid
        assert pid is not None
        yield child, pid
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_peace(tmp_path: Path, number: signal.Signals) -> None:
    with process_up(tmp_path, SLEEP) as (child, pid):
        child.send_signal(number)
        assert child.wait(60) == 0
        assert gone(pid)


def test_a_second_signal_does_not_wait_for_the_stubborn(tmp_path: Path) -> None:
    flag = tmp_path / "deaf"
    deaf = f"import signal, time, pathlib; signal.signal(15, signal.SIG_IGN); pathlib.Path({str(flag)!r}).touch()"
    with process_up(tmp_path, f"{deaf}; time.sleep(600)") as (child, pid):
        wait_until(flag.exists)
        child.send_signal(signal.SIGTERM)
        wait_until(lambda: not state(tmp_path).ready)
        child.send_signal(signal.SIGTERM)
        child.wait(60)
        assert gone(pid)


@pytest.mark.chaos
def test_kill_9_of_the_supervisor_ends_everything_and_the_next_start_works(tmp_path: Path) -> None:
    with process_up(tmp_path, SLEEP) as (child, pid):
        child.kill()
        child.wait()
        wait_until(lambda: gone(pid))
        assert read_state(tmp_path) is None  # what the file still says is not believed
        assert json.loads((tmp_path / "run" / "supervisor.json").read_text())["pid"] == child.pid
    with supervised(tmp_path, python("sleeper", SLEEP, ready=lambda: True)):
        assert state(tmp_path).pid == os.getpid()


def test_detach_waits_until_all_is_up_and_shut_down_until_all_is_gone(tmp_path: Path) -> None:
    seen: list[State] = []
    told = detach(
        [sys.executable, "-c", UP, str(tmp_path), SLEEP], tmp_path / "up.log", tmp_path, on_change=seen.append
    )
    assert told.ready
    assert seen[-1] == told == read_state(tmp_path)
    assert shut_down(tmp_path)
    assert os.waitstatus_to_exitcode(os.waitpid(told.pid, 0)[1]) == 0
    assert told.parts[0].pid is not None
    assert gone(told.parts[0].pid)
    assert not shut_down(tmp_path)


def test_detach_tells_why_a_start_failed(tmp_path: Path) -> None:
    (tmp_path / "up.log").write_text("an older story\n")
    with pytest.raises(Unavailable, match="no good") as caught:
        detach([sys.executable, "-c", "raise SystemExit('no good')"], tmp_path / "up.log", tmp_path)
    assert "older story" not in str(caught.value)
