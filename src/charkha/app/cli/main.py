"""`charkha`: the list of commands. A command's module is imported when it is called, so that help comes at once."""

import importlib
import sys
from collections.abc import Sequence

import click

from charkha import __version__

# name → (module, one line of help); the help stands here so that `charkha --help` imports none of them
COMMANDS = {
    "up": ("processes", "Start everything: PostgreSQL, engines, gateway, worker."),
    "down": ("processes", "Stop what `up` started."),
    "status": ("processes", "What runs, and which version each gateway serves."),
    "console": ("sessions", "A link into the console, for one sign-in."),
    "spin": ("spin", "Turn the wheel once on a data set, before your eyes."),
    "chat": ("serving", "Ask a model or an endpoint."),
    "endpoints": ("serving", "Names that applications call, and how their traffic is shared."),
    "engines": ("providing", "Where answers come from: list, add, key, check, remove."),
    "adapters": ("serving", "Adapters: list, blend."),
    "prompts": ("prompting", "Prompt templates: versions, tests, differences."),
    "inferences": ("serving", "The log of requests."),
    "feedback": ("learning", "What people think of answers."),
    "datasets": ("learning", "Data sets and their immutable versions."),
    "policies": ("learning", "When training starts by itself."),
    "runs": ("learning", "Training runs: start, watch, cancel."),
    "suites": ("learning", "What versions are measured on."),
    "evaluations": ("learning", "Versions measured on suites."),
    "versions": ("releasing", "The registry of versions and their lineage."),
    "releases": ("releasing", "Rollouts: begin, watch, cancel."),
    "rollback": ("releasing", "Go back to the last good plan of an endpoint, at once."),
    "keys": ("governing", "API keys: create, list, revoke."),
    "sessions": ("sessions", "Who is signed in to the console: list, revoke."),
    "workspaces": ("governing", "Workspaces of the organisation."),
    "limits": ("spending", "What a key, workspace or organisation may use."),
    "prices": ("spending", "What models cost."),
    "caches": ("caching", "Which answers are given again, and what that saves."),
    "usage": ("spending", "What was used, and what it cost."),
    "audit": ("governing", "Who did what."),
    "doctor": ("operating", "Look for what is wrong, and say what to do."),
    "config": ("operating", "Every setting: its value, where it comes from, what it does."),
    "migrate": ("operating", "Bring the database to the newest revision."),
    "backup": ("operating", "Write everything, keys included, to one file."),
    "backups": ("operating", "Backups in the home's own folder: list, verify."),
    "restore": ("operating", "Make an empty home from a backup."),
    "api": ("parts", "Run one gateway process (what `up` runs)."),
    "web": ("parts", "Run the console's process (what `up` runs)."),
    "worker": ("parts", "Run one worker (what `up` runs)."),
    "shipper": ("parts", "Ship this machine's spool (what `up` runs)."),
    "postgres": ("parts", "Run the embedded PostgreSQL (what `up` runs)."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order above."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return the command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"charkha.app.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="charkha")
def cli() -> None:
    """Charkha turns the traffic of an AI application into better models, on your own machines."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command. Errors are one line and a remedy on stderr; the exit status tells their kind."""
    try:
        status = cli.main(args=argv, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except Exception as error:
        from charkha.app.cli.output import explain

        explained = explain(error)
        if explained is None:
            raise
        sys.exit(explained)
    sys.exit(status if isinstance(status, int) else 0)
