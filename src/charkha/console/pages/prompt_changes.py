"""What the forms on a prompt's pages ask for: made, given a version or tests, tested, and tried with values."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import forms
from charkha.console.names import part
from charkha.console.site import Site, Visitor
from charkha.core.errors import Invalid

View = Callable[[Visitor, str, str], Awaitable[dict[str, Any]]]
_VALUE = "value:"
_TRIED_TOKENS = 256


def add(page: APIRouter, site: Site, view: View) -> None:
    """Add the changes to a router of pages; `view` is what the page of a version shows."""
    _making(page, site)
    _testing(page, site)
    _trying(page, site, view)


def _making(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/prompts")
    async def create(visitor: Visitor = site.visitor("prompt.write")) -> Response:
        form = visitor.form
        body = {"name": forms.text(form, "name") or "", "description": _plain(form, "description"), **_version(form)}
        made = await visitor.api.send("POST", "/prompts", body)
        detail = f"A variant speaks with it as {made['version']['reference']}."
        return site.said(
            visitor, f"{made['name']} is made.", detail=detail, go=visitor.href(f"/prompts/{made['name']}")
        )

    @page.post("/w/{workspace}/prompts/{prompt}/versions")
    async def another(prompt: str, visitor: Visitor = site.visitor("prompt.write")) -> Response:
        made = await visitor.api.send("POST", f"{_path(prompt)}/versions", _version(visitor.form))
        go = visitor.href(f"{_path(prompt)}/versions/{made['number']}")
        detail = "It answers nowhere until a variant names it."
        return site.said(visitor, f"{made['reference']} is made.", detail=detail, go=go)


def _testing(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/prompts/{prompt}/tests")
    async def tests(prompt: str, visitor: Visitor = site.visitor("prompt.write")) -> Response:
        try:
            written = msgspec.json.decode(visitor.form.get("tests", "").strip() or "[]")
        except (msgspec.DecodeError, RecursionError) as error:
            raise Invalid(
                f"Tests: this is no JSON ({error}).", remedy="Write a list of tests.", param="tests"
            ) from None
        kept = await visitor.api.send("PUT", f"{_path(prompt)}/tests", {"tests": written})
        count = len(kept["tests"])
        return site.said(visitor, f"{count} tests are kept." if count != 1 else "One test is kept.")

    @page.post("/w/{workspace}/prompts/{prompt}/versions/{number}/test")
    async def test(prompt: str, number: str, visitor: Visitor = site.visitor("prompt.write")) -> Response:
        path = f"{_path(prompt)}/versions/{part(number)}"
        run = await visitor.api.send("POST", f"{path}/test", {"model": forms.text(visitor.form, "model") or ""})
        told = f"{run['passed']} of {run['passed'] + run['failed']} tests passed on {run['model']}."
        return site.said(visitor, told, go=visitor.href(path), mark="wrong" if run["failed"] else "ok")


def _trying(page: APIRouter, site: Site, view: View) -> None:
    @page.post("/w/{workspace}/prompts/{prompt}/versions/{number}/try")
    async def trying(prompt: str, number: str, visitor: Visitor = site.visitor("prompt.read")) -> Response:
        """The page of the version, with what it says with the values that were typed, and what a model answers."""
        form = visitor.form
        shown = await view(visitor, prompt, number)
        typed = {name.removeprefix(_VALUE): _unix(value) for name, value in form.items() if name.startswith(_VALUE)}
        optional = {each["name"] for each in shown["version"]["variables"] if each["default"] is not None}
        values = {name: value for name, value in typed.items() if value or name not in optional}
        path = f"{_path(prompt)}/versions/{part(number)}"
        rendered = await visitor.api.send("POST", f"{path}/render", {"variables": values})
        message = forms.text(form, "message")
        turns = [*rendered["messages"], *([{"role": "user", "content": message}] if message else [])]
        answer = await _asked(visitor, forms.text(form, "model"), turns)
        shown |= {"tried": {"turns": turns, "answer": answer}, "typed": form}
        return site.render(visitor, "pages/prompt_version.html", **shown)


async def _asked(visitor: Visitor, model: str | None, turns: list[dict[str, Any]]) -> str | None:
    """What a model answers; None where none was named. Raises Forbidden for who may not ask."""
    if model is None:
        return None
    visitor.principal.require("inference.create")
    body = {"model": model, "messages": turns, "max_tokens": _TRIED_TOKENS}
    told = await visitor.api.ask(body)
    return told["choices"][0]["message"]["content"] or ""


def _path(prompt: str) -> str:
    return f"/prompts/{part(prompt)}"


def _version(form: forms.Form) -> dict[str, Any]:
    """A version as the form describes it; rows that were left empty are left out."""
    system = _plain(form, "system")
    turns = [{"role": form.get(f"role:{place}", "user"), "content": text} for place, text in _rows(form, "content:")]
    declared = [
        {
            "name": name.strip(),
            "default": _plain(form, f"default:{place}") or None,
            "description": _plain(form, f"description:{place}"),
        }
        for place, name in _rows(form, "variable:")
    ]
    messages = [*([{"role": "system", "content": system}] if system else []), *turns]
    return {"messages": messages, "variables": declared or None, "note": _plain(form, "note")}


def _rows(form: forms.Form, prefix: str) -> list[tuple[str, str]]:
    """Places and texts of the rows of a form in which something was typed, in their order."""
    typed = [(name.removeprefix(prefix), _unix(text)) for name, text in form.items() if name.startswith(prefix)]
    return [(place, text) for place, text in typed if text.strip()]


def _plain(form: forms.Form, name: str) -> str:
    return _unix(form.get(name, ""))


def _unix(text: str) -> str:
    """Lines end as they do in files: browsers send another end."""
    return text.replace("\r\n", "\n")
