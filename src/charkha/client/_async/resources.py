"""What can be done with each kind of thing. Routes, permissions and bounds are told by the server's OpenAPI document."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from charkha.client import details, histories, types
from charkha.client._async.transport import Transport

T = TypeVar("T")
Id = UUID | str
Items = Sequence[Mapping[str, Any]]
# Named here, because inside the classes below `list` is a method.
Points = list[types.Point]
Stats = list[histories.VariantStats]
Examples = list[dict[str, Any]]
Trend = list[histories.TrendPoint]
Recipes = list[details.Recipe]


class Resource:
    """What every kind has: a connection, and lists by page."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def _page(self, path: str, kind: Any, query: dict[str, Any]) -> Any:
        return await self._transport.call("GET", path, types.Page[kind], query=query)

    async def _get(self, path: str, kind: type[T], **query: Any) -> T:
        return await self._transport.call("GET", path, kind, query=query)

    async def _post(self, path: str, kind: type[T], body: Any, **options: Any) -> T:
        return await self._transport.call("POST", path, kind, body=body, **options)


class Endpoints(Resource):
    """Endpoints: names that applications call, behind which variants share the traffic."""

    async def create(
        self,
        name: str,
        *,
        variant: Mapping[str, Any] | None = None,
        labels: Sequence[str] | None = None,
        keeps_content: bool = True,
        cache: Mapping[str, Any] | None = None,
    ) -> types.Endpoint:
        """Make an endpoint with one variant that gets all traffic; without `variant` it is the embedded model.

        `cache` says which answers are given again, such as `{"seconds": 3600}`.
        """
        body: dict[str, Any] = {"name": name, "labels": labels, "keeps_content": keeps_content}
        body |= {"variant": variant or {}, "cache": cache}
        return await self._post("/endpoints", types.Endpoint, body)

    async def list(self, *, live: bool = False, after: Id | None = None, limit: int = 50) -> types.Page[types.Endpoint]:
        """Endpoints, newest first; `live`: each with its live plan and the variants that it names."""
        query = {"variants": "live" if live else None, "after": after, "limit": limit}
        return await self._page("/endpoints", types.Endpoint, query)  # type: ignore[no-any-return]

    async def get(self, endpoint: Id, *, only_live: bool = False) -> types.Endpoint:
        """An endpoint by name or id, with its live plan and all its variants, or only the plan's."""
        return await self._get(f"/endpoints/{endpoint}", types.Endpoint, variants="live" if only_live else "all")

    async def variants(
        self, endpoint: Id, *, ids: Sequence[Id] | None = None, after: Id | None = None, limit: int = 50
    ) -> types.Page[types.Variant]:
        """The variants that an endpoint has had, newest first; of `ids` only, if given."""
        query = {"id": ids, "after": after, "limit": limit}
        return await self._page(f"/endpoints/{endpoint}/variants", types.Variant, query)  # type: ignore[no-any-return]

    async def update(self, endpoint: Id, *, keeps_content: bool | None = None, **changes: Any) -> types.Endpoint:
        """Choose whether messages and answers are kept in the log, and, with `cache`, which answers are given again.

        `cache={"seconds": 3600}` gives equal requests the same answer for an hour; `cache=None` ends that.
        """
        body = {**without_none({"keeps_content": keeps_content}), **changes}
        return await self._transport.call("PATCH", f"/endpoints/{endpoint}", types.Endpoint, body=body)

    async def delete(self, endpoint: Id) -> dict[str, Any]:
        """Stop serving an endpoint; its history stays."""
        return await self._transport.call("DELETE", f"/endpoints/{endpoint}", dict[str, Any])

    async def plans(self, endpoint: Id, *, after: Id | None = None, limit: int = 50) -> types.Page[types.Plan]:
        """How traffic was shared, newest first."""
        query = {"after": after, "limit": limit}
        return await self._page(f"/endpoints/{endpoint}/plans", types.Plan, query)  # type: ignore[no-any-return]

    async def rollback(self, endpoint: Id, *, reason: str = "asked for") -> types.Rollback:
        """Go back to the last good plan; the answer says which gateways serve it and how long it took."""
        return await self._post(f"/endpoints/{endpoint}/rollback", types.Rollback, {"reason": reason})

    async def blend(self, endpoint: Id, adapters: Items) -> dict[str, Any]:
        """Serve a blend of adapters, `[{"version": "name@number", "weight": 0.5}]`, from now on."""
        return await self._post("/composition/swap", dict[str, Any], {"endpoint": str(endpoint), "adapters": adapters})


