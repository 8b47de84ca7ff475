"""Writes the pictures of the documents from a running installation: `python scripts/screenshots.py` after a turn.

Uses the key of this machine's command line, a one-time sign-in link, and Debian's Chromium.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from charkha.app.cli.connection import address, connect

IMAGES = Path(__file__).parent.parent / "docs" / "images"
PICTURES = (
    ("wheel", "/", 1280, "light"),
    ("wheel-dark", "/", 1280, "dark"),
    ("wheel-narrow", "/", 390, "light"),
    ("release", "/releases", 1280, "light"),
)


def main() -> None:
    """Sign in and take every picture."""
    with connect() as client:
        link = client.sessions.link()
    url = address()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        cookies = signed_in(browser, f"{url}{link.path}")
        for name, path, width, scheme in PICTURES:
            take(browser, cookies, url, name, path, width, scheme)
        browser.close()


def signed_in(browser: Browser, link: str) -> list[dict[str, object]]:
    """The cookies of a new session."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    page.wait_for_url("**/console/w/**")
    return context.cookies()  # type: ignore[return-value]


def take(
    browser: Browser, cookies: list[dict[str, object]], url: str, name: str, path: str, width: int, scheme: str
) -> None:
    """One picture; of a list, its newest entry is opened."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    context.add_cookies(cookies)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{url}/console/w/default{path}")
    if path != "/":
        page.locator("#page tbody a").first.click()
    page.wait_for_timeout(1500)
    page.screenshot(path=IMAGES / f"{name}.png")
    print(IMAGES / f"{name}.png", file=sys.stderr)
    context.close()


if __name__ == "__main__":
    main()
