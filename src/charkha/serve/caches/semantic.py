"""What was asked in one workspace, as vectors: which question before is nearest to this one, and how near.

Imports numpy, so it is imported by whoever needs it only once somebody does.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

_FIRST_ROWS = 8
Vector = NDArray[np.float32]


class Near(NamedTuple):
    """The key of an answer to a question that is alike, and the cosine between the two."""

    key: bytes
    similarity: float


class SemanticIndex:
    """The questions of the workspace `workspace_id`, apart by all that stood around them (their scope)."""

    def __init__(self, workspace_id: UUID) -> None:
        self.workspace_id = workspace_id
        self._scopes: dict[bytes, _Scope] = {}
        self._scope_of: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._scope_of)

    @staticmethod
    def vector(numbers: Sequence[float]) -> Vector | None:
        """Numbers as a vector of length 1; None where they have no direction."""
        vector = np.asarray(numbers, dtype=np.float32)
        length = float(np.linalg.norm(vector))
        return vector / np.float32(length) if np.isfinite(length) and length > 0 else None

    def add(self, scope: bytes, key: bytes, vector: Vector) -> None:
        """Remember a question under the key of its answer."""
        self.drop(key)
        rows = self._scopes.get(scope)
        if rows is None or rows.width != len(vector):  # another model's vectors cannot be compared
            for other in rows.keys if rows is not None else ():
                del self._scope_of[other]
            rows = self._scopes[scope] = _Scope(len(vector))
        rows.add(key, vector)
        self._scope_of[key] = scope

    def drop(self, key: bytes) -> None:
        """Forget the question of an answer; no effect if there is none."""
        scope = self._scope_of.pop(key, None)
        if scope is None:
            return
        rows = self._scopes[scope]
        rows.drop(key)
        if not rows.keys:
            del self._scopes[scope]

    def nearest(self, scope: bytes, vector: Vector, threshold: float) -> Near | None:
        """The nearest question of a scope, if its cosine is `threshold` at least."""
        rows = self._scopes.get(scope)
        if rows is None or rows.width != len(vector):
            return None
        near = rows.nearest(vector)
        return near if near.similarity >= threshold else None


class _Scope:
    """Vectors as the rows of one matrix; those that go are replaced by the last."""

    __slots__ = ("_matrix", "_place", "keys", "width")

    def __init__(self, width: int) -> None:
        self.width = width
        self.keys: list[bytes] = []
        self._place: dict[bytes, int] = {}
        self._matrix = np.empty((_FIRST_ROWS, width), dtype=np.float32)

    def add(self, key: bytes, vector: Vector) -> None:
        count = len(self.keys)
        if count == len(self._matrix):
            self._matrix = np.concatenate([self._matrix, np.empty_like(self._matrix)])
        self._matrix[count] = vector
        self._place[key] = count
        self.keys.append(key)

    def drop(self, key: bytes) -> None:
        place, last = self._place.pop(key), self.keys.pop()
        if last != key:
            self._matrix[place] = self._matrix[len(self.keys)]
            self.keys[place], self._place[last] = last, place

    def nearest(self, vector: Vector) -> Near:
        cosines = self._matrix[: len(self.keys)] @ vector
        best = int(cosines.argmax())
        return Near(self.keys[best], min(1.0, float(cosines[best])))
