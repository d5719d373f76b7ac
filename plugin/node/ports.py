"""The node's ports: finding free ones, and claiming them between choosing and listening."""

from __future__ import annotations

import contextlib
import errno
import socket

from crosslens.errors import NodeError
from crosslens.node.home import cache_folder
from crosslens.node.locks import HeldError, held

TRANSPORT_PORT = 9300
_LAST = 65535


def check_port(port: int) -> None:
    """Raise `NodeError` where ``port`` is invalid or reserved, so that this user can't listen on it."""
    if not 1 <= port <= _LAST:
        raise NodeError(f"{port} is not a port", hint=f"give a number from 1 to {_LAST}", parameter="port")
    if _binding(port) in (errno.EACCES, errno.EPERM):
        raise NodeError(
            f"port {port} is reserved for the system's administrator", hint="give one from 1024 on", parameter="port"
        )


def is_free(port: int) -> bool:
    """Return whether the loopback port is unused and this user may listen on it."""
    return _binding(port) == 0


def _binding(port: int) -> int:
    """Return the system's error number from binding the port, or 0 on success."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno or -1
        return 0


def claim(port: int, claims: contextlib.ExitStack) -> bool:
    """Claim ``port`` for ``claims`` if it is free and unclaimed by this user's other starts; return whether it was.

    Between choosing a port and listening on it a server takes seconds, in which another start would choose the same
    one, and take the first server's answers for its own. The system releases the claim of a process that has ended.
    Starts of different users don't see each other's claims, since anybody could hold a world-lockable file forever:
    there the second server exits, and its start chooses another port.
    """
    folder = cache_folder() / "ports"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as own:
        try:
            own.enter_context(held(folder / f"{port}.lock"))
        except HeldError:
            return False
        if not is_free(port):
            return False
        claims.push(own.pop_all())
    return True


def claim_from(first: int, claims: contextlib.ExitStack) -> int:
    """Claim and return the first available one of a hundred ports from ``first``.

    Ports that the system assigns to outgoing connections could be lost between a stop and a start. Raises `NodeError`
    where all are taken.
    """
    for port in range(first, min(first + 100, _LAST + 1)):
        if claim(port, claims):
            return port
    raise NodeError(f"the ports {first} to {first + 99} are all taken", hint="give one that is free", parameter="port")
