"""Commands on what serves: endpoints, adapters, the log of requests, and one question to a model."""

from pathlib import Path
from typing import Any

import click
import msgspec

from charkha.app.cli.connection import connect
from charkha.app.cli.lists import add_list, add_show, assigned, shown, workspace_option
from charkha.app.cli.output import json_option, print_json, table
from charkha.app.cli.ways import ways_options
from charkha.client.types import AdapterState, Page


@click.group()
def endpoints() -> None:
    """Names that applications call, and how their traffic is shared."""


add_list(
    endpoints,
    lambda client, **query: client.endpoints.list(**query),
    ["id", "name", "keeps_content", "created_at"],
    empty="No endpoints. Make one: charkha endpoints create NAME, or turn the wheel: charkha spin",
)
add_show(endpoints, lambda client, which: client.endpoints.get(which), "NAME|ID")


@endpoints.command("create")
@click.argument("name")
@click.option("--model", help="Model to serve. Default: the embedded one.")
@click.option("--system-prompt", help="Put before every conversation that brings none.")
@click.option("--prompt", help="A version of a prompt to speak with: NAME@N, or NAME for the newest.")
@click.option("--label", "labels", multiple=True, help="A class that answers are to be one of; repeat it.")
@click.option("--max-tokens", type=int, help="Tokens of an answer, where a request does not say.")
@click.option("--no-content", is_flag=True, help="Keep neither messages nor answers in the log.")
@click.option("--engine", help="Engine of the model. Default: the one that brings it along.")
@ways_options
@workspace_option
@json_option
def create_endpoint(
    name: str,
    model: str | None,
    system_prompt: str | None,
    prompt: str | None,
    labels: tuple[str, ...],
    max_tokens: int | None,
    no_content: bool,
    engine: str | None,
    ways: dict[str, Any],
    workspace: str | None,
    as_json: bool,
) -> None:
    """Make an endpoint with one variant that gets all traffic."""
    parameters = {"max_tokens": max_tokens} if max_tokens else {}
    fields = {
        "name": "base",
        "engine": engine,
        "model": model,
        "system_prompt": system_prompt,
        "parameters": parameters,
        "prompt": prompt,
    }
    variant = ways | {key: value for key, value in fields.items() if value is not None}
    with connect(workspace) as client:
        made = client.endpoints.create(name, variant=variant, labels=labels or None, keeps_content=not no_content)
    shown(made, as_json)


@endpoints.command("content")
@click.argument("endpoint", metavar="NAME|ID")
@click.argument("choice", type=click.Choice(["on", "off"]))
@workspace_option
@json_option
def content(endpoint: str, choice: str, workspace: str | None, as_json: bool) -> None:
    """Keep messages and answers in the log, or not."""
    with connect(workspace) as client:
        shown(client.endpoints.update(endpoint, keeps_content=choice == "on"), as_json)


@endpoints.command("plans")
@click.argument("endpoint", metavar="NAME|ID")
@workspace_option
@json_option
def plans(endpoint: str, workspace: str | None, as_json: bool) -> None:
    """How traffic was shared, newest first."""
    with connect(workspace) as client:
        page = client.endpoints.plans(endpoint)
    if as_json:
        print_json(page)
    else:
        rows = [
            {"number": p.number, "reason": p.reason, "created_at": p.created_at, "shares": _shares(p)}
            for p in page.data
        ]
        table(rows, ["number", "shares", "reason", "created_at"])


def _shares(plan: Any) -> str:
    return " + ".join(f"{share.share} % {str(share.variant_id)[-6:]}" for share in plan.shares)


@endpoints.command("delete")
@click.argument("endpoint", metavar="NAME|ID")
@click.confirmation_option(prompt="Stop serving it?")
@workspace_option
def delete_endpoint(endpoint: str, workspace: str | None) -> None:
    """Stop serving an endpoint; its history stays."""
    with connect(workspace) as client:
        client.endpoints.delete(endpoint)
    click.echo("Deleted.")


@click.group()
def adapters() -> None:
    """Adapters: list, blend."""


add_list(
    adapters,
    lambda client, **query: _flat(client.adapters.list(**query)),
    ["id", "name", "number", "base_model", "engines"],
    empty="No adapters. `charkha spin` trains one.",
    filters=["name"],
)


