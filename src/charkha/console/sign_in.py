"""Signing in and out, static assets, and the way from anywhere to the right page."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from charkha.console import security
from charkha.console.site import Site, Visitor, posted_form
from charkha.core.clock import now
from charkha.core.errors import CharkhaError, NotFound
from charkha.govern.access import public

_FOR_EVER = "public, max-age=31536000, immutable"


def router(site: Site) -> APIRouter:
    """The routes that anybody may ask for, and signing out."""
    api = site.router()

    @api.get("/static/{version}/{name}")
    @public
    async def static(version: str, name: str, request: Request) -> Response:
        asset = site.assets.find(version, name)
        if asset is None:
            raise NotFound("There is no such file.", remedy="Reload the page.")
        packed = "gzip" in request.headers.get("accept-encoding", "")
        headers = {"cache-control": _FOR_EVER, "x-content-type-options": "nosniff", "vary": "accept-encoding"}
        if packed:
            headers["content-encoding"] = "gzip"
        return Response(asset.compressed if packed else asset.plain, 200, headers, asset.media_type)

    @api.get("/sign-in")
    @public
    async def sign_in_page(request: Request) -> Response:
        return _page(site, request.query_params.get("next", ""))

    @api.post("/sign-in")
    @public
    async def sign_in(request: Request) -> Response:
        form = await posted_form(request)
        credential, to = form.get("credential", "").strip(), form.get("next", "")
        agent = request.headers.get("user-agent", "")
        token = credential.rpartition("#")[2]  # a whole link may be pasted
        try:
            if token.startswith("charkha_link_"):
                begun = await site.sessions.begin_with_link(token, agent)
            else:
                begun = await site.sessions.begin_with_key(token, agent)
        except CharkhaError as error:
            return _page(site, to, problem=error.message, remedy=error.remedy, status=error.status)
        response = RedirectResponse(_own(to), 303)
        lifetime = int((begun.session.expires_at - now()).total_seconds())
        security.set_cookie(response, begun.cookie, seconds=lifetime)
        return response

    @api.post("/sign-out")
    async def sign_out(request: Request, visitor: Visitor = site.visitor("session.create")) -> Response:
        await site.sessions.end(request.cookies[security.COOKIE])
        response = RedirectResponse("/console/sign-in", 303)
        security.drop_cookie(response)
        return response

    @api.get("")
    @api.get("/")
    @api.get("/w/{workspace}")
    async def home(visitor: Visitor = site.visitor("session.create")) -> Response:
        return RedirectResponse(visitor.href("/"), 303)

    return api


def nowhere(site: Site) -> APIRouter:
    """The answer to every other address below /console; comes last."""
    api = site.router()

    @api.get("/{path:path}")
    @public
    async def unknown(path: str) -> Response:
        raise NotFound(f"There is no page /console/{path[:200]}.", remedy="Ctrl-K on any page finds what there is.")

    return api


def _page(site: Site, to: str, *, status: int = 200, **values: Any) -> Response:
    told = {"problem": "", "remedy": "", **values}
    return site.render(None, "sign_in.html", status=status, next=_own(to), **told)


def _own(address: str) -> str:
    """An address of the console, or its beginning: signing in leads nowhere else."""
    inside = address.startswith("/console/") and "\\" not in address and not address.startswith("/console/sign-in")
    return address if inside and address.isprintable() else "/console/"
