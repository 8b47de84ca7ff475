"""Log-probabilities of answers given prompts, for training and for scoring. For child processes: imports torch.

Prompts that begin alike, and several answers to one prompt, share their computation (see `prefix_tree`), and the output
head, a quarter of a small model's work, is computed only where an answer's token is predicted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from charkha.kit.weights.prefix_tree import PrefixTree, forest

Pair = tuple[Sequence[int], Sequence[int]]
"""A prompt and an answer, in tokens; neither may be empty."""

MAX_NODES = 640
"""Tokens that go through the model at once. More would share more, but attention grows with the square: at 1,024 it takes
half as long as all the matrix products of 135 M parameters. Bounds memory too, to about 1.5 GB when training."""


@dataclass(frozen=True)
class Scores:
    """What the model thinks of the answers of `pairs` (indices): one entry for each answer token, `owners` telling whose.

    `log_probabilities`: float32, differentiable. `best`: whether the token is the most probable one.
    `size`: tokens that went through the model.
    """

    pairs: range
    owners: Tensor
    log_probabilities: Tensor
    best: Tensor
    size: int

    def totals(self) -> Tensor:
        """The log-probability of each whole answer, [len(pairs)]."""
        zeros = torch.zeros(len(self.pairs), dtype=self.log_probabilities.dtype)
        return zeros.index_add(0, self.owners, self.log_probabilities)

    def means(self) -> Tensor:
        """The mean log-probability of an answer's tokens, [len(pairs)]."""
        return self.totals() / torch.bincount(self.owners, minlength=len(self.pairs))

    def accuracies(self) -> Tensor:
        """The share of each answer's tokens that are the most probable ones, [len(pairs)]."""
        hits = torch.zeros(len(self.pairs)).index_add(0, self.owners, self.best.float())
        return hits / torch.bincount(self.owners, minlength=len(self.pairs))


def score(model: Any, pairs: Sequence[Pair], max_nodes: int = MAX_NODES) -> Iterator[Scores]:
    """Score all `pairs` in order, as many at once as fit `max_nodes`."""
    # The last token of an answer is predicted but never read.
    sequences = [(*prompt, *answer[:-1]) for prompt, answer in pairs]
    for indices, tree in forest(sequences, max_nodes):
        yield _score(model, indices, [pairs[index] for index in indices], tree)


def _score(model: Any, indices: range, pairs: Sequence[Pair], tree: PrefixTree) -> Scores:
    nodes = np.concatenate([path[len(prompt) - 1 :] for (prompt, _), path in zip(pairs, tree.paths, strict=True)])
    targets = torch.tensor([token for _, answer in pairs for token in answer])
    owners = torch.tensor([index for index, (_, answer) in enumerate(pairs) for _ in answer])
    asked, places = np.unique(nodes, return_inverse=True)  # answers to one prompt ask the same node: predict it once
    hidden = model.base_model(
        input_ids=torch.from_numpy(tree.tokens)[None],
        position_ids=torch.from_numpy(tree.positions)[None],
        attention_mask=torch.from_numpy(tree.mask())[None, None],
        use_cache=False,
    ).last_hidden_state[0]
    logits = model.get_output_embeddings()(hidden[torch.from_numpy(asked)]).float()
    rows = torch.from_numpy(places)
    return Scores(
        pairs=indices,
        owners=owners,
        log_probabilities=logits.log_softmax(-1)[rows, targets],
        best=logits.argmax(-1)[rows] == targets,
        size=len(tree.tokens),
    )
