"""Commands on prompts. People write them as files, in YAML or JSON; `show` prints that same form."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from charkha.app.cli.connection import connect
from charkha.app.cli.lists import add_list, assigned, shown, workspace_option
from charkha.app.cli.output import json_option, page_options, print_json, show_page, table
from charkha.client import Charkha, prompting
from charkha.core.errors import Invalid

_FIELDS = ("name", "description", "note", "messages", "variables", "tests")
_MARKS = {"+": "green", "-": "red", "@": "cyan"}


@click.group()
def prompts() -> None:
    """Prompts: templates with versions, which endpoints' variants speak with."""


add_list(
    prompts,
    lambda client, **query: client.prompts.list(**query),
    ["id", "name", "newest", "description", "created_at"],
    empty="No prompts. Make one: charkha prompts create greeting.yaml",
)


@prompts.command("versions")
@click.argument("prompt", metavar="NAME")
@page_options
@workspace_option
@json_option
def versions(prompt: str, after: str | None, limit: int, workspace: str | None, as_json: bool) -> None:
    """The versions of a prompt, newest first, with how their last tests ended."""
    with connect(workspace) as client:
        page = client.prompts.versions(prompt, after=after, limit=limit)
    if as_json:
        print_json(page)
        return
    rows = [{**msgspec.structs.asdict(each), "tests": _ended(each.last_test)} for each in page.data]
    show_page(
        msgspec.structs.replace(page, data=rows),
        ["number", "note", "tests", "author", "created_at"],
        as_json=False,
        empty="No older versions.",
    )


@prompts.command("show")
@click.argument("reference", metavar="NAME[@N]")
@workspace_option
@json_option
def show(reference: str, workspace: str | None, as_json: bool) -> None:
    """A version, or the newest one with the tests, in the form of a file."""
    with connect(workspace) as client:
        name, number = _reference(reference)
        found = client.prompts.get(name) if number is None else client.prompts.version(name, number)
    if as_json:
        print_json(found)
    else:
        click.echo(_as_file(found), nl=False)


@prompts.command("create")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="Instead of the name in the file.")
@click.option("--note", help="Instead of the note in the file.")
@workspace_option
@json_option
def create(file: Path, name: str | None, note: str | None, workspace: str | None, as_json: bool) -> None:
    """Make a prompt of a file: name, messages, and perhaps variables, description, note, tests."""
    told = _read(file, name=name, note=note)
    with connect(workspace) as client:
        made = client.prompts.create(
            told["name"], **_version(told), description=told.get("description", ""), note=told.get("note", "")
        )
        made = client.prompts.set_tests(made.id, told["tests"]) if told.get("tests") else made
    shown(made, as_json)


@prompts.command("new-version")
@click.argument("prompt", metavar="NAME")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--note", help="What changed. Instead of the note in the file.")
@workspace_option
@json_option
def new_version(prompt: str, file: Path, note: str | None, workspace: str | None, as_json: bool) -> None:
    """Add a version to a prompt, from a file; tests in the file replace the prompt's."""
    told = _read(file, name=prompt, note=note)
    with connect(workspace) as client:
        made = client.prompts.add_version(prompt, **_version(told), note=told.get("note", ""))
        if told.get("tests"):
            client.prompts.set_tests(prompt, told["tests"])
    shown(made, as_json)


@prompts.command("tests")
@click.argument("prompt", metavar="NAME")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@workspace_option
@json_option
def tests(prompt: str, file: Path, workspace: str | None, as_json: bool) -> None:
    """Replace the tests of a prompt by those of a file."""
    told = _read(file, name=prompt, note=None, needed="tests")
    with connect(workspace) as client:
        changed = client.prompts.set_tests(prompt, told["tests"])
    if as_json:
        print_json(changed)
    else:
        click.echo(f"{len(changed.tests)} tests.")


@prompts.command("render")
@click.argument("reference", metavar="NAME[@N]")
@click.option("--var", "values", multiple=True, metavar="NAME=VALUE", help="A value; repeat it.")
@workspace_option
@json_option
def render(reference: str, values: tuple[str, ...], workspace: str | None, as_json: bool) -> None:
    """What a version says with values. Nothing is asked."""
    given = dict(assigned(each) for each in values)
    with connect(workspace) as client:
        messages = client.prompts.render(*_version_of(client, reference), given)
    if as_json:
        print_json(messages)
        return
    for message in messages:
        click.secho(message["role"], bold=True)
        click.echo(message["content"])


@prompts.command("diff")
@click.argument("prompt", metavar="NAME")
@click.argument("before", type=int)
@click.argument("after", type=int)
@workspace_option
@json_option
def diff(prompt: str, before: int, after: int, workspace: str | None, as_json: bool) -> None:
    """What changed from one version to another: charkha prompts diff greeting 1 3"""
    with connect(workspace) as client:
        found = client.prompts.diff(prompt, before, after)
    if as_json:
        print_json(found)
        return
    for line in _told(found):
        click.secho(line, fg=_MARKS.get(line[:1]))


