"""A retry budget: an engine gets at most so many retries and hedges for each request that it gets anyway.

Pure: the caller passes the instant in. Without it, an engine that is overloaded would be sent every request twice
just when it can bear that least.
"""


class RetryBudget:
    """Each request adds `share` of a retry, each second `floor` of one; at most `capacity` are kept for later."""

    __slots__ = ("_at", "_capacity", "_floor", "_share", "left")

    def __init__(self, now: float, *, share: float = 0.2, floor: float = 1.0, capacity: float = 50.0) -> None:
        self._share, self._floor, self._capacity = share, floor, capacity
        self._at, self.left = now, capacity

    def request(self) -> None:
        """A request goes to the engine for the first time."""
        left = self.left + self._share
        self.left = left if left < self._capacity else self._capacity

    def take(self, now: float) -> bool:
        """Spend one retry, if there is one."""
        self.left = min(self._capacity, self.left + (now - self._at) * self._floor)
        self._at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True
