"""A real Chromium for tests, spoken to from one thread: Playwright's event loop would be in the way of every other test's."""

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Browser, sync_playwright

T = TypeVar("T")


class Thread:
    """The one thread that speaks to Chromium."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "chromium")

    def do(self, work: Callable[..., T], *args: Any, **options: Any) -> T:
        """Do something in it, and return what it returns."""
        return self._pool.submit(work, *args, **options).result()

    def close(self) -> None:
        """End it."""
        self._pool.shutdown()


@pytest.fixture(scope="session")
def chromium_thread() -> Iterator[Thread]:
    """The thread that speaks to Chromium."""
    thread = Thread()
    yield thread
    thread.close()


@pytest.fixture(scope="session")
def chromium(chromium_thread: Thread) -> Iterator[Browser]:
    """Debian's Chromium, without a window. Where there is none the tests are skipped, but fail in CI."""
    path = shutil.which("chromium")
    if path is None:
        assert os.environ.get("CI") != "true", "CI needs a Chromium: scripts/ensure_chromium.sh installs it"
        pytest.skip("there is no chromium (Debian: apt install chromium)")
    playwright = chromium_thread.do(lambda: sync_playwright().start())
    browser = chromium_thread.do(playwright.chromium.launch, executable_path=path, args=["--no-sandbox"])
    yield browser
    chromium_thread.do(browser.close)
    chromium_thread.do(playwright.stop)
