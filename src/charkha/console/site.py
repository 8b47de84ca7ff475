"""What every page stands on: who is looking, in which workspace, how a page is made, and what happens when it fails.

Boundary: the only place where a cookie becomes a principal, and where a page's template becomes an answer.
"""

import secrets
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import jinja2
import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from fastapi.routing import APIRoute

from charkha import __version__
from charkha.console import charts, filters, navigation, security
from charkha.console.api import Api, Refused, RestApi
from charkha.console.assets import Assets
from charkha.console.live import Live, Make
from charkha.core.errors import CharkhaError, Forbidden, TooLarge, Unauthenticated
from charkha.govern.keyring import Authenticator, Principal
from charkha.govern.sessions import Session, SessionService
from charkha.kit import telemetry

_TEMPLATES = Path(__file__).parent / "templates"
_LARGEST_FORM = 2**20
_COMPRESSED_FROM = 1024
_SAID = {"hx-retarget": "#said", "hx-reswap": "innerHTML", "hx-reselect": ".said", "hx-push-url": "false"}
"""Whatever a request would have replaced, what went wrong is told above the page, which stays as it is."""
log = telemetry.logger(__name__)


@dataclass(frozen=True)
class Visitor:
    """Who is looking at a page, and in which workspace. `form` holds the fields of a posted form."""

    request: Request
    session: Session
    principal: Principal
    workspace: str
    workspaces: list[str]
    api: Api
    csrf: str
    form: dict[str, str] = field(default_factory=dict)

    def may(self, permission: str) -> bool:
        """Whether their key allows it."""
        return permission in self.principal.permissions

    def href(self, path: str, **query: Any) -> str:
        """The address of a page in the visitor's workspace; what is None or empty in `query` is left out."""
        given = {name: value for name, value in query.items() if value not in (None, "")}
        return f"/console/w/{quote(self.workspace)}{path}" + (f"?{urlencode(given)}" if given else "")

    @property
    def here(self) -> str:
        """The path of this page below its workspace."""
        return self.request.url.path.removeprefix(f"/console/w/{self.workspace}")

    def door(self, path: str) -> str:
        """The address under which this page's scripts reach a route of the REST API."""
        return f"/console/api/{quote(self.workspace)}{path}"

    @cached_property
    def query(self) -> dict[str, str]:
        """The query of the page's address, without empty values."""
        return {name: value for name, value in self.request.query_params.items() if value}

    def with_query(self, **changes: Any) -> str:
        """This page's own address with some of its query changed; None drops one."""
        merged = {**self.query, **changes}
        path = self.request.url.path
        given = {name: value for name, value in merged.items() if value not in (None, "")}
        return path + (f"?{urlencode(given)}" if given else "")


