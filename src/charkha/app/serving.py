"""What one gateway process serves: the hot path and every station's routes, started and stopped together."""

from fastapi import FastAPI

from charkha.app import health, lineage, operating
from charkha.app.bridges import ReachableModels, cache_figures
from charkha.app.forwarding import Forwarder
from charkha.app.http import Application, Front, control_plane
from charkha.app.installation import Installation
from charkha.app.wiring import Wiring
from charkha.console import routes as pages
from charkha.console.api import RestApi
from charkha.console.door import Door
from charkha.console.site import Site
from charkha.data import api as data_api
from charkha.evaluate import api as evaluate_api
from charkha.govern import api as govern_api
from charkha.govern import sessions_api
from charkha.govern.access import Access
from charkha.govern.limits import api as limits_api
from charkha.govern.prices import api as prices_api
from charkha.govern.prices.coverage import Coverage
from charkha.kit.http import Router
from charkha.kit.spool import SpoolWriter
from charkha.learn.feedback import api as feedback_api
from charkha.learn.policies import api as policies_api
from charkha.learn.runs import api as runs_api
from charkha.observe import api as observe_api
from charkha.observe.usage import api as usage_api
from charkha.release.registry import api as registry_api
from charkha.release.rollouts import api as rollouts_api
from charkha.serve import api as serve_api
from charkha.serve.caches import api as caches_api
from charkha.serve.caches.process import CacheLimits
from charkha.serve.gateway import Gateway, GatewayLimits
from charkha.serve.prompts import api as prompts_api
from charkha.serve.prompts.testing import PromptTests
from charkha.serve.providers import api as engines_api
from charkha.serve.routing import api as routing_api
from charkha.serve.routing import drains


def gateway(installation: Installation) -> Front:
    """The ASGI application of one gateway process: everything but the console, which is passed on to its own."""
    return served(Wiring(installation), console=Forwarder(installation.console_socket))


def served(wiring: Wiring, *, console: Forwarder | None = None) -> Front:
    """The ASGI application over services that are bound already; it opens and closes them.

    Without a `console` to pass on to it makes the console's pages itself: so does the console's own process.
    """
    installation, limits = wiring.installation, wiring.installation.settings.limits
    hot_path = Gateway(
        authenticator=wiring.authenticator,
        snapshots=wiring.snapshots,
        engines=wiring.engines,
        base_models=wiring.bases,
        session_factory=wiring.sessions.wire,
        spool=SpoolWriter(installation.spool / wiring.snapshots.id.hex, wiring.snapshots.id.hex),
        secrets=installation.secrets,
        limits=GatewayLimits(limits.max_body_bytes, limits.request_seconds, limits.max_in_flight),
        ensure_adapter=wiring.absent_adapters.ensure,
        meter=wiring.meter,
        drained=lambda: wiring.snapshots.get(drains.DRAINS),
        caches=CacheLimits(*installation.settings.caches.bytes),
    )
    wiring.snapshots.register(drains.DRAINS, drains.load)
    wiring.snapshots.tell(hot_path.health.told)

    async def start() -> None:
        await wiring.jobs.open()
        await wiring.snapshots.start()
        await hot_path.start()

    async def stop() -> None:
        await hot_path.stop()
        if console is not None:
            await console.close()
        await wiring.close()

    hosts = (*installation.settings.allowed_hosts, installation.settings.host)
    control = control_plane(routers(wiring))
    whole = Front(hot_path, control, hosts=hosts, start=start, stop=stop, console=console)
    if console is None:
        add_console(control, wiring, whole.dispatch)
    return whole


def add_console(control: FastAPI, wiring: Wiring, rest: Application) -> None:
    """Add the console's pages, which stand on `rest`, the public API, alone."""
    sessions, authenticator = wiring.console_sessions, wiring.authenticator
    pages.install(control, Site(sessions, authenticator, RestApi(rest)), Door(sessions, authenticator, rest))


def routers(wiring: Wiring) -> list[Router]:
    """The routes of every station."""
    access = Access(wiring.authenticator, wiring.database)
    coverage = Coverage(wiring.snapshots, ReachableModels(wiring.snapshots, wiring.bases))
    return [
        health.router(wiring.database, wiring.snapshots, wiring.engines, access),
        operating.router(wiring.installation, access),
        govern_api.router(wiring.keys, wiring.directory, access, wiring.database),
        sessions_api.router(wiring.console_sessions, access),
        limits_api.router(wiring.limits, access, wiring.database),
        prices_api.router(wiring.prices, coverage, access, wiring.database),
        serve_api.router(wiring.endpoints, wiring.engines, access, wiring.database),
        engines_api.router(wiring.providers, access, wiring.database),
        prompts_api.router(PromptTests(wiring.answers, wiring.endpoints), access),
        routing_api.router(drains.Drains(wiring.engines), access, wiring.database),
        caches_api.router(wiring.endpoints, cache_figures, access, wiring.database),
        observe_api.router(wiring.inferences, access),
        usage_api.router(wiring.directory, access, wiring.database),
        feedback_api.router(wiring.feedback, access),
        data_api.router(wiring.datasets, access),
        policies_api.router(wiring.policies, access),
        runs_api.router(wiring.runs, access),
        registry_api.router(wiring.registry, wiring.adapters, access, wiring.database),
        evaluate_api.router(wiring.suites, wiring.evaluations, access),
        rollouts_api.router(wiring.rollouts, wiring.endpoints, access, wiring.database),
        lineage.router(wiring.feedback, access),
    ]
