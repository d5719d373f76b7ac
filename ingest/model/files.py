"""Reading the files of a checkpoint or a model folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from crosslens.errors import ModelError

_POINTER = b"version https://git-lfs.github.com/spec/"


def sha256(path: Path) -> str:
    """Return the file's sha256 in hex, reading it in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def is_pointer(path: Path) -> bool:
    """Return whether ``path`` is the pointer that Git leaves where Git LFS didn't fetch a large file."""
    with path.open("rb") as handle:
        return handle.read(len(_POINTER)) == _POINTER


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``. Raises `ModelError` when the file is missing or holds anything else."""
    try:
        if is_pointer(path):
            raise ModelError(f"{path} is a Git LFS pointer, not the file itself", hint="fetch it with git lfs pull")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing", hint="the folder is not a whole model export") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} can't be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} must hold a JSON object")
    return value
