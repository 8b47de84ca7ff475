"""Lists: filters in the address, keyset pages, and the whole list as CSV or JSON.

A list is described once (`Listing`); its page, its paging and its export follow from that.
"""

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi.responses import Response, StreamingResponse

from charkha.console.site import Visitor
from charkha.core.errors import Invalid

PAGE, EXPORT_PAGE, EXPORT_MOST = 50, 500, 100_000
Rows = AsyncIterator[dict[str, Any]]


@dataclass(frozen=True)
class Filter:
    """One field of the filter bar. `choices` are pairs of value and name; none: free text. `hint` is an example.

    `kind` is that of its input; a date is asked of the API as the instant at which that day begins in UTC. `unset` is
    what a choice says where none is made.
    """

    name: str
    label: str
    choices: Sequence[tuple[str, str]] = ()
    hint: str = ""
    kind: str = "text"
    unset: str = "any"


@dataclass(frozen=True)
class Listing:
    """A list of the API: its path, its filters, and the columns that an export writes."""

    path: str
    columns: Sequence[str]
    filters: Sequence[Filter] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def given(self, visitor: Visitor) -> dict[str, str]:
        """The filters that the page's address sets, as the API takes them."""
        return {
            each.name: _taken(each, visitor.query[each.name]) for each in self.filters if each.name in visitor.query
        }

    async def page(self, visitor: Visitor, *, limit: int = PAGE) -> dict[str, Any]:
        """The page of the list that the address asks for: {"data", "next"}."""
        query = {**self.given(visitor), **self.fixed, "after": visitor.query.get("after"), "limit": limit}
        page: dict[str, Any] = await visitor.api.get(self.path, **query)
        return page

    async def export(self, visitor: Visitor, form: str) -> Response:
        """The whole list that the address asks for, at most 100,000 rows, written as it is read.

        Its first page is read before anything is answered. Raises Invalid, and what the API says of the filters.
        """
        check_form(form)
        rows = self._rows(visitor, await self._exported(visitor))
        return exported(self.path.strip("/").replace("/", "-"), self.columns, rows, form)

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row as it is written."""
        return row

    async def _rows(self, visitor: Visitor, page: dict[str, Any]) -> Rows:
        """Every row from a page on."""
        seen = 0
        while True:
            for row in page["data"]:
                yield self.row(row)
            seen += len(page["data"])
            if page["next"] is None or seen >= EXPORT_MOST:
                return
            page = await self._exported(visitor, page["next"])

    async def _exported(self, visitor: Visitor, after: str | None = None) -> dict[str, Any]:
        query = {**self.given(visitor), **self.fixed, "limit": EXPORT_PAGE, "after": after}
        page: dict[str, Any] = await visitor.api.get(self.path, **query)
        return page


def check_form(form: str) -> None:
    """Raise Invalid for a form in which nothing is exported."""
    if form not in ("csv", "json"):
        raise Invalid("A list is exported as csv or as json.", remedy="Choose one of them.", param="export")


def exported(name: str, columns: Sequence[str], rows: Rows, form: str) -> Response:
    """Rows as a file to keep, csv or json, written as they come."""
    written = _as_csv(columns, rows) if form == "csv" else _as_json(rows)
    media_type = "text/csv; charset=utf-8" if form == "csv" else "application/json"
    headers = {"content-disposition": f'attachment; filename="{name}.{form}"', "cache-control": "no-store"}
    return StreamingResponse(written, media_type=media_type, headers=headers)


def _taken(asked: Filter, value: str) -> str:
    return f"{value}T00:00:00Z" if asked.kind == "date" else value


async def _as_json(rows: Rows) -> AsyncIterator[bytes]:
    opening = b"[\n"
    async for row in rows:
        yield opening + msgspec.json.encode(row)
        opening = b",\n"
    yield b"\n]\n" if opening == b",\n" else b"[]\n"


async def _as_csv(columns: Sequence[str], rows: Rows) -> AsyncIterator[bytes]:
    yield _line(columns)
    async for row in rows:
        yield _line([_cell(row.get(column)) for column in columns])


def _line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    """A value as a spreadsheet may open it: a text that would be taken for a formula is quoted (OWASP's advice)."""
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value).decode()
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else text
