"""The spool: what is acknowledged is read back, whatever is done to the writer, the disk and the bytes."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.core.errors import Conflict, Invalid, StorageFull, TooLarge, Unavailable
from charkha.kit.spool import MAX_RECORD_BYTES, Corrupt, SpoolWriter, is_owned, next_good, read, remove, segments

RECORDS = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20)
CHATTERBOX = """
import sys, pathlib
from charkha.kit.spool import SpoolWriter
writer = SpoolWriter(pathlib.Path(sys.argv[1]), "child", segment_bytes=20_000)
for number in range(10**9):
    writer.append(b"%d " % number * (1 + number % 50))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


@contextlib.contextmanager
def spool(directory: Path, **options: int) -> Iterator[SpoolWriter]:
    writer = SpoolWriter(directory, "test", **options)
    try:
        yield writer
    finally:
        writer.close()


def records(directory: Path) -> list[bytes]:
    return [record for path in segments(directory) for record, _ in read(path)]


def written(texts: list[bytes], directory: str) -> tuple[Path, list[int]]:
    """A closed segment with `texts`, and the offset behind each."""
    with spool(Path(directory)) as writer:
        for text in texts:
            writer.append(text)
    return writer.path, [offset for _, offset in read(writer.path)]


@given(RECORDS)
@settings(max_examples=25, deadline=None)
def test_what_is_appended_is_read_and_reading_resumes_anywhere(texts: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path, offsets = written(texts, directory)
        assert records(Path(directory)) == texts
        for index, offset in enumerate(offsets):
            assert [record for record, _ in read(path, offset)] == texts[index + 1 :]


@given(RECORDS, st.data())
@settings(max_examples=40, deadline=None)
def test_a_tail_cut_anywhere_costs_only_what_was_cut(texts: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path, offsets = written(texts, directory)
        length = data.draw(st.integers(0, path.stat().st_size))
        os.truncate(path, length)
        assert records(Path(directory)) == texts[: sum(offset <= length for offset in offsets)]


@given(RECORDS, st.data())
@settings(max_examples=60, deadline=None)
def test_any_flipped_byte_is_found_and_costs_one_record(texts: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path, offsets = written(texts, directory)
        place = data.draw(st.integers(0, path.stat().st_size - 1))
        content = bytearray(path.read_bytes())
        content[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        before = []
        with pytest.raises(Corrupt) as caught:
            before.extend(record for record, _ in read(path))
        damaged = sum(offset <= place for offset in offsets)
        assert before == texts[:damaged] or place < 8
        resumed = next_good(path, caught.value.offset)
        expected = texts if place < 8 else texts[damaged + 1 :]
        assert ([] if resumed is None else [record for record, _ in read(path, resumed)]) == expected


def test_length_without_content_after_a_power_cut_is_a_tail(tmp_path: Path) -> None:
    path, _ = written([b"kept"], str(tmp_path))
    with path.open("ab") as file:
        file.write(bytes(100_000))
    assert records(tmp_path) == [b"kept"]


def test_segments_rotate_and_stay_in_order(tmp_path: Path) -> None:
    texts = [b"%d" % number * 100 for number in range(50)]
    with spool(tmp_path, segment_bytes=1_000) as writer:
        for text in texts:
            writer.append(text)
    assert len(segments(tmp_path)) > 5
    assert records(tmp_path) == texts


def test_a_segment_is_owned_while_written_and_removable_after(tmp_path: Path) -> None:
    with spool(tmp_path) as writer:
        assert is_owned(writer.path)
        with pytest.raises(Conflict):
            remove(writer.path)
    assert not is_owned(writer.path)
    remove(writer.path)
    assert segments(tmp_path) == []


def test_a_full_segment_is_given_up_at_the_next_sync(tmp_path: Path) -> None:
    with spool(tmp_path, segment_bytes=10) as writer:
        first = writer.path
        writer.append(b"fills it")
        writer.append(b"goes to the next")
        writer.sync()
        assert not is_owned(first)
        assert is_owned(writer.path)


def test_a_new_writer_never_appends_to_an_old_segment(tmp_path: Path) -> None:
    old, _ = written([b"old"], str(tmp_path))
    os.truncate(old, old.stat().st_size - 1)
    before = old.read_bytes()
    with spool(tmp_path) as writer:
        writer.append(b"new")
    assert old.read_bytes() == before
    assert records(tmp_path) == [b"new"]


@pytest.mark.chaos
@pytest.mark.parametrize("patience", [1, 30, 400])
def test_every_acknowledged_record_survives_kill_9(tmp_path: Path, patience: int) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHATTERBOX, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    for _ in range(patience):
        child.stdout.readline()
    assert is_owned(segments(tmp_path)[-1])
    child.send_signal(signal.SIGKILL)
    acknowledged = patience + child.stdout.read().count(b"\n")
    child.wait()
    assert not any(map(is_owned, segments(tmp_path)))
    found = records(tmp_path)
    assert len(found) >= acknowledged
    assert found == [b"%d " % number * (1 + number % 50) for number in range(len(found))]


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process may grow over `size`: a write then does a part of its work, and the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(writer: SpoolWriter) -> list[bytes]:
    """Append until the disk is full; what was acknowledged."""
    accepted: list[bytes] = []
    while len(accepted) < 100_000:
        record = b"%06d" % len(accepted) * 111
        try:
            writer.append(record)
        except StorageFull:
            return accepted
        accepted.append(record)
    raise AssertionError("the disk never filled up")


def test_a_full_disk_refuses_and_damages_nothing(tmp_path: Path) -> None:
    with spool(tmp_path) as writer:
        with file_size_limit(10_000):
            accepted = fill(writer)
            with pytest.raises(StorageFull):
                writer.append(b"x" * 5_000)
            assert records(tmp_path) == accepted
        writer.append(b"there is room again")
    assert records(tmp_path) == [*accepted, b"there is room again"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_truly_full_disk_refuses_and_damages_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this machine mounts nothing")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(64_000))
        with spool(disk / "spool", segment_bytes=50_000) as writer:
            accepted = fill(writer)
            assert records(disk / "spool") == accepted
            ballast.unlink()
            writer.append(b"there is room again")
        assert records(disk / "spool") == [*accepted, b"there is room again"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_spool_that_nobody_ships_stops_growing(tmp_path: Path) -> None:
    with spool(tmp_path, segment_bytes=1_000, total_bytes=5_000) as writer:
        accepted = fill(writer)
        assert records(tmp_path) == accepted
        writer.sync()
        remove(segments(tmp_path)[0])
        writer.append(b"there is room again")
    assert sum(path.stat().st_size for path in segments(tmp_path)) < 6_000


@pytest.mark.parametrize("record", [b"", bytes(MAX_RECORD_BYTES + 1)])
def test_absurd_records_are_refused(tmp_path: Path, record: bytes) -> None:
    with spool(tmp_path) as writer, pytest.raises(TooLarge):
        writer.append(record)


@pytest.mark.parametrize("name", ["", "../up", "naïve"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid):
        SpoolWriter(tmp_path, name)


def test_after_a_failed_sync_nothing_more_is_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with spool(tmp_path) as writer:
        writer.append(b"before")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", failing)
            with pytest.raises(Unavailable, match="Input/output"):
                writer.sync()
        with pytest.raises(Unavailable, match="Input/output"):
            writer.append(b"after")


def test_a_tail_that_cannot_be_cut_off_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(descriptor: int, size: int) -> None:
        raise OSError(5, "Input/output error")

    with spool(tmp_path) as writer:
        first = writer.path
        writer.append(b"whole")
        with monkeypatch.context() as patch, file_size_limit(first.stat().st_size + 20):
            patch.setattr(os, "ftruncate", failing)
            with pytest.raises(StorageFull):
                writer.append(b"x" * 100)
        assert first.stat().st_size > sum(map(len, records(tmp_path))) + 20  # a part of the record is there
        writer.append(b"in the next segment")
    assert records(tmp_path) == [b"whole", b"in the next segment"]


@pytest.mark.anyio
async def test_syncing_runs_beside_appending(tmp_path: Path) -> None:
    with spool(tmp_path, segment_bytes=500) as writer:
        task = asyncio.create_task(writer.sync_forever(interval=0.001))
        texts = [b"%d" % number * 50 for number in range(100)]
        for text in texts:
            writer.append(text)
            await asyncio.sleep(0.0005)
        while any(is_owned(path) for path in segments(tmp_path)[:-1]):
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert records(tmp_path) == texts
