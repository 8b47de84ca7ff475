"""Score variants of a model on examples by the probabilities of answers: a program that reads from top to bottom.

    python -m charkha.evaluate.evaluators.label_ranking JOB.json

With `labels`, the probability of each label as the whole answer (its tokens and the end of the turn) is computed, and the
most probable one is the prediction. Ending every answer with the end of the turn makes these probabilities of disjoint
events, comparable between labels of any length; dividing by length would favour long labels, so nothing is divided.
Without labels, the wanted answer's tokens are scored one by one, each given those before it (teacher forcing).

All variants, base and adapters, run in this one process on the same tokens. `output` becomes one JSON lines file:

    {"index", "variant", "predicted", "correct", "log_probability", "score"}

- with labels: `correct` 0 or 1; `log_probability` of the true label as the whole answer; `score` the probability of the
  true label given that the answer is one of the labels;
- without: `predicted` null; `score` the share of tokens that were the most probable ones; `correct` 1 if all were;
  `log_probability` the mean of a token.

Standard output: JSON lines `started`, `progress` (variant, done, total), then `done` (variants with their means, seconds,
skipped) or `error` (code, message, remedy; exit 1). An example that does not fit `max_length` is skipped for all variants.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from charkha.core.errors import Invalid
from charkha.core.messages import Example
from charkha.kit.weights import child, convert, files, hf
from charkha.kit.weights.chat import Encoded, answer_tokens, encode

name: Final = "label_ranking"

_NICENESS: Final = 5


class Variant(BaseModel):
    """What is scored: the base model (no path) or an adapter's directory in PEFT's form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    path: Path | None = None


