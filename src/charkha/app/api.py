"""One gateway process, on the socket that the supervisor opened or one of its own; and the console's, on its Unix socket."""

import os
import socket
from typing import Any

import uvicorn

from charkha.app import connections, forwarding, serving
from charkha.app.http import Front
from charkha.app.installation import Installation
from charkha.app.supervisor import LISTEN_FD
from charkha.app.wiring import Wiring


def run(installation: Installation) -> None:
    """Serve as a gateway until SIGTERM; running requests are finished first."""
    configured = installation.settings
    inherited = os.environ.get(LISTEN_FD)
    _serve(
        serving.gateway(installation),
        socket.socket(fileno=int(inherited)) if inherited else None,
        host=configured.host,
        port=configured.port,
        proxy_headers=configured.behind_proxy,
        ssl_certfile=configured.tls_cert,
        ssl_keyfile=configured.tls_key,
    )


def run_console(installation: Installation) -> None:
    """Serve the console to the gateways of this machine until SIGTERM; they tell it how their clients came."""
    listener = forwarding.listen(installation.console_socket)
    _serve(serving.served(Wiring(installation)), listener, proxy_headers=True, forwarded_allow_ips="*")


def _serve(application: Front, listener: socket.socket | None, **options: Any) -> None:
    config = configured(application, bounds=connections.allowed(), **options)
    uvicorn.Server(config).run(sockets=[listener] if listener else None)


def configured(application: Front, *, bounds: connections.Bounds | None = None, **options: Any) -> uvicorn.Config:
    """How every process of ours serves HTTP; `options` are uvicorn's, for this one."""
    return uvicorn.Config(
        application,
        loop="uvloop",
        http=connections.protocol(bounds),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=10,
        timeout_keep_alive=75,
        **options,
    )
