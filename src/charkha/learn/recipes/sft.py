"""Supervised fine-tuning of a LoRA adapter on prompts with known answers: a program that reads from top to bottom.

    python -m charkha.learn.recipes.sft RUN_DIR/run.json

It owns its output directory: checkpoints while it runs, and at the end `adapter.safetensors` with `adapter_config.json`
(PEFT's form), `adapter.gguf` (what the engine serves) and `record.json`, written last, which makes the run complete.
Standard output carries one JSON object a line, each with an `event`:

- `started`: examples, tokens, steps_planned, step (more than 0 when resumed), truncated, skipped, precision
- `progress`: step, steps, loss, learning_rate, tokens_per_second, seconds_left
- `checkpoint`: step · `notice`: message
- and one of these last: `done` with the metrics (exit 0), `cancelled` with the step (exit 75, after SIGTERM: started
  again it goes on from there), `error` with code, message and remedy (exit 1).

The method is LoRA (Hu et al., 2021) on all linear layers with AdamW; the loss is the cross-entropy of the answer's tokens
and the end of the turn, nothing else. Importing this module for its `Config` imports no torch.
"""

import hashlib
import importlib.metadata
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from charkha.core.errors import Invalid
from charkha.core.messages import Example
from charkha.kit.weights import child, convert, files, hf
from charkha.kit.weights.chat import Encoded, encode
from charkha.learn.recipes import schedule
from charkha.learn.recipes.config import Config
from charkha.learn.recipes.environment import CANCELLED

if TYPE_CHECKING:
    from charkha.learn.recipes.training import Training

name: Final = "sft"
description: Final = "Fine-tunes a LoRA adapter on prompts with known answers."

_NICENESS: Final = 10
_ARTEFACTS: Final = ("adapter.safetensors", "adapter_config.json", "adapter.gguf")
_MOST_KEPT_ASIDE: Final = 48


