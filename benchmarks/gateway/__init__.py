"""What the gateway does in a second, what it adds to a request, and what it costs: `make bench-gateway`.

Everything is on: key check, permission, limits in three measures with a price, routing, the durable spool, metrics. The
gateway is `charkha api`, on one core, with its own PostgreSQL; a mock upstream and the load share another core. Beside it
run a bare floor (what a proxy in Python has to do at the least) and the peers that are found. `results/gateway.json` is
the result, `results/gateway.svg` its picture.
"""

from collections.abc import Sequence


def main(arguments: Sequence[str] = ()) -> None:
    """Measure everything; `python -m benchmarks gateway` calls it. See `command`."""
    from benchmarks.gateway import command  # its parts are processes, which do not need what the whole needs

    command.main(arguments)
