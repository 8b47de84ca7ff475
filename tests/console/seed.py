"""What the console's tests look at: two workspaces, each with one of every kind of thing, made as the product makes it.

Services and the REST API make nearly everything. What only a process of its own writes (the log's inferences, a run's
curve, an evaluation's scores) is written here by that process's own functions.
"""

from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from charkha.serve.prompts import trials
from charkha.serve.prompts.cases import CaseResult
from tests.console import seed_models
from tests.console.furniture import LABELS, TEXTS, Furniture, Things, log


async def furnish(place: Furniture, directory: Path) -> Things:
    """Make everything."""
    await _spending(place)
    await _endpoints(place)
    await _prompts(place)
    await _data(place)
    await _inferences(place, directory)
    await _feedback(place)
    await seed_models.trained(place)
    await seed_models.evaluated(place)
    await seed_models.released(place)
    await seed_models.training(place)
    return place.things


async def _endpoints(place: Furniture) -> None:
    prompt = {"system_prompt": "Say what it is.", "parameters": {"temperature": 0, "max_tokens": 8}}
    made = await place.send(
        "POST",
        "/endpoints",
        {"name": f"{place.prefix}support", "labels": LABELS, "variant": {"name": "first", **prompt}},
    )
    silent = await place.send(
        "POST", "/endpoints", {"name": f"{place.prefix}private", "keeps_content": False, "variant": {}}
    )
    place.things |= {
        "endpoint": made["id"],
        "endpoint_name": made["name"],
        "variant": made["variants"][0]["id"],
        "plan": made["live_plan_id"],
        "base_version": made["variants"][0]["version_id"],
        "private_endpoint": silent["id"],
        "private_variant": silent["variants"][0]["id"],
    }


async def _prompts(place: Furniture) -> None:
    """A prompt with two versions, tests, and a run of them on the newer one, of which one test failed."""
    name = f"{place.prefix}greeting"
    greet = {"role": "system", "content": "Greet {{ who }}.\nBe kind."}
    made = await place.send(
        "POST", "/prompts", {"name": name, "description": "Says hello.", "messages": [greet], "note": "The first."}
    )
    newer = [{**greet, "content": "Greet {{ who }}.\nBe {{ how }}."}, {"role": "user", "content": "Say hello."}]
    variables = [{"name": "who", "description": "Whom."}, {"name": "how", "default": "brief"}]
    await place.send("POST", f"/prompts/{name}/versions", {"messages": newer, "variables": variables})
    expect = [{"contains": "hello"}]
    cases = [{"name": each, "variables": {"who": "Ada"}, "expect": expect} for each in ("polite", f"loud{place.aside}")]
    for case in cases:
        case["name"] = "".join(letter for letter in str(case["name"]) if letter.isprintable())[:200]
    await place.send("PUT", f"/prompts/{name}/tests", {"tests": cases})
    results = [
        CaseResult("polite", True, [], f"hello{place.aside}", None, 12.0),
        CaseResult(str(cases[1]["name"]), False, [f"does not contain{place.aside}"], None, None, 3.0),
    ]
    async with place.tx() as tx:
        await trials.keep(tx, await trials.prepared(tx, name, 2), "tiny", results)
    place.things |= {"prompt": made["id"], "prompt_name": name, "prompt_number": "2"}


async def _spending(place: Furniture) -> None:
    """A limit that nobody comes near, and what the model costs, cost, and will cost."""
    wide = {"subject": "workspace", "measure": "requests", "window": "day", "amount": 1_000_000}
    place.things["limit"] = (await place.send("POST", "/limits", wide))["id"]
    spans = (
        {"prompt": 90_000, "valid_from": "2020-01-01T00:00:00Z", "valid_until": "2021-01-01T00:00:00Z"},
        {"prompt": 70_000, "valid_from": "2022-01-01T00:00:00Z"},
        {"prompt": 50_000},
        {"prompt": 40_000, "valid_from": "2999-01-01T00:00:00Z"},
    )
    for span in spans:
        price = {"engine": "local", "model": f"{place.prefix}tiny", "currency": "EUR", "completion": 200_000}
        await place.send("POST", "/prices", {**price, **span})


