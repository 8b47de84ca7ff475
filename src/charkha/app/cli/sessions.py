"""Commands on the console's sign-in: a link into it, and the sessions of those who are signed in."""

import webbrowser

import click

from charkha.app.cli.connection import address, connect
from charkha.app.cli.lists import add_list, workspace_option
from charkha.app.cli.output import json_option, print_json
from charkha.core.clock import now


@click.command()
@click.option("--open", "opens", is_flag=True, help="Open it in this system's browser.")
@json_option
def console(opens: bool, as_json: bool) -> None:
    """Print a link that signs a browser in to the console as your key: once, within 15 minutes."""
    with connect() as client:
        link = client.sessions.link()
    url = address().rstrip("/") + link.path
    if as_json:
        print_json({"url": url, "expires_at": link.expires_at})
    else:
        click.echo(url)
        minutes = round((link.expires_at - now()).total_seconds() / 60)
        click.echo(f"It signs one browser in, once, within {minutes} minutes.", err=True)
    if opens and not webbrowser.open(url):
        click.echo("No browser could be opened here: open the link yourself.", err=True)


@click.group()
def sessions() -> None:
    """Who is signed in to the console: list, revoke."""


add_list(
    sessions,
    lambda client, **query: client.sessions.list(**query),
    ["id", "key_name", "key_hint", "user_agent", "created_at", "expires_at", "revoked_at"],
    empty="Nobody has signed in yet. A link into the console: charkha console",
)


@sessions.command("revoke")
@click.argument("session_id")
@workspace_option
@json_option
def revoke_session(session_id: str, workspace: str | None, as_json: bool) -> None:
    """End a session: its browser is signed out."""
    with connect(workspace) as client:
        answer = client.sessions.revoke(session_id)
    if as_json:
        print_json(answer)
    else:
        click.echo("Ended. It is refused everywhere within two seconds.")
