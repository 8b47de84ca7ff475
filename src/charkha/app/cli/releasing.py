"""Commands on what takes over: versions, rollouts, rollback."""

import click

from charkha.app.cli.connection import connect
from charkha.app.cli.lists import add_list, add_show, shown, workspace_option
from charkha.app.cli.output import json_option, print_json


@click.group()
def versions() -> None:
    """The registry of versions and their lineage."""


add_list(
    versions,
    lambda client, **query: client.versions.list(**query),
    ["id", "name", "number", "kind", "base_model", "created_at"],
    empty="No versions yet. `charkha spin` trains one.",
    filters=["name", "q", "run_id", "endpoint_id"],
)
add_show(versions, lambda client, which: client.versions.get(which), "ID|NAME@NUMBER|NAME@ALIAS")


@versions.command("lineage")
@click.argument("version")
@workspace_option
def lineage(version: str, workspace: str | None) -> None:
    """What a version was made of: run, data set version, inferences. JSON."""
    with connect(workspace) as client:
        print_json(client.versions.lineage(version))


@versions.command("alias")
@click.argument("version")
@click.argument("alias")
@workspace_option
def alias(version: str, alias: str, workspace: str | None) -> None:
    """Point NAME@ALIAS at a version."""
    with connect(workspace) as client:
        found = client.versions.get(version)
        client.aliases.set(found.name, alias, found.id)
    click.echo(f"{found.name}@{alias} is version {found.number} now.")


@click.group()
def releases() -> None:
    """Rollouts: begin, watch, cancel."""


add_list(
    releases,
    lambda client, **query: client.releases.list(**query),
    ["id", "candidate", "status", "share", "reason", "created_at"],
    empty="No rollouts yet. A candidate with better evidence begins one by itself.",
    filters=["endpoint", "candidate", "status"],
)
add_show(releases, lambda client, which: client.releases.get(which))


@releases.command("begin")
@click.argument("endpoint")
@click.argument("version")
@workspace_option
@json_option
def begin(endpoint: str, version: str, workspace: str | None, as_json: bool) -> None:
    """Begin a rollout of a version on an endpoint; live feedback decides each step."""
    with connect(workspace) as client:
        shown(client.releases.begin(endpoint=endpoint, version=version), as_json)


@releases.command("cancel")
@click.argument("release_id")
@click.option("--reason", default="asked for", show_default=True)
@workspace_option
@json_option
def cancel(release_id: str, reason: str, workspace: str | None, as_json: bool) -> None:
    """Stop a rollout and go back to the baseline."""
    with connect(workspace) as client:
        shown(client.releases.cancel(release_id, reason=reason), as_json)


@releases.command("promote")
@click.argument("release_id")
@click.option("--reason", required=True, help="Why the evidence is overridden; the audit trail keeps it.")
@workspace_option
@json_option
def promote(release_id: str, reason: str, workspace: str | None, as_json: bool) -> None:
    """Promote against or without evidence. Needs the permission release.promote."""
    with connect(workspace) as client:
        shown(client.releases.promote(release_id, reason=reason), as_json)


@click.command()
@click.argument("endpoint", metavar="ENDPOINT")
@click.option("--reason", default="asked for", show_default=True)
@workspace_option
@json_option
def rollback(endpoint: str, reason: str, workspace: str | None, as_json: bool) -> None:
    """Go back to the last good plan of an endpoint; returns when every gateway process serves it."""
    with connect(workspace) as client:
        answer = client.endpoints.rollback(endpoint, reason=reason)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"Rolled back on {len(answer.gateways)} gateway processes in {answer.milliseconds:.0f} ms.")
