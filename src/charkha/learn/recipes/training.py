"""Training of LoRA parameters on the answers of examples, one step at a time. For recipe processes: imports torch.

Owns the model, the optimiser and where the run is; knows nothing of files but its checkpoints, and nothing of reports.
"""

import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from charkha.core.errors import Invalid
from charkha.kit.weights import lora
from charkha.kit.weights.answers import score
from charkha.kit.weights.chat import Encoded
from charkha.learn.recipes import checkpoints, schedule
from charkha.learn.recipes.config import Config

_PROBE: Final = 6
"""Steps whose median time tells how many fit; the first of a process is slower and does not weigh in a median."""
_REVIEW: Final = 20
"""Every so many steps the plan is looked at again: another process may have taken the cores."""
_SLACK: Final = 1.25
"""The plan is shortened only if the run would take this much longer than it may."""


class Training:
    """One run over `examples`, with `kept_aside` to see whether it still generalises."""

    def __init__(
        self,
        model: Any,
        config: Config,
        examples: Sequence[Encoded],
        kept_aside: Sequence[Encoded],
        seed: int,
        identity: str,
    ) -> None:
        self.model, self.config, self.examples, self.kept_aside, self.seed = model, config, examples, kept_aside, seed
        self.planned = schedule.planned_steps(len(examples), config.batch_size, config.epochs, config.min_steps)
        self.warmup = min(config.warmup_steps, max(1, self.planned // 10))
        self.progress = checkpoints.Progress(identity, total=self.planned)
        self.layers = lora.attach(model)
        lora.initialise(self.layers, config.rank, config.alpha, seed)
        self.parameters: dict[str, Any] = lora.tensors(self.layers)
        self.best: dict[str, Tensor] = {}
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._durations: list[float] = []

    @property
    def finished(self) -> bool:
        """Whether the schedule is at its end, or the kept-aside examples have got worse `patience` times in a row."""
        losses = list(self.progress.validation.values())
        since_best = len(losses) - 1 - losses.index(min(losses)) if losses else 0
        return self.progress.step >= self.progress.total or since_best >= self.config.patience

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return schedule.learning_rate(self.progress.step, self.progress.total, self.warmup, self.config.learning_rate)

    @property
    def seconds_left(self) -> float:
        """An estimate from the last steps."""
        return (self.progress.total - self.progress.step) * statistics.median(self._durations or [0.0])

    def step(self) -> float:
        """Train on one batch and return its loss. Raises Invalid when the loss is no longer a number."""
        started = time.perf_counter()
        rate, progress = self.rate, self.progress
        chosen = schedule.batch(progress.step, len(self.examples), self.config.batch_size, self.seed)
        loss = self._backward([self.examples[index] for index in chosen])
        if not math.isfinite(loss):
            raise Invalid(
                f"Training diverged: the loss of step {progress.step + 1} is not a number.",
                remedy=f"Lower learning_rate (now {self.config.learning_rate}), and check the base model.",
                code="diverged",
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        progress.losses.append(loss)
        self._count(time.perf_counter() - started)
        self._validate_when_due()
        self._replan()
        return loss

    def save(self, directory: Path) -> None:
        """Write a checkpoint."""
        checkpoints.write(directory, self.progress, self._state())

    def resume(self, directory: Path) -> list[str]:
        """Go on from the newest valid checkpoint, if there is one. Returns what there is to say of the others."""
        found, messages = checkpoints.newest(directory, self.progress.identity)
        if found is not None:
            self.progress, tensors = found
            self._restore(tensors)
        return messages

    def result(self) -> dict[str, Tensor]:
        """The adapter by PEFT's names: the one that did best on the kept-aside examples, if there are any."""
        return {name: tensor.detach().contiguous() for name, tensor in (self.best or self.parameters).items()}

    def _backward(self, chosen: Sequence[Encoded]) -> float:
        """Gradients of the mean loss of the answers' tokens, gathered over as many passes as memory needs."""
        count, total = sum(len(example.answer) for example in chosen), 0.0
        for scores in score(self.model, [(example.prompt, example.answer) for example in chosen]):
            loss = -scores.log_probabilities.sum() / count
            loss.backward()
            total += float(loss.detach())
            self.progress.tokens += scores.size
        return total

    def _count(self, seconds: float) -> None:
        self._durations = [*self._durations[-(_PROBE - 1) :], seconds]
        self.progress.seconds += seconds

    def _replan(self) -> None:
        progress = self.progress
        if len(self._durations) < _PROBE or (progress.measured and progress.step % _REVIEW):
            return
        allowed = self.config.max_seconds * (_SLACK if progress.measured else 1.0)
        progress.total = schedule.fitting_steps(
            progress.step, progress.total, allowed - progress.seconds, statistics.median(self._durations)
        )
        progress.measured = True

    def _validate_when_due(self) -> None:
        """After every pass over the examples, and at the end."""
        each = math.ceil(len(self.examples) / self.config.batch_size)
        if not self.kept_aside or (self.progress.step % each and self.progress.step < self.progress.total):
            return
        started = time.perf_counter()
        pairs = [(example.prompt, example.answer) for example in self.kept_aside]
        with torch.inference_mode():
            parts = [scores.log_probabilities for scores in score(self.model, pairs)]
        loss = -float(torch.cat(parts).mean())
        if loss <= min(self.progress.validation.values(), default=math.inf):
            self.best = {name: tensor.detach().clone() for name, tensor in self.parameters.items()}
        self.progress.validation[self.progress.step] = loss
        self.progress.seconds += time.perf_counter() - started

    def _state(self) -> dict[str, Tensor]:
        state = {f"parameter.{name}": tensor for name, tensor in self.parameters.items()}
        state |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state[parameter].items():
                state[f"{key}.{name}"] = value
        return state

    def _restore(self, state: dict[str, Tensor]) -> None:
        self.best = {name.removeprefix("best."): value for name, value in state.items() if name.startswith("best.")}
        for name, parameter in self.parameters.items():
            with torch.no_grad():
                parameter.copy_(state[f"parameter.{name}"])
            keys = ("step", "exp_avg", "exp_avg_sq") if f"step.{name}" in state else ()
            self.optimizer.state[parameter] = {key: state[f"{key}.{name}"] for key in keys}
