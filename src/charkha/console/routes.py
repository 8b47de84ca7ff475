"""Every page of the console on one router."""

from fastapi import FastAPI

from charkha.console import sign_in
from charkha.console.door import PREFIX, Door
from charkha.console.pages import (
    adapters,
    audit,
    caches,
    components,
    datasets,
    endpoints,
    engines,
    feedback,
    inferences,
    keys,
    limits,
    open,
    playground,
    prices,
    prompts,
    releases,
    review,
    run_compare,
    run_new,
    runs,
    settings,
    usage,
    version_compare,
    versions,
    wheel,
)
from charkha.console.site import Site
from charkha.govern.access import verify

PAGES = (
    sign_in,
    wheel,
    playground,
    inferences,
    run_new,
    run_compare,
    runs,
    endpoints,
    engines,
    caches,
    components,
    prompts,
    review,
    feedback,
    datasets,
    open,
    version_compare,
    versions,
    adapters,
    releases,
    keys,
    usage,
    limits,
    prices,
    audit,
    settings,
)


def install(app: FastAPI, site: Site, door: Door) -> None:
    """Add the console to the control plane; refuses a page that declares no permission."""
    app.mount(PREFIX, door)
    for router in [*(module.router(site) for module in PAGES), sign_in.nowhere(site)]:
        verify(router.routes)
        app.include_router(router)
