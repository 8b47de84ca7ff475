"""Shipping on a real database: every acknowledged record arrives once, whatever is killed, torn, damaged or gone."""

import asyncio
import itertools
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from charkha.core.clock import now
from charkha.core.errors import Unavailable
from charkha.core.ids import uuid7
from charkha.core.records import encode
from charkha.kit.db import Database
from charkha.kit.postgres import launcher
from charkha.kit.postgres.migrate import upgrade
from charkha.kit.spool import read, segments
from charkha.observe import stream as stream_module
from charkha.observe.partitions import ensure_partitions
from charkha.observe.shipper import Shipper
from charkha.observe.tables import spool_offsets
from tests.conftest import Urls
from tests.observe.spooling import append, bodies, closed, exchange, gateway, logged, opened

pytestmark = pytest.mark.anyio

SHIPPING = """
import asyncio, pathlib, sys
from charkha.kit.db import Database
from charkha.observe import shipper
shipper.BATCH_RECORDS = 40
asyncio.run(shipper.Shipper(Database(sys.argv[1]), pathlib.Path(sys.argv[2])).run())
"""


@pytest.fixture
def shipper(database: Database, tmp_path: Path) -> Iterator[Shipper]:
    shipper = Shipper(database, tmp_path)
    yield shipper
    shipper.close()


async def offsets(database: Database) -> dict[str, int]:
    async with database.begin("charkha_system") as conn:
        return {row.segment: row.position for row in await conn.execute(sa.select(spool_offsets))}


