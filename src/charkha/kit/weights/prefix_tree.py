"""Token sequences packed into one tree, so that what they share is computed once.

In a causal transformer the state of a token depends only on the tokens before it. Sequences that begin alike (the same
system prompt, or one prompt with several answers) therefore share the states of their common beginning, exactly.
A tree of tokens goes through the model as one row: each token attends to its ancestors only, at the position of its
depth. This is the tree attention of SpecInfer (Miao et al., 2024), used here for training and for scoring. It also does
away with padding. Pure: numpy arrays in and out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PrefixTree:
    """`tokens`, `positions` (depths) and `parents` (-1 at a root) of N nodes; `paths[i]`: the nodes of sequence i."""

    tokens: Ints
    positions: Ints
    parents: Ints
    paths: tuple[Ints, ...]

    def mask(self) -> npt.NDArray[np.bool_]:
        """[N, N]: whether the row's node attends to the column's: its ancestors and itself."""
        size = len(self.tokens)
        mask = np.zeros((size, size), dtype=np.bool_)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                mask[node] = mask[parent]
            mask[node, node] = True
        return mask


class _Growing:
    """A tree under construction."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[int, int], int] = {}
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self.positions: list[int] = []
        self.paths: list[list[int]] = []

    def missing(self, sequence: Sequence[int]) -> int:
        """How many nodes `sequence` would add."""
        parent = -1
        for depth, token in enumerate(sequence):
            found = self.nodes.get((parent, token))
            if found is None:
                return len(sequence) - depth
            parent = found
        return 0

    def add(self, sequence: Sequence[int]) -> None:
        parent, path = -1, []
        for depth, token in enumerate(sequence):
            node = self.nodes.setdefault((parent, token), len(self.tokens))
            if node == len(self.tokens):
                self.tokens.append(token)
                self.parents.append(parent)
                self.positions.append(depth)
            parent = node
            path.append(node)
        self.paths.append(path)

    def finished(self) -> PrefixTree:
        def ints(values: Any) -> Ints:
            return np.asarray(values, dtype=np.int64)

        paths = tuple(ints(path) for path in self.paths)
        return PrefixTree(ints(self.tokens), ints(self.positions), ints(self.parents), paths)


def grow(sequences: Sequence[Sequence[int]]) -> PrefixTree:
    """The tree of all `sequences`."""
    tree = _Growing()
    for sequence in sequences:
        tree.add(sequence)
    return tree.finished()


def forest(sequences: Sequence[Sequence[int]], max_nodes: int) -> Iterator[tuple[range, PrefixTree]]:
    """Trees of at most `max_nodes` nodes (more only if one sequence alone has more), each with the sequences it holds.

    Time and memory of attention grow with the square of a tree's size: this is what bounds both.
    """
    tree, first = _Growing(), 0
    for index, sequence in enumerate(sequences):
        if tree.paths and len(tree.tokens) + tree.missing(sequence) > max_nodes:
            yield range(first, index), tree.finished()
            tree, first = _Growing(), index
        tree.add(sequence)
    if tree.paths:
        yield range(first, len(sequences)), tree.finished()
