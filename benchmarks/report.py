"""How a benchmark writes what it found: one flat JSON object, with the machine that it ran on."""

import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def write(name: str, figures: dict[str, Any]) -> None:
    """Write `results/NAME.json` and print it."""
    machine = {"cpu": _cpu(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**figures, **machine}, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
