"""The ways of a variant as values, and the judgement about them: which can answer a request, and which is asked first.

Pure: no clock, no I/O. A variant's own engine and model are its first way, its alternatives follow.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from charkha.core.errors import Invalid

Strategy = Literal["listed", "cost", "latency", "pending"]
STRATEGIES: tuple[Strategy, ...] = ("listed", "cost", "latency", "pending")
MAX_ALTERNATIVES, MAX_TASKS, MAX_RETRIES = 8, 32, 5
MAX_CONTEXT, MAX_SECONDS, MAX_HEDGE_MS = 2**24, 3_600.0, 600_000
_TASK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")


class Alternative(msgspec.Struct, frozen=True, kw_only=True):
    """Another way to answer: a model on an engine, with its own default parameters and without adapters.

    `context_tokens` is how much it reads and writes at most, `tasks` what it is kept for; None and [] are no bound.
    """

    engine: str
    model: str
    parameters: dict[str, Any] = {}
    context_tokens: int | None = None
    tasks: list[str] = []


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """How a variant chooses among its ways, and how long it waits for each.

    `hedge_ms`: after so long without a first byte a second way is asked as well. `retries`: how often one way is asked
    again. `request_seconds` bounds the whole answer, `first_token_seconds` each way's first byte; None is the
    gateway's own bound. `context_tokens` and `tasks` are those of the variant's own way.
    """

    order: Strategy = "listed"
    hedge_ms: int | None = None
    retries: int = 1
    request_seconds: float | None = None
    first_token_seconds: float | None = None
    context_tokens: int | None = None
    tasks: list[str] = []


PLAIN = Routing()
"""What holds where nobody said anything."""


class Reach(NamedTuple):
    """What a way can answer."""

    context_tokens: int | None = None
    tasks: frozenset[str] = frozenset()


ANYTHING = Reach()


class Facts(NamedTuple):
    """What is known of a way now. `cost` and `latency` (seconds to the first byte) may be unknown.

    `available`: its breaker lets requests through, and it has not asked for a rest.
    """

    cost: int | None = None
    latency: float | None = None
    pending: int = 0
    available: bool = True


def fitting(reaches: Sequence[Reach], *, endpoint: str, task: str | None, tokens: int) -> list[int]:
    """The places of the ways that can answer, those that are kept for the declared task first. Raises Invalid for none.

    A way that is kept for tasks answers no request that declares none of them.
    """
    able = [place for place, reach in enumerate(reaches) if not reach.tasks or task in reach.tasks]
    if not able:
        raise _no_task(endpoint, task, sorted(frozenset().union(*(reach.tasks for reach in reaches))))
    found = [place for place in able if _reads(reaches[place], tokens)]
    if not found:
        raise _too_long(endpoint, tokens, max(reaches[place].context_tokens or 0 for place in able))
    return sorted(found, key=lambda place: not reaches[place].tasks)


def order(strategy: Strategy, facts: Sequence[Facts], *, groups: Sequence[int] | None = None) -> list[int]:
    """The places of the ways in the order in which they are asked; ways that are not available come last.

    `groups`: a way of a lower group goes before every one of a higher. Unknown costs come last, unknown latencies
    first, so that they become known. Equals stay as they are listed.
    """

    def rank(place: int) -> tuple[bool, int, float]:
        fact = facts[place]
        return not fact.available, groups[place] if groups else 0, _measure(strategy, fact)

    return sorted(range(len(facts)), key=rank)


def check_routing(alternatives: Sequence[Alternative], routing: Routing, engines: Collection[str]) -> None:
    """Raise Invalid, naming the field, unless each way could answer and each bound can hold."""
    if len(alternatives) > MAX_ALTERNATIVES:
        raise _invalid(f"A variant has at most {MAX_ALTERNATIVES} alternatives.", "alternatives", "Name fewer.")
    for each in alternatives:
        if each.engine not in engines:
            known = f"There are: {', '.join(sorted(engines))}."
            raise _invalid(f"There is no engine '{each.engine[:100]}'.", "alternatives", known)
        if not 1 <= len(each.model) <= 300 or "\0" in each.model:
            raise _invalid("An alternative names a model.", "alternatives", "Give 1 to 300 characters.")
        _check_reach(each.context_tokens, each.tasks, "alternatives")
    _check_reach(routing.context_tokens, routing.tasks, "routing")
    _between(routing.hedge_ms, 1, MAX_HEDGE_MS, "hedge_ms")
    _between(routing.retries, 0, MAX_RETRIES, "retries")
    _between(routing.request_seconds, 0.1, MAX_SECONDS, "request_seconds")
    _between(routing.first_token_seconds, 0.1, MAX_SECONDS, "first_token_seconds")


def _reads(reach: Reach, tokens: int) -> bool:
    return reach.context_tokens is None or tokens <= reach.context_tokens


def _measure(strategy: Strategy, fact: Facts) -> float:
    match strategy:
        case "cost":
            return float("inf") if fact.cost is None else fact.cost
        case "latency":
            return -1.0 if fact.latency is None else fact.latency
        case "pending":
            return fact.pending
        case "listed":
            return 0


def _check_reach(context_tokens: int | None, tasks: Sequence[str], field: str) -> None:
    _between(context_tokens, 1, MAX_CONTEXT, f"{field}.context_tokens")
    if len(tasks) > MAX_TASKS or len(set(tasks)) != len(tasks) or not all(map(_TASK.fullmatch, tasks)):
        raise _invalid(
            f"Tasks are at most {MAX_TASKS} different words of letters, digits and any of ._:/-.",
            f"{field}.tasks",
            "Use 1 to 64 characters each, beginning with a letter or digit.",
        )


def _between(value: float | None, least: float, most: float, field: str) -> None:
    if value is not None and not least <= value <= most:
        name = field if "." in field else f"routing.{field}"
        raise _invalid(f"{name} lies between {least:g} and {most:g}.", name, "Give a value between, or leave it out.")


def _invalid(message: str, param: str, remedy: str) -> Invalid:
    return Invalid(message, param=param, remedy=remedy)


def _no_task(endpoint: str, task: str | None, known: Sequence[str]) -> Invalid:
    said = f"does the task '{task[:64]}'" if task else "answers a request that declares no task"
    return Invalid(
        f"Nothing behind '{endpoint}' {said}.",
        param="metadata.task",
        code="task_not_served",
        remedy=f"Declare one of {', '.join(known)} in x-charkha-task, or add an alternative without tasks.",
    )


def _too_long(endpoint: str, tokens: int, most: int) -> Invalid:
    return Invalid(
        f"The request needs about {tokens} tokens, and nothing behind '{endpoint}' reads more than {most}.",
        param="messages",
        code="context_length_exceeded",
        remedy="Send less, ask for fewer tokens, or add an alternative with a larger context_tokens.",
    )