class Site:
    """Makes pages. `rest` is the REST API, called in process."""

    def __init__(self, sessions: SessionService, authenticator: Authenticator, rest: RestApi) -> None:
        self.sessions, self.authenticator, self.rest = sessions, authenticator, rest
        self.assets, self.live = _assets(), Live()
        self._jinja = _environment(self.assets)

    def router(self) -> APIRouter:
        """A router for pages: what goes wrong in one becomes a page too."""
        site = self

        class PageRoute(APIRoute):
            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                handle = super().get_route_handler()

                async def guarded(request: Request) -> Response:
                    try:
                        return await handle(request)
                    except (CharkhaError, Refused) as error:
                        return site.failed(request, error)
                    except Exception as error:
                        log.error("console.fault", path=request.url.path, exc_info=error)
                        return site.failed(request, CharkhaError("This page failed.", remedy="Its log says why."))

                return guarded

        return APIRouter(prefix="/console", route_class=PageRoute, include_in_schema=False)

    def visitor(self, permission: str) -> Any:
        """A FastAPI dependency that yields the Visitor, whose key grants `permission`; a change needs its token."""

        async def visiting(request: Request) -> Visitor:
            found = await self.recognised(request, request.path_params.get("workspace"))
            found.principal.require(permission)
            return found

        visiting.permission = permission  # type: ignore[attr-defined]
        return Depends(visiting)

    async def recognised(self, request: Request, workspace: str | None) -> Visitor:
        """The visitor of a request. Raises Unauthenticated without a session, Forbidden for a forged change."""
        cookie = request.cookies.get(security.COOKIE)
        if cookie is None:
            raise Unauthenticated("You are not signed in.", remedy="Sign in.")
        session, principal = await self.sessions.principal(cookie)
        form = await posted_form(request)
        if request.method not in ("GET", "HEAD"):
            sent = request.headers.get(security.CSRF_HEADER) or form.pop(security.CSRF_FIELD, "")
            self.sessions.check_csrf(cookie, sent)
        principal = self.authenticator.in_workspace(principal, workspace)
        name, names = self.authenticator.workspace_names(principal)
        return Visitor(
            request,
            session,
            principal,
            name,
            names if "workspace.manage" in principal.permissions else [name],
            self.rest.of(lambda: self.authenticator.token_of_key(session.key_id, workspace)),
            self.sessions.csrf_token(cookie),
            form,
        )

    def render(self, visitor: Visitor | None, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page, or a fragment, as an answer."""
        nonce = secrets.token_urlsafe(16)
        html = self.html(visitor, template, nonce=nonce, **values)
        accepts = visitor.request.headers.get("accept-encoding", "") if visitor else ""
        return security.protect(_compressed(html, status, accepts), nonce)

    def html(self, visitor: Visitor | None, template: str, *, nonce: str = "", **values: Any) -> str:
        """A template's text."""
        sections = navigation.visible(visitor.principal.permissions) if visitor else []
        return self._jinja.get_template(template).render(me=visitor, nonce=nonce, sections=sections, **values)

    def said(
        self, visitor: Visitor, message: str, *, detail: str = "", go: str | None = None, mark: str = "ok"
    ) -> Response:
        """The answer to a change that was made: a message, and then the page anew, or the page at `go`.

        `mark` "wrong": it was done, and what came of it is bad news.
        """
        if visitor.request.headers.get("hx-request"):
            response = self.render(visitor, "said.html", mark=mark, message=message, detail=detail)
            response.headers["hx-trigger-after-swap"] = msgspec.json.encode({"charkha:changed": {"go": go}}).decode()
            return response
        return RedirectResponse(go or visitor.request.headers.get("referer") or visitor.href("/"), 303)

    def stream(self, visitor: Visitor, make: Make) -> Response:
        """Fragments of the page, sent whenever they differ; shared by all who may see the same."""
        principal = visitor.principal
        key = (principal.workspace_id, principal.actor, principal.permissions, str(visitor.request.url))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._watched(visitor, key, make), media_type="text/event-stream", headers=headers)

    async def _watched(self, visitor: Visitor, key: Hashable, make: Make) -> AsyncIterator[bytes]:
        """What is watched, for as long as the visitor's own session lasts."""
        cookie = visitor.request.cookies[security.COOKIE]
        async with aclosing(self.live.stream(key, make)) as events:
            async for event in events:
                try:
                    await self.sessions.principal(cookie)
                except Unauthenticated:
                    return
                yield event

    def failed(self, request: Request, error: CharkhaError | Refused) -> Response:
        """The page, or the message in a page, that tells what went wrong and what to do."""
        if isinstance(error, Unauthenticated) or getattr(error, "status", 0) == 401:
            return self._sign_in_first(request)
        values: dict[str, Any] = {
            "mark": "wrong",
            "message": error.message,
            "detail": error.remedy or "",
            "status_code": error.status,
        }
        if request.headers.get("hx-request"):
            response = self.render(None, "said.html", **values)  # 200, or htmx would show nothing
            response.headers.update(_SAID)
            return response
        return self.render(None, "problem.html", status=error.status, **values)

    def _sign_in_first(self, request: Request) -> Response:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if security.is_cross_site(request) and request.method == "GET":
            return self.render(None, "again.html", here=here)
        to = f"/console/sign-in?{urlencode({'next': here})}" if request.method == "GET" else "/console/sign-in"
        if request.headers.get("hx-request"):
            return Response(status_code=204, headers={"hx-redirect": to})
        return RedirectResponse(to, 303)


async def posted_form(request: Request) -> dict[str, str]:
    """The fields of a posted form; the last value of a name counts."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return {}
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_FORM:
            raise TooLarge("This form is larger than 1 MiB.", remedy="Send less at once, or use the REST API.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=False))
    except UnicodeDecodeError:
        raise Forbidden("This form is not text.", remedy="Reload the page and try again.") from None


def _compressed(html: str, status: int, accepts: str) -> Response:
    body = html.encode("utf-8", "replace")
    if len(body) < _COMPRESSED_FROM or "gzip" not in accepts:
        return HTMLResponse(body, status)
    packer = zlib.compressobj(5, zlib.DEFLATED, 31)
    return HTMLResponse(packer.compress(body) + packer.flush(), status, {"content-encoding": "gzip"})


@cache
def _assets() -> Assets:
    return Assets()


@cache
def _environment(assets: Assets) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    environment.filters.update(filters.FILTERS)
    environment.globals.update(asset=assets.url, charts=charts, charkha_version=__version__, elapsed=filters.elapsed)
    return environment