async def test_what_is_spooled_is_logged_with_its_bodies(
    shipper: Shipper, database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    writer = gateway(tmp_path)
    request = opened(workspace_id, adapters=[("ab" * 32, 0.5)], subject_id="s", variant_id=uuid4(), stream=True)
    append(writer, request, closed(request))
    assert await shipper.ship_once() == 1
    row = (await logged(database, workspace_id))[request.id]
    assert (row.model, row.status, row.variant_id, row.adapters) == (
        "sorter",
        200,
        request.variant_id,
        [["ab" * 32, 0.5]],
    )
    body = (await bodies(database, workspace_id))[request.id]
    assert (body.version, body.key_id, bytes(body.request), bytes(body.answer), body.subject_id) == (
        1,
        None,
        request.request,
        b"net",
        "s",
    )
    assert await shipper.ship_once() == 0
    writer.close()


async def test_an_endpoint_that_keeps_no_content_leaves_no_body(
    shipper: Shipper, database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    writer = gateway(tmp_path)
    exchange(writer, workspace_id, request=None)
    writer.close()
    assert await shipper.ship_once() == 1
    assert len(await logged(database, workspace_id)) == 1
    assert await bodies(database, workspace_id) == {}


async def test_a_long_stream_holds_back_its_offset_and_nothing_else(
    shipper: Shipper, database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    writer = gateway(tmp_path)
    before = exchange(writer, workspace_id)
    await shipper.ship_once()
    held = next(iter((await offsets(database)).values()))
    long = opened(workspace_id)
    append(writer, long)
    others = [exchange(writer, workspace_id) for _ in range(5)]
    assert await shipper.ship_once() == 5
    assert set(await logged(database, workspace_id)) == {before, *others}
    assert list((await offsets(database)).values()) == [held]
    shipper.close()  # the next one knows only what was stored
    append(writer, closed(long))
    assert await shipper.ship_once() == 1
    assert list((await offsets(database)).values()) == [writer.path.stat().st_size]
    assert len(await logged(database, workspace_id)) == 7
    writer.close()


async def test_a_close_may_come_segments_after_its_open(
    shipper: Shipper, database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    writer = gateway(tmp_path, segment_bytes=1_500)
    long = opened(workspace_id)
    append(writer, long)
    shipped = {exchange(writer, workspace_id) for _ in range(20)}
    writer.sync()
    assert await shipper.ship_once() == 20
    assert len(segments(writer.directory)) > 3, "the open's segment is kept, and the later ones with it"
    append(writer, closed(long))
    assert await shipper.ship_once() == 1
    assert set(await logged(database, workspace_id)) == {*shipped, long.id}
    assert segments(writer.directory) == [writer.path]
    writer.close()
    await shipper.ship_once()
    assert segments(writer.directory) == []
    assert await offsets(database) == {}


async def test_opens_of_a_dead_writer_are_logged_as_such(
    shipper: Shipper, database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    writer = gateway(tmp_path)
    whole, cut = exchange(writer, workspace_id), opened(workspace_id)
    append(writer, cut)
    assert await shipper.ship_once() == 1
    os.truncate(writer.path, writer.path.stat().st_size)
    with writer.path.open("ab") as file:
        file.write(b"\x99\x00")  # a record that the kill cut short
    writer.close()
    assert await shipper.ship_once() == 1
    rows = await logged(database, workspace_id)
    assert rows[whole].status == 200
    assert (rows[cut.id].status, rows[cut.id].error_code, rows[cut.id].duration_ms) == (499, "process_died", None)
    assert (await bodies(database, workspace_id))[cut.id].answer is None
    assert segments(writer.directory) == []


async def test_an_open_of_a_living_writer_waits_but_not_for_ever(
    shipper: Shipper, database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    writer = gateway(tmp_path)
    stuck = opened(workspace_id, at_ms=opened(workspace_id).at_ms - stream_module.ABANDONED_MS - 1_000)
    waiting = opened(workspace_id)
    append(writer, stuck, waiting)
    assert await shipper.ship_once() == 1
    assert (await logged(database, workspace_id))[stuck.id].error_code == "abandoned"
    append(writer, closed(stuck), closed(waiting))
    assert await shipper.ship_once() == 1
    writer.close()


@pytest.mark.parametrize("alive", [True, False])
async def test_damage_costs_one_record_and_keeps_the_segment(
    shipper: Shipper, database: Database, tmp_path: Path, workspace_id: UUID, alive: bool
) -> None:
    writer = gateway(tmp_path)
    ids = [exchange(writer, workspace_id) for _ in range(6)]
    content = bytearray(writer.path.read_bytes())
    ends = [end for _, end in read(writer.path)]
    content[ends[4] + 30] ^= 1  # the third one's close is record 5
    writer.path.write_bytes(content)
    if alive:
        assert await shipper.ship_once() == 5
        shipper.close()  # that there was damage outlives the shipper
    writer.close()
    await shipper.ship_once()
    rows = await logged(database, workspace_id)
    assert {key for key, row in rows.items() if row.status == 200} == {*ids} - {ids[2]}
    assert rows[ids[2]].error_code == "process_died"
    assert segments(writer.directory) == []
    assert [path.suffix for path in writer.directory.iterdir()] == [".corrupt"]


async def test_damage_at_the_end_of_a_living_segment_hides_nothing_that_follows(
    shipper: Shipper, database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    writer = gateway(tmp_path)
    exchange(writer, workspace_id)
    with writer.path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    for _ in range(3):
        assert await shipper.ship_once() == 0
    later = exchange(writer, workspace_id)
    assert await shipper.ship_once() == 1
    assert set(await logged(database, workspace_id)) == {later}
    writer.close()


async def test_records_that_the_log_cannot_take_are_set_aside_and_stop_nobody(
    shipper: Shipper, database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    writer = gateway(tmp_path)
    writer.append(b"no record at all")
    old = exchange(writer, workspace_id, inference_id=uuid7(1_000))
    exchange(writer, workspace_id, inference_id=uuid7(2**48 - 1))
    exchange(writer, workspace_id, at_ms=2**62)
    good = exchange(writer, workspace_id, model="nul\0", subject_id="\0", episode_id="e\0")
    wild = opened(workspace_id)
    append(writer, wild, closed(wild, prompt_tokens=2**60, status=10**6, duration_ms=float("nan")))
    writer.close()
    assert await shipper.ship_once() == 2
    rows = await logged(database, workspace_id)
    assert old not in rows
    assert (rows[good].model, rows[wild.id].prompt_tokens) == ("nul\N{REPLACEMENT CHARACTER}", 2**31 - 1)
    assert [path.suffix for path in writer.directory.iterdir()] == [".corrupt"]


async def test_one_process_ships_a_directory_at_a_time(
    shipper: Shipper, database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    writer = gateway(tmp_path)
    exchange(writer, workspace_id)
    assert await shipper.ship_once() == 1
    other = Shipper(database, tmp_path)
    exchange(writer, workspace_id)
    assert await other.ship_once() == 0
    shipper.close()
    assert await other.ship_once() == 1
    other.close()
    writer.close()


async def test_a_failed_transaction_is_done_again(
    shipper: Shipper, database: Database, tmp_path: Path, workspace_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = gateway(tmp_path)
    ids = {exchange(writer, workspace_id) for _ in range(3)}
    append(writer, waiting := opened(workspace_id))

    async def gone(*_: object) -> None:
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr("charkha.observe.ingest.save_offsets", gone)
        with pytest.raises(Unavailable):
            await shipper.ship_once()
    assert await logged(database, workspace_id) == {}
    append(writer, closed(waiting))
    writer.close()
    assert await shipper.ship_once() == 4
    assert set(await logged(database, workspace_id)) == ids | {waiting.id}


async def test_directories_of_gateways_that_are_long_gone_are_removed(
    shipper: Shipper, tmp_path: Path, workspace_id: UUID
) -> None:
    writer = gateway(tmp_path)
    exchange(writer, workspace_id)
    writer.close()
    await shipper.ship_once()
    await shipper.ship_once()
    assert writer.directory.exists(), "somebody may just be starting"
    os.utime(writer.directory, (0, 0))
    await shipper.ship_once()
    assert not writer.directory.exists()


async def test_workspaces_share_a_spool_and_nothing_else(
    shipper: Shipper, database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    other, writer = uuid4(), gateway(tmp_path)
    mine, theirs = exchange(writer, workspace_id), exchange(writer, other)
    writer.close()
    assert await shipper.ship_once() == 2
    assert set(await logged(database, workspace_id)) == {mine}
    assert set(await logged(database, other)) == {theirs}


async def test_partitions_are_made_once_and_closed_to_the_application(database: Database, workspace_id: UUID) -> None:
    assert await ensure_partitions(database) == 10
    assert await ensure_partitions(database) == 0
    for table in ("inferences", "inference_bodies"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with database.workspace(workspace_id, "test") as tx:
                await tx.all(sa.text(f"SELECT 1 FROM {table}_p_{now():%Y%m}"))


async def test_the_ingest_role_reads_nothing(database: Database) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with database.begin("charkha_ingest") as conn:
            await conn.execute(sa.text("SELECT 1 FROM inferences"))


class Traffic:
    """A gateway in a thread of its own, until told to stop; what it was acknowledged."""

    def __init__(self, directory: Path, workspace_id: UUID) -> None:
        self.acknowledged: set[UUID] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, args=(directory, workspace_id))
        self._thread.start()

    def _write(self, directory: Path, workspace_id: UUID) -> None:
        writer, open_ones = gateway(directory, segment_bytes=30_000), []
        for number in itertools.count():
            if self._ended.wait(0.002) and not open_ones:
                break
            if not self._ended.is_set():
                open_ones.append(opened(workspace_id, request=b"{}" + b" " * (number % 700)))
                writer.append(encode(open_ones[-1]))
            if len(open_ones) > 12 or self._ended.is_set():
                request = open_ones.pop(random.randrange(len(open_ones)))
                writer.append(encode(closed(request)))
                self.acknowledged.add(request.id)
            if number % 50 == 0:
                writer.sync()
        writer.close()

    def stop(self) -> set[UUID]:
        self._ended.set()
        self._thread.join()
        return self.acknowledged


@pytest.mark.chaos
async def test_killing_the_shipper_loses_and_doubles_nothing(
    urls: Urls, shipper: Shipper, database: Database, tmp_path: Path, workspace_id: UUID
) -> None:
    traffic = Traffic(tmp_path, workspace_id)
    for _ in range(16):
        child = subprocess.Popen([sys.executable, "-c", SHIPPING, urls.database, str(tmp_path)])
        before = len(await logged(database, workspace_id))
        while len(await logged(database, workspace_id)) == before:
            assert child.poll() is None
            await asyncio.sleep(0.02)
        await asyncio.sleep(random.uniform(0, 0.3))
        child.kill()
        assert child.wait() == -9
    during = len(await logged(database, workspace_id))
    acknowledged = traffic.stop()
    await shipper.ship_once()
    rows = await logged(database, workspace_id)
    assert set(rows) == acknowledged
    assert {row.status for row in rows.values()} == {200}
    assert set(await bodies(database, workspace_id)) == acknowledged
    assert 0 < during < len(acknowledged)
    assert segments(tmp_path / "gateway") == []


@pytest.mark.chaos
async def test_a_database_that_stops_and_starts_costs_nothing(
    charkha_home: Path, tmp_path: Path, workspace_id: UUID
) -> None:
    running = launcher.start(charkha_home, fast=True)
    upgrade(running.migration_url)
    database = Database(running.database_url)
    shipper = Shipper(database, tmp_path)
    traffic, task = Traffic(tmp_path, workspace_id), asyncio.create_task(shipper.run())
    try:
        for _ in range(3):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(running.stop)
            await asyncio.sleep(0.4)
            running = await asyncio.to_thread(launcher.start, charkha_home, fast=True)
        acknowledged = traffic.stop()
        while segments(tmp_path / "gateway"):
            assert not task.done()
            await asyncio.sleep(0.05)
        assert set(await logged(database, workspace_id)) == acknowledged
    finally:
        traffic.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await database.close()
        running.stop()
