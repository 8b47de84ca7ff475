"""What the forms on an endpoint's pages ask for: made, changed, moved, rolled back, taken away."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from charkha.console import forms
from charkha.console.api import Refused
from charkha.console.names import part
from charkha.console.pages import engine_states
from charkha.console.site import Site, Visitor
from charkha.core.errors import Conflict, Invalid

_SHARE = "share:"


def add(page: APIRouter, site: Site) -> None:
    """Add the changes to a router of pages."""
    _making(page, site)
    _moving(page, site)
    _training(page, site)


def _making(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/endpoints")
    async def create(visitor: Visitor = site.visitor("endpoint.write")) -> Response:
        form = visitor.form
        body = {
            "name": forms.text(form, "name") or "",
            "labels": forms.lines(form, "labels"),
            "keeps_content": forms.checked(form, "keeps_content"),
            "variant": _variant(form),
        }
        made = await visitor.api.send("POST", "/endpoints", body)
        return site.said(visitor, f"{made['name']} can be called now.", go=visitor.href(f"/endpoints/{made['name']}"))

    @page.post("/w/{workspace}/endpoints/{reference}/variants")
    async def variant(reference: str, visitor: Visitor = site.visitor("endpoint.write")) -> Response:
        made = await visitor.api.send("POST", f"{_path(reference)}/variants", _variant(visitor.form))
        detail = "It has no traffic until its share is set."
        return site.said(visitor, f"{made['name']} is added.", detail=detail, go=visitor.href(_path(reference)))

    @page.post("/w/{workspace}/endpoints/{reference}/content")
    async def content(reference: str, visitor: Visitor = site.visitor("endpoint.write")) -> Response:
        keeps = visitor.form.get("keeps_content") == "yes"
        await visitor.api.send("PATCH", _path(reference), {"keeps_content": keeps})
        told = "The log keeps what is said from now on." if keeps else "The log keeps figures alone from now on."
        return site.said(visitor, told, detail="What it has kept so far stays as it is.")

    @page.post("/w/{workspace}/endpoints/{reference}/delete")
    async def delete(reference: str, visitor: Visitor = site.visitor("endpoint.write")) -> Response:
        name = (await visitor.api.get(_path(reference), variants="live"))["name"]
        if forms.text(visitor.form, "name") != name:
            raise Invalid("The name that you typed is another one; nothing was deleted.", remedy=f"Type: {name}")
        gone = await visitor.api.send("DELETE", _path(reference))
        detail = f"{_gateways(gone)} have forgotten it. Its log stays."
        return site.said(visitor, f"{name} is deleted.", detail=detail, go=visitor.href("/endpoints"))


def _moving(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/endpoints/{reference}/plan")
    async def plan(reference: str, visitor: Visitor = site.visitor("release.promote")) -> Response:
        body = {
            "expected_plan_id": visitor.form.get("expected_plan_id", ""),
            "shares": _shares(visitor),
            "reason": forms.text(visitor.form, "reason") or "set by hand",
        }
        try:
            moved = await visitor.api.send("PUT", f"{_path(reference)}/plan", body)
        except Refused as refused:
            if refused.status == 409:
                raise Conflict(
                    f"Somebody moved the traffic meanwhile, so nothing was changed. {refused.message}",
                    remedy="Reload the page, look at the plan that is live now, and decide again.",
                ) from refused
            raise
        return site.said(visitor, f"Plan {moved['number']} is live.", detail="Every gateway serves it.")

    @page.post("/w/{workspace}/endpoints/{reference}/rollback")
    async def rollback(reference: str, visitor: Visitor = site.visitor("release.promote")) -> Response:
        reason = forms.text(visitor.form, "reason") or "rolled back by hand"
        done = await visitor.api.send("POST", f"{_path(reference)}/rollback", {"reason": reason})
        detail = f"{_gateways(done)} serve it, {done['milliseconds']:.0f} ms after it was asked for."
        return site.said(visitor, "What served before the newest release serves again.", detail=detail)


def _training(page: APIRouter, site: Site) -> None:
    @page.post("/w/{workspace}/endpoints/{endpoint_id}/policy")
    async def policy(endpoint_id: str, visitor: Visitor = site.visitor("run.write")) -> Response:
        form = visitor.form
        body = {
            "minimum_examples": forms.whole(form, "minimum_examples", "Lessons"),
            "recipe": forms.text(form, "recipe") or "sft",
            "config": forms.json_object(form, "config", "Configuration"),
            "enabled": forms.checked(form, "enabled"),
        }
        made = await visitor.api.send("PUT", _policy(endpoint_id), body)
        detail = f"A candidate is trained at {made['minimum_examples']} new lessons." if made["enabled"] else ""
        return site.said(visitor, "The training policy is set.", detail=detail)

    @page.post("/w/{workspace}/endpoints/{endpoint_id}/policy/switch")
    async def switch(endpoint_id: str, visitor: Visitor = site.visitor("run.write")) -> Response:
        found = await visitor.api.get(_policy(endpoint_id))
        body = {name: found[name] for name in ("minimum_examples", "recipe", "config")}
        body["enabled"] = visitor.form.get("enabled") == "yes"
        await visitor.api.send("PUT", _policy(endpoint_id), body)
        told = "Training by itself is switched on." if body["enabled"] else "Training by itself is switched off."
        return site.said(visitor, told, detail="" if body["enabled"] else "A run that is under way goes on.")


def _path(reference: str) -> str:
    return f"/endpoints/{part(reference)}"


def _policy(endpoint_id: str) -> str:
    return f"/training-policies/{part(endpoint_id)}"


def _variant(form: forms.Form) -> dict[str, Any]:
    """A variant as the form describes it; what was left empty is left out, so that the API's own defaults hold."""
    fields: dict[str, Any] = {
        "name": forms.text(form, "variant_name"),
        "version": forms.text(form, "version"),
        "engine": forms.text(form, "engine"),
        "model": forms.text(form, "model"),
        "system_prompt": forms.text(form, "system_prompt"),
        "prompt": forms.text(form, "prompt"),
        "parameters": forms.json_object(form, "parameters", "Parameters"),
    }
    return engine_states.ways(form) | {name: value for name, value in fields.items() if value is not None}


def _shares(visitor: Visitor) -> list[dict[str, Any]]:
    """The shares that were typed, in the form's order; a variant with nothing is not part of the plan."""
    typed = {
        name.removeprefix(_SHARE): forms.whole(visitor.form, name, "Share")
        for name in visitor.form
        if name.startswith(_SHARE)
    }
    return [{"variant_id": variant_id, "share": share} for variant_id, share in typed.items() if share]


def _gateways(answer: dict[str, Any]) -> str:
    """Every gateway: the API answers when all of them follow, and refuses when one does not."""
    count = len(answer["gateways"])
    return f"{count} of {count} gateways"
