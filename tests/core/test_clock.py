"""Instants moved about: never past the first and the last that can be written."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from charkha.core.clock import earlier, in_utc, later

INSTANTS = st.datetimes(timezones=st.timezones())
SPANS = st.timedeltas(min_value=timedelta(), max_value=timedelta(days=400))


@given(INSTANTS, SPANS)
def test_no_instant_breaks_the_reckoning(at: datetime, span: timedelta) -> None:
    before, after = earlier(at, span), later(at, span)
    assert before <= in_utc(at) <= after
    assert {before.tzinfo, after.tzinfo} == {UTC}


def test_a_span_is_taken_off_and_put_on() -> None:
    at = datetime.fromisoformat("2026-03-01T01:00:00+02:00")
    assert earlier(at, timedelta(hours=1)) == datetime(2026, 2, 28, 22, tzinfo=UTC)
    assert later(at, timedelta(hours=1)) == datetime(2026, 3, 1, 0, tzinfo=UTC)
