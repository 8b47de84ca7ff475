"""Prompts: the templates that variants speak with, one with its versions, what changed between two, and its tests."""

import asyncio
from typing import Any

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import prompt_diffs
from charkha.console.listing import Listing
from charkha.console.names import actor_names, part
from charkha.console.pages import prompt_changes
from charkha.console.site import Site, Visitor

_PERMISSION = "prompt.read"
_LISTING = Listing("/prompts", columns=("id", "name", "description", "newest", "tests", "created_at"))
_VERSION = ("id", "number", "messages", "variables", "note", "author", "last_test", "created_at")
_SHOWN, _OFFERED, _BLANK = 10, 50, 3
Facts = dict[str, Any]


def router(site: Site) -> APIRouter:
    """The pages, and the changes that their forms ask for."""
    page = site.router()
    _all(page, site)
    _making(page, site)
    _one(page, site)
    prompt_changes.add(page, site, version_view)
    return page


def _all(page: APIRouter, site: Site) -> None:
    @page.get("/w/{workspace}/prompts")
    async def overview(visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        if export := visitor.query.get("export"):
            return await _LISTING.export(visitor, export)
        return site.render(visitor, "pages/prompts.html", page=await _LISTING.page(visitor))

    @page.get("/w/{workspace}/prompts/{prompt}")
    async def detail(prompt: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        path = f"/prompts/{part(prompt)}"
        found, versions = await asyncio.gather(visitor.api.get(path), visitor.api.get(f"{path}/versions", limit=_SHOWN))
        actors = await actor_names(visitor, [each["author"] for each in versions["data"]])
        models = await models_of(visitor)
        return site.render(visitor, "pages/prompt.html", found=found, versions=versions, actors=actors, models=models)

    @page.get("/w/{workspace}/prompts/{prompt}/versions")
    async def versions(prompt: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        path = f"/prompts/{part(prompt)}"
        listing = Listing(f"{path}/versions", columns=_VERSION)
        if export := visitor.query.get("export"):
            return await listing.export(visitor, export)
        found, page = await asyncio.gather(visitor.api.get(path), listing.page(visitor))
        actors = await actor_names(visitor, [each["author"] for each in page["data"]])
        return site.render(visitor, "pages/prompt_versions.html", found=found, page=page, actors=actors)


def _making(page: APIRouter, site: Site) -> None:
    @page.get("/w/{workspace}/prompts/-/new")
    async def new(visitor: Visitor = site.visitor("prompt.write")) -> Response:
        return site.render(visitor, "pages/prompt_new.html", found=None, **_fields(None))

    @page.get("/w/{workspace}/prompts/{prompt}/versions/new")
    async def another(prompt: str, visitor: Visitor = site.visitor("prompt.write")) -> Response:
        found = await visitor.api.get(f"/prompts/{part(prompt)}")
        return site.render(visitor, "pages/prompt_new.html", found=found, **_fields(found["version"]))

    @page.get("/w/{workspace}/prompts/{prompt}/tests")
    async def tests(prompt: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        found = await visitor.api.get(f"/prompts/{part(prompt)}")
        written = msgspec.json.format(msgspec.json.encode(found["tests"]), indent=2).decode()
        return site.render(visitor, "pages/prompt_tests.html", found=found, written=written)


def _one(page: APIRouter, site: Site) -> None:
    @page.get("/w/{workspace}/prompts/{prompt}/versions/{number}")
    async def version(prompt: str, number: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        view = await version_view(visitor, prompt, number)
        return site.render(visitor, "pages/prompt_version.html", **view)

    @page.get("/w/{workspace}/prompts/{prompt}/diff")
    async def diff(prompt: str, visitor: Visitor = site.visitor(_PERMISSION)) -> Response:
        path = f"/prompts/{part(prompt)}"
        found = await visitor.api.get(path)
        newest = found["newest"]
        asked = {"from": visitor.query.get("from") or max(1, newest - 1), "to": visitor.query.get("to") or newest}
        told = await visitor.api.get(f"{path}/diff", **asked)
        return site.render(
            visitor,
            "pages/prompt_diff.html",
            found=found,
            told=told,
            asked=asked,
            beside=visitor.query.get("view") == "beside",
            diffs=prompt_diffs,
        )


async def version_view(visitor: Visitor, prompt: str, number: str) -> Facts:
    """What the page of one version shows: the version, the last run of its tests, and what it may be asked of."""
    path = f"/prompts/{part(prompt)}/versions/{part(number)}"
    version, runs, models = await asyncio.gather(
        visitor.api.get(path), visitor.api.get(f"{path}/tests", limit=1), models_of(visitor)
    )
    actors = await actor_names(visitor, [version["author"], *(run["author"] for run in runs["data"])])
    return {
        "version": version,
        "name": version["reference"].partition("@")[0],
        "run": next(iter(runs["data"]), None),
        "actors": actors,
        "models": models,
        "tried": None,
        "typed": {},
    }


async def models_of(visitor: Visitor) -> list[str]:
    """Names that may be asked, as far as they are offered; none for who may not ask."""
    if not visitor.may("inference.create"):
        return []
    return [each["id"] for each in (await visitor.api.get("/v1/models"))["data"][:_OFFERED]]


def _fields(version: Facts | None) -> Facts:
    """What the form of a version begins with: the one before, and room for more."""
    messages = list(version["messages"]) if version else []
    system = messages.pop(0)["content"] if messages and messages[0]["role"] == "system" else ""
    blank = {"role": "user", "content": ""}
    declared = list(version["variables"]) if version else []
    return {
        "system": system,
        "turns": [*messages, blank, {**blank, "role": "assistant"}],
        "variables": [*declared, *({"name": "", "default": None, "description": ""} for _ in range(_BLANK))],
    }
