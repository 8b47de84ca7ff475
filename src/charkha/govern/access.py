"""How HTTP routes ask for permission: each declares one, bound to the endpoint and never to the URL's text.

Boundary: the only place where a request of the control plane becomes a principal and a transaction.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, Request
from fastapi.routing import APIRoute

from charkha.core.errors import Misconfigured
from charkha.govern.keyring import Authenticator, Principal
from charkha.kit.db import Database, Tx

WORKSPACE_HEADER = "x-charkha-workspace"


class Caller:
    """Who is calling, and the way to act in their workspace."""

    __slots__ = ("_database", "principal")

    def __init__(self, principal: Principal, database: Database) -> None:
        self.principal, self._database = principal, database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """A transaction in the caller's workspace, committed at the end of the block."""
        async with self._database.workspace(self.principal.workspace_id, self.principal.actor) as tx:
            yield tx


class Access:
    """Makes the dependency that a route declares."""

    def __init__(self, authenticator: Authenticator, database: Database) -> None:
        self._authenticator, self._database = authenticator, database

    def require(self, permission: str) -> Any:
        """A FastAPI dependency that yields the Caller, who has `permission`."""

        async def caller(request: Request) -> Caller:  # asynchronous, or FastAPI would hand it to a thread
            principal = self._authenticator.authenticate(request.headers.get("authorization"))
            principal = self._authenticator.in_workspace(principal, request.headers.get(WORKSPACE_HEADER))
            principal.require(permission)
            return Caller(principal, self._database)

        caller.permission = permission  # type: ignore[attr-defined]
        return Depends(caller)


def public(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a handler as open to anybody who reaches the port."""
    endpoint.is_public = True  # type: ignore[attr-defined]
    return endpoint


def permission_of(route: APIRoute) -> str | None:
    """The permission that a route declares, "public", or None where it declares nothing."""
    for dependency in route.dependant.dependencies:
        declared: str | None = getattr(dependency.call, "permission", None)
        if declared:
            return declared
    return "public" if getattr(route.endpoint, "is_public", False) else None


def verify(routes: Iterable[Any]) -> None:
    """Refuse to start with a route that declares no permission."""
    for route in routes:
        if isinstance(route, APIRoute) and permission_of(route) is None:
            raise Misconfigured(f"{route.path} declares no permission.", remedy="Give it `access.require(...)`.")
