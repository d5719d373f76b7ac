"""Whether a server that was started is up, and what it said if it isn't."""

from __future__ import annotations

import http.client
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

_TIMEOUT_S = 30
# Loopback is asked directly, whatever proxy the environment names.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def is_up(url: str, pid: int) -> bool:
    """Whether the server of process ``pid`` answers there, ready for work; another one may have taken its port."""
    try:
        health = _answer(f"{url}/_cluster/health?wait_for_status=yellow&timeout=5s")
        local = _answer(f"{url}/_nodes/_local/process?filter_path=nodes.*.process.id")["nodes"].values()
        return not health["timed_out"] and [each["process"]["id"] for each in local] == [pid]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
        # Nobody answers yet, or something else does, in whatever way.
        return False


def last_words(logs: Path, log: Path, start: int) -> str:
    """The lines that say why the server exited: those of its log from ``start`` with errors, else its console's end."""
    lines: list[str] = []
    for path, begin in ((log, start), (logs / "console.log", 0)):
        if path.exists():
            lines += path.read_bytes()[begin:].decode(errors="replace").splitlines()[-200:]
    telling = [line for line in lines if re.search(r"ERROR|FATAL|Exception|error", line)]
    return "\n".join((telling or lines)[-8:]) or f"it wrote no log; see {logs}"


def _answer(url: str) -> Any:
    with _DIRECT.open(url, timeout=_TIMEOUT_S) as reply:
        return json.load(reply)
