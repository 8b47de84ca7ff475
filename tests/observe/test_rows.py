"""What the log says of who answered."""

from uuid import UUID, uuid4

from charkha.core.records import Closed, Opened
from charkha.observe.rows import rows
from charkha.observe.stream import Finished

VERSION = UUID(int=7)


def finished(**end: object) -> Finished:
    inference = uuid4()
    opened = Opened(
        inference, UUID(int=1), 0, "chat", "support", "live", "key:a", None, None, None, VERSION, "local",
        [("ab", 1.0)], False, None, None, None, None,
    )  # fmt: skip
    closed = Closed(inference, UUID(int=1), 1, 200, None, "stop", 7, 3, None, 1.0, None, **end)  # type: ignore[arg-type]
    return Finished(opened, closed, None, "a", 0)


def test_another_way_is_told_with_neither_version_nor_adapters() -> None:
    row = rows(finished(engine="spare", engine_model="large", degraded="timeout", tries=3)).inference
    assert (row["engine"], row["engine_model"], row["degraded"], row["tries"]) == ("spare", "large", "timeout", 3)
    assert (row["version_id"], row["adapters"]) == (None, "[]")


def test_the_variants_own_way_is_told_as_ever() -> None:
    row = rows(finished()).inference
    assert (row["engine"], row["engine_model"], row["degraded"], row["tries"]) == ("local", None, None, 1)
    assert (row["version_id"], row["adapters"]) == (VERSION, '[["ab",1.0]]')


def test_nobody_knows_the_tries_of_a_request_that_was_lost() -> None:
    row = rows(finished()._replace(closed=None, lost="process_died")).inference
    assert (row["tries"], row["engine_model"], row["engine"]) == (None, None, "local")
