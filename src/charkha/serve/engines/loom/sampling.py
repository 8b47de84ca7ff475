"""The next token of one request from its logits. Nothing here looks at another request: the same seed gives the same text.

Order: constraint, biases, penalties; then temperature 0 takes the best, else top-k, top-p, min-p and temperature cut and
shape what a uniform number of the request's own generator picks from.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """What a request asks of the choice. Defaults are OpenAI's; `top` is how many alternatives are told, None for none."""

    temperature: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    top_k: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repeat_penalty: float = 1.0
    bias: tuple[tuple[int, float], ...] = ()
    seed: int | None = None
    top: int | None = None


@dataclass(frozen=True)
class TokenScore:
    """A token's log probability by the model itself, before anything was cut; and those of the best alternatives."""

    token: int
    log_probability: float
    best: tuple[tuple[int, float], ...] = ()


@dataclass
class Sampler:
    """The chooser of one request. `prompt` counts for the repetition penalty alone."""

    wanted: Sampling
    prompt: tuple[int, ...] = ()
    _counts: Counter[int] = field(default_factory=Counter)
    _generator: Any = None

    def __post_init__(self) -> None:
        self._generator = torch.Generator()
        if self.wanted.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(self.wanted.seed)

    def choose(self, logits: Tensor, allowed: Tensor | None = None) -> int:
        """The next token. `logits` float32 [vocabulary], changed in place; `allowed` bool [vocabulary] if constrained."""
        if allowed is not None:
            logits.masked_fill_(~allowed, float("-inf"))
        self._penalise(logits)
        token = int(logits.argmax()) if self.wanted.temperature == 0 else self._draw(logits)
        self._counts[token] += 1
        return token

    def _penalise(self, logits: Tensor) -> None:
        wanted = self.wanted
        for token, bias in wanted.bias:
            if token < len(logits):
                logits[token] += bias
        if wanted.repeat_penalty != 1.0:
            seen = torch.tensor(sorted({*self.prompt, *self._counts}), dtype=torch.int64)
            values = logits[seen]
            penalty = max(wanted.repeat_penalty, 1e-3)
            logits[seen] = torch.where(values > 0, values / penalty, values * penalty)
        if self._counts and (wanted.frequency_penalty or wanted.presence_penalty):
            tokens = torch.tensor(list(self._counts))
            counts = torch.tensor(list(self._counts.values()), dtype=torch.float32)
            logits[tokens] -= counts * wanted.frequency_penalty + wanted.presence_penalty

    def _draw(self, logits: Tensor) -> int:
        wanted = self.wanted
        kept = min(wanted.top_k or len(logits), len(logits))
        values, tokens = logits.topk(kept) if kept < len(logits) else logits.sort(descending=True, stable=True)
        shares = values.softmax(-1)
        # The best token always stays; another one if what is before it has not reached top_p and it is no less than min_p.
        stays = (shares.cumsum(-1) - shares < wanted.top_p) & (shares >= wanted.min_p * shares[0])
        stays[0] = True
        shaped = (values / wanted.temperature).masked_fill_(~stays, float("-inf")).softmax(-1).cumsum(-1)
        drawn = torch.rand(1, generator=self._generator) * shaped[-1]
        place = int(torch.searchsorted(shaped, drawn, right=True).clamp_(max=int(stays.nonzero()[-1])))
        return int(tokens[place])


def scored(logits: Tensor, token: int, top: int) -> TokenScore:
    """What the model thought of `token` and of the `top` best, from logits float32 [vocabulary]."""
    logs = logits.log_softmax(-1)
    values, tokens = logs.topk(top) if top else (torch.empty(0), torch.empty(0))
    best = tuple(zip((int(each) for each in tokens), values.tolist(), strict=True))
    return TokenScore(token, float(logs[token]), best)