def _flat(page: Page[AdapterState]) -> Page[dict[str, Any]]:
    """Each version with the engines' states beside its fields, as a table wants it."""
    return Page([{**msgspec.to_builtins(each.version), "engines": each.engines} for each in page.data], page.next)


@adapters.command("upload")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--base", required=True, metavar="VERSION", help="The base version that it was trained on.")
@workspace_option
@json_option
def upload_adapter(name: str, file: Path, base: str, workspace: str | None, as_json: bool) -> None:
    """Register an adapter that was trained elsewhere (GGUF)."""
    with connect(workspace) as client:
        shown(client.adapters.upload(file.read_bytes(), name=name, base=base), as_json)


@adapters.command("blend")
@click.argument("endpoint", metavar="NAME|ID")
@click.argument("parts", nargs=-1, required=True, metavar="VERSION=WEIGHT...")
@workspace_option
@json_option
def blend(endpoint: str, parts: tuple[str, ...], workspace: str | None, as_json: bool) -> None:
    """Serve a blend: charkha adapters blend NAME task@1=0.7 task@2=0.3"""
    with connect(workspace) as client:
        chosen = []
        for part in parts:
            name, separator, weight = part.rpartition("=")
            if not separator:
                raise click.UsageError(f"'{part}' is not VERSION=WEIGHT, such as task@1=0.7.")
            chosen.append({"version": name, "weight": float(weight)})
        answer = client.endpoints.blend(endpoint, chosen)
    shown(answer, as_json)


@click.group()
def inferences() -> None:
    """The log of requests."""


add_list(
    inferences,
    lambda client, **query: client.inferences.list(**query),
    ["id", "started_at", "model", "status", "duration_ms", "prompt_tokens", "completion_tokens"],
    empty="No requests yet. Send one: charkha chat smollm2-135m-instruct 'Hello'",
    filters=[
        *("endpoint_id", "variant_id", "version_id", "status", "model", "error_code", "purpose", "episode_id"),
        *("subject_id", "cache", "failed", "min_duration_ms", "since", "until", "q"),
    ],
)
add_show(inferences, lambda client, which: client.inferences.get(which.removeprefix("chatcmpl-")))


@inferences.command("stats")
@click.option("--endpoint", help="Of this endpoint only: its name or id.")
@click.option("--since", help="Not before this instant, as in 2026-11-21T00:00:00Z; a day ago if absent.")
@click.option("--until", help="Before this instant.")
@click.option("--newest", type=click.IntRange(1, 1_000_000), help="Only of so many requests, the newest.")
@json_option
def inference_stats(
    endpoint: str | None, since: str | None, until: str | None, newest: int | None, as_json: bool
) -> None:
    """Requests, errors, latency and tokens of each variant."""
    with connect() as client:
        of = client.endpoints.get(endpoint).id if endpoint else None
        found = client.inferences.stats(endpoint_id=of, since=since, until=until, newest=newest)
    if as_json:
        print_json(found)
    elif found:
        rows = [msgspec.to_builtins(each) for each in found]
        table(rows, ["variant_id", "requests", "errors", "p50_ms", "p95_ms", "prompt_tokens", "completion_tokens"])
    else:
        click.echo("No requests in this time.")


@click.command()
@click.argument("model")
@click.argument("question")
@click.option("--max-tokens", type=int, default=128, show_default=True)
@click.option(
    "--var", "values", multiple=True, metavar="NAME=VALUE", help="A value for the endpoint's prompt; repeat it."
)
@workspace_option
@json_option
def chat(
    model: str, question: str, max_tokens: int, values: tuple[str, ...], workspace: str | None, as_json: bool
) -> None:
    """Ask a model, an endpoint, or a version such as task@3."""
    more: dict[str, Any] = {"variables": dict(assigned(each) for each in values)} if values else {}
    with connect(workspace) as client:
        answer = client.ask(model, [{"role": "user", "content": question}], max_tokens=max_tokens, **more)
    if as_json:
        print_json(answer)
    else:
        click.echo(answer.text)
        click.secho(f"inference {answer.inference_id}", dim=True, err=True)
