"""The record of this machine's model folders, so that a search finds the model of an index's vectors."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path

import platformdirs

from crosslens.errors import ModelError
from crosslens.ingest.model.folder import FLOAT32, MANIFEST, allowed_searches, has_variant, open_model

# A strict editable install links every file by itself: the folder is where the linked file really lies.
DEMO_MODEL = Path(str(files("crosslens")), "demo", "data", "model", MANIFEST).resolve().parent
# The same encoders of texts and pictures, and one of sounds in their space.
DEMO_SOUND = DEMO_MODEL.with_name("sound")


def remember(folder: Path, fingerprint: str) -> None:
    """Record the folder of the model with ``fingerprint``."""
    path = _register()
    known = _read(path)
    known[fingerprint] = str(Path(folder).expanduser().resolve())
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(known, indent=2), encoding="utf-8")
    temporary.replace(path)


def find(fingerprint: str, name: str, *, searching: bool = False) -> tuple[Path, str | None]:
    """Return the folder of the model with ``fingerprint``, and the variant of it: one used before on this machine, or
    one of the demo's. For ``searching`` it may also be one whose queries may be compared with that model's vectors.

    Raises `ModelError`, with a hint to name the folder, when there is none.
    """
    known = _read(_register())
    recorded = known.get(fingerprint)
    for folder in [*([Path(recorded)] if recorded else []), DEMO_MODEL, DEMO_SOUND]:
        for variant in (None, FLOAT32) if folder.is_dir() else ():
            if variant is None or has_variant(folder, variant):
                opened = open_model(folder, verify=False, variant=variant)
                if opened.fingerprint == fingerprint:
                    return folder, variant
    for folder in {Path(place) for place in known.values()} if searching else ():
        # Others may have been moved or damaged since, and are of no concern here.
        if folder.is_dir() and fingerprint in allowed_searches(folder):
            return folder, None
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
