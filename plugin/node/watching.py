"""Whether a started server is up, and its last messages if it isn't."""

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
    """Return whether the server of process ``pid`` answers there, ready for work; another may have its port."""
    try:
        health = _answer(f"{url}/_cluster/health?wait_for_status=yellow&timeout=5s")
        local = _answer(f"{url}/_nodes/_local/process?filter_path=nodes.*.process.id")["nodes"].values()
        return not health["timed_out"] and [each["process"]["id"] for each in local] == [pid]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
        # Nothing answers yet, or something other than our server does.
        return False


def last_words(logs: Path, log: Path, start: int) -> str:
    """Return the lines that explain the server's exit: errors in its log from ``start``, or its console's end."""
    lines: list[str] = []
    for path, begin in ((log, start), (logs / "console.log", 0)):
        if path.exists():
            lines += path.read_bytes()[begin:].decode(errors="replace").splitlines()[-200:]
    telling = [line for line in lines if re.search(r"ERROR|FATAL|Exception|error", line)]
    return "\n".join((telling or lines)[-8:]) or f"it wrote no log; see {logs}"


def _answer(url: str) -> Any:
    with _DIRECT.open(url, timeout=_TIMEOUT_S) as reply:
        return json.load(reply)
