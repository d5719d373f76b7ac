"""The record of this machine's model folders, so that a search finds the model of an index's vectors."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path

import platformdirs

from crosslens.errors import ModelError
from crosslens.ingest.model.folder import MANIFEST, open_model

# A strict editable install links every file by itself: the folder is where the linked file really lies.
DEMO_MODEL = Path(str(files("crosslens")), "demo", "data", "model", MANIFEST).resolve().parent


def remember(folder: Path, fingerprint: str) -> None:
    """Record the folder of the model with ``fingerprint``."""
    path = _register()
    known = _read(path)
    known[fingerprint] = str(Path(folder).expanduser().resolve())
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(known, indent=2), encoding="utf-8")
    temporary.replace(path)


def find(fingerprint: str, name: str) -> Path:
    """Return the folder of the model with ``fingerprint``: one used before on this machine, or the demo's.

    Raises `ModelError`, with a hint to name the folder, when neither has it.
    """
    recorded = _read(_register()).get(fingerprint)
    candidates = [Path(recorded)] if recorded else []
    for folder in [*candidates, DEMO_MODEL]:
        if folder.is_dir() and open_model(folder, verify=False).fingerprint == fingerprint:
            return folder
    raise ModelError(
        f"the index's vectors are of {name} ({fingerprint}), and no folder with that model is known on this machine",
        hint="name the folder",
        parameter="model",
    )


def _register() -> Path:
    return Path(os.environ.get("CROSSLENS_DATA") or platformdirs.user_data_path("crosslens")) / "models.json"


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        return {str(k): str(v) for k, v in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, AttributeError) as error:
        raise ModelError(
            f"{path} is damaged ({error})", hint="delete it, and name the models' folders", parameter="model"
        ) from error
