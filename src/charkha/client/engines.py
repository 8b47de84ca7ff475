"""What the API answers about engines as they are now."""

from datetime import datetime

import msgspec


class GatewayView(msgspec.Struct, frozen=True):
    """What one gateway process knows of an engine; `first_byte_ms` is a weighted mean, None before the first answer."""

    host: str
    pid: int
    breaker: str
    pending: int
    first_byte_ms: float | None


class EngineState(msgspec.Struct, frozen=True):
    """Whether an engine is drained, since when and by whom, and how each gateway process finds it."""

    name: str
    drained: bool
    drained_by: str | None
    drained_at: datetime | None
    gateways: list[GatewayView]
