"""Checkpoints of a run: parameters and optimiser state in safetensors, the rest in JSON, each whole and hashed.

A checkpoint is a directory `step-N` that appears by one rename after everything in it is on disk. The last two are kept,
so that a disk that spoils the newest costs only the steps since the one before. Imports torch: for recipe processes.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from charkha.kit.weights.files import new_directory, sha256_of, sweep

_KEPT: Final = 2


@dataclass
class Progress:
    """Where a run is. `losses`: of every step so far; `validation`: the loss on the examples kept aside, by step."""

    identity: str
    """A hash of everything that defines the run: a checkpoint of another run is not resumed."""
    total: int
    """The schedule's length in steps; it holds once `measured` tells that the time of a step is known."""
    measured: bool = False
    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    losses: list[float] = field(default_factory=list)
    validation: dict[int, float] = field(default_factory=dict)


class _Document(msgspec.Struct):
    sha256: str
    progress: Progress


def write(directory: Path, progress: Progress, tensors: dict[str, Tensor]) -> None:
    """Save a checkpoint and drop all but the last two. Raises OSError when the disk is full; older ones stay good."""
    target = directory / f"step-{progress.step:06d}"
    if target.exists():
        shutil.rmtree(target)
    with new_directory(target) as temporary:
        content = temporary / "state.safetensors"
        content.write_bytes(save({name: tensor.detach().contiguous() for name, tensor in tensors.items()}))
        (temporary / "state.json").write_bytes(msgspec.json.encode(_Document(sha256_of(content), progress)))
    for old in _newest_first(directory)[_KEPT:]:
        shutil.rmtree(old)


def newest(directory: Path, identity: str) -> tuple[tuple[Progress, dict[str, Tensor]] | None, list[str]]:
    """The newest valid checkpoint of the run `identity` if there is one, and a message for each passed over."""
    sweep(directory)
    passed: list[str] = []
    for candidate in _newest_first(directory):
        try:
            progress, tensors = _read(candidate)
        except (OSError, ValueError, msgspec.MsgspecError, SafetensorError) as error:
            passed.append(f"The checkpoint {candidate.name} is damaged and was passed over: {error}")
            continue
        if progress.identity == identity:
            return (progress, tensors), passed
        passed.append(f"The checkpoint {candidate.name} is of another run and was passed over.")
    return None, passed


def _read(checkpoint: Path) -> tuple[Progress, dict[str, Tensor]]:
    document = msgspec.json.decode((checkpoint / "state.json").read_bytes(), type=_Document)
    content = (checkpoint / "state.safetensors").read_bytes()
    if sha256_of(checkpoint / "state.safetensors") != document.sha256:
        raise ValueError("its content does not match its hash.")
    return document.progress, load(content)


def _newest_first(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*"), reverse=True)