class Inferences(Resource):
    """The log of requests."""

    async def list(
        self,
        *,
        endpoint_id: Id | None = None,
        variant_id: Id | None = None,
        version_id: Id | None = None,
        status: int | None = None,
        failed: bool | None = None,
        min_duration_ms: float | None = None,
        since: str | None = None,
        until: str | None = None,
        q: str | None = None,
        after: Id | None = None,
        limit: int = 50,
        **equal: str | None,
    ) -> types.Page[types.Inference]:
        """Requests, newest first; times are ISO 8601, `q` a text in request or answer.

        `equal` may name model, error_code, purpose, cache, episode_id and subject_id. A page may be short, or empty, before
        the end: go on with `next`.
        """
        query: dict[str, Any] = {"endpoint_id": endpoint_id, "variant_id": variant_id, "version_id": version_id}
        query |= {"status": status, "failed": failed, "min_duration_ms": min_duration_ms, **equal}
        query |= {"since": since, "until": until, "q": q, "after": after, "limit": limit}
        return await self._page("/inferences", types.Inference, query)  # type: ignore[no-any-return]

    async def get(self, inference_id: Id) -> types.InferenceDetail:
        """One request, with its messages and answer where they were kept."""
        return await self._get(f"/inferences/{inference_id}", types.InferenceDetail)

    async def stats(
        self,
        *,
        endpoint_id: Id | None = None,
        since: str | None = None,
        until: str | None = None,
        newest: int | None = None,
    ) -> Stats:
        """What each variant did: requests, errors, latency, tokens; in the last day, or only the `newest` so many."""
        query = {"endpoint_id": endpoint_id, "since": since, "until": until, "newest": newest}
        return await self._get("/inferences/stats", Stats, **query)


class Feedback(Resource):
    """What people think of answers."""

    async def give(self, kind: str, *, inference_id: Id | None = None, **fields: Any) -> types.Feedback:
        """Give feedback: score, thumb, comment, correction, preference or metric. Sent twice it counts once.

        An `idempotency_key` of your own makes that hold for a second call as well.
        """
        key = fields.pop("idempotency_key", None)
        headers = {"idempotency-key": str(key)} if key is not None else {}
        body = without_none({"kind": kind, "inference_id": inference_id, **fields})
        return await self._post("/feedback", types.Feedback, body, idempotent=True, headers=headers)

    async def give_many(self, items: Items) -> list[types.Feedback]:
        """Give up to 1,000 items at once, all or none."""
        return await self._post("/feedback/batch", list[types.Feedback], {"items": items}, idempotent=True)

    async def list(
        self,
        *,
        inference_id: Id | Sequence[Id] | None = None,
        episode_id: str | None = None,
        kind: str | None = None,
        since: str | None = None,
        until: str | None = None,
        after: Id | None = None,
        limit: int = 50,
    ) -> types.Page[types.Feedback]:
        """Feedback, newest first: on one inference or up to 100, if given. Times are ISO 8601."""
        query: dict[str, Any] = {"inference_id": inference_id, "episode_id": episode_id, "kind": kind}
        query |= {"since": since, "until": until, "after": after, "limit": limit}
        return await self._page("/feedback", types.Feedback, query)  # type: ignore[no-any-return]

    async def trend(self, *, since: str | None = None, until: str | None = None, bucket: str = "day") -> Trend:
        """How much feedback of each kind came in each `bucket`, hour or day (UTC); the last 14 days unless told."""
        return await self._get("/feedback/trend", Trend, since=since, until=until, bucket=bucket)


