"""One gateway process: uvicorn on the socket that the supervisor opened, or on one of its own."""

import os
import socket

import uvicorn

from charkha.app.installation import Installation
from charkha.app.serving import front
from charkha.app.supervisor import LISTEN_FD


def run(installation: Installation) -> None:
    """Serve until SIGTERM; running requests are finished first."""
    configured = installation.settings
    server = uvicorn.Server(
        uvicorn.Config(
            front(installation),
            host=configured.host,
            port=configured.port,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=configured.behind_proxy,
            ssl_certfile=configured.tls_cert,
            ssl_keyfile=configured.tls_key,
            timeout_graceful_shutdown=10,
            timeout_keep_alive=75,
            h11_max_incomplete_event_size=64 * 1024,
        )
    )
    inherited = os.environ.get(LISTEN_FD)
    server.run(sockets=[socket.socket(fileno=int(inherited))] if inherited else None)
