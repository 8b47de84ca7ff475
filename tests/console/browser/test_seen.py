"""What the other tests look for would be found: pages with one fault each."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.chromium import Thread
from tests.console.browser.house import House
from tests.console.browser.looking import ALL, SEEN, WIDTHS, Looking, _axe

FAULTS = {
    "wide": ("<main><pre>" + "x" * 400 + "</pre></main>", "breaks"),
    "handler": ('<main><img src="/x.png" onerror="1"></main>', "intruders"),
    "script": ("<main><script>1</script></main>", "intruders"),
    "elsewhere": ('<main><a href="//evil.example/">x</a></main>', "intruders"),
    "javascript": ('<main><a href="javascript:alert(1)">x</a></main>', "intruders"),
    "htmx": ('<main><p hx-on:click="1">x</p></main>', "intruders"),
    "frame": ("<main><iframe></iframe></main>", "intruders"),
    "direction": ("<main><p>a\u202eb</p></main>", "unseen"),
    "tags": ("<main><p>a\U000e0041</p></main>", "unseen"),
    "hidden in a name": ('<main><p title="a\u200bb">x</p></main>', "unseen"),
}


@pytest.fixture
def shown(chromium: Browser, chromium_thread: Thread) -> Iterator[Callable[[str], Page]]:
    """Shows HTML as a page of an address that nothing listens at."""
    context = chromium_thread.do(chromium.new_context, viewport={"width": 390, "height": 800})

    def show(html: str) -> Page:
        page = context.new_page()
        page.route("**/*", lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"))
        page.goto("http://127.0.0.1:1/")
        return page

    yield show
    chromium_thread.do(context.close)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(shown: Callable[[str], Page], fault: str) -> None:
    html, kind = FAULTS[fault]
    assert shown(html).evaluate(SEEN)[kind]
    sound = shown("<main><p>x</p></main>").evaluate(SEEN)
    assert sound == {"breaks": [], "intruders": [], "unseen": []}


def test_a_script_that_ran_is_found(shown: Callable[[str], Page]) -> None:
    page = shown("<main></main>")
    page.evaluate("window.pwned = 1")
    assert page.evaluate(SEEN)["intruders"] == ["a script of a text ran"]


def test_what_is_hard_to_read_is_found(shown: Callable[[str], Page]) -> None:
    found = " ".join(
        _axe(shown("<main><h1>x</h1><p style='color: #999; background: #aaa'>pale</p><input></main>"), ALL)
    )
    assert "color-contrast" in found
    assert "label" in found


def test_a_sound_page_has_none(looking: Looking, house: House) -> None:
    look = looking.look("/console/_components")
    assert (look.breaks, look.intruders, look.unseen, look.axe) == ([], [], [], [])
    assert len(WIDTHS) == 4
