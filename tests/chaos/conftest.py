"""The miniature wheel of the crash suite: one task for the session, an installation for each test."""

import pytest

from charkha.testing.tiny_training import TinyTask, make_tiny_task


@pytest.fixture(scope="session")
def tiny_task(tmp_path_factory: pytest.TempPathFactory) -> TinyTask:
    """The tiny model and its examples; workers of one test run share them."""
    return make_tiny_task(tmp_path_factory.getbasetemp().parent / "tiny-task")
