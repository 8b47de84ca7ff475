"""What must hold at every moment, whatever has been killed: read from one snapshot of the database, as its superuser."""

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from charkha.kit.blobs import Blobs
from charkha.kit.crypto import Secrets
from charkha.kit.postgres import launcher
from tests.chaos.ledger import Ledger
from tests.e2e.miniature import Miniature

_SHIPPING_SECONDS, _RECOVERY_SECONDS = 60.0, 60.0
_ACTIVE_ROLLOUT, _ACTIVE_RUN = ("preparing", "running"), ("queued", "running")
Row = dict[str, Any]


class Picture:
    """One consistent picture of an installation's rows."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def rows(self, query: str, *values: object) -> list[Row]:
        """Rows of a query, of every workspace."""
        return self._connection.execute(query, values).fetchall()


@contextmanager
def picture(wheel: Miniature) -> Iterator[Picture]:
    """The database as it is at one instant."""
    with _connected(wheel) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        yield Picture(connection)


def _connected(wheel: Miniature) -> psycopg.Connection[Row]:
    """A connection; a database that recovers from the death of one of its processes is waited for."""
    address = launcher.urls(wheel.home).admin.replace("/postgres?", "/charkha?", 1)
    deadline = time.monotonic() + _RECOVERY_SECONDS
    while True:
        try:
            return psycopg.connect(address, row_factory=dict_row, connect_timeout=10)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def check(wheel: Miniature, ledger: Ledger) -> None:
    """Every invariant. Raises AssertionError naming the first that does not hold."""
    assert not ledger.faults, f"answers that must never be given: {ledger.faults}"
    answered, given = list(ledger.answered), dict(ledger.feedback)
    with picture(wheel) as seen:
        one_live_plan(seen)
        one_rollout(seen)
        one_state_per_run(seen)
        feedback_once(seen, given)
        whole_files(seen, wheel.home)
    inferences_once(wheel, answered)


def one_live_plan(seen: Picture) -> None:
    """Each endpoint has one line of plans, numbered without a gap, and its last is live; shares make 100."""
    plans: dict[UUID, list[Row]] = defaultdict(list)
    for row in seen.rows("SELECT * FROM plans ORDER BY endpoint_id, number"):
        plans[row["endpoint_id"]].append(row)
    variants = {row["id"]: row["endpoint_id"] for row in seen.rows("SELECT id, endpoint_id FROM variants")}
    for endpoint in seen.rows("SELECT id, name, live_plan_id FROM endpoints"):
        line = plans[endpoint["id"]]
        told = f"endpoint {endpoint['name']}: {[(row['number'], str(row['id'])) for row in line]}"
        assert [row["number"] for row in line] == list(range(1, len(line) + 1)), told
        assert [row["previous_id"] for row in line] == [None, *(row["id"] for row in line[:-1])], told
        assert endpoint["live_plan_id"] == line[-1]["id"], told
        for row in line:
            assert sum(share["share"] for share in row["shares"]) == 100, told
            assert all(variants[UUID(share["variant_id"])] == endpoint["id"] for share in row["shares"]), told


def one_rollout(seen: Picture) -> None:
    """At most one rollout of an endpoint is under way, and the live plan is the one that it stands on."""
    live = {row["id"]: row["live_plan_id"] for row in seen.rows("SELECT id, live_plan_id FROM endpoints")}
    active: Counter[UUID] = Counter()
    for row in seen.rows("SELECT * FROM rollouts"):
        under_way = row["status"] in _ACTIVE_ROLLOUT
        active[row["endpoint_id"]] += under_way
        assert under_way == (row["ended_at"] is None), row
        assert row["status"] not in ("running", "promoted") or live[row["endpoint_id"]] == row["plan_id"], row
    assert all(count <= 1 for count in active.values()), active


def one_state_per_run(seen: Picture) -> None:
    """A run that has ended has an end, one that succeeded a result and at most one version; one runs at a time."""
    active: Counter[UUID] = Counter()
    for row in seen.rows("SELECT * FROM runs"):
        active[row["endpoint_id"]] += row["status"] in _ACTIVE_RUN
        assert (row["status"] in _ACTIVE_RUN) == (row["ended_at"] is None), row
        assert (row["status"] == "succeeded") == (row["result"] is not None), row
    assert all(count <= 1 for count in active.values()), active
    versions = Counter(row["run_id"] for row in seen.rows("SELECT run_id FROM versions WHERE run_id IS NOT NULL"))
    assert all(count == 1 for count in versions.values()), versions


def feedback_once(seen: Picture, given: dict[str, UUID]) -> None:
    """Each acknowledged piece is there, under the id that was told, and nothing is there twice."""
    rows = seen.rows("SELECT id, idempotency_key FROM feedback")
    stored = {row["idempotency_key"]: row["id"] for row in rows}
    assert len(stored) == len(rows), "a piece of feedback is there twice"
    lost = {key: told for key, told in given.items() if stored.get(key) != told}
    assert not lost, f"{len(lost)} of {len(given)} acknowledged pieces of feedback are lost: {list(lost)[:3]}"


def whole_files(seen: Picture, home: Path) -> None:
    """Every file that a row names is there, its bytes unchanged."""
    blobs = Blobs(str(home / "blobs"), Secrets.load(home / "secrets"))
    for row in seen.rows("SELECT workspace_id, name, number, artefacts FROM versions"):
        for kind, file in row["artefacts"].items():
            content = _content(home, blobs, row["workspace_id"], file["blob"])
            digest = hashlib.sha256(content).hexdigest()
            assert file.get("sha256", digest) == digest, f"{row['name']}@{row['number']}: {kind}"
    for row in seen.rows("SELECT workspace_id, blob, digest FROM dataset_versions"):
        content = _content(home, blobs, row["workspace_id"], row["blob"])
        assert hashlib.sha256(content).hexdigest() == row["digest"]


def inferences_once(wheel: Miniature, answered: list[UUID]) -> None:
    """Each acknowledged answer is in the log once; what the spool still holds is waited for."""
    deadline = time.monotonic() + _SHIPPING_SECONDS
    while True:
        with picture(wheel) as seen:
            query = "SELECT id, count(*) AS n FROM inferences WHERE id = ANY(%s) GROUP BY id"
            found = {row["id"]: row["n"] for row in seen.rows(query, answered)}
        missing = [each for each in answered if each not in found]
        if not missing:
            break
        assert time.monotonic() < deadline, f"{len(missing)} of {len(answered)} inferences are lost: {missing[:3]}"
        time.sleep(0.1)
    assert set(found.values()) <= {1}, "an inference is in the log twice"
    assert len(answered) == len(set(answered)), "two answers had one id"


def no_job_failed(wheel: Miniature) -> None:
    """No job was given up on."""
    with picture(wheel) as seen:
        failed = seen.rows("SELECT task_name, args, attempts FROM procrastinate_jobs WHERE status = 'failed'")
    assert not failed, failed


def _content(home: Path, blobs: Blobs, workspace: UUID, address: str) -> bytes:
    content = (home / "blobs" / str(workspace) / address[:2] / address).read_bytes()
    assert blobs.address(workspace, content) == address, f"blob {address} has changed"
    return content
