"""The crash suite: processes of a turning miniature wheel are killed at named places and at random moments.

CHARKHA_CHAOS_KILLS is the number of kills in all (30; `make chaos N=1000` for more) and CHARKHA_CHAOS_SEED where chance
begins; a failure names it. After each kill the installation comes back by itself and every invariant holds.
"""

import itertools
import os
import random
import time

import pytest

from charkha.kit.crashpoints import VARIABLE, markers
from charkha.testing.tiny_training import TinyTask
from tests.chaos import invariants
from tests.chaos.killer import Killer
from tests.chaos.ledger import Ledger
from tests.chaos.turn import Turn, TurnThread
from tests.e2e.miniature import Miniature, miniature

KILLS = int(os.environ.get("CHARKHA_CHAOS_KILLS", "30"))
SEED = int(os.environ.get("CHARKHA_CHAOS_SEED") or random.SystemRandom().randrange(2**32))
# Those of one line are passed in one turn. A count is the passing that kills.
PLACES = (
    "gateway.after_open:9,gateway.before_close:20,feedback.before_commit:3,shipper.before_commit:9,"
    "shipper.after_commit:4,dataset.after_blob,run.after_claim,artefact.after_blob",
    "run.before_done,version.before_commit,evaluation.before_done,rollout.before_swap,rollout.after_swap:2",
)
NAMED = sum(len(line.split(",")) for line in PLACES)
LONGEST_PAUSE, KILLS_IN_A_TURN = 2.5, 9

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(0)]


def test_a_kill_at_each_named_place_loses_nothing(tiny_task: TinyTask) -> None:
    with miniature(tiny_task) as wheel:
        ledger = Ledger()
        for number, places in enumerate(PLACES):
            began = time.monotonic()
            wheel.env[VARIABLE] = places
            wheel.start()
            turn = turning(wheel, f"named-{number}", ledger)
            concluded(turn)
            wheel.wait_ready()
            killed = {path.name for path in markers(wheel.home).iterdir()}
            assert killed >= {place.partition(":")[0] for place in places.split(",")}, "a place was not passed"
            invariants.check(wheel, ledger)
            told = f"{places}: {turn.result().status}, {ledger.summary()}, {time.monotonic() - began:.0f} s"
            print(f"\n[chaos] {told}", flush=True)
            wheel.stop()
        wheel.start()
        invariants.check(wheel, ledger)
        invariants.no_job_failed(wheel)


def test_kills_at_random_lose_nothing(tiny_task: TinyTask) -> None:
    with miniature(tiny_task) as wheel:
        try:
            kill_at_random(wheel, max(1, KILLS - NAMED))
        except AssertionError as error:
            raise AssertionError(
                f"CHARKHA_CHAOS_SEED={SEED} CHARKHA_CHAOS_KILLS={KILLS}: {error}\n{wheel.words()}"
            ) from error


def kill_at_random(wheel: Miniature, kills: int) -> None:
    """Turn the wheel, again and again, until it has borne so many kills; then let the last turn end in peace."""
    wheel.start()
    ledger, killer = Ledger(), Killer(wheel, SEED)
    left = kills
    for number in itertools.count():
        began = time.monotonic()
        killer.begin_turn()
        turn = turning(wheel, f"random-{number}", ledger)
        spent = left - min(left, KILLS_IN_A_TURN)
        while turn.is_alive() and left > spent:
            killer.pause(LONGEST_PAUSE)
            kind = killer.strike()
            left -= 1
            invariants.check(wheel, ledger)
            print(f"[chaos] {kills - left}/{kills} {kind} while {turn.turn.stage}; {ledger.summary()}", flush=True)
        concluded(turn)
        invariants.check(wheel, ledger)
        print(f"[chaos] turn {number}: {turn.result().status} in {time.monotonic() - began:.0f} s", flush=True)
        if not left:
            break
    invariants.no_job_failed(wheel)
    print(f"[chaos] {dict(killer.kills)}", flush=True)


def turning(wheel: Miniature, name: str, ledger: Ledger) -> TurnThread:
    """A turn under way."""
    thread = TurnThread(Turn(wheel, name, ledger, seed=SEED))
    thread.start()
    return thread


def concluded(turn: TurnThread) -> None:
    """The turn ends in a clear verdict, and what is live answers as the verdict says."""
    rollout = turn.result()
    assert rollout.status in ("promoted", "rolled_back", "declined"), rollout
    assert rollout.reason
    if rollout.status == "promoted":
        assert turn.turn.accuracy >= 0.75, f"{rollout.candidate} is live and right in {turn.turn.accuracy:.0%}"
