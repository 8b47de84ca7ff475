"""One running installation with the tiny model and two gateway processes, shared by the tests of this folder."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from charkha.testing.tiny_training import TinyTask, make_tiny_task
from tests.e2e.house import SPOOL_MEGABYTES, House, furnished
from tests.e2e.miniature import miniature


@pytest.fixture(scope="session")
def tiny_task(tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    """The tiny model and its examples; workers of one test run share them."""
    return make_tiny_task(tmp_path_factory.getbasetemp().parent / "tiny-task")


@pytest.fixture(scope="session")
def house(tiny_task: TinyTask, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The installation, furnished. Its spool has a small disk of its own where we may mount one."""
    with miniature(tiny_task, {"CHARKHA_API_PROCESSES": "2"}) as running:
        mounted = _small_disk(running.home / "spool")
        try:
            running.start()
            yield furnished(running, tmp_path_factory.mktemp("adapters"))
            running.stop()
        finally:
            if mounted:
                running.stop()
                subprocess.run(["umount", "--lazy", running.home / "spool"], check=True)


def _small_disk(directory: Path) -> bool:
    """A tmpfs at `directory`; False where that is not allowed."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    directory.mkdir(mode=0o700)
    options = f"size={SPOOL_MEGABYTES}m,mode=0700"
    return (
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "charkha-spool", directory], check=False).returncode == 0
    )
