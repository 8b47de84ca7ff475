"""A whole turn on the demonstration's data in a fresh home: its time, accuracies, and the memory of every process.

`python -m benchmarks turn [FILE.jsonl]` measures the same on a file of your own.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.report import write

CHARKHA = [sys.executable, "-m", "charkha.app.cli"]


class Memory:
    """The peak of the memory that a process tree holds, sampled each second (proportional set size, in MiB)."""

    def __init__(self, root: int) -> None:
        self.peak = 0.0
        self.at_rest = 0.0
        self._root, self._stop = root, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            self.peak = max(self.peak, memory_of_tree(self._root))

    def stop(self) -> None:
        """Sample no more."""
        self._stop.set()


def memory_of_tree(root: int) -> float:
    """MiB of proportional set size of a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
    total, waiting = 0.0, [root]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        total += _pss(pid)
    return total


def _pss(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0.0
    return 0.0


def main() -> None:
    """Start, turn, stop, report."""
    dataset = sys.argv[2] if len(sys.argv) > 2 and sys.argv[1] == "turn" else None
    with tempfile.TemporaryDirectory(prefix="charkha-bench-", dir="/tmp") as directory:
        Path(directory).chmod(0o711)
        env = {**os.environ, "CHARKHA_HOME": f"{directory}/home", "CHARKHA_PORT": "0"}
        began = time.monotonic()
        started = subprocess.run(
            [*CHARKHA, "up", "--detach", "--json"], env=env, capture_output=True, text=True, check=True
        )
        first_start, state = time.monotonic() - began, json.loads(started.stdout)
        memory = Memory(state["pid"])
        at_rest = memory_of_tree(state["pid"])
        try:
            options = ["--dataset", dataset] if dataset else []
            turn = subprocess.run(
                [*CHARKHA, "spin", "--json", *options], env=env, stdout=subprocess.PIPE, text=True, check=False
            )
            result = json.loads(turn.stdout)
        finally:
            memory.stop()
            subprocess.run([*CHARKHA, "down"], env=env, check=True)
    low, high = result["interval"] or (None, None)
    figures = {
        "first_start_seconds": round(first_start, 1),
        "turn_seconds": result["seconds"],
        "live": result["live"],
        "accuracy_before": result["before"],
        "accuracy_after": result["after"],
        "difference_low": low,
        "difference_high": high,
        "memory_at_rest_mb": round(at_rest),
        "memory_peak_mb": round(memory.peak),
    }
    write("turn" if dataset is None else f"turn-{Path(dataset).stem}", figures)


if __name__ == "__main__":
    main()
