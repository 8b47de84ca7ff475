"""A page as a person reads it: its text, links, tables, forms, out of its HTML. Nothing here knows the console."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"))
_UNSEEN = ("script", "style", "template", "head")


@dataclass
class Node:
    """An element. `children` are elements and texts, in order."""

    tag: str
    attrs: dict[str, str] = field(default_factory=dict)
    children: list["Node | str"] = field(default_factory=list)

    def walk(self) -> Iterator["Node"]:
        """It and every element below it."""
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def find_all(self, tag: str = "", **attrs: str) -> list["Node"]:
        """The elements below with this tag and these attributes; `class_` asks for one of the classes."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attrs.items()}
        return [node for node in self.walk() if node is not self and _is(node, tag, wanted)]

    def find(self, tag: str = "", **attrs: str) -> "Node":
        """The first of them. Raises AssertionError where there is none."""
        found = self.find_all(tag, **attrs)
        assert found, f"there is no <{tag}> {attrs} in: {self.text()[:500]}"
        return found[0]

    def text(self) -> str:
        """What it says, white space collapsed."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            elif child.tag not in _UNSEEN:
                yield from child._texts()
                yield "" if child.tag in ("span", "b", "strong", "bdi", "a", "em", "code", "kbd") else " "


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Node("document")
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        places = [place for place, node in enumerate(self._open) if node.tag == tag]
        if places:
            del self._open[places[-1] :]

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def parse(html: str) -> Node:
    """The document."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    return builder.root


def text_of(html: str) -> str:
    """What the page says: its main part where it has one, white space collapsed."""
    return _main(parse(html)).text()


def heading(html: str) -> str:
    """The page's one h1."""
    found = parse(html).find_all("h1")
    assert len(found) == 1, [node.text() for node in found]
    return found[0].text()


def links(html: str) -> dict[str, str]:
    """The links of the page's main part: text to address; of two with one text the first."""
    found: dict[str, str] = {}
    for node in _main(parse(html)).find_all("a"):
        found.setdefault(node.text(), node.attrs.get("href", ""))
    return found


def rows(html: str, table: int = 0) -> list[dict[str, str]]:
    """The rows of a table's body: cells by their `data-name`, or by their place as "0", "1" … where they have none."""
    tables = _main(parse(html)).find_all("table")
    if not tables:
        return []
    body = tables[table].find_all("tbody")
    return [_cells(row) for row in (body[0].find_all("tr") if body else [])]


def forms(html: str) -> dict[str, dict[str, str]]:
    """Every form that posts: its address to its fields with their values (what is chosen in a select)."""
    found: dict[str, dict[str, str]] = {}
    for form in parse(html).find_all("form"):
        if form.attrs.get("method") == "post":
            found.setdefault(form.attrs["action"], {}).update(_fields(form))
    return found


def buttons(html: str) -> list[str]:
    """What the buttons of the page's main part say."""
    return [node.text() for node in _main(parse(html)).find_all("button")]


def _fields(form: Node) -> dict[str, str]:
    fields: dict[str, str] = {}
    for node in form.walk():
        name = node.attrs.get("name")
        if name is None:
            continue
        if node.tag == "input" and (node.attrs.get("type") not in ("checkbox", "radio") or "checked" in node.attrs):
            fields[name] = node.attrs.get("value", "")
        elif node.tag == "textarea":
            fields[name] = "".join(child for child in node.children if isinstance(child, str))
        elif node.tag == "select":
            options = node.find_all("option")
            chosen = [option for option in options if "selected" in option.attrs] or options[:1]
            fields[name] = chosen[0].attrs.get("value", chosen[0].text()) if chosen else ""
    return fields


def _cells(row: Node) -> dict[str, str]:
    cells = [node for node in row.children if isinstance(node, Node)]
    return {cell.attrs.get("data-name", str(place)): cell.text() for place, cell in enumerate(cells)}


def _main(document: Node) -> Node:
    found = document.find_all("main")
    return found[0] if found else document


def _is(node: Node, tag: str, wanted: dict[str, str]) -> bool:
    if tag and node.tag != tag:
        return False
    return all(
        value in node.attrs.get("class", "").split() if name == "class" else node.attrs.get(name) == value
        for name, value in wanted.items()
    )
