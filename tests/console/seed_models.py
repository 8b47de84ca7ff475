"""The part of the furniture that training, evaluation and releases make: runs, versions, scorecards, rollouts."""

import hashlib
from uuid import UUID

import msgspec

from charkha.core.clock import now
from charkha.core.events import CandidateTrained
from charkha.evaluate import store as evaluations
from charkha.evaluate.cards import card
from charkha.learn.runs import store as runs
from charkha.learn.runs.claim import Claim
from charkha.learn.runs.domain import Heard, Point
from charkha.learn.tables import run_log
from tests.console.furniture import LABELS, Furniture

STEPS, REACHED = 40, 12


async def _run(place: Furniture, endpoint: str, reached: int) -> tuple[UUID, Claim]:
    """A run that a worker has claimed and brought to a step; its curve and log up to there."""
    body = {"endpoint_id": endpoint, "dataset_version_id": place.things["dataset_version"]}
    run_id = UUID((await place.send("POST", "/runs", body))["id"])
    async with place.tx() as tx:
        run = await runs.claim(tx, run_id)
        assert run is not None
        for number, text in enumerate(("read 24 examples", "begin at step 0", f"step {reached}: loss 0.4")):
            await tx.insert(run_log, run_id=run_id, number=number, at=now(), text=text + place.aside)
    claim = Claim(place.wiring.database, place.wiring.events, place.workspace_id, run)
    points = [Point(step, 2.0 / (step + 1), 1e-3, 900.0 + step) for step in range(1, reached + 1)]
    await claim.beat(Heard(step=reached, steps=STEPS, seconds_left=float(STEPS - reached), points=points))
    return run_id, claim


async def trained(place: Furniture) -> None:
    """A run that succeeded with its version, and one that failed."""
    run_id, claim = await _run(place, place.things["endpoint"], STEPS)
    adapter = f"GGUF adapter of {place.prefix}".encode()
    files = {"gguf": adapter, "safetensors": b"tensors", "config": b"{}"}
    blobs = {f"{kind}_blob": await place.wiring.blobs.put(place.workspace_id, data) for kind, data in files.items()}
    base_hash = place.wiring.models.base_hash("tiny")
    metrics = {"loss": 0.05, "steps": STEPS, "seconds": 12.5}
    record = {"recipe": "sft", "base_hash": base_hash, "config": claim.run.config, "metrics": metrics}
    await claim.succeed({**blobs, "gguf_sha256": hashlib.sha256(adapter).hexdigest(), "record": record})
    async with place.tx() as tx:
        event = CandidateTrained(run_id=run_id, endpoint_id=UUID(place.things["endpoint"]))
        await place.wiring.registry.register(tx, event)
        version = (await place.wiring.registry.listed(tx, kind="adapter", limit=1)).data[0]
    _, broken = await _run(place, place.things["private_endpoint"], 3)
    await broken.end("failed", f"The recipe was killed: it may lack memory.{place.aside}")
    place.things |= {"run": str(run_id), "failed_run": str(broken.run.id)}
    place.things |= {"version": str(version.id), "version_name": version.reference}
    content = b"GGUF an adapter of one's own " + place.prefix.encode()
    asked = {"name": f"{place.prefix}brought", "base": "tiny@0"}
    brought = await place.send("POST", "/adapters", params=asked, content=content)
    place.things |= {"brought_version": brought["id"], "brought_name": f"{place.prefix}brought@{brought['number']}"}
    alias = {"version": brought["id"]}
    await place.send("PUT", f"/aliases/{place.prefix}brought/good", alias)


async def evaluated(place: Furniture) -> None:
    """The trained version beside the base, scored by rule: 18 of 30 right before, 27 after; and one that waits."""
    things = place.things
    suite, candidate, incumbent = (UUID(things[name]) for name in ("suite", "version", "base_version"))
    asked = {"suite_id": str(suite), "candidate_version_id": str(candidate), "incumbent_version_id": str(incumbent)}
    evaluation_id = UUID((await place.send("POST", "/evaluations", asked))["id"])
    wanted = [LABELS[n % 3] for n in range(30)]
    scores = {incumbent: [float(n % 5 < 3) for n in range(30)], candidate: [float(n % 10 != 9) for n in range(30)]}
    async with place.tx() as tx:
        assert await evaluations.claim(tx, evaluation_id)
        for version, found in scores.items():
            answers = [label if score else f"other{place.aside}" for label, score in zip(wanted, found, strict=True)]
            for metric in ("label_accuracy", "exact_match"):
                await evaluations.add_outcome(tx, suite, version, metric, found, answers)  # type: ignore[arg-type]
        measured = [
            dict.fromkeys(("label_accuracy", "exact_match"), scores[version]) for version in (candidate, incumbent)
        ]
        made = card(("label_accuracy", "exact_match"), wanted, *measured)  # type: ignore[arg-type]
        told = {"scorecard": msgspec.to_builtins(made), "done": 120, "total": 120}
        assert await evaluations.finish(tx, evaluation_id, "succeeded", **told)
    waiting = {"suite_id": str(suite), "candidate_version_id": things["brought_version"]}
    things |= {
        "evaluation": str(evaluation_id),
        "queued_evaluation": (await place.send("POST", "/evaluations", waiting))["id"],
    }


async def released(place: Furniture) -> None:
    """A release that was promoted by hand, and one under way at its first step."""
    things = place.things
    first = await _begin(place, things["version_name"], f"the scorecard is good{place.aside}")
    await place.send("POST", f"/releases/{first}/promote", {"reason": f"it is Friday{place.aside}"})
    second = await _begin(place, things["brought_name"], f"try our own{place.aside}")
    things |= {"promoted_release": first, "release": second}


async def _begin(place: Furniture, version: str, reason: str) -> str:
    body = {"endpoint": place.things["endpoint"], "version": version, "reason": reason, "steps": [10, 50, 100]}
    release: str = (await place.send("POST", "/releases", body))["id"]
    async with place.tx() as tx:
        await place.wiring.conductor.start(tx, UUID(release))
    return release


async def training(place: Furniture) -> None:
    """A run under way."""
    run_id, _ = await _run(place, place.things["endpoint"], REACHED)
    place.things["running_run"] = str(run_id)
