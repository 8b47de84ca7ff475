"""`charkha up`: which parts an installation has, in which order, and what a person is told when they are up."""

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from charkha.app import forwarding, listener, settings
from charkha.app.engines import built_engines, engine_token
from charkha.app.installation import Installation
from charkha.app.settings import Settings
from charkha.app.settings_table import handed_down
from charkha.app.supervisor import Part, Supervisor
from charkha.app.supervisor_state import State
from charkha.client import ApiError, Charkha, ConnectionFailed
from charkha.core.errors import CharkhaError
from charkha.kit import telemetry
from charkha.kit.postgres import launcher
from charkha.kit.postgres.cluster import make_home

FIRST_KEY = "secrets/first-application.key"
_LINK_SECONDS = 5.0
"""How long the welcome may wait for a sign-in link: the supervisor looks after nothing meanwhile."""
_CHARKHA = [sys.executable, "-m", "charkha.app.cli"]


def parts(installation: Installation, address: tuple[str, int]) -> list[Part]:
    """Everything that `up` runs, each part after those it needs."""
    home, configured = installation.home, installation.settings
    env = {"CHARKHA_HOME": str(home), "CHARKHA_PORT": str(address[1])} | handed_down(configured, "home", "port")
    found: list[Part] = []
    if configured.embedded_database:
        argv = [sys.executable, "-m", "charkha.kit.postgres", str(home)]
        found.append(Part("postgres", argv, ready=lambda: launcher.answers(home), grace=30.0))
    found.append(Part("migrate", [*_CHARKHA, "migrate", "--first-run"], env, once=True))
    found += engine_parts(installation)
    for number in range(configured.api_processes):
        found.append(
            Part(
                f"api-{number}",
                [*_CHARKHA, "api"],
                env,
                ready=lambda: listener.answers(*address, secure=configured.tls_cert is not None),
                listens=True,
            )
        )
    pages = installation.console_socket  # made at leisure: traffic comes first
    found.append(Part("console", [*_CHARKHA, "web"], env, ready=lambda: forwarding.answers(pages), nice=5))
    found.append(Part("shipper", [*_CHARKHA, "shipper"], env, grace=10.0))
    found.append(Part("worker", [*_CHARKHA, "worker"], env, grace=20.0))
    return found


def engine_parts(installation: Installation) -> list[Part]:
    """The engine processes that are ours to run; remote engines have none."""
    found = []
    for name, engine in built_engines(installation).items():
        engine.prepare(installation.home, engine_token(installation))
        command = engine.command()
        if command is not None:
            ready = installation.home / "engine" / name / "ready.json"
            found.append(Part(f"engine-{name}", command, ready=_engine_answers(ready), ready_seconds=300.0, grace=15.0))
    return found


def _engine_answers(ready_file: Path) -> Callable[[], bool]:
    """Whether the engine that wrote `ready_file` has loaded its model; it listens long before."""

    def look() -> bool:
        if not ready_file.exists():
            return False
        port = json.loads(ready_file.read_text())["port"]
        return listener.answers("127.0.0.1", port, "/health")

    return look


def run(configured: Settings, *, turn: bool = False, announce: bool = True) -> int:
    """Start every part and stay until told to stop. With `turn`, turn the wheel once when all are up.

    `announce`: say so here when all are up; else whoever started this process does.
    """
    telemetry.configure("warning", json_lines=False)
    make_home(configured.home)
    os.umask(0o077)  # what the parts write is nobody else's; the home itself lets the server's user pass
    installation = Installation(configured)
    with Supervisor(installation.home) as supervisor:
        socket = supervisor.listen(configured.host, configured.port, secure=configured.tls_cert is not None)
        host, port = socket.getsockname()[:2]
        # Before anything is told to be ready: whoever comes too early waits at the socket.
        installation.address_file.write_text(listener.url_of(socket, secure=configured.tls_cert is not None))

        def ready(state: State) -> None:
            if announce:
                welcome(configured, state)
            if turn:
                threading.Thread(target=turn_once, args=(configured,), daemon=True).start()

        supervisor.run(parts(installation, (host, port)), on_ready=ready, on_change=_Progress())
    return 0


def turn_once(configured: Settings) -> int:
    """Turn the wheel before the user's eyes, as a process of its own on this terminal; 0 if a better version is live."""
    return subprocess.run([*_CHARKHA, "spin", "--once"], env=_environment(configured), check=False).returncode  # noqa: S603


def welcome(configured: Settings, state: State) -> None:
    """Say where it listens and how to get into the console; the first time also the key for applications, this once."""
    click.secho(f"\nCharkha is up at {state.url}", bold=True)
    path = configured.home / FIRST_KEY
    if path.exists():
        key = path.read_text().strip()
        path.unlink()
        click.echo(
            f"\nYour API key, shown this once:  {key}\n\nTry it with the official client (pip install openai):\n"
        )
        click.echo(example(str(state.url), key))
    else:
        click.echo("Everything is as you left it.")
    click.echo(f"{way_in(configured, str(state.url))}\n")


def way_in(configured: Settings, url: str) -> str:
    """How to get into the console: a link for one sign-in as the operator, or, without one, how to ask for it."""
    try:
        key = Installation(configured).operator_key_file.read_text().strip()
        with Charkha(url, key, timeout=_LINK_SECONDS) as client:
            link = client.sessions.link()
    except (OSError, ValueError, msgspec.MsgspecError, ApiError, ConnectionFailed) as error:
        return f"To the console: `charkha console` prints a sign-in link. (None was made now: {error})"
    return f"To the console, once and within 15 minutes:  {url}{link.path}"


def example(url: str, key: str) -> str:
    """A first call, to copy and paste."""
    return (
        "    from openai import OpenAI\n"
        f'    client = OpenAI(base_url="{url}/v1", api_key="{key}")\n'
        '    answer = client.chat.completions.create(model="smollm2-135m-instruct",\n'
        '        messages=[{"role": "user", "content": "What does a spinning wheel do?"}])\n'
        "    print(answer.choices[0].message.content)\n"
    )


class _Progress:
    """Shows, on a terminal, which part is coming up."""

    def __call__(self, state: State) -> None:
        if state.ready or not sys.stderr.isatty():
            return
        waiting = next((part.name for part in state.parts if part.state in ("starting", "waiting")), None)
        if waiting:
            click.echo(f"\r  starting {waiting:<20}", nl=False, err=True)


def _environment(configured: Settings) -> dict[str, str]:
    return {**os.environ, "CHARKHA_HOME": str(configured.home)}


def main() -> int:
    """`python -m charkha.app.up`: what `charkha up --detach` leaves running."""
    parser = argparse.ArgumentParser(prog="charkha up")
    parser.add_argument("--port", type=int)
    try:
        return run(settings.load(port=parser.parse_args().port), announce=False)
    except CharkhaError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
