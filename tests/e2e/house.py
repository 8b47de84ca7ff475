"""What the running installation of the end-to-end tests holds: two workspaces, and in the first one of every kind of thing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from charkha.client import Charkha
from charkha.client.types import Version
from charkha.testing.tiny import make_tiny_adapter
from tests.e2e.miniature import MODEL, Miniature
from tests.e2e.tiny_examples import as_json, held_out, questions

ENDPOINT = "kinds"
SPOOL_MEGABYTES = 48
"""The size of the disk that the spool is given where it can be given one of its own."""


@dataclass(frozen=True)
class House:
    """A running installation. `things` are ids and names by what routes call them in their paths and queries."""

    running: Miniature
    keys: dict[str, str]
    adapters: tuple[Version, ...]
    things: dict[str, str]

    def client(self, who: str = "developer") -> Charkha:
        """The client of somebody: `operator`, `developer`, `viewer`, or `stranger` of the second workspace."""
        return self.running.client(self.keys[who])

    def http(self, who: str | None = None) -> httpx.Client:
        """Plain HTTP, with somebody's key or none."""
        headers = {"authorization": f"Bearer {self.keys[who]}"} if who else {}
        return httpx.Client(base_url=self.running.url, headers=headers, timeout=60, trust_env=False)

    def endpoint(self, prefix: str) -> str:
        """A new endpoint on the base model, for a test that changes it; returns its name."""
        name = f"{prefix}-{uuid4().hex[:8]}"
        with self.client() as client:
            client.endpoints.create(name, variant=base_variant(self.running))
        return name


def furnished(running: Miniature, directory: Path) -> House:
    """Make everything that tests look at, through the client alone."""
    keys = {"operator": running.key}
    with running.client() as operator:
        for who, role in (("developer", "developer"), ("admin", "admin"), ("viewer", "viewer")):
            keys[who] = operator.keys.create(who, role=role).key
        operator.workspaces.create("second")
    with running.client(workspace="second") as operator:
        keys["stranger"] = operator.keys.create("stranger", role="admin").key
    with running.client(keys["admin"]) as client:
        adapters = _adapters(client, running, directory)
        things = _things(client, running, adapters)
    return House(running, keys, adapters, things)


def base_variant(running: Miniature) -> dict[str, Any]:
    """The tiny model as its task wants it asked."""
    return {
        "version": MODEL,
        "system_prompt": running.task.system_prompt,
        "parameters": {"temperature": 0, "max_tokens": 6},
    }


def ask(client: Charkha, endpoint: str, running: Miniature, number: int = 0) -> Any:
    """One of the task's questions."""
    question = questions(running.task)[number]
    return client.ask(endpoint, [message.as_dict() for message in question.prompt], unit=uuid4().hex)


def _adapters(client: Charkha, running: Miniature, directory: Path) -> tuple[Version, ...]:
    """Three random adapters, strong enough that each answers in its own way."""
    client.endpoints.create("first", variant=base_variant(running))  # which registers the base in this workspace
    made = []
    for seed in range(3):
        file = make_tiny_adapter(
            directory / f"{seed}.gguf", running.task.model_gguf, seed, 2.0, base_hash=running.task.base_hash
        )
        made.append(client.adapters.upload(file.read_bytes(), name="brought", base=f"{MODEL}@0"))
    return tuple(made)


def _things(client: Charkha, running: Miniature, adapters: tuple[Version, ...]) -> dict[str, str]:
    endpoint = client.endpoints.create(ENDPOINT, labels=list(running.task.labels), variant=base_variant(running))
    answer = ask(client, ENDPOINT, running)
    feedback = client.feedback.give("thumb", inference_id=answer.inference_id, value=True)
    lessons = client.datasets.upload("lessons", as_json(questions(running.task)))
    kept = client.datasets.upload("held out", as_json(held_out(running.task)))
    suite = client.suites.create("kinds", endpoint_id=endpoint.id, dataset_version_id=kept.id)
    evaluation = client.evaluations.start(suite_id=suite.id, candidate_version_id=adapters[0].id)
    run = client.runs.start(dataset_version_id=lessons.id, endpoint_id=endpoint.id, **running.task.config)
    client.runs.cancel(run.id)
    client.policies.set(endpoint.id, minimum_examples=1000)
    release = client.releases.begin(endpoint=ENDPOINT, version=adapters[1].id, steps=[10, 100])
    alias = client.aliases.set("brought", "good", adapters[0].id)
    assert alias
    key = client.keys.list().data[0]
    nobody = client.keys.create(
        "nobody", role="viewer"
    )  # a limit on anybody else would need the database in every test
    limit = client.limits.create("key", "requests", 10**9, window="day", key_id=nobody.id)
    client.prompts.create(ENDPOINT, messages=[{"role": "system", "content": "Name the kind of {{ what }}."}])
    return {
        "endpoint": ENDPOINT,
        "model": ENDPOINT,
        "number": "1",
        "name_or_id": ENDPOINT,
        "endpoint_id": str(endpoint.id),
        "inference": str(answer.inference_id),
        "kind": "inference",
        "node_id": str(answer.inference_id),
        "feedback_id": str(feedback.id),
        "dataset_id": str(lessons.dataset_id),
        "version_id": str(lessons.id),
        "suite_id": str(suite.id),
        "evaluation_id": str(evaluation.id),
        "run_id": str(run.id),
        "release_id": str(release.id),
        "reference": "brought@1",
        "name": "brought",
        "alias": "good",
        "key_id": str(key.id),
        "limit_id": str(limit.id),
    }
