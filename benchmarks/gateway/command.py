"""The command: starts what is needed, measures, writes the result and its picture."""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from benchmarks import report
from benchmarks.gateway import floors, installation, parts, peers, plot, streams
from benchmarks.gateway.measures import Plan, Run, Server, settle
from charkha.app.installation import Installation

QUICK = Plan(seconds=1.0, rounds=1, requests=5_000, idle=200, streams=1, rates=(1_000,))


def main(arguments: Sequence[str] = ()) -> None:
    """Measure everything and tell the figures."""
    options = _parser().parse_args(arguments)
    plan = QUICK if options.quick else Plan(options.seconds, requests=options.requests, idle=options.idle)
    began = time.monotonic()
    run = Run(plan, lambda line: print(f"[{time.monotonic() - began:5.0f} s] {line}", flush=True))
    cores = parts.Cores.of_machine()
    os.sched_setaffinity(0, cores.load)  # the database and the load itself; servers get their own
    streams.raise_descriptors(2 * plan.idle + 256)
    with (
        installation.directory() as scratch,
        parts.upstream(cores.load, scratch / "upstream.log") as port,
        installation.prepared(scratch, port) as installed,
    ):
        uvloop.run(installation.furnish(installed))
        _one_core(run, installed, port, cores, scratch)
        _peers(run, options, port, cores, scratch)
        _two_processes(run, installed, port, cores, scratch)
    seconds = round(time.monotonic() - began)
    figures = {**run.figures, "measured_seconds": plan.seconds, "run_seconds": seconds}
    if options.quick:
        print("A quick run proves that all works; its figures are not kept.")
        return
    os.sched_setaffinity(0, cores.every)  # the report tells how many there are
    report.write("gateway", figures)
    plot.write(figures)


def _one_core(run: Run, installed: Installation, port: int, cores: parts.Cores, scratch: Path) -> None:
    """What one process does with one core."""
    with (
        floors.floors(port, 1, cores.server, scratch) as (floor_target, floor_pids),
        installation.gateways(installed, 1, cores.server, scratch / "gateway.log") as (target, pids),
    ):
        direct = Server.direct(port)
        floor, gateway = Server("floor", floor_target, floor_pids), Server("gateway", target, pids)
        uvloop.run(settle())
        uvloop.run(run.throughput(direct, floor, gateway))
        uvloop.run(run.latency(direct, gateway))
        uvloop.run(run.streaming(direct, floor, gateway))
        uvloop.run(run.memory(gateway))


def _peers(run: Run, options: argparse.Namespace, port: int, cores: parts.Cores, scratch: Path) -> None:
    """The peers that are here, one after the other, with the core for themselves."""
    found, absent = peers.found(options.litellm, options.portkey)
    for line in absent:
        run.say(line)
    for peer in found:
        run.say(f"{peer.name} starts")
        with peer.start(port, cores.server, scratch) as target:
            uvloop.run(settle())
            uvloop.run(run.peer(Server(peer.name, target)))


def _two_processes(run: Run, installed: Installation, port: int, cores: parts.Cores, scratch: Path) -> None:
    """What a second process adds."""
    log = scratch / "gateways.log"
    with (
        floors.floors(port, 1, cores.every, scratch) as floor,
        floors.floors(port, 2, cores.every, scratch) as two_floors,
        installation.gateways(installed, 1, cores.every, log) as gateway,
        installation.gateways(installed, 2, cores.every, log) as two_gateways,
    ):
        one = Server("floor", *floor), Server("gateway", *gateway)
        two = Server("floor", *two_floors), Server("gateway", *two_gateways)
        uvloop.run(settle())
        uvloop.run(run.processes(one, two))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description="Measure the gateway.")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load (default: 10)")
    parser.add_argument("--requests", type=int, default=100_000, help="between the two looks at the memory")
    parser.add_argument("--idle", type=int, default=10_000, help="idle streams to hold")
    parser.add_argument("--quick", action="store_true", help="all of it, too short for figures that mean anything")
    parser.add_argument("--litellm", metavar="VENV", help=f"where LiteLLM's proxy is installed; or {peers.LITELLM}")
    parser.add_argument("--portkey", metavar="FOLDER", help=f"where Portkey's node_modules are; or {peers.PORTKEY}")
    return parser