@prompts.command("test")
@click.argument("reference", metavar="NAME[@N]")
@click.argument("model")
@click.option("--max-tokens", type=int, default=512, show_default=True, help="Tokens of an answer at most.")
@workspace_option
@json_option
def test(reference: str, model: str, max_tokens: int, workspace: str | None, as_json: bool) -> int:
    """Ask a model, a version or an endpoint's model every test of a prompt. Ends with 1 if one failed."""
    with connect(workspace) as client:
        run = client.prompts.test(*_version_of(client, reference), model, max_tokens=max_tokens)
    if as_json:
        print_json(run)
    else:
        rows = [
            {"test": each.name, "passed": each.passed, "why": "; ".join(each.reasons), "answer": each.answer}
            for each in run.results
        ]
        table(rows, ["test", "passed", "why", "answer"])
        click.echo(f"{run.passed} passed, {run.failed} failed.")
    return 1 if run.failed else 0


def _reference(text: str) -> tuple[str, int | None]:
    name, separator, number = text.partition("@")
    if not separator:
        return name, None
    if not number.isdecimal():
        raise click.UsageError(f"'{text}' is not NAME or NAME@N, such as greeting@3.")
    return name, int(number)


def _version_of(client: Charkha, reference: str) -> tuple[str, int]:
    name, number = _reference(reference)
    return name, client.prompts.get(name).newest if number is None else number


def _read(file: Path, *, name: str | None, note: str | None, needed: str = "messages") -> dict[str, Any]:
    """A file as the API takes it. Raises Invalid that names what is wrong; JSON is YAML too."""
    import yaml

    try:
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"{file} cannot be read: {error}", remedy="Write it as YAML or JSON.") from error
    if not isinstance(told, dict):
        raise Invalid(f"{file} holds no prompt.", remedy="See docs/prompts.md for its form.")
    told |= {field: value for field, value in (("name", name), ("note", note)) if value is not None}
    if strange := [field for field in told if field not in _FIELDS]:
        raise Invalid(f"{file} has '{strange[0]}'.", remedy=f"Known are {', '.join(_FIELDS)}.")
    if missing := [field for field in ("name", needed) if not told.get(field)]:
        raise Invalid(f"{file} has no '{missing[0]}'.", remedy="Add it; see docs/prompts.md.")
    return told


def _version(told: dict[str, Any]) -> dict[str, Any]:
    return {"messages": told["messages"], "variables": told.get("variables")}


def _as_file(found: prompting.Prompt | prompting.PromptVersion) -> str:
    """A version as YAML: texts of several lines stay as they are."""
    import yaml

    dumper = type("Dumper", (yaml.SafeDumper,), {})  # one of our own, so that others' texts stay as they are

    def text(to: yaml.SafeDumper, value: str) -> Any:
        return to.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    dumper.add_representer(str, text)  # type: ignore[attr-defined]
    version = found.version if isinstance(found, prompting.Prompt) else found
    assert version is not None, "one that was asked for has its newest version"
    fields: dict[str, Any] = {"name": version.reference.partition("@")[0]}
    if isinstance(found, prompting.Prompt) and found.description:
        fields["description"] = found.description
    fields |= {"note": version.note} if version.note else {}
    fields["messages"] = version.messages
    fields |= {"variables": [_variable(each) for each in version.variables]} if version.variables else {}
    if isinstance(found, prompting.Prompt) and found.tests:
        fields["tests"] = found.tests
    written: str = yaml.dump(fields, Dumper=dumper, sort_keys=False, allow_unicode=True, width=110)
    return written


def _variable(each: prompting.PromptVariable) -> dict[str, Any]:
    said = {"name": each.name, "default": each.default, "description": each.description or None}
    return {name: value for name, value in said.items() if value is not None}


def _told(found: prompting.Difference) -> Sequence[str]:
    """A difference line by line; the first character says what kind of line it is."""
    lines = [f"--- {found.before}", f"+++ {found.after}"]
    for each in found.messages:
        if each.change != "same":
            places = " → ".join(str(place) for place in (each.before, each.after) if place)
            lines += [f"@@ {each.role} message {places}, {each.change}", *each.unified.split("\n")[1:]]
    for variable in found.variables:
        lines.append(f"@@ variable {variable.name}, {variable.change}")
        lines += [
            f"{mark}{msgspec.json.encode(_variable(side)).decode()}"
            for mark, side in (("-", variable.before), ("+", variable.after))
            if side
        ]
    return lines


def _ended(last: prompting.TestSummary | None) -> str | None:
    return None if last is None else f"{last.passed} of {last.passed + last.failed} on {last.model}"
