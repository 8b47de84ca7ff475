"""How fast many adapters are in one batch: the engines loom and llama_cpp, each as its process is run, in one run.

Eight requests of 64 prompt tokens and 48 answer tokens, on eight adapters of rank 16 and on the base model; one stream; prompts
alone; an adapter loaded while the engine runs; 64 adapters over 16 places; memory with 32 adapters. Every prompt is new, so
nothing is found in a cache; the end token is forbidden, so every answer has its length. Medians of `--runs` runs, with the
least and the most beside them. Writes `benchmarks/results/adapters.json`.

Run: python -m benchmarks.adapters [--runs 5] [--engines loom llama_cpp] [--threads 2] [--model FILE]
"""

import argparse
import asyncio
import hashlib
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks import report
from charkha.serve.engines import llama_cpp, loom
from charkha.serve.engines.models import find_model
from charkha.testing.engine_process import TOKEN, RunningEngine, running_engine
from charkha.testing.tiny import make_tiny_adapter

PLUGINS: dict[str, Any] = {"loom": loom, "llama_cpp": llama_cpp}
REQUESTS, PROMPT, ANSWER, RANK = 8, 64, 48, 16
SLOTS, MANY, RESIDENT = 16, 64, 32
END = 2

Adapter = tuple[str, Path]


class Bench:
    """One engine's process, and what is asked of it."""

    def __init__(self, engine: RunningEngine, session: aiohttp.ClientSession) -> None:
        self._engine, self._session = engine, session
        self._draw = random.Random(0)

    async def load(self, adapters: Sequence[Adapter]) -> float:
        """Load adapters one after the other; the seconds of the last."""
        took = 0.0
        for digest, path in adapters:
            content = path.read_bytes()
            began = time.perf_counter()
            async with self._session.put(f"{self._engine.url}/adapters/{digest}", data=content) as response:
                assert response.status == 200, await response.text()
            took = time.perf_counter() - began
        return took

    async def ask(self, adapter: str | None = None, prompt: int = PROMPT, answer: int = ANSWER) -> int:
        """One completion; how many tokens came."""
        uses = [{"id": adapter, "weight": 1.0}] if adapter else []
        tokens = [self._draw.randrange(500, 40_000) for _ in range(prompt)]
        body = {"prompt": tokens, "max_tokens": answer, "temperature": 0, "logit_bias": {END: -100}, "adapters": uses}
        async with self._session.post(f"{self._engine.url}/v1/completions", json=body) as response:
            told = await response.json()
            assert response.status == 200, told
            return int(told["usage"]["completion_tokens"])

    async def together(self, adapters: Sequence[str | None], **sizes: int) -> float:
        """Answer tokens a second of requests that start together, one for each adapter (None: the base model)."""
        began = time.perf_counter()
        counts = await asyncio.gather(*(self.ask(adapter, **sizes) for adapter in adapters))
        return sum(counts) / (time.perf_counter() - began)

    async def steadily(self, adapters: Sequence[str]) -> float:
        """Answer tokens a second when REQUESTS clients work off one request for each adapter."""
        waiting, began = list(adapters), time.perf_counter()

        async def client() -> int:
            count = 0
            while waiting:
                count += await self.ask(waiting.pop())
            return count

        counts = await asyncio.gather(*(client() for _ in range(REQUESTS)))
        return sum(counts) / (time.perf_counter() - began)

    async def prefill(self) -> float:
        """Prompt tokens a second, eight prompts at a time."""
        began = time.perf_counter()
        await asyncio.gather(*(self.ask(answer=1) for _ in range(REQUESTS)))
        return REQUESTS * PROMPT / (time.perf_counter() - began)

    async def hot_load(self, adapter: Adapter, warm: str) -> float:
        """Milliseconds until a new adapter has answered, over those of the same answer by one that is warm."""
        began = time.perf_counter()
        await self.ask(warm, answer=1)
        usual = time.perf_counter() - began
        digest, path = adapter
        content = path.read_bytes()
        began = time.perf_counter()
        async with self._session.put(f"{self._engine.url}/adapters/{digest}", data=content) as response:
            assert response.status == 200, await response.text()
        await self.ask(digest, answer=1)
        took = time.perf_counter() - began - usual
        async with self._session.delete(f"{self._engine.url}/adapters/{digest}") as response:
            assert response.status == 200
        return took * 1000

    def rss_mb(self) -> float:
        """Memory of the engine's process and its children."""
        return sum(_rss(pid) for pid in _family(self._engine.process.pid)) / 2**20


