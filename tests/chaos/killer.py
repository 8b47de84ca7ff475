"""Kills processes of a running installation with SIGKILL, drawn from a seed, and waits until it has recovered."""

import random
import time
from collections import Counter

from tests.e2e.miniature import Miniature
from tests.e2e.processes import kill_process, living

SUPERVISOR = "supervisor"
# There for seconds only, and so preferred; but a program that is killed a third time without having got any further is
# given up on by design, so that one turn bears so many kills of each.
_RARE = {"recipe": 2, "evaluator": 1}


class Killer:
    """Kills one process at a time. `kills` counts them by kind."""

    def __init__(self, wheel: Miniature, seed: int) -> None:
        self._wheel, self._chance = wheel, random.Random(seed)
        self.kills: Counter[str] = Counter()
        self._in_this_turn: Counter[str] = Counter()

    def begin_turn(self) -> None:
        """The programs of another turn may be killed."""
        self._in_this_turn.clear()

    def strike(self) -> str:
        """Kill a process of a random kind, and wait until every part is ready again; returns the kind."""
        state = self._wheel.state()
        assert state is not None
        kinds = living(state.pid)
        kind = self._chosen(kinds)
        if kind == SUPERVISOR:
            self._wheel.kill()
            self._wheel.start()
        elif kill_process(self._chance.choice(kinds[kind])):
            time.sleep(0.25)  # two looks of the supervisor
            self._wheel.wait_ready()
        self.kills[kind] += 1
        self._in_this_turn[kind] += 1
        return kind

    def _chosen(self, kinds: dict[str, list[int]]) -> str:
        spared = {kind for kind, most in _RARE.items() if self._in_this_turn[kind] >= most}
        rare = [kind for kind in _RARE if kind in kinds and kind not in spared]
        if rare and self._chance.random() < 0.5:
            return self._chance.choice(rare)
        return self._chance.choice([*sorted(kinds.keys() - spared), SUPERVISOR])

    def pause(self, longest: float) -> None:
        """Let it run for a random while."""
        time.sleep(self._chance.uniform(0.0, longest))
