"""Options that describe the ways of a variant, for commands that make one."""

import functools
from collections.abc import Callable
from typing import Any

import click

from charkha.client.ways import alternative
from charkha.serve.routing.domain import STRATEGIES

_ROUTING = ("order", "hedge_ms", "retries", "request_seconds", "first_token_seconds", "context_tokens")
_OPTIONS = (
    click.option(
        "--alternative",
        "alternatives",
        multiple=True,
        metavar="ENGINE:MODEL [context=N] [task=T]",
        help="Another way to answer, should the first fail; repeat it, and task=.",
    ),
    click.option("--order", type=click.Choice(STRATEGIES), help="Which way is asked first. Default: as listed."),
    click.option("--hedge-ms", type=int, help="Ask a second way after so many milliseconds without a first byte."),
    click.option("--retries", type=int, help="How often one way is asked again. Default: 1."),
    click.option("--request-seconds", type=float, help="How long an answer may take in all."),
    click.option("--first-token-seconds", type=float, help="How long each way may take until its first byte."),
    click.option("--context-tokens", type=int, help="Tokens that the first way reads and writes at most."),
    click.option("--task", "tasks", multiple=True, help="A task that the first way is kept for; repeat it."),
)


def ways_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets `ways`, fields of a variant."""

    @functools.wraps(command)
    def collected(*args: Any, alternatives: tuple[str, ...], tasks: tuple[str, ...], **others: Any) -> Any:
        routing = {name: value for name in _ROUTING if (value := others.pop(name)) is not None}
        if tasks:
            routing["tasks"] = list(tasks)
        ways: dict[str, Any] = {"alternatives": [_alternative(each) for each in alternatives]} if alternatives else {}
        return command(*args, ways=ways | ({"routing": routing} if routing else {}), **others)

    return functools.reduce(lambda made, option: option(made), reversed(_OPTIONS), collected)


def _alternative(text: str) -> dict[str, Any]:
    try:
        return alternative(text)
    except ValueError as error:
        raise click.UsageError(f"--alternative: {error}.") from None
