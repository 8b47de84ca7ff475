"""Commands that run one part in the foreground: what `charkha up` starts, and what runs apart on several machines."""

import asyncio
import logging
import os
import sys

import click

from charkha.app import settings
from charkha.app.installation import Installation
from charkha.kit import telemetry


def _installation(part: str) -> Installation:
    os.umask(0o077)  # what a part writes is nobody else's
    configured = settings.load()
    telemetry.configure(configured.log_level, json_lines=configured.log_json, part=part)
    logging.getLogger("procrastinate").setLevel(logging.WARNING)  # it tells of every job twice
    return Installation(configured)


@click.command()
def api() -> None:
    """Run one gateway process."""
    from charkha.app import api as part

    part.run(_installation("api"))


@click.command()
def web() -> None:
    """Run the console's process, to which the gateways of this machine pass what is asked below /console."""
    from charkha.app import api as part

    part.run_console(_installation("console"))


@click.command()
def worker() -> None:
    """Run one worker: events, training, evaluation, rollouts."""
    from charkha.app import worker as part

    asyncio.run(part.run(_installation("worker")))


@click.command()
def shipper() -> None:
    """Ship this machine's spool to the database."""
    from charkha.app import shipping as part

    asyncio.run(part.run(_installation("shipper")))


@click.command()
def postgres() -> None:
    """Run the embedded PostgreSQL."""
    from charkha.kit.postgres import __main__ as part

    sys.argv = ["charkha postgres", str(settings.load().home)]
    raise SystemExit(part.main())
