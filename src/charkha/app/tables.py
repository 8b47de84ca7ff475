"""Every station's tables on one metadata: imported where the whole schema is wanted, as by `make migration`."""

from charkha.data import tables as data
from charkha.evaluate import tables as evaluate
from charkha.govern import tables as govern
from charkha.govern.limits import tables as limits
from charkha.govern.prices import tables as prices
from charkha.kit import eventlog, lineage, snapshot
from charkha.kit.db import metadata
from charkha.learn import tables as learn
from charkha.observe import tables as observe
from charkha.release import tables as release
from charkha.serve import tables as serve
from charkha.serve.prompts import tables as prompts
from charkha.serve.providers import tables as providers
from charkha.serve.routing import tables as routing

__all__ = [
    "data",
    "evaluate",
    "eventlog",
    "govern",
    "learn",
    "limits",
    "lineage",
    "metadata",
    "observe",
    "prices",
    "prompts",
    "providers",
    "release",
    "routing",
    "serve",
    "snapshot",
]
