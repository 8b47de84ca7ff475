"""The ways of a variant, as they are written on the command line."""

import contextlib
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from charkha.app.cli.ways import ways_options
from charkha.client.ways import alternative
from charkha.serve.api import VariantIn
from charkha.serve.routing.domain import check_routing


@click.command()
@ways_options
def told(ways: dict[str, Any]) -> None:
    """Print them as the API reads them."""
    spec = VariantIn(**ways).spec()
    check_routing(spec.alternatives, spec.routing, {"openai", "local"})
    click.echo(repr((spec.alternatives, spec.routing)))


def test_options_become_what_the_api_takes() -> None:
    options = ["--alternative", "openai:meta/llama:70b context=8192 task=code task=chat", "--alternative", "local:tiny"]
    options += ["--order", "cost", "--hedge-ms", "250", "--retries", "2", "--first-token-seconds", "1.5"]
    options += ["--request-seconds", "30", "--context-tokens", "2048", "--task", "chat"]
    result = CliRunner().invoke(told, options)
    assert result.exit_code == 0, result.output
    for part in (
        "model='meta/llama:70b'",
        "context_tokens=8192, tasks=['code', 'chat']",
        "model='tiny'",
        "order='cost', hedge_ms=250, retries=2, request_seconds=30.0, first_token_seconds=1.5",
        "context_tokens=2048, tasks=['chat']",
    ):
        assert part in result.output
    assert CliRunner().invoke(told, []).output == "([], Routing())\n".replace(
        "Routing()", repr(VariantIn().spec().routing)
    )


@pytest.mark.parametrize(
    "wrong", ["gpt-4o", "openai:", ":m", "", "openai:m context=much", "openai:m task=", "openai:m x"]
)
def test_what_cannot_be_read_is_named(wrong: str) -> None:
    result = CliRunner().invoke(told, ["--alternative", wrong])
    assert result.exit_code == 2
    assert "--alternative: " in result.output


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        made = alternative(text)
        assert made["engine"]
        assert made["model"]
        assert made.keys() <= {"engine", "model", "context_tokens", "tasks"}