class Datasets(Resource):
    """Data sets and their immutable versions."""

    async def upload(self, name: str, examples: Items) -> types.DatasetVersion:
        """Store examples as a new version; the same examples again are the same version."""
        content = b"".join(msgspec.json.encode(example) + b"\n" for example in examples)
        return await self._transport.call(
            "POST",
            "/datasets",
            types.DatasetVersion,
            content=content,
            query={"name": name},
            headers={"content-type": "application/jsonl"},
        )

    async def list(
        self, *, q: str | None = None, after: Id | None = None, limit: int = 50
    ) -> types.Page[types.Dataset]:
        """Data sets, newest first: those with `q` in their name, if given."""
        return await self._page("/datasets", types.Dataset, {"q": q, "after": after, "limit": limit})  # type: ignore[no-any-return]

    async def get(self, dataset_id: Id) -> types.Dataset:
        """One data set, with what its newest version has."""
        return await self._get(f"/datasets/{dataset_id}", types.Dataset)

    async def versions(
        self, dataset_id: Id, *, after: Id | None = None, limit: int = 50
    ) -> types.Page[types.DatasetVersion]:
        """Versions of a data set, newest first."""
        query = {"after": after, "limit": limit}
        return await self._page(f"/datasets/{dataset_id}/versions", types.DatasetVersion, query)  # type: ignore[no-any-return]

    async def version(self, version_id: Id) -> types.DatasetVersion:
        """One version."""
        return await self._get(f"/dataset-versions/{version_id}", types.DatasetVersion)

    async def examples(self, version_id: Id, *, q: str | None = None, offset: int = 0, limit: int = 100) -> Examples:
        """Examples of a version, in their order: of those that say `q`, if given."""
        path = f"/dataset-versions/{version_id}/examples"
        return await self._get(path, Examples, q=q, offset=offset, limit=limit)

    async def content(self, version_id: Id) -> bytes:
        """Every example as JSON lines: the bytes whose SHA-256 is the version's digest."""
        return await self._transport.fetch(f"/dataset-versions/{version_id}/content")


class Policies(Resource):
    """When training starts by itself."""

    async def set(
        self, endpoint_id: Id, *, minimum_examples: int, enabled: bool = True, recipe: str = "sft", **config: Any
    ) -> types.Policy:
        """Train an endpoint's next version whenever that many new lessons have come."""
        body = {"enabled": enabled, "minimum_examples": minimum_examples, "recipe": recipe, "config": config}
        return await self._transport.call("PUT", f"/training-policies/{endpoint_id}", types.Policy, body=body)

    async def get(self, endpoint_id: Id) -> types.Policy:
        """The policy of an endpoint, and how many lessons wait for the next training."""
        return await self._get(f"/training-policies/{endpoint_id}", types.Policy)

    async def list(
        self, *, endpoint_ids: Sequence[Id] | None = None, after: Id | None = None, limit: int = 50
    ) -> types.Page[types.Policy]:
        """Policies, those of the newest endpoints first; of `endpoint_ids` only, if given."""
        query = {"endpoint_id": endpoint_ids, "after": after, "limit": limit}
        return await self._page("/training-policies", types.Policy, query)  # type: ignore[no-any-return]


