"""Programs in child processes are heard, are stopped even when stubborn, and learn no secrets."""

import os
from pathlib import Path

import pytest

from charkha.kit import programs

pytestmark = pytest.mark.anyio

PROGRAM = """
import json, os, signal, sys, time
what = open(sys.argv[1]).read()
print(json.dumps({"event": "up", "pid": os.getpid(), "secrets": [k for k in os.environ if k.startswith("CHARKHA_")]}))
print("noise", flush=True)
print("a complaint", file=sys.stderr)
if what == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(json.dumps({"event": "deaf"}), flush=True)
    time.sleep(600)
sys.exit(7)
"""


@pytest.fixture
def argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a_program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("CHARKHA_DATABASE_URL", "postgresql://u:secret@h/d")
    return tmp_path / "argument"


async def test_objects_are_heard_noise_is_passed_over_and_no_setting_is_handed_down(argument: Path) -> None:
    argument.write_text("")
    log = argument.with_name("log")
    async with programs.running("a_program", argument, log=log) as program:
        heard = [event async for event in program.events()]
        assert await program.ended() == 7
    assert heard == [{"event": "up", "pid": program.pid, "secrets": []}]
    assert log.read_text() == "a complaint\n"


async def test_a_stubborn_program_is_killed_after_its_grace(argument: Path) -> None:
    argument.write_text("stubborn")
    async with programs.running("a_program", argument, log=argument.with_name("log")) as program:
        async for event in program.events():
            if event["event"] == "deaf":
                program.stop(grace=0.05)
        assert await program.ended() == -9
    with pytest.raises(ProcessLookupError):
        os.kill(program.pid, 0)


async def test_the_block_does_not_end_before_its_program(argument: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "GRACE_SECONDS", 0.05)
    argument.write_text("stubborn")
    with pytest.raises(ValueError, match="enough"):
        async with programs.running("a_program", argument, log=argument.with_name("log")) as program:
            raise ValueError("enough")
    with pytest.raises(ProcessLookupError):
        os.kill(program.pid, 0)


def test_nothing_is_fetched() -> None:
    assert programs.environment()["HF_HUB_OFFLINE"] == "1"
