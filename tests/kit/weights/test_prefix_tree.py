"""Trees of tokens: what they hold is what was put in, and sharing changes nothing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from charkha.kit.weights.prefix_tree import forest, grow

sequences = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1, max_size=8)


@given(sequences)
def test_paths_spell_the_sequences_at_their_positions(given_sequences: list[list[int]]) -> None:
    tree = grow(given_sequences)
    for sequence, path in zip(given_sequences, tree.paths, strict=True):
        assert tree.tokens[path].tolist() == sequence
        assert tree.positions[path].tolist() == list(range(len(sequence)))


@given(sequences)
def test_a_token_sees_exactly_the_tokens_before_it_in_its_sequence(given_sequences: list[list[int]]) -> None:
    tree = grow(given_sequences)
    mask = tree.mask()
    for path in tree.paths:
        for place, node in enumerate(path):
            assert np.flatnonzero(mask[node]).tolist() == sorted(path[: place + 1].tolist())


@given(sequences)
def test_nodes_are_the_distinct_prefixes(given_sequences: list[list[int]]) -> None:
    prefixes = {tuple(sequence[:end]) for sequence in given_sequences for end in range(1, len(sequence) + 1)}
    assert len(grow(given_sequences).tokens) == len(prefixes)


@given(sequences, st.integers(1, 12))
def test_a_forest_holds_every_sequence_once_within_its_bound(given_sequences: list[list[int]], bound: int) -> None:
    trees = list(forest(given_sequences, bound))
    assert [index for indices, _ in trees for index in indices] == list(range(len(given_sequences)))
    for indices, tree in trees:
        assert len(tree.tokens) <= bound or len(indices) == 1
        assert [tree.tokens[path].tolist() for path in tree.paths] == [given_sequences[index] for index in indices]
