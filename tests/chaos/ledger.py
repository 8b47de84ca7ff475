"""What the installation has acknowledged: the promises that every kill is checked against."""

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID


@dataclass
class Ledger:
    """Written by the thread that sends traffic, read by the one that kills.

    `answered`: inferences whose answer came whole. `feedback`: idempotency key → the id that was acknowledged.
    `interruptions`: what was refused while something was down. `faults`: what must never be said, such as a 500.
    """

    answered: list[UUID] = field(default_factory=list)
    feedback: dict[str, UUID] = field(default_factory=dict)
    interruptions: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """A line for the progress."""
        refused = self.interruptions.total()
        return f"{len(self.answered)} answers, {len(self.feedback)} feedback, {refused} interruptions"
