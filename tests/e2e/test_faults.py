"""Parts that stop, die and fill up under traffic: what was acknowledged stays, what cannot be done is told, and it heals."""

import contextlib
import errno
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from charkha.client import ApiError, Charkha
from tests.e2e.house import ENDPOINT, SPOOL_MEGABYTES, House, ask
from tests.e2e.miniature import MODEL
from tests.e2e.processes import kill_process, living


def _shipped(house: House, ids: list[UUID]) -> None:
    """Each of these is in the log, once it has been shipped."""
    deadline = time.monotonic() + 30
    with house.client() as client:
        for inference_id in ids:
            while not _is_logged(client, inference_id):
                assert time.monotonic() < deadline, f"{inference_id} was lost"
                time.sleep(0.1)


def _is_logged(client: Charkha, inference_id: UUID) -> bool:
    try:
        return client.inferences.get(inference_id).id == inference_id
    except ApiError as error:
        if error.status not in (404, 503):
            raise
        return False


@contextlib.contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    """Processes that stand still while the block runs."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _supervisor(house: House) -> int:
    state = house.running.state()
    assert state is not None
    return state.pid


def test_inference_flows_while_postgresql_stands_still(house: House) -> None:
    kinds = living(_supervisor(house))
    with house.client() as client:
        with _stopped([*kinds["postmaster"], *kinds["postgres backend"]]):
            answers = [ask(client, ENDPOINT, house.running, number).inference_id for number in range(12)]
        _shipped(house, answers)
        feedback = client.feedback.give("thumb", inference_id=answers[0], value=True)
        assert feedback.inference_id == answers[0]


def test_inference_flows_while_postgresql_is_down_and_comes_back(house: House) -> None:
    before = house.running.part("postgres").pid
    (postmaster,) = living(_supervisor(house))["postmaster"]
    with house.client() as client:
        answers = [ask(client, ENDPOINT, house.running).inference_id]
        kill_process(postmaster)
        answers += [ask(client, ENDPOINT, house.running, number).inference_id for number in range(12)]
        house.running.wait_restarted("postgres", before)
        house.running.wait_ready()
        answers.append(ask(client, ENDPOINT, house.running).inference_id)
        _shipped(house, answers)
        client.feedback.give_many([{"kind": "thumb", "value": True, "inference_id": str(each)} for each in answers])


def test_an_engine_killed_in_mid_stream_is_told_in_the_stream(house: House) -> None:
    """The stream ends in an error event and never in a false [DONE]; the request after it is answered."""
    before = house.running.part("engine-local").pid
    rest = next(rest for _ in range(5) if (rest := _stream_and_kill(house))[-1] != "[DONE]")
    assert json.loads(rest[-1])["error"]["code"] in ("engine_lost", "engine_failed")
    with house.client() as client:
        assert ask(client, ENDPOINT, house.running).text, "the gateway waits for the engine that comes back"
    house.running.wait_restarted("engine-local", before)


def _stream_and_kill(house: House) -> list[str]:
    """The events of a stream after its first, when the engine was killed. (A slow killer may find it done.)"""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "ba"}], "max_tokens": 400, "stream": True}
    body |= {"temperature": 1.5, "logit_bias": {"1": -100, "2": -100}}
    kinds = living(_supervisor(house))
    with house.http("developer") as http, http.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        assert next(lines).startswith("data:")
        with _stopped(kinds["engine worker"]):
            for pid in (*kinds["engine worker"], *kinds["engine"]):
                kill_process(pid)
        return [line[5:].strip() for line in lines if line.startswith("data:")]


def test_an_adapter_is_brought_to_an_engine_that_has_lost_it(house: House) -> None:
    """The engine comes back without its adapters' directory: the gateway brings what requests need."""
    name = house.endpoint("forgotten")
    with house.client("admin") as client:
        client.endpoints.blend(name, [{"version": "brought@3"}])
        before = ask(client, name, house.running)
        pid = house.running.part("engine-local").pid
        for file in (house.running.home / "engine" / "local" / "adapters").iterdir():
            file.unlink()
        kill_process(living(_supervisor(house))["engine"][0])
        house.running.wait_restarted("engine-local", pid)
        assert ask(client, name, house.running).text == before.text


def test_a_full_disk_refuses_with_507_and_loses_nothing(house: House) -> None:
    spool = house.running.home / "spool"
    if not spool.is_mount():
        pytest.skip("only where the spool could be given a small disk of its own")
    with house.client() as client, house.http("developer") as http:
        kept = [ask(client, ENDPOINT, house.running).inference_id for _ in range(3)]
        filler = spool / "filler"
        _fill(filler)
        refused = _until_refused(http)
        assert refused.json()["error"]["code"] == "storage_full"
        assert "Free space" in refused.json()["error"]["message"]
        filler.unlink()
        kept += [ask(client, ENDPOINT, house.running).inference_id for _ in range(6)]
        _shipped(house, kept)


def _fill(filler: Path) -> None:
    """Write until the disk has no room for another byte."""
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for _ in range(SPOOL_MEGABYTES * 256 + 1):
            os.write(descriptor, b"x" * 4096)
        raise AssertionError("the disk is larger than it was made")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        os.close(descriptor)


def _until_refused(http: httpx.Client) -> httpx.Response:
    """Ask until the page that is left of the disk is full."""
    question = {"role": "user", "content": "ba de ki " * 40}
    for _ in range(60):
        answer = http.post("/v1/chat/completions", json={"model": MODEL, "messages": [question], "max_tokens": 1})
        if answer.status_code == 507:
            return answer
        assert answer.status_code == 200, answer.text
    raise AssertionError("a full disk refused nothing")