async def measured(runs: int, measure: Callable[[], Awaitable[float]]) -> list[float]:
    """The figures of `runs` runs, after one that warms up."""
    await measure()
    return [await measure() for _ in range(runs)]


async def of_engine(name: str, bench: Bench, adapters: Sequence[Adapter], runs: int) -> dict[str, list[float]]:
    """All figures of one engine, each as its runs gave it."""
    names = [digest for digest, _ in adapters]
    await bench.load(adapters[:REQUESTS])
    found = {
        "mixed_8_tokens_per_second": await measured(runs, lambda: bench.together(names[:REQUESTS])),
        "base_8_tokens_per_second": await measured(runs, lambda: bench.together([None] * REQUESTS)),
        "single_tokens_per_second": await measured(runs, lambda: bench.together([None])),
        "prefill_tokens_per_second": await measured(runs, bench.prefill),
        "hot_load_ms": await measured(runs, lambda: bench.hot_load(adapters[-1], names[0])),
    }
    await bench.load(adapters[REQUESTS:RESIDENT])
    await bench.steadily(names[:RESIDENT])
    found["rss_mb"] = [bench.rss_mb()]
    if name == "loom":
        await bench.load(adapters[RESIDENT:MANY])
        fitting = await measured(runs, lambda: bench.steadily(names[:SLOTS] * (MANY // SLOTS)))
        crowded = await measured(runs, lambda: bench.steadily(names[:MANY]))
        found["fitting_tokens_per_second"], found["oversubscribed_tokens_per_second"] = fitting, crowded
    return found


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of all engines, one after the other."""
    with tempfile.TemporaryDirectory(prefix="charkha-adapters-") as scratch:
        home = Path(scratch)
        model = find_model(options.model, home / "models").path
        adapters = [_adapter(home / f"{seed}.gguf", model, seed) for seed in range(MANY + 1)]
        results: dict[str, Any] = {}
        for name in options.engines:
            settings = {"parallel": REQUESTS, "threads": options.threads, "context": 512}
            settings |= {"warm_ranks": SLOTS * RANK} if name == "loom" else {"convert": True}
            with running_engine(home, model, PLUGINS[name], name=name, seconds=300, **settings) as engine:
                headers = {"Authorization": f"Bearer {TOKEN}"}
                async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(600)) as session:
                    found = await of_engine(name, Bench(engine, session), adapters, options.runs)
            results |= _told("" if name == "loom" else f"{name}_", found)
    return {**results, "runs": options.runs, "threads": options.threads}


def _told(prefix: str, found: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, the ratios of them, and under `<name>_spread` the least and the most."""
    told: dict[str, Any] = {}
    for name, values in found.items():
        told[prefix + name] = round(statistics.median(values), 1)
        if len(values) > 1:
            told[f"{prefix}{name}_spread"] = [round(min(values), 1), round(max(values), 1)]
    ratios = {"mixed_over_base": ("mixed_8_tokens_per_second", "base_8_tokens_per_second")}
    ratios["oversubscribed_ratio"] = ("oversubscribed_tokens_per_second", "fitting_tokens_per_second")
    for name, (part, whole) in ratios.items():
        if part in found:
            told[prefix + name] = round(told[prefix + part] / told[prefix + whole], 3)
    return told


def _adapter(path: Path, model: Path, seed: int) -> Adapter:
    make_tiny_adapter(path, model, seed, 0.1, rank=RANK)
    return hashlib.sha256(path.read_bytes()).hexdigest(), path


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children = [int(child) for task in _tasks(pid) for child in (task / "children").read_text().split()]
    return [pid, *(each for child in children for each in _family(child))]


def _tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--engines", nargs="+", choices=list(PLUGINS), default=list(PLUGINS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--name", default="adapters", help="of the file of results")
    options = parser.parse_args(arguments)
    report.write(options.name, asyncio.run(measure(options)))


if __name__ == "__main__":
    main(sys.argv[1:])
