"""The console with a million inferences and ten thousand versions: how fast its pages are, and what they cost others.

A whole installation as `charkha up` runs it, with one gateway process and an upstream that answers at once. Measured on
loopback: each page's answer (fetched thirty times, one after another), its first contentful paint and its bytes with a
cold cache in Chromium, 500 open live pages at once, and the gateway's throughput with and without ten people who open
a page every four seconds and keep a live one open. Writes `benchmarks/results/console.json`.

Run: python -m benchmarks.console [--rounds 30] [--seconds 10] [--pairs 5]
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from playwright.async_api import Browser, async_playwright

from benchmarks import report
from benchmarks.console_seed import Ground, seed
from benchmarks.gateway import load, parts
from benchmarks.gateway.installation import directory
from charkha.client import Charkha
from charkha.console.navigation import SECTIONS
from charkha.console.security import COOKIE
from charkha.kit.postgres import launcher

PEOPLE, THINK_SECONDS, LIVE_PAGES, LIVE_SECONDS = 10, 4.0, 500, 20.0
EXAMPLES = [{"input": f"How many roads, walker {number}?", "label": f"class-{number % 10}"} for number in range(1000)]


@dataclass(frozen=True)
class House:
    """The running installation: where it is, a key for applications, the console's cookie, and pages to open."""

    url: str
    key: str
    cookie: str
    pages: dict[str, str]

    def browser(self) -> httpx.AsyncClient:
        """Somebody who is signed in."""
        headers = {"cookie": f"{COOKIE}={self.cookie}", "accept-encoding": "gzip"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60, trust_env=False)


@contextlib.contextmanager
def house(home: Path, upstream: str) -> Iterator[House]:
    """Start everything, fill it, sign in; stop it afterwards."""
    engines = {"bench": {"plugin": "openai", "name": "bench", "url": f"{upstream}/v1", "api_key_env": ""}}
    env = {**os.environ, "CHARKHA_HOME": str(home), "CHARKHA_PORT": "0", "CHARKHA_ENGINES": json.dumps(engines)}
    charkha = [sys.executable, "-m", "charkha.app.cli"]
    subprocess.run([*charkha, "up", "--detach", "--json"], env=env, check=True, stdout=subprocess.DEVNULL)
    try:
        url = (home / "run" / "address").read_text().strip()
        key = (home / "secrets" / "operator.key").read_text().strip()
        pages = furnish(home, url, key)
        yield House(url, key, sign_in(url, key), pages)
    finally:
        subprocess.run([*charkha, "down"], env=env, check=True, stdout=subprocess.DEVNULL)


def furnish(home: Path, url: str, key: str) -> dict[str, str]:
    """Fill the installation; returns every page by its name."""
    with Charkha(url, key) as client:
        endpoint = client.endpoints.create("bench", variant={"engine": "bench", "model": "tiny"})
        version = client.datasets.upload("questions", EXAMPLES)
        held = client.datasets.upload("held out", EXAMPLES[:200])
        suite = client.suites.create("bench", endpoint_id=endpoint.id, dataset_version_id=held.id)
        workspace = client.workspaces.list()[0].id
    ground = Ground(workspace, endpoint.id, endpoint.live_plan_id, variant_of(endpoint), version.id, suite.id)
    print("writing a million inferences …", flush=True)
    made = seed(launcher.urls(home).migration, ground)
    pages = {place.title: place.path for _, places in SECTIONS for place in places}
    pages |= {
        "inference": f"/inferences/{made['inferences']}",
        "search": "/inferences?q=question+999000",
        "slow ones": "/inferences?min_duration_ms=3050",
        "errors": "/inferences?status=502",
        "endpoint": "/endpoints/bench",
        "review": "/feedback/review",
        "data set": f"/datasets/{version.dataset_id}",
        "data set version": f"/dataset-versions/{version.id}",
        "run": f"/runs/{made['runs']}",
        "version": f"/versions/{made['versions']}",
        "release": f"/releases/{made['rollouts']}",
    }
    return {name: f"/console/w/default{path}" for name, path in pages.items()}


def variant_of(endpoint: Any) -> UUID:
    """The id of an endpoint's only variant."""
    found: UUID = endpoint.variants[0].id
    return found


def sign_in(url: str, key: str) -> str:
    """The cookie of a new session."""
    answer = httpx.post(f"{url}/console/sign-in", data={"credential": key}, trust_env=False)
    return answer.headers["set-cookie"].partition("=")[2].partition(";")[0].strip('"')


async def page_times(at: House, rounds: int) -> dict[str, list[float]]:
    """Milliseconds that each page took, round by round; the first round, which fills caches, is left out."""
    took: dict[str, list[float]] = {name: [] for name in at.pages}
    async with at.browser() as browser:
        for round_number in range(rounds + 1):
            for name, path in at.pages.items():
                began = time.perf_counter()
                answer = await browser.get(path)
                milliseconds = (time.perf_counter() - began) * 1000
                if answer.status_code != 200:
                    raise SystemExit(f"{name} ({path}) answered {answer.status_code}: {answer.text[:300]}")
                if round_number:
                    took[name].append(milliseconds)
    return took


