"""The embedded node as its folder records it: whether it runs, and where.

Separate from `crosslens.node`, so that connecting doesn't need the dependencies of starting a node.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

from crosslens.errors import NodeError


@dataclass(frozen=True)
class NodeStatus:
    """A node as last started: ``url`` to reach it, ``data`` the folder it keeps, ``running`` now or not."""

    running: bool
    url: str
    version: str
    pid: int
    data: str

    def as_dict(self) -> dict[str, object]:
        """Return the fields by name, for JSON."""
        return asdict(self)


def default_folder() -> Path:
    """Return the node's folder when none is named; CROSSLENS_NODE overrides the platform's data folder."""
    return Path(os.environ.get("CROSSLENS_NODE") or platformdirs.user_data_path("crosslens") / "node")


def recorded(folder: Path) -> NodeStatus | None:
    """Return the folder's record of the node last started in it, or None."""
    path = folder / "node.json"
    if not path.exists():
        return None
    try:
        return NodeStatus(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise NodeError(f"{path} is damaged ({error})", hint="delete it and start the node again") from error


def without_extra() -> NodeError:
    """Return the error where a package of the extra "node" isn't installed."""
    return NodeError("the embedded node needs the extra 'node'", hint="pip install 'crosslens[node]'")


def find_process(folder: Path) -> int | None:
    """Return the process that runs on this folder, found by its command line: a record may be stale or missing."""
    try:
        import psutil
    except ImportError as error:
        raise without_extra() from error

    mark = config_option(folder)
    for process in psutil.process_iter(["cmdline"]):
        if mark in (process.info["cmdline"] or ()):
            return int(process.pid)
    return None


def running_url(folder: Path | None = None) -> str | None:
    """Return the address of the node running in ``folder`` (None: the default folder), or None."""
    folder = (folder or default_folder()).expanduser().resolve()
    last = recorded(folder)
    return last.url if last is not None and find_process(folder) is not None else None


def config_option(folder: Path) -> str:
    """Return the option on a node's command line that names its folder."""
    return f"-Des.path.conf={folder / 'config'}"
