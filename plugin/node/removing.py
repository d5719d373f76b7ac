"""Deleting the embedded node's folder, and only the node's own files."""

from __future__ import annotations

import shutil
from pathlib import Path

from crosslens.errors import NodeError
from crosslens.local import recorded

# The entries that starting, installing and the server itself create in the folder.
_OWN = {"config", "data", "home", "logs", "plugins", "tmp", "node.json", "node.json.new", "start.lock"}
_OWN_PREFIX = "installing-"


def check_removable(folder: Path) -> None:
    """Raise `NodeError` where ``folder`` isn't a node's, or holds anything else."""
    if not folder.is_dir():
        raise NodeError(f"{folder} isn't a folder", hint="name the node's", parameter="folder")
    names = {path.name for path in folder.iterdir()}
    # A start that failed early leaves its lock alone.
    if recorded(folder) is None and "start.lock" not in names:
        raise NodeError(f"no node was ever started in {folder}", hint="name the node's folder", parameter="folder")
    others = sorted(name for name in names - _OWN if not name.startswith(_OWN_PREFIX))
    if others:
        shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        raise NodeError(f"{folder} holds what isn't the node's: {shown}", hint="move it elsewhere, then try again")


def size(folder: Path) -> int:
    """Return the bytes of the files in a folder; links don't count, since their targets stay."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def delete(folder: Path) -> int:
    """Delete a stopped node's folder and return the bytes of its files. Raises `NodeError` where that fails."""
    freed = size(folder)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise NodeError(
            f"{folder} can't be deleted as a whole: {error.strerror or error} ({error.filename})"
        ) from error
    return freed