class Run(BaseModel):
    """run.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_gguf: Path
    models_dir: Path
    train: Path
    output_dir: Path
    config: Config = Config()
    base_hash: str
    data_version: str
    seed: int = Field(0, ge=0)

    def identity(self) -> str:
        """A hash of what determines the result."""
        facts = [self.base_hash, self.data_version, files.sha256_of(self.train), self.seed, self.config.model_dump()]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def main(path: Path, report: child.Reporter) -> int:
    """Run the program on run.json; see the module for what it reports and returns."""
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    run = child.read(path, Run)
    with files.locked(run.output_dir / ".lock"):
        return execute(run, report, stop)


def execute(run: Run, report: child.Reporter, stop: Event) -> int:
    """The run, from its examples to its artefacts."""
    metrics = finished_before(run)
    if metrics is None:
        examples = read_examples(run.train)
        training, facts = prepare(run, examples)
        for message in training.resume(run.output_dir / "checkpoints"):
            report("notice", message=message)
        report("started", steps_planned=training.progress.total, step=training.progress.step, **facts)
        if not train(training, run, report, stop):
            report("cancelled", step=training.progress.step)
            return CANCELLED
        metrics = write_artefacts(run, training, facts)
    report("done", **metrics)
    return 0


def read_examples(path: Path) -> list[Example]:
    """The examples, one JSON object a line. Raises Invalid if there are none, or nothing to tell apart."""
    try:
        examples = msgspec.json.Decoder(Example).decode_lines(path.read_bytes())
    except msgspec.MsgspecError as error:
        raise Invalid(f"The examples cannot be read: {error}.", remedy="Give one example a line.") from error
    if not examples:
        raise Invalid("There are no examples to train on.", remedy="Gather feedback first.", code="empty_data")
    labels = {example.label for example in examples}
    if len(labels) == 1 and None not in labels:
        raise Invalid(
            f"All {len(examples)} examples have the label '{labels.pop()}': there is nothing to tell apart.",
            remedy="Add examples of at least one other label.",
            code="single_class",
        )
    return examples


def prepare(run: Run, examples: Sequence[Example]) -> tuple["Training", dict[str, Any]]:
    """The model with a fresh adapter, and the examples in tokens; also the facts to report of them."""
    import torch

    from charkha.learn.recipes.training import Training

    torch.set_num_threads(run.config.threads)
    directory = hf.hf_directory(run.model_gguf, run.models_dir)
    tokenizer = hf.load_tokenizer(directory)
    encoded = [encode(tokenizer, example, run.config.max_length) for example in examples]
    fitting = [example for example in encoded if example is not None]
    if not fitting:
        raise Invalid("No example fits max_length.", remedy="Raise max_length or shorten the prompts.", code="too_long")
    kept_aside, learned = split(fitting, run.config.validation_share, run.seed)
    model = hf.load_model(directory, run.config.precision)
    facts = {
        "examples": len(learned),
        "kept_aside": len(kept_aside),
        "tokens": sum(len(example) for example in learned),
        "truncated": sum(example.truncated for example in fitting),
        "skipped": len(encoded) - len(fitting),
        "precision": str(model.dtype).removeprefix("torch."),
    }
    return Training(model, run.config, learned, kept_aside, run.seed, run.identity()), facts


def split(examples: Sequence[Encoded], share: float, seed: int) -> tuple[list[Encoded], list[Encoded]]:
    """Examples kept aside, and those to learn from. Of fewer than 100 none is spared."""
    count = min(_MOST_KEPT_ASIDE, round(len(examples) * share)) if len(examples) >= 100 else 0
    shuffled = [examples[index] for index in schedule.order(len(examples), seed, 0)]
    return shuffled[:count], shuffled[count:]


def train(training: "Training", run: Run, report: child.Reporter, stop: Event) -> bool:
    """Step until the schedule ends; False if told to stop before that. Leaves a checkpoint either way."""
    progress, checkpoints = training.progress, run.output_dir / "checkpoints"
    report_due = every(1.0)
    checkpoint_due = every(run.config.checkpoint_seconds)
    while not training.finished and not stop.is_set():
        rate = training.rate
        loss = training.step()
        if report_due() or training.finished:
            report(
                "progress",
                step=progress.step,
                steps=progress.total,
                loss=round(loss, 4),
                learning_rate=rate,
                tokens_per_second=round(progress.tokens / progress.seconds, 1),
                seconds_left=round(training.seconds_left, 1),
            )
        if checkpoint_due() or training.finished or stop.is_set():
            training.save(checkpoints)
            report("checkpoint", step=progress.step)
    return training.finished


def every(seconds: float) -> Callable[[], bool]:
    """A question that is answered with yes once in so many seconds."""
    asked = time.monotonic()

    def due() -> bool:
        nonlocal asked
        if time.monotonic() - asked < seconds:
            return False
        asked = time.monotonic()
        return True

    return due


def write_artefacts(run: Run, training: "Training", facts: dict[str, Any]) -> dict[str, Any]:
    """Write the adapter in both forms and the record; return the metrics."""
    from safetensors.torch import save

    from charkha.kit.weights import lora

    config, output = run.config, run.output_dir
    files.write_bytes(output / "adapter.safetensors", save(training.result()))
    lora.write_config(output, config.rank, config.alpha, training.layers, run.base_hash)
    geometry = convert.Geometry.of(hf.hf_directory(run.model_gguf, run.models_dir))
    convert.to_gguf(convert.check_peft(output), geometry, run.base_hash, output / "adapter.gguf")
    metrics = measured(training) | facts
    record = {
        "recipe": name,
        "identity": run.identity(),
        "base_hash": run.base_hash,
        "data_version": run.data_version,
        "config": config.model_dump(),
        "seed": run.seed,
        "metrics": metrics,
        "versions": {package: importlib.metadata.version(package) for package in ("charkha", "torch", "transformers")},
        "artefacts": {file: files.sha256_of(output / file) for file in _ARTEFACTS},
    }
    files.write_bytes(output / "record.json", json.dumps(record, indent=2).encode())
    return metrics


def measured(training: "Training") -> dict[str, Any]:
    """What the run was: losses are means over ten steps, validation by step."""
    progress, losses = training.progress, training.progress.losses
    return {
        "steps": progress.step,
        "loss_first": sum(losses[:10]) / len(losses[:10]),
        "loss_last": sum(losses[-10:]) / len(losses[-10:]),
        "validation": {str(step): loss for step, loss in progress.validation.items()},
        "seconds": round(progress.seconds, 2),
        "tokens_trained": progress.tokens,
        "tokens_per_second": round(progress.tokens / progress.seconds, 1),
    }


def finished_before(run: Run) -> dict[str, Any] | None:
    """The metrics of this same run if it is complete and its artefacts are as they were written."""
    try:
        record: dict[str, Any] = json.loads((run.output_dir / "record.json").read_text())
        if record["identity"] != run.identity():
            return None
        intact = all(files.sha256_of(run.output_dir / file) == digest for file, digest in record["artefacts"].items())
        return record["metrics"] if intact else None
    except (FileNotFoundError, ValueError, KeyError):
        return None


if __name__ == "__main__":
    sys.exit(child.run(main, sys.argv[1:], _NICENESS))