async def painted(at: House, browser: Browser) -> tuple[dict[str, float], dict[str, float]]:
    """First contentful paint (ms) and bytes over the wire (kB) of each page, each with a cold cache."""
    paints, sizes = {}, {}
    state = await signed_in(at, browser)
    for name, path in at.pages.items():
        context = await browser.new_context(viewport={"width": 1280, "height": 900}, storage_state=state)
        page = await context.new_page()
        session = await context.new_cdp_session(page)
        await session.send("Network.enable")
        received: list[float] = []
        session.on("Network.loadingFinished", lambda event, into=received: into.append(event["encodedDataLength"]))
        await page.goto(f"{at.url}{path}", wait_until="load")
        await page.wait_for_timeout(300)
        paints[name] = await page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        sizes[name] = sum(received) / 1000
        await context.close()
    return paints, sizes


async def signed_in(at: House, browser: Browser) -> Any:
    """What a browser keeps that somebody has signed in with."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{at.url}/console/sign-in")
    await page.fill("#credential", at.key)
    await page.click("button[type=submit]")
    await page.wait_for_url("**/console/w/**")
    state = await context.storage_state()
    await context.close()
    return state


async def live_pages(at: House) -> dict[str, float]:
    """500 open live pages at once: how many get their picture, how soon, and what a page takes meanwhile."""
    first: list[float] = []
    path = "/console/w/default/live/wheel"
    limits = httpx.Limits(max_connections=None)
    headers = {"cookie": f"{COOKIE}={at.cookie}"}
    async with httpx.AsyncClient(
        base_url=at.url, headers=headers, timeout=None, limits=limits, trust_env=False
    ) as many:

        async def watch() -> None:
            began = time.perf_counter()
            async with many.stream("GET", path) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        first.append(time.perf_counter() - began)
                        break
                await asyncio.sleep(LIVE_SECONDS)

        watching = [asyncio.create_task(watch()) for _ in range(LIVE_PAGES)]
        await asyncio.sleep(LIVE_SECONDS / 2)
        meanwhile = (await page_times(at, 3))["Wheel"]
        await asyncio.gather(*watching)
    return {
        "live_pages": float(len(first)),
        "live_first_p95_ms": round(at_share(first, 0.95) * 1000, 1),
        "live_meanwhile_page_ms": round(statistics.median(meanwhile), 1),
    }


@contextlib.asynccontextmanager
async def browsing(at: House) -> AsyncIterator[list[float]]:
    """Ten people: each keeps a live page open and opens another page every four seconds. Yields what pages took."""
    took: list[float] = []

    async def person(number: int) -> None:
        choice = random.Random(number)
        await asyncio.sleep(choice.uniform(0, THINK_SECONDS))
        async with at.browser() as browser, browser.stream("GET", "/console/w/default/live/wheel"):
            while True:
                began = time.perf_counter()
                await browser.get(choice.choice(list(at.pages.values())))
                took.append((time.perf_counter() - began) * 1000)
                await asyncio.sleep(THINK_SECONDS)

    people = [asyncio.create_task(person(number)) for number in range(PEOPLE)]
    try:
        yield took
    finally:
        for each in people:
            each.cancel()
        await asyncio.gather(*people, return_exceptions=True)


async def gateway_loss(at: House, seconds: float, pairs: int) -> dict[str, Any]:
    """The gateway's throughput alone and while ten people browse, in alternating pairs; the median of the losses."""
    target = load.Target(int(at.url.rpartition(":")[2]), "bench", {"authorization": f"Bearer {at.key}"})
    losses, alone, beside = [], [], []
    for _ in range(pairs):
        quiet = (await load.closed(target, 64, seconds=seconds)).per_second
        async with browsing(at):
            busy = (await load.closed(target, 64, seconds=seconds)).per_second
        alone.append(quiet)
        beside.append(busy)
        losses.append(100 * (1 - busy / quiet))
    return {
        "gateway_loss_percent": round(statistics.median(losses), 2),
        "gateway_loss_each_percent": [round(loss, 2) for loss in losses],
        "gateway_alone_per_second": round(statistics.median(alone), 1),
        "gateway_browsed_per_second": round(statistics.median(beside), 1),
    }


def at_share(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def worst(figures: dict[str, float]) -> tuple[str, float]:
    """The page with the highest figure."""
    name = max(figures, key=lambda each: figures[each])
    return name, round(figures[name], 1)


async def measure(options: argparse.Namespace, at: House) -> dict[str, Any]:
    """All figures, the goals' own first: of pages the worst one counts."""
    took = await page_times(at, options.rounds)
    p95 = {name: at_share(times, 0.95) for name, times in took.items()}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        paints, sizes = await painted(at, browser)
        await browser.close()
    slowest, page_p95 = worst(p95)
    latest, paint = worst(paints)
    heaviest, kilobytes = worst(sizes)
    return {
        "page_p95_ms": page_p95,
        "page_p95_slowest": slowest,
        "first_paint_ms": paint,
        "first_paint_slowest": latest,
        "page_kb": kilobytes,
        "page_kb_heaviest": heaviest,
        **await gateway_loss(at, options.seconds, options.pairs),
        **await live_pages(at),
        "pages": {
            name: {"p95_ms": round(p95[name], 1), "paint_ms": round(paints[name], 1), "kb": round(sizes[name], 1)}
            for name in at.pages
        },
    }


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args(arguments)
    every = parts.Cores.of_machine().every
    with (
        directory() as scratch,
        parts.upstream(every, scratch / "upstream.log") as port,
        house(scratch / "home", f"http://127.0.0.1:{port}") as at,
    ):
        report.write("console", asyncio.run(measure(options, at)))


if __name__ == "__main__":
    main(sys.argv[1:])
