"""Commands that look after an installation: doctor, settings, migration, backup, restore."""

import sys
from pathlib import Path

import click

from charkha.app import settings
from charkha.app.cli.output import json_option, print_json, table
from charkha.app.installation import Installation

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "wrong": ("✗", "red")}


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Look for what is wrong, and say what to do. Exit status 1 if something is."""
    from charkha.app.doctor import examine

    findings = []
    for finding in examine(Installation(settings.load())):
        findings.append(finding)
        if not as_json:
            sign, colour = _MARKS[finding.mark]
            click.secho(f"{sign} ", fg=colour, nl=False)
            click.echo(f"{finding.what:<12} {finding.told} {finding.remedy}".rstrip())
    if as_json:
        print_json(findings)
    return 1 if any(finding.mark == "wrong" for finding in findings) else 0


@click.command()
@json_option
def config(as_json: bool) -> None:
    """Every setting: its value, where it comes from, what it does. Secrets are masked."""
    from charkha.app.settings_table import describe

    rows = [
        {"key": row.key, "value": row.value, "source": row.source, "description": row.description}
        for row in describe(settings.load())
    ]
    if as_json:
        print_json(rows)
    else:
        table(rows, ["key", "value", "source", "description"])


@click.command()
@click.option("--first-run", is_flag=True, help="Also make the first workspace and keys, where there are none.")
@click.option("--print-roles", is_flag=True, help="Print the SQL that prepares a PostgreSQL of your own, and stop.")
def migrate(first_run: bool, print_roles: bool) -> None:
    """Bring the database to the newest revision, and prove that workspaces are apart."""
    if print_roles:
        from charkha.kit.postgres.roles import roles_sql

        click.echo(roles_sql(owner_password="CHANGE-ME", login_password="CHANGE-ME-TOO"), nl=False)  # noqa: S106
        return
    from charkha.app.preparation import prepare

    revision = prepare(Installation(settings.load()), first_run=first_run)
    click.echo(f"The database is at revision {revision}.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@json_option
def backup(file: Path | None, as_json: bool) -> None:
    """Write everything, keys included, to one file (default: in the home's folder of backups). Keep it safe: it opens all."""
    from charkha.app.backup import backup as write
    from charkha.app.backup_folder import BackupFolder

    installation = Installation(settings.load())
    folder = BackupFolder(installation.home)
    with folder.reserve() as reservation:
        if file is None:
            target = Path(folder.begin(reservation.name).file)
            manifest = folder.make(installation, reservation.name, _progress)
        else:
            target, manifest = file, write(installation, file, _progress)
    if as_json:
        print_json({"file": str(target), "bytes": target.stat().st_size, "files": len(manifest["sha256"])})
    else:
        click.echo(f"\r{target}: {target.stat().st_size / 2**20:.1f} MiB, {len(manifest['sha256'])} files.{'':<40}")


@click.group()
def backups() -> None:
    """Backups in the home's own folder: list, verify. `charkha backup` makes one."""


@backups.command("list")
@json_option
def list_backups(as_json: bool) -> None:
    """All of them, newest first, with one that is being made."""
    from charkha.app.backup_folder import BackupFolder

    found = BackupFolder(settings.load().home).listed()
    if as_json:
        print_json(found)
    elif found:
        columns = ["name", "status", "bytes", "verified", "error", "remedy"]
        table([{column: getattr(each, column) for column in columns} for each in found], columns)
    else:
        click.echo("No backups here. Make one: charkha backup")


@backups.command("verify")
@click.argument("name")
@json_option
def verify_backup(name: str, as_json: bool) -> int:
    """Check every file of a backup against its checksum. Exit status 1 if one is damaged."""
    from charkha.app.backup_folder import BackupFolder

    checked = BackupFolder(settings.load().home).check(name, _progress)
    if as_json:
        print_json(checked)
    else:
        click.echo(f"\r{checked.file}: {checked.error or 'every file is what it was'}{'':<40}")
    return 0 if checked.verified else 1


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def restore(file: Path, as_json: bool) -> None:
    """Make an empty home (CHARKHA_HOME) from a backup. Then: charkha up"""
    from charkha.app.backup import restore as read

    installation = Installation(settings.load())
    manifest = read(installation, file, _progress)
    if as_json:
        print_json({"home": str(installation.home), "made_at": manifest["made_at"]})
    else:
        click.echo(f"\r{installation.home} is as it was at {manifest['made_at']}. Start it: charkha up{'':<20}")


def _progress(name: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r  {name[:70]:<72}", nl=False, err=True)
