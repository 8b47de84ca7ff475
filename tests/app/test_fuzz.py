"""Whatever is sent to any route, no answer is the server's fault, and each refusal says what is wrong and what to do.

CHARKHA_FUZZ_REQUESTS is how many requests each operation gets (40; more find more), CHARKHA_FUZZ_SEED where chance begins.
A failure names the seed and shows the request.
"""

import http.client
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from charkha.kit.postgres import launcher
from tests.app.front import House, fresh_database, house
from tests.fuzz.requests import Fuzzer
from tests.fuzz.wire import Answer, Operation, Request, Wire, operations

REQUESTS = int(os.environ.get("CHARKHA_FUZZ_REQUESTS", "40"))
SEED = int(os.environ.get("CHARKHA_FUZZ_SEED", "4"))
REMEDY_IN_MESSAGE = "/v1/"
# Nothing here is a fault: what a route needs is not there in this test, which has neither a worker nor models on disk.
ABSENT: dict[str, set[str]] = {}

pytestmark = pytest.mark.timeout(0)


@pytest.fixture
def running(migrated_server: launcher.Running, tmp_path: Path) -> Iterator[House]:
    with fresh_database(migrated_server) as urls, house(urls, tmp_path / "home") as running:
        yield running


def test_the_control_plane_has_no_fault(running: House) -> None:
    document = _document(running)
    paths = [each for each in operations(document) if not each.path.startswith("/v1/")]
    _furnish(running)
    _fuzz(running, document, paths)


def test_the_models_have_no_fault(running: House) -> None:
    document = _document(running)
    paths = [each for each in operations(document) if each.path.startswith("/v1/")]
    _furnish(running)
    _fuzz(running, document, paths, weight=10)


def _document(running: House) -> dict[str, object]:
    document: dict[str, object] = httpx.get(f"{running.url}/openapi.json").json()
    return document


def _furnish(running: House) -> None:
    """One of each thing that can be had without a worker."""
    lines = b"".join(b'{"input": "text %d", "label": "%s"}\n' % (n, b"ab"[n % 2 : n % 2 + 1]) for n in range(20))
    variant = {"engine": "local", "model": "tiny"}
    with running.client() as client:
        endpoint = _made(client.post("/endpoints", json={"name": "support", "variant": variant}))
        upload = client.post("/datasets?name=data", content=lines, headers={"content-type": "application/jsonl"})
        about = {"endpoint_id": endpoint["id"], "dataset_version_id": _made(upload)["id"]}
        _made(client.post("/suites", json={"name": "suite", **about}))


def _made(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code in (200, 201, 202), answer.text
    made: dict[str, str] = answer.json()
    return made


def _fuzz(running: House, document: dict[str, object], paths: list[Operation], weight: int = 1) -> None:
    with running.client() as client:
        own = frozenset(row["id"] for row in client.get("/keys").json()["data"])
    fuzzer, wire = Fuzzer(document, SEED, own), Wire(running.address, running.key)
    fuzzer.known |= {"model": ["tiny", "support"], "engine": ["local"]}
    for operation in paths:  # so that each kind of thing is known before its ids are asked for
        if operation.method == "GET" and "{" not in operation.path:
            fuzzer.learn(operation, wire.ask(Request(operation, operation.path, [], None)))
    turns = [each for each in paths for _ in range(REQUESTS * weight if each.parameters or each.bodies else 2)]
    random.Random(SEED).shuffle(turns)
    faults, statuses = [], Counter[int]()
    for operation in turns:
        request = fuzzer.request(operation)
        try:
            answer = wire.ask(request)
        except (OSError, http.client.HTTPException) as error:
            wire.close()
            faults.append(_told(request, repr(error)))
            continue
        statuses[answer.status] += 1
        if wrong := _wrong(operation, answer):
            faults.append(_told(request, wrong))
        else:
            fuzzer.learn(operation, answer)
    wire.close()
    print(f"[fuzz] {len(turns)} requests: {dict(sorted(statuses.items()))}")
    assert statuses[200] > len(turns) / 50, "hardly any request was right: this tests little"
    assert not faults, f"CHARKHA_FUZZ_SEED={SEED}: {len(faults)} of {len(turns)}\n" + "\n".join(_distinct(faults))


def _wrong(operation: Operation, answer: Answer) -> str | None:
    """What is wrong with an answer."""
    if answer.status < 400:
        return None
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return f"{answer.status}: no error of ours: {answer.body[:300]!r}"
    error = json.loads(answer.body)["error"]
    code = error.get("code")
    if answer.status >= 500 and code not in ABSENT.get(str(operation), ()):
        return f"{answer.status}: {error}"
    if not error["message"] or not error["type"]:
        return f"{answer.status}: an error that says nothing: {error}"
    if operation.path.startswith(REMEDY_IN_MESSAGE):
        return None
    return None if error["remedy"] and code else f"{answer.status}: an error without a remedy: {error}"


def _told(request: Request, what: str) -> str:
    return f"{request.operation}: {what[:500]}\n    {request.target[:300]} {request.headers} {(request.body or b'')[:300]!r}"


def _distinct(faults: list[str]) -> list[str]:
    """One of each operation and kind, the first of each."""
    found: dict[str, str] = {}
    for each in faults:
        found.setdefault(each.partition("\n")[0][:90], each)
    return list(found.values())[:40]
