"""Checkpoints: read back exactly, found by run, passed over when damaged."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from charkha.learn.recipes import checkpoints  # noqa: E402  # needs torch
from charkha.learn.recipes.checkpoints import Progress  # noqa: E402


def write(directory: Path, step: int, identity: str = "run") -> None:
    progress = Progress(identity, total=9, measured=True, step=step, losses=[0.5] * step, validation={2: 0.25})
    checkpoints.write(directory, progress, {"a": torch.full((2, 3), float(step))})


def test_the_newest_comes_back_as_it_was_and_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write(tmp_path, step)
    found, messages = checkpoints.newest(tmp_path, "run")
    assert found is not None
    assert found[0] == Progress("run", 9, True, 3, 0.0, 0, [0.5] * 3, {2: 0.25})
    assert found[1]["a"].tolist() == [[3.0] * 3] * 2
    assert not messages
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000002", "step-000003"]


@pytest.mark.parametrize("file", ["state.json", "state.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_one_is_passed_over_with_a_message(tmp_path: Path, file: str, damage: str) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    path = tmp_path / "step-000002" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    if damage == "flip":
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
    found, messages = checkpoints.newest(tmp_path, "run")
    assert found is not None
    assert found[0].step == 1
    assert len(messages) == 1
    assert "step-000002" in messages[0]


def test_one_of_another_run_is_not_resumed_and_unfinished_ones_are_swept(tmp_path: Path) -> None:
    write(tmp_path, 1, identity="another")
    (tmp_path / ".step-000007.x.partial").mkdir()
    found, messages = checkpoints.newest(tmp_path, "run")
    assert found is None
    assert "another run" in messages[0]
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
