"""Starting a run: which data, for which endpoint, how. What can be chosen is the recipe's own schema."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console.names import endpoint_names, found_or_none, listed, part
from charkha.console.site import Site, Visitor

_WRITE = "run.write"
_NEWEST = 50
_SUITES = 100
_CHOICE = "config."
Facts = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """One thing that a recipe lets one choose, as a field of the form. `usual` is its default as text, "" for none."""

    name: str
    title: str
    explanation: str
    usual: str
    value: str
    bounds: str
    options: tuple[str, ...] = ()


def router(site: Site) -> APIRouter:
    """The form, and what takes it."""
    page = site.router()

    @page.get("/w/{workspace}/runs/new")
    async def form(visitor: Visitor = site.visitor(_WRITE)) -> Response:
        return site.render(visitor, "pages/run_new.html", **await _view(visitor))

    @page.post("/w/{workspace}/runs/new")
    async def start(visitor: Visitor = site.visitor(_WRITE)) -> Response:
        given = visitor.form
        recipe = given.get("recipe", "")
        named: dict[str, Facts] = {each["name"]: each["config"] for each in await visitor.api.get("/recipes")}
        body = {
            "endpoint_id": given.get("endpoint_id", ""),
            "dataset_version_id": given.get("dataset_version_id", ""),
            "recipe": recipe,
            "config": chosen(given, named.get(recipe, {})),
            "seed": _value(given.get("seed") or "0", {"type": "integer"}),
        }
        run = await visitor.api.send("POST", "/runs", body)
        return site.said(visitor, "The run is queued.", go=visitor.href(f"/runs/{run['id']}"))

    return page


def chosen(form: Mapping[str, str], schema: Facts) -> Facts:
    """What a form chose of a recipe's schema: fields that were left empty are left to the recipe."""
    properties: Facts = schema.get("properties", {})
    given = {name: form.get(_CHOICE + name, "").strip() for name in properties}
    return {name: _value(text, properties[name]) for name, text in given.items() if text}


def offered(schema: Facts, values: Facts) -> list[Choice]:
    """The fields of a recipe's schema; `values` are those that are filled in already."""
    required = schema.get("required", [])
    return [
        Choice(
            name=name,
            title=name.replace("_", " "),
            explanation=each.get("description", "") + (" It must be given." if name in required else ""),
            usual=_text(each.get("default")),
            value=_text(values.get(name)),
            bounds=_bounds(each),
            options=tuple(_text(option) for option in each.get("enum", ())),
        )
        for name, each in schema.get("properties", {}).items()
    ]


def _value(text: str, schema: Facts) -> Any:
    """A field's text as the schema's type; text that is none of it stays, for the API to say so."""
    if schema.get("type") == "string" or (schema.get("enum") and "type" not in schema):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _bounds(schema: Facts) -> str:
    """From where to where, in words."""
    if "minimum" in schema and "maximum" in schema:
        return f"{_text(schema['minimum'])} to {_text(schema['maximum'])}"
    names = (
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    )
    return ", ".join(f"{told} {_text(schema[name])}" for name, told in names if name in schema)


async def _view(visitor: Visitor) -> Facts:
    asked = visitor.query
    names, data, suites, recipes, like = await asyncio.gather(
        endpoint_names(visitor),
        listed(visitor, "dataset.read", "/datasets", limit=_NEWEST),
        listed(visitor, "evaluation.read", "/suites", limit=_SUITES),
        visitor.api.get("/recipes"),
        _like(visitor),
    )
    recipe = _recipe(recipes, asked.get("recipe") or like.get("recipe"))
    config = like.get("config", {}) if recipe and recipe["name"] == like.get("recipe") else {}
    version_id = asked.get("dataset_version_id") or like.get("dataset_version_id", "")
    held_out = {suite["dataset_version_id"]: suite["name"] for suite in suites}
    versions = await _versions(visitor, data, version_id)
    return {
        "endpoints": names,
        "endpoint_id": asked.get("endpoint_id") or like.get("endpoint_id", ""),
        "versions": sorted(versions, key=lambda version: version[0] in held_out),
        "version_id": version_id,
        "held_out": held_out,
        "recipes": recipes,
        "recipe": recipe,
        "choices": offered(recipe["config"], config) if recipe else [],
        "like": like,
    }


async def _like(visitor: Visitor) -> Facts:
    """The run that the address says to begin from, or nothing."""
    asked = visitor.query.get("like")
    found: Facts = await visitor.api.get(f"/runs/{part(asked)}") if asked else {}
    return found


def _recipe(recipes: list[Facts], name: str | None) -> Facts | None:
    usable = [each for each in recipes if not each["problem"]]
    return next((each for each in usable if each["name"] == name), usable[0] if usable else None)


async def _versions(visitor: Visitor, data: list[Facts], wanted: str) -> list[tuple[str, str]]:
    """The newest version of each data set, and the one that is asked for if it is none of them: id and name."""
    found = [
        (each["newest_version_id"], _named(each["name"], each["versions"], each["examples"]))
        for each in data
        if each["newest_version_id"]
    ]
    if wanted and wanted not in dict(found):
        older = await found_or_none(visitor, "dataset.read", f"/dataset-versions/{part(wanted)}")
        if older:
            return [(older["id"], _named(older["name"], older["number"], older["examples"])), *found]
    return found


def _named(name: str, number: int, examples: int) -> str:
    return f"{name}@{number} ({examples} examples)"
