"""Commands on what is learned from: feedback, data sets, training and its policies, evaluation."""

from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from charkha.app.cli.connection import connect
from charkha.app.cli.lists import add_list, add_show, shown, workspace_option
from charkha.app.cli.output import cell, json_option, print_json
from charkha.client import Charkha
from charkha.client.types import Run


@click.group()
def feedback() -> None:
    """What people think of answers."""


add_list(
    feedback,
    lambda client, **query: client.feedback.list(**query),
    ["id", "kind", "inference_id", "value", "text", "created_at"],
    empty="No feedback yet. Give some: charkha feedback give INFERENCE --thumb up",
    filters=["inference_id", "episode_id", "kind", "since", "until"],
)


@feedback.command("give")
@click.argument("inference_id")
@click.option("--thumb", type=click.Choice(["up", "down"]))
@click.option("--score", type=click.FloatRange(0, 1), help="0 (bad) to 1 (good).")
@click.option("--comment")
@click.option("--correction", help="What the answer should have been.")
@click.option("--metric", nargs=2, type=(str, float), help="A name and a number.")
@click.option("--idempotency-key", help="Sent twice under one key it counts once.")
@workspace_option
@json_option
def give(inference_id: str, idempotency_key: str | None, workspace: str | None, as_json: bool, **given: Any) -> None:
    """Give feedback on an answer, one kind at a time."""
    chosen = {kind: value for kind, value in given.items() if value is not None}
    if len(chosen) != 1:
        raise click.UsageError("Give exactly one of --thumb, --score, --comment, --correction, --metric.")
    kind, value = next(iter(chosen.items()))
    with connect(workspace) as client:
        made = client.feedback.give(
            kind, inference_id=inference_id, idempotency_key=idempotency_key, **_fields(kind, value)
        )
    shown(made, as_json)


def _fields(kind: str, value: Any) -> dict[str, Any]:
    """What is sent for one kind of feedback."""
    match kind:
        case "thumb":
            return {"value": value == "up"}
        case "metric":
            return {"name": value[0], "value": value[1]}
        case "score":
            return {"value": value}
        case _:
            return {"text": value}


@click.group()
def datasets() -> None:
    """Data sets and their immutable versions."""


add_list(
    datasets,
    lambda client, **query: client.datasets.list(**query),
    ["id", "name", "versions", "examples", "updated_at"],
    empty="No data sets. Upload one: charkha datasets upload NAME FILE.jsonl",
    filters=["q"],
)
add_show(datasets, lambda client, which: client.datasets.version(which), "VERSION_ID")


@datasets.command("upload")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@workspace_option
@json_option
def upload(name: str, file: Path, workspace: str | None, as_json: bool) -> None:
    """Store a JSON-lines file as a version; the same content again is the same version."""
    from charkha.data.connectors.choice import choose

    examples = choose(file).examples
    with connect(workspace) as client:
        shown(client.datasets.upload(name, [msgspec.to_builtins(example) for example in examples]), as_json)


@datasets.command("versions")
@click.argument("dataset_id")
@workspace_option
@json_option
def dataset_versions(dataset_id: str, workspace: str | None, as_json: bool) -> None:
    """Versions of a data set, newest first."""
    from charkha.app.cli.output import show_page

    with connect(workspace) as client:
        page = client.datasets.versions(dataset_id)
    show_page(page, ["id", "number", "examples", "digest", "created_at"], as_json=as_json, empty="No versions.")


@datasets.command("export")
@click.argument("version_id")
@click.argument("file", type=click.File("wb"))
@workspace_option
def export(version_id: str, file: BinaryIO, workspace: str | None) -> None:
    """Write every example of a version as JSON lines to FILE (-: standard output); upload takes them back."""
    with connect(workspace) as client:
        file.write(client.datasets.content(version_id))


@click.group()
def policies() -> None:
    """When training starts by itself."""


add_show(policies, lambda client, which: client.policies.get(client.endpoints.get(which).id), "ENDPOINT")


@policies.command("set")
@click.argument("endpoint")
@click.option("--minimum-examples", type=click.IntRange(2), required=True, help="New lessons before a run begins.")
@click.option("--off", is_flag=True, help="Train no more by itself.")
@workspace_option
@json_option
def set_policy(endpoint: str, minimum_examples: int, off: bool, workspace: str | None, as_json: bool) -> None:
    """Train the next version of an endpoint whenever enough new lessons have come."""
    with connect(workspace) as client:
        found = client.endpoints.get(endpoint)
        shown(client.policies.set(found.id, minimum_examples=minimum_examples, enabled=not off), as_json)


@click.group()
def runs() -> None:
    """Training runs: start, watch, cancel."""


add_list(
    runs,
    lambda client, **query: client.runs.list(**query),
    ["id", "recipe", "status", "step", "steps", "error", "created_at"],
    empty="No runs. Start one: charkha runs start DATASET_VERSION_ID --endpoint NAME",
    filters=["endpoint_id", "dataset_version_id", "status"],
)
add_show(runs, lambda client, which: client.runs.get(which))


