"""How right an answer is, and what is measured on a suite. Pure."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from charkha.core.messages import Example, plain

LABEL_ACCURACY = "label_accuracy"
"""Whether the wanted label is the most probable of all labels."""
TOKEN_ACCURACY = "token_accuracy"  # noqa: S105
"""The share of the wanted answer's tokens that the model would have chosen, each given those before it."""
EXACT_MATCH = "exact_match"
"""Whether the greedy answer is the wanted one, but for case, outer space and final punctuation."""
TOKEN_F1 = "token_f1"  # noqa: S105
"""F1 of the words of the greedy answer (Rajpurkar et al., "SQuAD: 100,000+ questions…", EMNLP 2016)."""

Metric = Literal["label_accuracy", "token_accuracy", "exact_match", "token_f1"]

_FEWEST_TOKENS, _MOST_TOKENS = 4, 256


def classes(examples: Sequence[Example]) -> tuple[str, ...] | None:
    """The labels to choose among: of a suite in which every example has one, and there are at least two."""
    labels = {example.label for example in examples}
    if None in labels or len(labels) < 2:
        return None
    return tuple(sorted(label for label in labels if label is not None))


def metrics(labels: Sequence[str] | None) -> tuple[Metric, Metric]:
    """What is measured by likelihood, and what by greedy answers."""
    return ("label_accuracy", "exact_match") if labels else ("token_accuracy", "token_f1")


def wanted(example: Example) -> str:
    """The right answer of an example."""
    return example.answer if example.label is None else example.label


def most_tokens(examples: Sequence[Example]) -> int:
    """Tokens to allow for an answer: what the longest wanted one needs at two characters a token, and a little more."""
    longest = max((len(wanted(example)) for example in examples), default=0)
    return max(_FEWEST_TOKENS, min(_MOST_TOKENS, longest // 2 + 3))


def score(metric: Metric, answer: str, right: str) -> float:
    """The score in [0, 1] of a greedy answer."""
    if plain(answer) == plain(right):
        return 1.0
    return _f1(_words(answer), _words(right)) if metric == "token_f1" else 0.0


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.casefold()))


def _f1(given: Counter[str], right: Counter[str]) -> float:
    common = (given & right).total()
    return 2 * common / (given.total() + right.total()) if common else 0.0
