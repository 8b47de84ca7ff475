"""The one place that reads the time, so that domain code can be handed an instant and tests can choose it."""

from datetime import UTC, datetime


def now() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC)
