"""The header of a GGUF file, read without trusting a byte of it.

Boundary: bytes of unknown origin become `Header`, or a ValueError that says what is wrong. Native parsers have been
broken by headers that claim absurd counts, so every count, length and offset is checked against its limit and against
the size of the file before it is used. Format: ggml's docs/gguf.md, versions 2 and 3, little-endian.
"""

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

MAX_TENSORS: Final = 65_536
MAX_KEYS: Final = 4_096
MAX_ARRAY: Final = 4_000_000
MAX_ARRAYS: Final = 8_000_000
MAX_STRING: Final = 1 << 20
MAX_NAME: Final = 256
MAX_ELEMENTS: Final = 1 << 40
ALIGNMENT: Final = 32

# ggml's type number → (name, values in a block, bytes of a block)
TENSOR_TYPES: Final[dict[int, tuple[str, int, int]]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    20: ("IQ4_NL", 32, 18),
    23: ("IQ4_XS", 256, 136),
    30: ("BF16", 1, 2),
}

_STRING, _ARRAY = 8, 9
# the format's value type → struct's letter; 8 is a string and 9 an array
_SCALARS: Final[dict[int, str]] = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
_FLOAT32, _BOOL = 6, 7


@dataclass(frozen=True)
class Tensor:
    """Where a tensor is. `shape` is in ggml's order (fastest first); `start` counts bytes from the file's beginning."""

    name: str
    shape: tuple[int, ...]
    kind: str
    start: int
    length: int


@dataclass(frozen=True)
class Header:
    """Everything that a GGUF file says about itself before its data."""

    version: int
    values: dict[str, Any]
    float_keys: frozenset[str]
    tensors: dict[str, Tensor]


def read_header(path: Path) -> Header:
    """Parse the header of `path`. Raises ValueError with the reason for a file that is not sound, OSError for I/O."""
    size = path.stat().st_size
    if size < 24:
        raise ValueError(f"it has {size} bytes, too few for a GGUF header")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _Parser(content, size).header()


def refuse(reason: str) -> NoReturn:
    """Raise ValueError: the file is refused for `reason`."""
    raise ValueError(reason)


class _Parser:
    """A cursor over the file that never reads past its end."""

    def __init__(self, content: mmap.mmap, size: int) -> None:
        self._content, self._size, self._at, self._array_items = content, size, 0, 0

    def header(self) -> Header:
        if self._take(4) != b"GGUF":
            refuse("its first four bytes are not 'GGUF'")
        version, tensor_count, key_count = self._unpack("IQQ")
        if version not in (2, 3):
            refuse(f"it is GGUF version {version}; versions 2 and 3 are read")
        if not 1 <= tensor_count <= MAX_TENSORS or key_count > MAX_KEYS:
            refuse(f"it claims {tensor_count} tensors and {key_count} keys (limits {MAX_TENSORS} and {MAX_KEYS})")
        values, floats = self._values(key_count)
        if values.get("general.alignment", ALIGNMENT) != ALIGNMENT:
            refuse(f"its alignment is not {ALIGNMENT}")
        return Header(version, values, frozenset(floats), self._tensors(tensor_count))

    def _values(self, count: int) -> tuple[dict[str, Any], set[str]]:
        values: dict[str, Any] = {}
        floats: set[str] = set()
        for _ in range(count):
            key = self._string(MAX_NAME)
            if not key or key in values:
                refuse(f"its key '{key}' is empty or comes twice")
            (kind,) = self._unpack("I")
            values[key] = self._value(kind)
            if kind == _FLOAT32:
                floats.add(key)
        return values, floats

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string(MAX_STRING)
        if kind == _ARRAY:
            return self._array()
        return self._scalars(kind, 1)[0]

    def _array(self) -> tuple[Any, ...]:
        kind, count = self._unpack("IQ")
        self._array_items += count
        if count > MAX_ARRAY or self._array_items > MAX_ARRAYS:
            refuse(f"it claims an array of {count} values")
        if kind == _ARRAY:
            refuse("it nests arrays")
        if kind == _STRING:
            return tuple(self._string(MAX_STRING) for _ in range(count))
        return self._scalars(kind, count)

    def _scalars(self, kind: int, count: int) -> tuple[Any, ...]:
        letter = _SCALARS.get(kind) or refuse(f"it has a value of the unknown type {kind}")
        if kind == _BOOL:
            raw = self._take(count)
            return (
                tuple(map(bool, raw)) if max(raw, default=0) <= 1 else refuse("it has a truth value that is not 0 or 1")
            )
        return self._unpack(f"{count}{letter}")

    def _tensors(self, count: int) -> dict[str, Tensor]:
        described = [self._tensor() for _ in range(count)]
        data = _aligned(self._at)
        expected, tensors = 0, {}
        for name, shape, (kind, block, block_bytes), offset in described:
            if name in tensors:
                refuse(f"its tensor '{name}' comes twice")
            if shape[0] % block:
                refuse(f"the rows of its tensor '{name}' are not whole blocks of {kind}")
            if offset != expected:
                refuse(f"its tensor '{name}' starts at {offset}, not {expected}: tensors overlap or leave gaps")
            length = math.prod(shape) // block * block_bytes
            if data + offset + length > self._size:
                refuse(f"its tensor '{name}' ends after the file does: the file is cut short")
            tensors[name] = Tensor(name, shape, kind, data + offset, length)
            expected = _aligned(offset + length)
        if self._size > data + expected:
            refuse(f"{self._size - data - expected} bytes follow its last tensor")
        return tensors

    def _tensor(self) -> tuple[str, tuple[int, ...], tuple[str, int, int], int]:
        name = self._string(63)  # ggml keeps names in 64 bytes with the closing zero
        (dimensions,) = self._unpack("I")
        if not name or not 1 <= dimensions <= 4:
            refuse(f"its tensor '{name}' has no name or {dimensions} dimensions")
        shape = self._unpack(f"{dimensions}Q")
        if not all(1 <= extent < 1 << 31 for extent in shape) or math.prod(shape) > MAX_ELEMENTS:
            refuse(f"its tensor '{name}' has the impossible shape {shape}")
        number, offset = self._unpack("IQ")
        return (
            name,
            shape,
            TENSOR_TYPES.get(number) or refuse(f"its tensor '{name}' has the unknown type {number}"),
            offset,
        )

    def _string(self, limit: int) -> str:
        (length,) = self._unpack("Q")
        if length > limit:
            refuse(f"it claims a text of {length} bytes where at most {limit} are allowed")
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            refuse("a text in it is not UTF-8")

    def _unpack(self, letters: str) -> tuple[Any, ...]:
        layout = struct.Struct(f"<{letters}")
        return layout.unpack(self._take(layout.size))

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if end > self._size:
            refuse("it ends in the middle of its header: the file is cut short")
        taken, self._at = self._content[self._at : end], end
        return taken


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
