"""Scores by likelihood: versions are measured in a child process that holds the base model and changes its adapters.

Boundary: the only code here that knows the evaluator's job file, its reports and its output.
"""

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from charkha.core.errors import CharkhaError
from charkha.core.messages import Example, Message
from charkha.evaluate.cards import Scores
from charkha.evaluate.ports import EvaluatedVersion
from charkha.kit import plugins, programs
from charkha.kit.blobs import Blobs
from charkha.kit.process import Backoff, explain, tail
from charkha.kit.weights.files import write_bytes

MODULE = "charkha.evaluate.evaluators.label_ranking"
MOST_CRASHES = 3


class MeasurementFailed(CharkhaError):
    """The evaluator said why it cannot measure, or was killed again and again."""

    code = "measurement_failed"


class Outcome(NamedTuple):
    """What a version got on each example; None where an example does not fit the model."""

    scores: Scores
    answers: list[str | None]


class _Row(msgspec.Struct):
    index: int
    variant: str
    predicted: str | None
    correct: int
    score: float


class _Progress:
    """What one process of the evaluator has reported."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance
        self._done: dict[str, int] = {}
        self.ended = False
        self.error: MeasurementFailed | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in one report."""
        match event:
            case {"event": "progress", "variant": str(variant), "done": int(done)}:
                self._advance(done - self._done.get(variant, 0))
                self._done[variant] = done
            case {"event": "error"}:
                self.error = MeasurementFailed(str(event.get("message")), remedy=str(event.get("remedy") or ""))
            case {"event": "done"}:
                self.ended = True

    def undo(self) -> None:
        """What was done will be done again."""
        self._advance(-sum(self._done.values()))


class Likelihood:
    """Measures versions of one base model in one process. `advance(n)` is told of progress by so many examples."""

    def __init__(self, blobs: Blobs, models_dir: Path, directory: Path, *, nice: int = 0) -> None:
        self._blobs, self._models_dir, self._directory, self._nice = blobs, models_dir, directory, nice
        self._backoff = Backoff()

    async def measure(
        self,
        workspace_id: UUID,
        model_gguf: Path,
        versions: Sequence[EvaluatedVersion],
        examples: Sequence[Example],
        labels: Sequence[str] | None,
        advance: Callable[[int], None],
    ) -> dict[UUID, Outcome]:
        """The outcome of each version. Raises MeasurementFailed, and NotFound or Corrupt for an adapter's files."""
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        await asyncio.to_thread(self._directory.mkdir, parents=True, mode=0o700)
        try:
            variants = [await self._variant(workspace_id, version) for version in versions]
            with plugins.boundary("The evaluator's directory"):
                job = await asyncio.to_thread(self._prepare, model_gguf, variants, examples, labels)
            await self._run(job, advance)
            rows = await asyncio.to_thread(self._rows)
            return {version.id: _outcome(version.id, rows, len(examples), bool(labels)) for version in versions}
        finally:
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def _variant(self, workspace_id: UUID, version: EvaluatedVersion) -> dict[str, str]:
        """How the job file names a version; its adapter's files are laid down."""
        if version.safetensors_blob is None or version.config_blob is None:
            return {"name": str(version.id)}
        adapter = self._directory / str(version.id)
        await self._blobs.fetch(workspace_id, version.safetensors_blob, adapter / "adapter.safetensors")
        await self._blobs.fetch(workspace_id, version.config_blob, adapter / "adapter_config.json")
        return {"name": str(version.id), "path": str(adapter)}

    def _prepare(
        self,
        model_gguf: Path,
        variants: Sequence[dict[str, str]],
        examples: Sequence[Example],
        labels: Sequence[str] | None,
    ) -> Path:
        job, held_out = self._directory / "job.json", self._directory / "examples.jsonl"
        write_bytes(held_out, msgspec.json.Encoder().encode_lines(examples))
        document = {
            "model_gguf": str(model_gguf),
            "models_dir": str(self._models_dir),
            "examples": str(held_out),
            "labels": labels,
            "adapters": variants,
            "output": str(self._directory / "rows.jsonl"),
        }
        write_bytes(job, msgspec.json.encode(document))
        return job

    async def _run(self, job: Path, advance: Callable[[int], None]) -> None:
        """Run the evaluator, again where it is killed."""
        evaluator_log, status = self._directory / "evaluator.log", 0
        for crashes in range(1, MOST_CRASHES + 1):
            progress = _Progress(advance)
            async with programs.running(MODULE, job, log=evaluator_log, nice=self._nice) as program:
                async for event in program.events():
                    progress.take(event)
                status = await program.ended()
            if progress.error is not None:
                raise progress.error
            if progress.ended and status == 0:
                return
            progress.undo()
            if crashes < MOST_CRASHES:
                await asyncio.sleep(self._backoff.draw(crashes))
        last = tail(evaluator_log, 1)
        raise MeasurementFailed(
            f"The evaluator ended without a result ({explain(status)}) {MOST_CRASHES} times{f': {last}' if last else ''}.",
            remedy="If it was killed it may lack memory.",
        )

    def _rows(self) -> list[_Row]:
        return msgspec.json.Decoder(_Row).decode_lines((self._directory / "rows.jsonl").read_bytes())


def as_asked(examples: Sequence[Example], system_prompt: str | None) -> list[Example]:
    """The examples as the gateway would put them to a version: its system prompt first, unless they bring one."""
    if not system_prompt:
        return list(examples)
    said = Message("system", system_prompt)
    return [
        example
        if example.prompt and example.prompt[0].role == "system"
        else msgspec.structs.replace(example, prompt=(said, *example.prompt))
        for example in examples
    ]


def _outcome(version_id: UUID, rows: Sequence[_Row], count: int, ranked: bool) -> Outcome:
    scores: list[float | None] = [None] * count
    answers: list[str | None] = [None] * count
    for row in rows:
        if row.variant == str(version_id):
            scores[row.index] = float(row.correct) if ranked else min(1.0, max(0.0, row.score))
            answers[row.index] = row.predicted
    return Outcome(scores, answers)
