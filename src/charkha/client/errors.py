"""What can go wrong when Charkha is called."""

from typing import Any


class ApiError(Exception):
    """Charkha refused, and says why. `message` and `remedy` are meant to be shown."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        self.status = status
        self.message = str(error.get("message") or f"HTTP {status}")
        self.remedy = str(error.get("remedy") or "")
        self.code = str(error.get("code") or "")
        self.param = error.get("param")
        super().__init__(self.message)

    @property
    def transient(self) -> bool:
        """Whether the same call can succeed a little later."""
        return self.status in (429, 502, 503, 504)


class ConnectionFailed(Exception):
    """Nobody answers at the address, or the connection broke."""
