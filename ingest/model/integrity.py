"""That a model folder's files are those that its manifest lists."""

from __future__ import annotations

import os
from pathlib import Path

from crosslens.errors import ModelError
from crosslens.ingest.model.files import sha256

MANIFEST = "crosslens.json"


def check_inside(path: Path, file: Path) -> None:
    """Raise `ModelError` for a file outside of the folder ``path``.

    A graph and a manifest name files; what one from elsewhere names may not lead out of its folder.
    """
    # Without looking at the disk: a link in the folder is its owner's.
    if Path(os.path.relpath(file, path)).parts[:1] == ("..",):
        raise ModelError(f"{path} names a file outside of the model's folder: {file}", hint="don't use this folder")


def verify_files(path: Path, root: Path, hashes: dict[str, str]) -> None:
    """Compare a folder's files, those of a variant being below its ``root``, with their sha256.

    Raises `ModelError` for one that is missing or altered.
    """
    for name, expected in hashes.items():
        file = root / name if (root / name).exists() else path / name
        check_inside(path, file)
        if not file.exists():
            raise ModelError(f"{file} is missing: the model folder is incomplete", hint="copy or export it again")
        if sha256(file) != expected:
            raise ModelError(
                f"{file} has been changed since its export (its sha256 differs from {MANIFEST})",
                hint="copy or export the folder again",
            )