class Runs(Resource):
    """Training runs."""

    async def start(
        self, *, dataset_version_id: Id, endpoint_id: Id, recipe: str = "sft", seed: int = 0, **config: Any
    ) -> types.Run:
        """Queue a run of a recipe on a data set version."""
        body = {
            "dataset_version_id": dataset_version_id,
            "endpoint_id": endpoint_id,
            "recipe": recipe,
            "config": config,
            "seed": seed,
        }
        return await self._post("/runs", types.Run, without_none(body))

    async def list(
        self,
        *,
        endpoint_id: Id | None = None,
        dataset_version_id: Id | Sequence[Id] | None = None,
        status: str | None = None,
        after: Id | None = None,
        limit: int = 50,
    ) -> types.Page[types.Run]:
        """Runs, newest first; of several data set versions where a list of them is given."""
        query: dict[str, Any] = {"endpoint_id": endpoint_id, "dataset_version_id": dataset_version_id}
        query |= {"status": status, "after": after, "limit": limit}
        return await self._page("/runs", types.Run, query)  # type: ignore[no-any-return]

    async def get(self, run_id: Id) -> types.Run:
        """One run and how far it is."""
        return await self._get(f"/runs/{run_id}", types.Run)

    async def recipes(self) -> Recipes:
        """What a run can be: recipes, each with the JSON schema of its configuration."""
        return await self._get("/recipes", list[details.Recipe])

    async def points(self, run_id: Id, *, most: int | None = None) -> Points:
        """The curve of a run, loss and speed by step; all of it in at most `most` points, or else its first 5,000."""
        return await self._get(f"/runs/{run_id}/points", list[types.Point], most=most)

    async def log(self, run_id: Id, *, after: int = 0, limit: int = 500, last: int | None = None) -> histories.Log:
        """The log of a run after a line: what its worker did, its recipe's reports, standard error; or its `last` lines."""
        return await self._get(f"/runs/{run_id}/log", histories.Log, after=after, limit=limit, last=last)

    async def cancel(self, run_id: Id) -> types.Run:
        """Stop a run; its last checkpoint stays."""
        return await self._post(f"/runs/{run_id}/cancel", types.Run, None)

    async def resume(self, run_id: Id) -> types.Run:
        """Go on with a run that was cancelled or failed, from its last checkpoint."""
        return await self._post(f"/runs/{run_id}/resume", types.Run, None)

    async def follow(self, run_id: Id) -> AsyncIterator[dict[str, Any]]:
        """Progress as it happens, until the run has ended."""
        async for event in self._transport.events(f"/runs/{run_id}/events"):
            yield event


class Suites(Resource):
    """What versions are measured on."""

    async def create(self, name: str, *, endpoint_id: Id, dataset_version_id: Id) -> types.Suite:
        """Measure an endpoint's versions on a held-out data set version, by itself for each candidate."""
        body = {"name": name, "endpoint_id": endpoint_id, "dataset_version_id": dataset_version_id}
        return await self._post("/suites", types.Suite, body)

    async def list(
        self, *, dataset_version_id: Id | None = None, after: Id | None = None, limit: int = 50
    ) -> types.Page[types.Suite]:
        """Suites, newest first: those that hold one data set version out, if given."""
        query = {"dataset_version_id": dataset_version_id, "after": after, "limit": limit}
        return await self._page("/suites", types.Suite, query)  # type: ignore[no-any-return]


class Evaluations(Resource):
    """Versions measured on suites."""

    async def start(
        self, *, suite_id: Id, candidate_version_id: Id, incumbent_version_id: Id | None = None
    ) -> types.Evaluation:
        """Measure a version, and compare it with another where one is named."""
        body = {
            "suite_id": suite_id,
            "candidate_version_id": candidate_version_id,
            "incumbent_version_id": incumbent_version_id,
        }
        return await self._post("/evaluations", types.Evaluation, without_none(body))

    async def list(
        self,
        *,
        suite_id: Id | None = None,
        candidate_version_id: Id | Sequence[Id] | None = None,
        status: str | None = None,
        newest: bool = False,
        after: Id | None = None,
        limit: int = 50,
    ) -> types.Page[types.Evaluation]:
        """Evaluations, newest first: of one candidate or several, if given, and of each the `newest` alone if wanted."""
        query: dict[str, Any] = {"suite_id": suite_id, "candidate_version_id": candidate_version_id}
        query |= {"status": status, "newest": newest, "after": after, "limit": limit}
        return await self._page("/evaluations", types.Evaluation, query)  # type: ignore[no-any-return]

    async def get(self, evaluation_id: Id) -> types.Evaluation:
        """One evaluation, with its scorecard when it is done."""
        return await self._get(f"/evaluations/{evaluation_id}", types.Evaluation)


def without_none(body: dict[str, Any]) -> dict[str, Any]:
    """A body without the fields that were not given."""
    return {key: value for key, value in body.items() if value is not None}
