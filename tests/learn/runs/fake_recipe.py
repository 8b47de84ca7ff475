"""A recipe without a model: it counts steps, keeps a checkpoint after each, and ends as its configuration says."""

import hashlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

name = "fake"


class Config(BaseModel):
    """How many steps, and how they end."""

    model_config = ConfigDict(extra="forbid")

    steps: int = Field(4, ge=1)
    ending: Literal["done", "error", "die", "die_once", "wait", "wait_once", "lie", "silent"] = "done"


def report(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def main(run_json: Path) -> int:
    run = json.loads(run_json.read_text())
    out, config = Path(run["output_dir"]), Config(**run["config"])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    (out / "pids").open("a").write(f"{os.getpid()}\n")
    checkpoint = out / "checkpoint"
    first_time, start = not checkpoint.exists(), int(checkpoint.read_text()) if checkpoint.exists() else 0
    report("started", steps_planned=config.steps, step=start)
    for step in range(start + 1, config.steps + 1):
        report("progress", step=step, steps=config.steps, loss=1 / step, learning_rate=0.1, seconds_left=0.5)
        checkpoint.write_text(str(step))
        if config.ending == "die" or (first_time and config.ending in ("die_once", "wait_once") and step == 2):
            break
    print("a line that is no JSON", flush=True)
    report("checkpoint", step=config.steps)
    return end(run, out, config.ending, first_time, stop)


def end(run: dict[str, Any], out: Path, ending: str, first_time: bool, stop: threading.Event) -> int:
    if ending == "error":
        report("error", code="single_class", message="All are alike.", remedy="Add others.")
        return 1
    if ending == "die" or (ending == "die_once" and first_time):
        os.kill(os.getpid(), signal.SIGKILL)
    if ending == "silent":
        print("out of ideas", file=sys.stderr)
        return 3
    if ending == "wait" or (ending == "wait_once" and first_time):
        stop.wait(60)
        report("cancelled", step=1)
        return 75
    files = {"adapter.gguf": b"GGUF", "adapter.safetensors": b"tensors", "adapter_config.json": b"{}"}
    for file, content in files.items():
        (out / file).write_bytes(content)
    hashes = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    if ending == "lie":
        hashes["adapter.gguf"] = "0" * 64
    record = {"artefacts": hashes, "base_hash": run["base_hash"], "metrics": {"steps": 4}, "seed": run["seed"]}
    (out / "record.json").write_text(json.dumps(record))
    report("done", steps=4)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
