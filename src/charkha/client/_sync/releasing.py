# Written by scripts/unasync.py from the asynchronous module beside it; do not edit.
"""What can be done with versions, the names that point at them, the adapters that they are, and how they take over."""

from collections.abc import Sequence
from typing import Any

from charkha.client import details, histories, types
from charkha.client._sync.resources import Id, Resource, without_none

# Named here, because inside the classes below `list` is a method.
Files = list[details.StoredFile]
Pointers = list[details.Alias]


class Versions(Resource):
    """The registry: every model that serves."""

    def list(
        self,
        *,
        name: str | None = None,
        ids: Sequence[Id] | None = None,
        run_id: Id | Sequence[Id] | None = None,
        q: str | None = None,
        kind: str | None = None,
        endpoint_id: Id | None = None,
        after: Id | None = None,
        limit: int = 50,
    ) -> types.Page[types.Version]:
        """Versions, newest first; of `ids` or of runs only, if given. `q` is how the name begins."""
        query: dict[str, Any] = {"name": name, "id": ids, "run_id": run_id, "q": q, "kind": kind}
        query |= {"endpoint_id": endpoint_id, "after": after, "limit": limit}
        return self._page("/versions", types.Version, query)  # type: ignore[no-any-return]

    def get(self, version: Id) -> types.Version:
        """A version by id, `name@number` or `name@alias`."""
        return self._get(f"/versions/{version}", types.Version)

    def lineage(self, version: Id) -> dict[str, Any]:
        """What a version was made of: run, data set version, inferences."""
        return self._get(f"/versions/{version}/lineage", dict[str, Any])

    def files(self, version: Id) -> Files:
        """The files that a version is stored in, with their sizes."""
        return self._get(f"/versions/{version}/files", list[details.StoredFile])


class Aliases(Resource):
    """Names that point at versions."""

    def list(self, *, name: str | None = None, version_id: Id | Sequence[Id] | None = None) -> Pointers:
        """The aliases of a name, those that point at some versions, or all."""
        return self._get("/aliases", list[details.Alias], name=name, version_id=version_id)

    def set(self, name: str, alias: str, version: Id) -> dict[str, Any]:
        """Point an alias at a version."""
        body = {"version": str(version)}
        return self._transport.call("PUT", f"/aliases/{name}/{alias}", dict[str, Any], body=body)

    def delete(self, name: str, alias: str) -> dict[str, Any]:
        """Remove an alias."""
        return self._transport.call("DELETE", f"/aliases/{name}/{alias}", dict[str, Any])


class Adapters(Resource):
    """Adapters and where they are warm."""

    def list(
        self, *, name: str | None = None, q: str | None = None, after: Id | None = None, limit: int = 50
    ) -> types.Page[types.AdapterState]:
        """Every adapter of the workspace with its state on each engine; `q`: those whose names begin so."""
        query = {"name": name, "q": q, "after": after, "limit": limit}
        return self._page("/adapters", types.AdapterState, query)  # type: ignore[no-any-return]

    def upload(self, content: bytes, *, name: str, base: Id) -> types.Version:
        """Register an adapter that was trained elsewhere (GGUF), as a version of `name` on the base version `base`."""
        query = {"name": name, "base": str(base)}
        headers = {"content-type": "application/octet-stream"}
        return self._transport.call("POST", "/adapters", types.Version, content=content, query=query, headers=headers)


class Lineage(Resource):
    """What things were made of, and what became of them."""

    def of(self, kind: str, node_id: Id, *, depth: int = 1) -> histories.Surroundings:
        """What a thing was made of and what became of it, followed `depth` (at most 10) steps each way."""
        return self._get(f"/lineage/{kind}/{node_id}", histories.Surroundings, depth=depth)


class Releases(Resource):
    """Rollouts: how a version takes over."""

    def begin(self, *, endpoint: Id, version: Id, steps: Sequence[int] | None = None, **rules: Any) -> types.Rollout:
        """Begin a rollout of a version on an endpoint; live feedback decides each step."""
        body = {"endpoint": str(endpoint), "version": str(version), "steps": steps, **rules}
        return self._post("/releases", types.Rollout, without_none(body))

    def list(
        self,
        *,
        endpoint: Id | None = None,
        candidate: Id | None = None,
        status: str | None = None,
        after: Id | None = None,
        limit: int = 50,
    ) -> types.Page[types.Rollout]:
        """Rollouts, newest first; of one version, the `candidate`, if given."""
        query = {"endpoint": endpoint, "candidate": candidate, "status": status, "after": after, "limit": limit}
        return self._page("/releases", types.Rollout, query)  # type: ignore[no-any-return]

    def get(self, release_id: Id) -> types.Release:
        """One rollout with every decision."""
        return self._get(f"/releases/{release_id}", types.Release)

    def cancel(self, release_id: Id, *, reason: str = "asked for") -> types.Rollout:
        """Stop a rollout and go back to the baseline."""
        return self._post(f"/releases/{release_id}/cancel", types.Rollout, {"reason": reason})

    def promote(self, release_id: Id, *, reason: str) -> types.Rollout:
        """Override the evidence; the audit trail records it with the reason."""
        return self._post(f"/releases/{release_id}/promote", types.Rollout, {"reason": reason})
