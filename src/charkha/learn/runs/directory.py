"""A run's directory on this machine: what the recipe is given, and what it leaves, checked against its own record.

Boundary: the only code that maps a run to a path. A later attempt finds the checkpoints of an earlier one here.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from charkha.core.errors import CharkhaError
from charkha.core.messages import Example
from charkha.kit.weights.files import sha256_of, write_bytes
from charkha.learn.runs.domain import Run

GGUF, SAFETENSORS, CONFIG, RECORD = "adapter.gguf", "adapter.safetensors", "adapter_config.json", "record.json"
ARTEFACTS = (GGUF, SAFETENSORS, CONFIG)


class BadArtefact(CharkhaError):
    """What a recipe left is missing, or is not what its record says."""

    code = "bad_artefact"


class _Record(msgspec.Struct):
    artefacts: dict[str, str]


class RunDirectory:
    """`$CHARKHA_HOME/runs/<run id>`. `defaults` stand in the configuration where the run says nothing of its own."""

    def __init__(self, home: Path, run: Run, defaults: Mapping[str, Any] | None = None) -> None:
        self._home, self._run, self._defaults = home, run, defaults or {}
        self.path = home / "runs" / str(run.id)
        self.run_json, self.log = self.path / "run.json", self.path / "recipe.log"

    def prepare(self, examples: Sequence[Example], model_gguf: Path) -> None:
        """Write what the recipe reads. Raises OSError. Doing it again writes the same."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        train = self.path / "train.jsonl"
        write_bytes(train, msgspec.json.Encoder().encode_lines(examples))
        document = {
            "model_gguf": str(model_gguf),
            "models_dir": str(self._home / "models"),
            "train": str(train),
            "output_dir": str(self.path),
            "config": {**self._defaults, **self._run.config},
            "base_hash": sha256_of(model_gguf),
            "data_version": str(self._run.dataset_version_id),
            "seed": self._run.seed,
        }
        write_bytes(self.run_json, msgspec.json.encode(document))

    def artefacts(self) -> Mapping[str, bytes]:
        """The artefacts and the record by file name. Raises BadArtefact where one is missing or not as recorded."""
        found = {name: self._read(name) for name in (*ARTEFACTS, RECORD)}
        try:
            recorded = msgspec.json.decode(found[RECORD], type=_Record).artefacts
        except msgspec.MsgspecError as error:
            raise BadArtefact(
                f"The recipe's record cannot be read: {error}.", remedy="See the recipe's log."
            ) from error
        for name in ARTEFACTS:
            if sha256_of(self.path / name) != recorded.get(name):
                raise BadArtefact(f"{name} is not what the recipe recorded.", remedy="Check the disk, then run again.")
        return found

    def result(self, blobs: Mapping[str, str]) -> dict[str, Any]:
        """What the run's row keeps: addresses of `blobs` by file name, the hash the engine knows, and the record."""
        record = msgspec.json.decode(self._read(RECORD))
        return {
            "gguf_blob": blobs[GGUF],
            "gguf_sha256": record["artefacts"][GGUF],
            "safetensors_blob": blobs[SAFETENSORS],
            "config_blob": blobs[CONFIG],
            "record_blob": blobs[RECORD],
            "record": record,
        }

    def tidy(self) -> None:
        """Remove everything but the log: the artefacts are stored, and the checkpoints are of no more use."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self.log:
                path.unlink(missing_ok=True)

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError as error:
            raise BadArtefact(f"The recipe left no {name}.", remedy="See the recipe's log.") from error
