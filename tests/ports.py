"""Ports that no other test takes meanwhile."""

from __future__ import annotations

import os
from itertools import count

from crosslens.node.ports import is_free

# Above what nodes choose by themselves, below what the system gives to outgoing connections; some for each worker.
_FIRST, _EACH = 20_000, 1_000
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_next = count()


def own_ports(wanted: int = 1) -> list[int]:
    """Free ports of this worker's own, none of them given before unless a thousand were."""
    found: list[int] = []
    for _ in range(_EACH):
        port = _FIRST + _worker % 10 * _EACH + next(_next) % _EACH
        if is_free(port):
            found.append(port)
        if len(found) == wanted:
            return found
    raise AssertionError(f"fewer than {wanted} of the worker's {_EACH} ports are free")