@runs.command("start")
@click.argument("dataset_version_id")
@click.option("--endpoint", required=True, help="The endpoint that it is to improve.")
@click.option("--recipe", default="sft", show_default=True)
@click.option("--set", "values", multiple=True, metavar="KEY=VALUE", help="A value of the recipe's configuration.")
@click.option("--seed", type=int, default=0, show_default=True)
@workspace_option
@json_option
def start_run(
    dataset_version_id: str,
    endpoint: str,
    recipe: str,
    values: tuple[str, ...],
    seed: int,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Queue a run on a data set version."""
    config = dict(_pair(value) for value in values)
    with connect(workspace) as client:
        endpoint_id = client.endpoints.get(endpoint).id
        made = client.runs.start(
            dataset_version_id=dataset_version_id, endpoint_id=endpoint_id, recipe=recipe, seed=seed, **config
        )
    shown(made, as_json)


def _pair(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator:
        raise click.UsageError(f"'{text}' is not KEY=VALUE, such as rank=8.")
    try:
        return key, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return key, value


@runs.command("watch")
@click.argument("run_id")
@workspace_option
@json_option
def watch(run_id: str, workspace: str | None, as_json: bool) -> int:
    """Follow a run until it ends. Exit status 0 if it succeeded."""
    with connect(workspace) as client:
        ended = _follow(client, run_id, as_json)
    return 0 if ended.status == "succeeded" else 1


def _follow(client: Charkha, run_id: str, as_json: bool) -> Run:
    from charkha.app.spin.screen import Screen, duration

    with Screen(quiet=as_json) as screen:
        with screen.stage(f"Run {run_id[:8]}") as bar:
            for event in client.runs.follow(run_id):
                if as_json:
                    print_json(event)
                bar.at(event.get("step") or 0, event.get("steps"), f"{duration(event.get('seconds_left'))} left")
        run = client.runs.get(run_id)
        (screen.done if run.status == "succeeded" else screen.failed)(f"Run {run_id[:8]}", run.error or run.status)
    return run


@runs.command("log")
@click.argument("run_id")
@workspace_option
@json_option
def run_log(run_id: str, workspace: str | None, as_json: bool) -> None:
    """What happened in a run, line by line, as far as it has got."""
    after: int | None = 0
    with connect(workspace) as client:
        while after is not None:
            found = client.runs.log(run_id, after=after)
            for line in found.lines:
                if as_json:
                    print_json(line)
                else:
                    click.echo(f"{cell(line.at)}  {line.text}")
            after = found.next


@runs.command("resume")
@click.argument("run_id")
@workspace_option
@json_option
def resume(run_id: str, workspace: str | None, as_json: bool) -> None:
    """Go on with a run that was cancelled or failed, from its last checkpoint."""
    with connect(workspace) as client:
        shown(client.runs.resume(run_id), as_json)


@runs.command("cancel")
@click.argument("run_id")
@workspace_option
@json_option
def cancel(run_id: str, workspace: str | None, as_json: bool) -> None:
    """Stop a run; its last checkpoint stays."""
    with connect(workspace) as client:
        shown(client.runs.cancel(run_id), as_json)


@click.group()
def suites() -> None:
    """What versions are measured on."""


add_list(
    suites,
    lambda client, **query: client.suites.list(**query),
    ["id", "name", "endpoint_id", "dataset_version_id"],
    empty="No suites. Make one: charkha suites create NAME --endpoint E --dataset-version ID",
    filters=["dataset_version_id"],
)


@suites.command("create")
@click.argument("name")
@click.option("--endpoint", required=True)
@click.option("--dataset-version", required=True, metavar="ID")
@workspace_option
@json_option
def create_suite(name: str, endpoint: str, dataset_version: str, workspace: str | None, as_json: bool) -> None:
    """Measure an endpoint's candidates on a held-out data set version, by itself from now on."""
    with connect(workspace) as client:
        endpoint_id = client.endpoints.get(endpoint).id
        shown(client.suites.create(name, endpoint_id=endpoint_id, dataset_version_id=dataset_version), as_json)


@click.group()
def evaluations() -> None:
    """Versions measured on suites."""


add_list(
    evaluations,
    lambda client, **query: client.evaluations.list(**query),
    ["id", "suite_id", "candidate_version_id", "incumbent_version_id", "status", "created_at"],
    empty="No evaluations. Each candidate of an endpoint with a suite gets one by itself.",
    filters=["suite_id", "candidate_version_id", "status"],
)
add_show(evaluations, lambda client, which: client.evaluations.get(which))


@evaluations.command("start")
@click.argument("suite_id")
@click.argument("candidate", metavar="VERSION")
@click.option("--against", metavar="VERSION", help="The version to compare it with.")
@workspace_option
@json_option
def start_evaluation(suite_id: str, candidate: str, against: str | None, workspace: str | None, as_json: bool) -> None:
    """Measure a version (id, name@number or name@alias) on a suite."""
    with connect(workspace) as client:
        made = client.evaluations.start(
            suite_id=suite_id,
            candidate_version_id=client.versions.get(candidate).id,
            incumbent_version_id=client.versions.get(against).id if against else None,
        )
    shown(made, as_json)