class Job(BaseModel):
    """JOB.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_gguf: Path
    models_dir: Path
    examples: Path
    labels: tuple[str, ...] | None = None
    adapters: tuple[Variant, ...] = Field(min_length=1)
    output: Path
    threads: int = Field(default_factory=lambda: len(os.sched_getaffinity(0)), ge=1, le=1024)
    max_length: int = Field(2048, ge=16)
    precision: hf.Precision = "auto"


class Row(msgspec.Struct):
    """One example under one variant."""

    index: int
    variant: str
    predicted: str | None
    correct: int
    log_probability: float
    score: float


Progress = Callable[[str, int], None]
"""Told the variant and how many of its examples are done."""


@dataclass(frozen=True)
class Question:
    """An example in tokens. `choices`: what is scored; the first `ranked` of them may be predicted, `truth` is wanted."""

    index: int
    prompt: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...]
    ranked: int
    truth: int


def main(path: Path, report: child.Reporter) -> int:
    """Run the program on JOB.json; see the module for what it reports and returns."""
    job = child.read(path, Job)
    if job.labels is not None and len(set(job.labels)) < max(2, len(job.labels)):
        raise Invalid("Ranking needs at least two labels, all different.", param="labels", remedy="Correct labels.")
    execute(job, report)
    return 0


def execute(job: Job, report: child.Reporter) -> None:
    """The job, from its examples to its output."""
    import torch

    from charkha.kit.weights import lora

    started = time.monotonic()
    torch.set_num_threads(job.threads)
    directory = hf.hf_directory(job.model_gguf, job.models_dir)
    examples = read_examples(job.examples)
    questions = list(ask(hf.load_tokenizer(directory), examples, job))
    model = hf.load_model(directory, job.precision)
    layers = lora.attach(model)
    report("started", examples=len(questions), variants=len(job.adapters), skipped=len(examples) - len(questions))

    def progress(variant: str, done: int) -> None:
        report("progress", variant=variant, done=done, total=len(questions))

    rows: list[Row] = []
    for variant in job.adapters:
        select(layers, variant)
        rows += score_variant(model, variant.name, questions, job.labels, progress)
    files.write_bytes(job.output, msgspec.json.Encoder().encode_lines(rows))
    report(
        "done",
        variants=[summary(variant.name, rows) for variant in job.adapters],
        skipped=len(examples) - len(questions),
        seconds=round(time.monotonic() - started, 2),
    )


def read_examples(path: Path) -> list[Example]:
    """The examples, one JSON object a line. Raises Invalid if there are none."""
    try:
        examples = msgspec.json.Decoder(Example).decode_lines(path.read_bytes())
    except msgspec.MsgspecError as error:
        raise Invalid(f"The examples cannot be read: {error}.", remedy="Give one example a line.") from error
    if not examples:
        raise Invalid("There are no examples to score.", remedy="Give a data set that has some.", code="empty_data")
    return examples


def ask(tokenizer: Any, examples: Sequence[Example], job: Job) -> Iterator[Question]:
    """The questions of the examples that fit; tokens are made once for all variants."""
    labels = job.labels or ()
    answers = tuple(answer_tokens(tokenizer, label) for label in labels)
    longest = max(map(len, answers), default=0)
    for index, example in enumerate(examples):
        encoded = encode(tokenizer, example, job.max_length - longest)
        if encoded is not None:
            yield question(index, example, encoded, labels, answers)


def question(
    index: int, example: Example, encoded: Encoded, labels: Sequence[str], answers: tuple[tuple[int, ...], ...]
) -> Question:
    """One question. A true label that is none of `labels` is scored beside them, and cannot be predicted."""
    truth = example.answer if example.label is None else example.label
    if truth in labels:
        return Question(index, encoded.prompt, answers, len(answers), labels.index(truth))
    return Question(index, encoded.prompt, (*answers, encoded.answer), len(answers), len(answers))


def select(layers: dict[str, Any], variant: Variant) -> None:
    """Set the model to a variant. Raises Invalid for an adapter that is damaged or of another base model."""
    from safetensors.torch import load_file

    from charkha.kit.weights import lora

    if variant.path is None:
        lora.apply(layers, {}, 1.0)
        return
    checked = convert.check_peft(variant.path)
    try:
        lora.apply(layers, load_file(convert.weights_file(variant.path)), checked.alpha / checked.rank)
    except ValueError as error:
        raise Invalid(f"Variant '{variant.name}': {error}", remedy="Give an adapter of this base model.") from error


def score_variant(
    model: Any, variant: str, questions: Sequence[Question], labels: Sequence[str] | None, progress: Progress
) -> list[Row]:
    """The rows of one variant, in the order of the examples."""
    import torch

    with torch.inference_mode():
        if labels:
            return rank(model, variant, questions, labels, progress)
        return follow(model, variant, questions, progress)


def rank(
    model: Any, variant: str, questions: Sequence[Question], labels: Sequence[str], progress: Progress
) -> list[Row]:
    """Predict the most probable label of each question."""
    import torch

    from charkha.kit.weights.answers import score

    pairs = [(question.prompt, choice) for question in questions for choice in question.choices]
    owners = [place for place, question in enumerate(questions) for _ in question.choices]
    totals = []
    for scores in score(model, pairs):
        totals.append(scores.totals())
        progress(variant, owners[scores.pairs[-1]] + 1)
    parts = torch.cat(totals).split([len(question.choices) for question in questions])
    return [ranked(variant, question, values, labels) for question, values in zip(questions, parts, strict=True)]


def ranked(variant: str, question: Question, values: Any, labels: Sequence[str]) -> Row:
    """The row of a question, from the log-probabilities of its choices."""
    best = int(values[: question.ranked].argmax())
    return Row(
        index=question.index,
        variant=variant,
        predicted=labels[best],
        correct=int(best == question.truth),
        log_probability=float(values[question.truth]),
        score=float(values.softmax(-1)[question.truth]),
    )


def follow(model: Any, variant: str, questions: Sequence[Question], progress: Progress) -> list[Row]:
    """Score the wanted answer of each question token by token."""
    from charkha.kit.weights.answers import score

    rows: list[Row] = []
    for scores in score(model, [(question.prompt, question.choices[question.truth]) for question in questions]):
        for place, mean, accuracy in zip(scores.pairs, scores.means(), scores.accuracies(), strict=True):
            rows.append(
                Row(
                    index=questions[place].index,
                    variant=variant,
                    predicted=None,
                    correct=int(accuracy == 1),
                    log_probability=float(mean),
                    score=float(accuracy),
                )
            )
        progress(variant, len(rows))
    return rows


def summary(variant: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The means of one variant."""
    own = [row for row in rows if row.variant == variant]
    means = {key: sum(getattr(row, key) for row in own) / len(own) for key in ("correct", "score", "log_probability")}
    return {"name": variant, "examples": len(own), **means}


if __name__ == "__main__":
    sys.exit(child.run(main, sys.argv[1:], _NICENESS))
