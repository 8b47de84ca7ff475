"""The evaluator as it is run: a child process on a tiny model; and its scores against ones computed one by one."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from charkha.core.messages import Example, Message
from charkha.evaluate.evaluators.label_ranking import question
from charkha.kit.weights import hf
from charkha.kit.weights.chat import Encoded, answer_tokens, prompt_tokens
from charkha.kit.weights.environment import ENVIRONMENT
from charkha.testing.tiny_training import TinyTask, make_tiny_task

ENV = os.environ | ENVIRONMENT


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    return make_tiny_task(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def adapter(task: TinyTask, models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random adapter of the tiny model, in PEFT's form."""
    import torch
    from safetensors.torch import save_file

    from charkha.kit.weights import lora

    directory = tmp_path_factory.mktemp("adapter")
    layers = lora.attach(hf.load_model(hf.hf_directory(task.model_gguf, models_dir), "float32"))
    lora.initialise(layers, 4, 8.0, seed=1)
    values = {name: torch.randn(tensor.shape) * 0.2 for name, tensor in lora.tensors(layers).items()}
    save_file(values, directory / "adapter.safetensors")
    lora.write_config(directory, 4, 8.0, layers, task.base_hash)
    return directory


Evaluate = Callable[..., tuple[int, list[dict[str, Any]], Path]]


@pytest.fixture
def evaluate(task: TinyTask, models_dir: Path, tmp_path: Path) -> Evaluate:
    def run(**changes: Any) -> tuple[int, list[dict[str, Any]], Path]:
        job = {
            "model_gguf": str(task.model_gguf),
            "models_dir": str(models_dir),
            "examples": str(task.heldout),
            "labels": list(task.labels),
            "adapters": [{"name": "base", "path": None}],
            "threads": 1,
            "precision": "float32",
            "output": str(tmp_path / "out.jsonl"),
        } | changes
        (tmp_path / "job.json").write_text(json.dumps(job))
        command = [sys.executable, "-m", "charkha.evaluate.evaluators.label_ranking", str(tmp_path / "job.json")]
        done = subprocess.run(command, env=ENV, capture_output=True, text=True, check=False)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], tmp_path / "out.jsonl"

    return run


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def alone(model: Any, prompt: tuple[int, ...], answer: tuple[int, ...]) -> tuple[float, float]:
    """Log-probability and share of best tokens of one answer, by one plain pass."""
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    picked = logits[range(len(answer)), list(answer)]
    return float(picked.sum()), float((logits.argmax(-1) == torch.tensor(answer)).float().mean())


def examples(task: TinyTask) -> list[Example]:
    return msgspec.json.Decoder(Example).decode_lines(task.heldout.read_bytes())


def test_ranking_agrees_with_scoring_each_label_alone(
    evaluate: Evaluate, task: TinyTask, models_dir: Path, adapter: Path
) -> None:
    from safetensors.torch import load_file

    from charkha.kit.weights import lora

    variants = [{"name": "base"}, {"name": "adapted", "path": str(adapter)}, {"name": "base again"}]
    status, told, output = evaluate(adapters=variants)
    assert status == 0
    assert [one["name"] for one in told[-1]["variants"]] == ["base", "adapted", "base again"]
    found = {(row["variant"], row["index"]): row for row in rows(output)}
    assert len(found) == 3 * 40
    directory = hf.hf_directory(task.model_gguf, models_dir)
    tokenizer, model = hf.load_tokenizer(directory), hf.load_model(directory, "float32")
    layers = lora.attach(model)
    answers = [answer_tokens(tokenizer, label) for label in task.labels]
    for variant, weights in (("base", {}), ("adapted", load_file(adapter / "adapter.safetensors"))):
        lora.apply(layers, weights, 2.0)
        for index, example in list(enumerate(examples(task)))[::7]:
            totals = [alone(model, prompt_tokens(tokenizer, example.prompt), answer)[0] for answer in answers]
            row, truth = found[variant, index], task.labels.index(example.answer)
            assert row["log_probability"] == pytest.approx(totals[truth], abs=1e-3)
            assert row["predicted"] == task.labels[totals.index(max(totals))]
            assert row["correct"] == int(row["predicted"] == example.answer)
            share = math.exp(totals[truth]) / sum(math.exp(total) for total in totals)
            assert row["score"] == pytest.approx(share, abs=1e-3)
    for index in range(40):
        assert found["base", index] | {"variant": ""} == found["base again", index] | {"variant": ""}


def test_free_answers_are_scored_token_by_token(evaluate: Evaluate, task: TinyTask, models_dir: Path) -> None:
    status, _, output = evaluate(labels=None)
    assert status == 0
    directory = hf.hf_directory(task.model_gguf, models_dir)
    tokenizer, model = hf.load_tokenizer(directory), hf.load_model(directory, "float32")
    for row, example in list(zip(rows(output), examples(task), strict=True))[::7]:
        answer = answer_tokens(tokenizer, example.answer)
        total, share = alone(model, prompt_tokens(tokenizer, example.prompt), answer)
        assert row["predicted"] is None
        assert row["log_probability"] == pytest.approx(total / len(answer), abs=1e-3)
        assert row["score"] == pytest.approx(share)
        assert row["correct"] == int(share == 1)


def test_a_label_never_named_is_wrong_and_still_scored() -> None:
    example = Example((Message("user", "x"),), "owl", label="owl")
    asked = question(3, example, Encoded((1,), (9, 2)), ["bird", "fish"], ((5, 2), (6, 2)))
    assert asked.choices[asked.truth] == (9, 2)
    assert asked.truth >= asked.ranked


def test_an_adapter_of_another_base_is_refused(evaluate: Evaluate, adapter: Path, tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import load_file, save_file

    values = load_file(adapter / "adapter.safetensors")
    wider = {name: np.concatenate([value, value], 1) if "lora_A" in name else value for name, value in values.items()}
    save_file(wider, tmp_path / "adapter.safetensors")
    (tmp_path / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    status, told, output = evaluate(adapters=[{"name": "foreign", "path": str(tmp_path)}])
    assert (status, told[-1]["event"]) == (1, "error")
    assert "foreign" in told[-1]["message"]
    assert not output.exists()


@pytest.mark.parametrize("changes", [{"labels": ["bird"]}, {"labels": ["bird", "bird"]}, {"adapters": []}, {"more": 1}])
def test_a_wrong_job_brings_one_clear_error(evaluate: Evaluate, changes: dict[str, Any]) -> None:
    status, told, _ = evaluate(**changes)
    assert status == 1
    assert [one["event"] for one in told] == ["error"]
    assert told[0]["remedy"]


def test_examples_that_are_absent_or_empty_bring_one_clear_error(evaluate: Evaluate, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    for name in ("empty.jsonl", "absent.jsonl"):
        status, told, _ = evaluate(examples=str(tmp_path / name))
        assert (status, told[-1]["event"]) == (1, "error")
