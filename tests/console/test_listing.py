"""Lists: what the address filters, page after page, and the whole of it as a file that no spreadsheet runs."""

import csv
import io
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.console import listing
from tests.console.world import Browser, World, links, parse, rows, text_of

pytestmark = pytest.mark.anyio
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\n=1", '=HYPERLINK("http://evil.example")')


async def _csv(browser: Browser, path: str, **query: Any) -> list[dict[str, str]]:
    answer = await browser.get(path, export="csv", **query)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


async def _json(browser: Browser, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = await browser.get(path, export="json", **query)
    assert answer.headers["content-disposition"] == 'attachment; filename="inferences.json"'
    found: list[dict[str, Any]] = msgspec.json.decode(answer.content)
    return found


async def test_an_export_is_the_whole_list_once_and_in_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "EXPORT_PAGE", 7)
    browser = await world.browser()
    whole = (await world.rest().get("/inferences", params={"limit": 500})).json()["data"]
    assert len(whole) == 30
    assert await _json(browser, "/inferences") == whole
    as_csv = await _csv(browser, "/inferences")
    assert [row["id"] for row in as_csv] == [row["id"] for row in whole]
    assert [row["error_code"] for row in as_csv] == [row["error_code"] or "" for row in whole]


async def test_an_export_is_of_what_is_filtered(world: World) -> None:
    browser = await world.browser()
    assert [row["status"] for row in await _json(browser, "/inferences", status=503)] == [503]
    assert await _json(browser, "/inferences", model="nobody") == []
    assert await _csv(browser, "/inferences", model="nobody") == []


async def test_an_export_stops_at_its_most(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "EXPORT_PAGE", 5)
    monkeypatch.setattr(listing, "EXPORT_MOST", 10)
    assert len(await _json(await world.browser(), "/inferences")) == 10


@pytest.mark.parametrize("form", ["xml", 'csv"\r\nx-evil: 1', "\N{SNOWMAN}", "CSV"])
async def test_there_are_two_forms_of_export(world: World, form: str) -> None:
    answer = await (await world.browser()).get("/inferences", export=form)
    assert (answer.status_code, "x-evil" in answer.headers) == (422, False) or answer.status_code == 400
    assert "exported as csv or as json" in text_of(answer.text)


@pytest.mark.parametrize("form", ["csv", "json"])
async def test_a_filter_that_the_api_refuses_is_refused_before_a_file_begins(world: World, form: str) -> None:
    answer = await (await world.browser()).get("/inferences", export=form, status="many")
    assert answer.status_code in (400, 422)
    assert "content-disposition" not in answer.headers


@pytest.mark.parametrize("text", FORMULAS)
async def test_no_cell_is_a_formula(world: World, text: str) -> None:
    await world.log({"model": text, "minutes": 0})
    found = (await _csv(await world.browser(), "/inferences"))[0]["model"]
    assert found == f"'{text}"


@given(st.text())
def test_no_text_begins_as_a_formula_does(text: str) -> None:
    cell = listing._cell(text)
    assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n")
    assert cell in (text, f"'{text}")


@given(
    st.one_of(
        st.none(), st.integers(), st.floats(), st.booleans(), st.lists(st.text()), st.dictionaries(st.text(), st.text())
    )
)
def test_every_value_is_a_cell_of_one_row(value: Any) -> None:
    line = listing._line([listing._cell(value), "end"])
    assert [row[-1] for row in csv.reader(io.StringIO(line.decode(), newline=""))] == ["end"]


def test_a_number_stays_a_number() -> None:
    assert (listing._cell(-1.5), listing._cell(None), listing._cell(True)) == ("-1.5", "", "True")


async def test_filters_stand_in_the_address_and_in_the_form(world: World) -> None:
    browser = await world.browser()
    html = await browser.page("/inferences", status=503, q="crash")
    form = parse(html).find("form", role="search")
    assert form.find("input", name="q").attrs["value"] == "crash"
    chosen = [
        node.attrs["value"]
        for node in form.find("select", name="status").find_all("option")
        if "selected" in node.attrs
    ]
    assert chosen == ["503"]
    assert [row["Status"] for row in rows(html)] == ["503 engine_unavailable"]


async def test_one_goes_through_pages_and_back(world: World) -> None:
    await world.log(*({"minutes": 3000 + n, "model": f"many-{n}"} for n in range(60)))
    browser = await world.browser()
    first = await browser.page("/inferences")
    assert len(rows(first)) == listing.PAGE
    assert "Newest" not in links(first)
    second = await browser.page(links(first)["Older"])
    assert len(rows(second)) == 90 - listing.PAGE
    assert "Older" not in links(second)
    ids = [row["Id"] for row in rows(first) + rows(second)]
    assert len(set(ids)) == 90
    assert rows(await browser.page(links(second)["Newest"])) == rows(first)


async def test_the_filter_stays_from_page_to_page_and_into_the_export(world: World) -> None:
    await world.log(*({"minutes": 3000 + n, "model": "many"} for n in range(60)))
    first = await (await world.browser()).page("/inferences", model="many")
    for name in ("Older", "CSV", "JSON"):
        assert "model=many" in links(first)[name]
    assert "after=" not in links(first)["CSV"]


async def test_what_is_asked_wrongly_is_told(world: World) -> None:
    browser = await world.browser()
    for query in ({"status": "abc"}, {"after": "x"}, {"min_duration_ms": "-1"}):
        answer = await browser.get("/inferences", **query)
        assert 400 <= answer.status_code < 500
        assert next(iter(query)) in text_of(answer.text)
