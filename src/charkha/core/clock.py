"""The one place that reads the time, so that domain code can be handed an instant and tests can choose it."""

from datetime import UTC, datetime, timedelta

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def now() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC)


def in_utc(at: datetime) -> datetime:
    """An aware instant in UTC; the first or last that can be written there, for one that an offset puts beyond it."""
    return max(_FIRST, min(at, _LAST)).astimezone(UTC)


def earlier(at: datetime, span: timedelta) -> datetime:
    """`span` before an instant, in UTC; the first instant that can be written, where that would be before it."""
    return max(in_utc(at), _FIRST + span) - span


def later(at: datetime, span: timedelta) -> datetime:
    """`span` after an instant, in UTC; the last instant that can be written, where that would be after it."""
    return min(in_utc(at), _LAST - span) + span
