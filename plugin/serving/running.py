"""Running the service: its socket, its server, its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from crosslens.errors import ServingError
from crosslens.serving.app import DEFAULT_RATE, application
from crosslens.serving.origin import Door, is_loopback
from crosslens.serving.rates import Rate
from crosslens.serving.service import Service

LEAST_TOKEN = 16
"""Characters that a token must have: fewer can be tried out within a client's rate."""
# The token of a page's point in time stands in the address.
_LONGEST_HEAD = 131_072
_END_S = 10
# Connections, idle ones as well; beyond them the answer is 503.
_MOST_AT_ONCE = 500


@dataclass(frozen=True)
class Place:
    """Where the service listens, and whom it lets in. ``port`` 0 is any that is free."""

    door: Door
    host: str = "127.0.0.1"
    port: int = 8765
    rate: Rate = DEFAULT_RATE

    def check(self) -> None:
        """Raise `ServingError` for an address that others reach without a token, and for a token that is too short."""
        token = self.door.token
        if token is None and not is_loopback(self.host):
            raise ServingError(
                f"{self.host} can be reached from other machines, so a token is demanded",
                hint="give one, or listen on 127.0.0.1 behind a proxy that knows its users",
                parameter="token",
            )
        if token is not None and len(token) < LEAST_TOKEN:
            raise ServingError(f"a token has at least {LEAST_TOKEN} characters, not {len(token)}")


def run(service: Service, place: Place, started: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM, after which requests in progress have 10 seconds; call ``started`` with the URL.

    Raises `ServingError` for an address that can't be listened on, and what the first search of an index would raise.
    """
    place.check()
    with listening(place.host, place.port) as sock:
        asyncio.run(_serve(service, place, sock, started))


async def _serve(service: Service, place: Place, sock: socket.socket, started: Callable[[str], None]) -> None:
    try:
        await service.ready()
    except BaseException:
        await service.close()
        raise
    config = uvicorn.Config(
        application(service, place.door, place.rate),
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        limit_concurrency=_MOST_AT_ONCE,
        h11_max_incomplete_event_size=_LONGEST_HEAD,
        http="h11",
        timeout_graceful_shutdown=_END_S,
    )
    host, port = sock.getsockname()[:2]
    started(f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/")
    await uvicorn.Server(config).serve(sockets=[sock])


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address. Raises `ServingError` where that isn't possible."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ServingError(f"{host}:{port} can't be listened on ({reason})", hint="choose another port") from error
