"""What the engine does for a request: generate an answer, score continuations of a prompt, or embed a text.

A work says which tokens it wants read next and what it makes of their logits; the engine's loop gives it a slot and a share
of every step. Events go to `emit`, in the engine's thread.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from charkha.core.errors import CharkhaError
from charkha.serve.engines.loom.adapters import Blend
from charkha.serve.engines.loom.grammar import Constraint
from charkha.serve.engines.loom.sampling import Sampler, Sampling, TokenScore, scored
from charkha.serve.engines.loom.text import Text, Writer


@dataclass(frozen=True)
class Piece:
    """More of an answer: text, log probabilities if asked for, and at its end why it ended ("stop" or "length")."""

    text: str
    scores: tuple[TokenScore, ...] = ()
    finish: str | None = None
    generated: int = 0
    cached: int = 0


@dataclass(frozen=True)
class Scored:
    """The log probabilities of each continuation's tokens."""

    continuations: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Embedded:
    """The mean of a text's last hidden states, of length 1."""

    values: tuple[float, ...]


Event = Piece | Scored | Embedded | CharkhaError


class Work:
    """A request under way. `tokens` are what it has to read; `done` of them are in its slot; `share` names who may share."""

    def __init__(self, tokens: Sequence[int], blend: Blend, share: Hashable, emit: Callable[[Event], None]) -> None:
        self.tokens, self.blend, self.share, self.emit = list(tokens), blend, share, emit
        self.done, self.slot, self.cached, self.since = 0, -1, 0, 0.0
        self.finished = self.cancelled = False

    @property
    def needed(self) -> int:
        """The most tokens that its slot will hold."""
        return len(self.tokens)

    @property
    def pending(self) -> int:
        """How many tokens it could read now."""
        return len(self.tokens) - self.done

    def wants(self, count: int) -> range:
        """Of the next `count` tokens, those whose logits it wants."""
        return range(count - 1, count) if self.done + count == len(self.tokens) else range(0)

    def took(self, count: int, logits: Tensor, hidden: Tensor) -> None:
        """`count` tokens were read: the logits that were wanted (float32, its own), and hidden states [count, width]."""
        raise NotImplementedError


class Generation(Work):
    """One answer to a prompt."""

    def __init__(
        self,
        text: Text,
        most: int,
        sampling: Sampling,
        stops: Sequence[str] = (),
        constraint: Constraint | None = None,
        *,
        tokens: Sequence[int],
        blend: Blend = (),
        share: Hashable = None,
        emit: Callable[[Event], None],
    ) -> None:
        super().__init__(tokens, blend, share, emit)
        self._text, self._most, self._sampling, self._constraint = text, most, sampling, constraint
        self._sampler, self._writer = Sampler(sampling, tuple(tokens)), Writer(text, stops)
        self._prompt = len(tokens)

    @property
    def needed(self) -> int:
        """Prompt and answer."""
        return self._prompt + self._most

    def took(self, count: int, logits: Tensor, hidden: Tensor) -> None:
        """Choose the next token once the prompt is read."""
        self.done += count
        if not len(logits):
            return
        top = self._sampling.top
        before = logits[0].clone() if top is not None else None
        token = self._sampler.choose(logits[0], self._constraint.allowed() if self._constraint else None)
        scores = (scored(before, token, top),) if before is not None and top is not None else ()
        self.tokens.append(token)
        generated = len(self.tokens) - self._prompt
        if token in self._text.ends:
            self._end("stop", generated, "")
            return
        told = self._writer.feed(token)
        if self._constraint:
            self._constraint.took(token)
        if self._writer.finished or (self._constraint and self._constraint.finished):
            self._end("stop", generated, told, scores)
        elif generated == self._most:
            self._end("length", generated, told, scores)
        elif told or scores:
            self.emit(Piece(told, scores))

    def _end(self, why: str, generated: int, told: str, scores: tuple[TokenScore, ...] = ()) -> None:
        self.finished = True
        self.emit(Piece(told + self._writer.close(), scores, why, generated, self.cached))


class Scoring(Work):
    """The probabilities of continuations of one prompt, which is read once."""

    def __init__(
        self,
        prompt: Sequence[int],
        continuations: Sequence[Sequence[int]],
        blend: Blend,
        share: Hashable,
        emit: Callable[[Event], None],
    ) -> None:
        """Neither the prompt nor a continuation may be empty."""
        super().__init__((*prompt, *continuations[0][:-1]), blend, share, emit)
        self._prompt, self._continuations = list(prompt), continuations
        self._found: list[list[float]] = [[]]

    @property
    def needed(self) -> int:
        """The prompt and the longest continuation."""
        return len(self._prompt) + max(len(each) for each in self._continuations)

    def wants(self, count: int) -> range:
        """Every token that a continuation's token follows."""
        return range(max(0, min(count, len(self._prompt) - 1 - self.done)), count)

    def took(self, count: int, logits: Tensor, hidden: Tensor) -> None:
        """Note the probabilities of the tokens that follow; then go on with the next continuation."""
        self.done += count
        current, found = self._continuations[len(self._found) - 1], self._found[-1]
        following = torch.tensor(current[len(found) : len(found) + len(logits)], dtype=torch.int64)
        found += logits.log_softmax(-1).gather(1, following[:, None])[:, 0].tolist()
        if self.pending:
            return
        if len(self._found) == len(self._continuations):
            self.finished = True
            self.emit(Scored(tuple(tuple(each) for each in self._found)))
            return
        following_text = self._continuations[len(self._found)]
        self._found.append([])
        self.tokens, self.done = [*self._prompt, *following_text[:-1]], len(self._prompt) - 1


class Embedding(Work):
    """The meaning of a text as a vector of length 1."""

    def __init__(self, tokens: Sequence[int], emit: Callable[[Event], None]) -> None:
        super().__init__(tokens, (), None, emit)
        self._sum: Any = 0.0

    def wants(self, count: int) -> range:
        """No logits."""
        return range(0)

    def took(self, count: int, logits: Tensor, hidden: Tensor) -> None:
        """Add up the hidden states."""
        self.done += count
        self._sum = self._sum + hidden.float().sum(0)
        if not self.pending:
            self.finished = True
            self.emit(Embedded(tuple(torch.nn.functional.normalize(self._sum, dim=0).tolist())))
