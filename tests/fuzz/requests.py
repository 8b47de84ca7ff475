"""Requests that are right, half right and wrong, made from an OpenAPI document.

A request begins as a right one and is then spoilt in a place or two: that reaches deeper than noise. Ids that answers tell
are used in requests to come. Everything follows from the seed.
"""

import copy
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import UUID

from tests.fuzz.values import DEEP, FLOATS, HEADERS, NUMBERS, TYPES, WORDS
from tests.fuzz.wire import Answer, Operation, Request


class Fuzzer:
    """Makes requests. `learn` takes what it can use of an answer; ids in `spared` are never used."""

    def __init__(self, document: dict[str, Any], seed: int, spared: frozenset[str] = frozenset()) -> None:
        self._components = document.get("components", {}).get("schemas", {})
        self._chance, self._spared = random.Random(seed), spared
        self.known: dict[str, list[Any]] = defaultdict(list)

    def request(self, operation: Operation) -> Request:
        """A request to `operation`: one in five is right, as far as the document tells what is."""
        spoil = self._chance.random() > 0.2
        path, query, headers = operation.path, [], []
        for parameter in operation.parameters:
            value = self._parameter(parameter, spoil)
            if parameter["in"] == "path":
                path = path.replace("{" + parameter["name"] + "}", quote(_text(value), safe=""))
            elif value is not None and (parameter.get("required") or self._chance.random() < 0.4):
                (query if parameter["in"] == "query" else headers).append((parameter["name"], _text(value)))
        if query:
            path += "?" + "&".join(f"{quote(name)}={quote(text)}" for name, text in query)
        kind, body = self._body(operation, spoil)
        headers += [("content-type", kind)] if kind else []
        if spoil and self._chance.random() < 0.1:
            headers.append((self._chance.choice(HEADERS), _text(self._nasty())))
        return Request(operation, path, headers, body)

    def learn(self, operation: Operation, answer: Answer) -> None:
        """Remember names and ids that an answer tells."""
        if answer.status < 300 and answer.headers.get("content-type", "").startswith("application/json"):
            kind = operation.path.split("/")[1].rstrip("s").replace("-", "_")
            for name, value in _fields(json.loads(answer.body)):
                if isinstance(value, str) and len(value) < 100 and value not in self._spared:
                    _remember(self.known[name], value)
                    if name == "id":
                        _remember(self.known[f"{kind}_id"], value)

    def _parameter(self, parameter: dict[str, Any], spoil: bool) -> Any:
        if spoil and self._chance.random() < 0.3:
            return self._nasty()
        return self._made(parameter.get("schema", {}), parameter["name"])

    def _body(self, operation: Operation, spoil: bool) -> tuple[str | None, bytes | None]:
        if not operation.bodies:
            return (None, None) if not spoil or self._chance.random() < 0.8 else ("application/json", b"{}")
        kind, schema = self._chance.choice(list(operation.bodies.items()))
        value = self._made(schema, "")
        if spoil:
            for _ in range(self._chance.randint(0, 2)):
                value = self._spoilt(value)
        body = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else json.dumps(value).encode()
        if spoil and self._chance.random() < 0.1:
            body = self._broken(body)
        if spoil and self._chance.random() < 0.05:
            kind = self._chance.choice(TYPES)
        return kind, body

    def _made(self, schema: dict[str, Any], name: str, depth: int = 0) -> Any:
        """A value that the schema allows, or nearly so."""
        if self.known.get(name) and self._chance.random() < 0.7:
            return self._chance.choice(self.known[name])
        if "$ref" in schema:
            return self._made(self._components[schema["$ref"].rpartition("/")[2]], name, depth)
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                return self._made(self._chance.choice(schema[several]), name, depth)
        if "const" in schema or "enum" in schema:
            return schema["const"] if "const" in schema else self._chance.choice(schema["enum"])
        kind = schema.get("type")
        kind = self._chance.choice(kind) if isinstance(kind, list) else kind
        maker = getattr(self, f"_a_{kind}", None)
        return maker(schema, name, depth) if maker else self._nasty()

    def _a_object(self, schema: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
        needed = schema.get("required", [])
        made = {
            field: self._made(told, field, depth + 1)
            for field, told in schema.get("properties", {}).items()
            if field in needed or self._chance.random() < (0.3 if depth < 5 else 0.05)
        }
        if isinstance(more := schema.get("additionalProperties"), dict) and self._chance.random() < 0.5:
            made[_text(self._chance.choice(WORDS))] = self._made(more, "", depth + 1)
        return made

    def _a_array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        most = min(schema.get("maxItems", 3), least + 3)
        return [self._made(schema.get("items", {}), name, depth + 1) for _ in range(self._chance.randint(least, most))]

    def _a_string(self, schema: dict[str, Any], name: str, depth: int) -> str:
        match schema.get("format"):
            case "uuid":
                return str(UUID(int=self._chance.getrandbits(128)))
            case "date-time":
                return f"20{self._chance.randint(24, 29)}-0{self._chance.randint(1, 9)}-11T11:11:11Z"
        length = self._chance.randint(
            schema.get("minLength", 1), max(schema.get("minLength", 1), min(schema.get("maxLength", 12), 12))
        )
        return "".join(self._chance.choices("abcdefgh-", k=length))

    def _a_integer(self, schema: dict[str, Any], name: str, depth: int) -> int:
        least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        return self._chance.randint(int(least), int(schema.get("maximum", least + 50)))

    def _a_number(self, schema: dict[str, Any], name: str, depth: int) -> float:
        least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        return self._chance.uniform(least, schema.get("maximum", least + 1))

    def _a_boolean(self, schema: dict[str, Any], name: str, depth: int) -> bool:
        return self._chance.random() < 0.5

    def _a_null(self, schema: dict[str, Any], name: str, depth: int) -> None:
        return None

    def _nasty(self) -> Any:
        """A value that breaks what was not made for it."""
        pick = self._chance.random()
        if pick < 0.5:
            return self._chance.choice(WORDS)
        if pick < 0.75:
            return self._chance.choice(NUMBERS + FLOATS)
        values = [
            None,
            True,
            False,
            [],
            {},
            [[]],
            [None],
            {"": None},
            json.loads(DEEP),
            [1] * 2_000,
            float("nan"),
            float("inf"),
        ]
        return self._chance.choice(values)

    def _spoilt(self, value: Any) -> Any:
        """The value with one place of it changed, left out, or one more in it."""
        value = copy.deepcopy(value)
        places = list(_places(value))
        if not places or self._chance.random() < 0.05:
            return self._nasty()
        holder, key = self._chance.choice(places)
        match self._chance.randint(0, 5):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[_text(self._chance.choice(WORDS))] = self._nasty()
            case 2 if isinstance(holder, list):
                holder.extend([holder[key]] * self._chance.choice([1, 20, 3_000]))
            case _:
                holder[key] = self._nasty()
        return value

    def _broken(self, body: bytes) -> bytes:
        """Bytes that are no longer what they were."""
        cut = self._chance.randint(0, len(body))
        ways = [
            body[:cut],
            body[:cut] + b"\xff" + body[cut:],
            body[:cut] + b"\x00" + body[cut:],
            b"\xef\xbb\xbf" + body,
            b"",
        ]
        ways += [
            body * 2,
            b"[" * 100_000,
            DEEP.encode(),
            body.decode("utf-8", "replace").encode("utf-16"),
            b'{"a":1e999}',
            b"9" * 5_000,
        ]
        return self._chance.choice(ways)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in list(items):
        yield value, key
        yield from _places(each)


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    for holder, key in _places(value):
        if isinstance(holder, dict):
            yield key, holder[key]


def _remember(values: list[Any], value: Any) -> None:
    if value not in values:
        values.append(value)
        del values[:-20]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return json.dumps(value)[:5_000]
