# Written by scripts/unasync.py from the asynchronous module beside it; do not edit.
"""Who may do what, and who did: workspaces, keys, sessions of the console, and the audit trail."""

from collections.abc import Sequence
from typing import Any

from charkha.client import types
from charkha.client._sync.resources import Id, Resource


class Workspaces(Resource):
    """Workspaces of the organisation."""

    def list(self) -> list[types.Workspace]:
        """All of them, by name."""
        return self._get("/workspaces", list[types.Workspace])

    def create(self, name: str) -> types.Workspace:
        """Make one, or find the one of that name."""
        return self._post("/workspaces", types.Workspace, {"name": name})


class Keys(Resource):
    """API keys of the workspace."""

    def create(
        self,
        name: str = "key",
        *,
        role: str = "developer",
        scopes: Sequence[str] | None = None,
        days: float | None = None,
    ) -> types.NewKey:
        """Make a key; its secret is in the answer and nowhere else."""
        body = {"name": name, "role": role, "scopes": scopes, "days": days}
        return self._post("/keys", types.NewKey, body)

    def list(
        self, *, ids: Sequence[Id] | None = None, after: Id | None = None, limit: int = 50
    ) -> types.Page[types.Key]:
        """Keys, newest first; of `ids` only, if given."""
        return self._page("/keys", types.Key, {"id": ids, "after": after, "limit": limit})  # type: ignore[no-any-return]

    def revoke(self, key_id: Id) -> dict[str, Any]:
        """Revoke a key everywhere; the answer lists the gateways that refuse it now."""
        return self._transport.call("DELETE", f"/keys/{key_id}", dict[str, Any])


class Audit(Resource):
    """Who did what."""

    def list(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        target_kind: str | None = None,
        target_id: Id | None = None,
        since: str | None = None,
        until: str | None = None,
        after: Id | None = None,
        limit: int = 50,
    ) -> types.Page[types.AuditRow]:
        """Actions, newest first; times are ISO 8601. A page may be short, or empty, before the end: go on with `next`."""
        query: dict[str, Any] = {"actor": actor, "action": action, "target_kind": target_kind, "target_id": target_id}
        query |= {"since": since, "until": until, "after": after, "limit": limit}
        return self._page("/audit", types.AuditRow, query)  # type: ignore[no-any-return]


class Sessions(Resource):
    """Who is signed in to the console."""

    def link(self) -> types.SignInLink:
        """Make a link that signs a browser in as this key, once; its `path` goes behind the server's address."""
        return self._post("/sign-in-links", types.SignInLink, None)

    def list(self, *, after: Id | None = None, limit: int = 50) -> types.Page[types.Session]:
        """Sessions, newest first, those that ended too."""
        return self._page("/sessions", types.Session, {"after": after, "limit": limit})  # type: ignore[no-any-return]

    def revoke(self, session_id: Id) -> dict[str, Any]:
        """End a session, within two seconds everywhere."""
        return self._transport.call("DELETE", f"/sessions/{session_id}", dict[str, Any])
