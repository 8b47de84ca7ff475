"""What people see: a page in Chromium with everything that can be told of it, looked at once for all tests that ask."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, expect

from tests.console.browser.house import House

Scheme = Literal["light", "dark"]
WIDTHS = (390, 768, 1280, 2560)
ROWS = 10
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}
ALL = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}
SEEN = (Path(__file__).parent / "seen.js").read_text()


@dataclass
class Look:
    """One page as it was seen.

    `sent`: bytes over the wire with an empty cache. `words`: how many its main part says. What is a list is of faults,
    but for the addresses of its `requests`.
    """

    path: str
    status: int = 0
    seconds: float = 0.0
    sent: int = 0
    words: int = 0
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    axe: list[str] = field(default_factory=list)
    breaks: list[str] = field(default_factory=list)
    intruders: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    title: str = ""


class Looking:
    """Signs people in, opens pages for them, and remembers what was seen."""

    def __init__(self, chromium: Browser, house: House) -> None:
        self.chromium, self.house = chromium, house
        self._signed_in: dict[str, StorageState] = {}
        self._looks: dict[tuple[str, str], Look] = {}

    @contextmanager
    def person(
        self, who: str = "operator", width: int = 1280, scheme: Scheme = "light", **options: Any
    ) -> Iterator[BrowserContext]:
        """A browser of somebody who is signed in, with an empty cache."""
        if who not in self._signed_in:
            self._signed_in[who] = self._sign_in(who)
        context = self._context(width, scheme, storage_state=self._signed_in[who], **options)
        yield context
        context.close()

    @contextmanager
    def page(self, path: str, who: str = "operator", **options: Any) -> Iterator[Page]:
        """A page of the workspace `default`, or of any whose address is given whole."""
        with self.person(who, **options) as context:
            page = context.new_page()
            page.goto(self.address(path))
            yield page

    def address(self, path: str, workspace: str = "default") -> str:
        """The whole address of a page."""
        return path if path.startswith("/console") else f"/console/w/{quote(workspace)}{path}"

    def look(self, path: str, workspace: str = "default", *, axe: bool = True) -> Look:
        """Look at a page in each width and, for `axe`, in both appearances; once."""
        key = (workspace, path)
        if key not in self._looks:
            self._looks[key] = self._look(path, workspace, axe)
        return self._looks[key]

    def _look(self, path: str, workspace: str, axe: bool) -> Look:
        look = Look(path)
        with self.person() as context:
            page = context.new_page()
            _listen(page, look)
            began = time.monotonic()
            answer = page.goto(self.address(path, workspace), wait_until="load")
            look.seconds = time.monotonic() - began
            assert answer is not None
            look.status, look.title = answer.status, page.title()
            look.words = len(page.locator("main").inner_text().split())
            page.wait_for_timeout(60)  # scripts have drawn, and the first live fragment has come
            expect(page.locator(".htmx-request")).to_have_count(0)  # and what it asks for by itself
            seen = page.evaluate(SEEN)
            look.intruders += seen["intruders"]
            look.unseen += seen["unseen"]
            for width in WIDTHS if axe else WIDTHS[::2]:
                page.set_viewport_size({"width": width, "height": 900})
                look.breaks += [f"{width}: {fault}" for fault in page.evaluate(SEEN, True)["breaks"]]
            if axe:
                look.axe = _read(page)
        return look

    def _context(self, width: int, scheme: Scheme, **options: Any) -> BrowserContext:
        size = {"width": width, "height": 844 if width < 600 else 900}
        usual: dict[str, Any] = {"viewport": size, "color_scheme": scheme, "reduced_motion": "reduce"}
        context = self.chromium.new_context(base_url=self.house.address, **{**usual, **options})
        context.set_default_timeout(8000)
        return context

    def _sign_in(self, who: str) -> StorageState:
        context = self._context(1280, "light")
        page = context.new_page()
        page.goto("/console/")
        page.get_by_label("Sign-in link or API key").fill(self.house.seeded.keys[who])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/console/w/**")
        state = context.storage_state()
        context.close()
        return state


def _listen(page: Page, look: Look) -> None:
    page.on("console", lambda message: look.said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: look.said.append(str(error)))
    page.on("dialog", lambda dialog: (look.intruders.append(f"dialog {dialog.message}"), dialog.dismiss())[1])
    page.on("request", lambda request: look.requests.append(request.url))
    wire = page.context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.send("Network.setCacheDisabled", {"cacheDisabled": True})
    wire.on("Network.loadingFinished", lambda told: _count(look, told["encodedDataLength"]))


def _count(look: Look, sent: float) -> None:
    look.sent += int(max(sent, 0))


def _read(page: Page) -> list[str]:
    """What axe has to say of a page: all of it wide and light, and narrow and dark; of colours in the other two.

    Of a long table it reads the first rows: the others are alike, and colours take it long.
    """
    page.evaluate(f"document.querySelectorAll('tbody tr:nth-child(n + {ROWS + 1})').forEach((row) => row.remove())")
    found = []
    for width, scheme, options in (
        (1280, "light", ALL),
        (1280, "dark", COLOURS),
        (390, "dark", ALL),
        (390, "light", COLOURS),
    ):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found += [f"{width} {scheme}: {fault}" for fault in _axe(page, options)]
    return found


def _axe(page: Page, options: dict[str, Any]) -> list[str]:
    faults = Axe().run(page, options={"resultTypes": ["violations"], **options}).response["violations"]
    return [f"{each['id']}: {each['help']}: {[node['html'][:160] for node in each['nodes'][:3]]}" for each in faults]