async def _data(place: Furniture) -> None:
    things = place.things
    for kind, name, count, extra in (("dataset", "lessons", 24, ""), ("held_out", "held out", 30, " indeed")):
        lines = [{"input": f"{TEXTS[n % 3]} ({n}){extra}", "label": LABELS[n % 3]} for n in range(count)]
        content = b"\n".join(msgspec.json.encode(line) for line in lines)
        made = await place.send(
            "POST",
            "/datasets",
            params={"name": f"{place.prefix}{name}"},
            content=content,
            headers={"content-type": "application/jsonl"},
        )
        things |= {kind: made["dataset_id"], f"{kind}_version": made["id"], f"{kind}_name": f"{place.prefix}{name}"}
    suite = {"endpoint_id": things["endpoint"], "dataset_version_id": things["held_out_version"]}
    things["suite"] = (await place.send("POST", "/suites", {"name": f"{place.prefix}kinds", **suite}))["id"]


async def _inferences(place: Furniture, directory: Path) -> None:
    """Twenty-four of one endpoint over two days, one of an endpoint that keeps no content, and one of each oddity."""
    things = place.things
    usual = {"endpoint_id": UUID(things["endpoint"]), "variant_id": UUID(things["variant"])}
    usual |= {"plan_id": UUID(things["plan"]), "version_id": UUID(things["base_version"])}
    usual |= {"model": things["endpoint_name"], "actor": "key:application"}
    paid = {"cost": 1_250, "currency": "EUR"}
    wanted: list[dict[str, Any]] = [
        {**usual, **paid, "minutes": 60 * (24 - n), "text": f"{TEXTS[n % 3]} ({n})", "answer": LABELS[n % 3]}
        for n in range(24)
    ]
    wanted.append({**usual, "minutes": 50, "episode_id": "talk-1", "subject_id": "person-1", "trace_id": "a" * 32})
    wanted.append({**usual, "minutes": 40, "status": 503, "error_code": "engine_unavailable", "answer": None})
    wanted.append({**usual, "minutes": 30, "status": 404, "error_code": "not_found", "answer": None})
    wanted.append({**usual, "minutes": 20, "purpose": "playground"})
    wanted.append({**usual, "minutes": 10, "purpose": "evaluation", "text": "held out"})
    private = {"endpoint_id": UUID(things["private_endpoint"]), "variant_id": UUID(things["private_variant"])}
    wanted.append({**private, "minutes": 5, "model": f"{place.prefix}private", "text": None, "answer": None})
    ids = await log(place, directory, wanted)
    names = ("inference", "old_inference", "episode_inference", "failed_inference", "private_inference")
    things |= dict(zip(names, map(str, (ids[23], ids[0], ids[24], ids[25], ids[29])), strict=True))
    things["other_inference"] = str(ids[22])


async def _feedback(place: Furniture) -> None:
    about, other = place.things["inference"], place.things["other_inference"]
    said: tuple[dict[str, Any], ...] = (
        {"kind": "thumb", "inference_id": about, "value": False},
        {"kind": "correction", "inference_id": about, "text": "question"},
        {"kind": "comment", "inference_id": about, "text": f"{place.prefix}A person asked, it is no praise."},
        {"kind": "score", "inference_id": other, "value": 0.75},
        {"kind": "preference", "inference_id": other, "other_inference_id": about},
        {"kind": "metric", "episode_id": "talk-1", "name": "resolved", "value": 1},
    )
    for each in said:
        made = await place.send("POST", "/feedback", each)
        place.things[f"feedback_{each['kind']}"] = made["id"]
    place.things["feedback"] = place.things["feedback_correction"]
    policy = {"minimum_examples": 20, "enabled": True}
    await place.send("PUT", f"/training-policies/{place.things['endpoint']}", policy)
