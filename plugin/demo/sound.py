"""Joins the trained audio encoder with the demo's model: a folder whose texts, pictures and sounds share one space.

    python -m crosslens.demo.sound --tower OUT/tower.pt [--out plugin/demo/data/sound]

The encoders of texts and pictures are the demo model's own files. The folder is another model nevertheless, with a
fingerprint of its own, so that indices with vectors of the demo's model stay what they are; its manifest says that its
queries may be compared with those vectors, which are equal.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crosslens.demo.hearing import LETTERS, PREPROCESSOR, AudioTower
from crosslens.errors import ExportError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.export import export_audio
from crosslens.ingest.model.exporting import identity
from crosslens.ingest.model.folder import MANIFEST
from crosslens.ingest.model.hearing import golden_sounds
from crosslens.ingest.model.known import DEMO_MODEL, DEMO_SOUND
from crosslens.ingest.model.layouts import AUDIO_MODEL, PROCESSOR
from crosslens.ingest.model.sounds import parse_sound
from crosslens.ingest.model.storing import store_half

# Its weights are stored as float16, so they are rounded before they are compared.
LEAST_COSINE = 0.9999


def load(path: Path) -> AudioTower:
    """Return the tower that `crosslens.demo.train_audio` wrote, its weights as float16 holds them."""
    kept = torch.load(path, weights_only=True)
    tower = AudioTower(kept["phonemes"], len(LETTERS) + 1, kept["dims"])
    tower.load_state_dict({name: weight.half().float() for name, weight in kept["tower"].items()})
    return tower.eval()


@torch.no_grad()
def prove(tower: AudioTower, encoder: Encoder) -> float:
    """Return the least cosine between the folder's vectors of golden sounds and PyTorch's. Raises `ExportError` where
    it is too small."""
    assert encoder.audio is not None
    prepare, sounds = parse_sound(PREPROCESSOR), golden_sounds(encoder.audio)
    ours = encoder.encode_sounds(sounds)
    theirs = torch.cat([tower(torch.from_numpy(prepare(sound))[None]) for sound in sounds]).numpy()
    least = float(np.sum(ours * theirs, axis=1).min())
    if least < LEAST_COSINE:
        raise ExportError(f"the audio encoder's vectors differ from PyTorch's (cosine {least:.6f})")
    return least


def join(tower: AudioTower, out: Path) -> float:
    """Write the folder ``out``, in place of what is there, and return the least cosine to PyTorch."""
    demo = json.loads((DEMO_MODEL / MANIFEST).read_text(encoding="utf-8"))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        folder = Path(temporary) / out.name
        shutil.copytree(DEMO_MODEL, folder)
        export_audio(tower, parse_sound(PREPROCESSOR).shape, folder / AUDIO_MODEL)
        store_half(folder / AUDIO_MODEL)
        _write(folder / PROCESSOR, {"feature_extractor": PREPROCESSOR})
        manifest: dict[str, Any] = {
            **{key: demo[key] for key in ("revision", "precision", "text", "dims", "parity")},
            "name": f"{demo['name']}-sound",
            **identity(folder),
            "relations": {demo["fingerprint"]: {"precision": demo["precision"], "search": True}},
        }
        _write(folder / MANIFEST, manifest)
        least = prove(tower, Encoder(folder))
        manifest["parity"] = {**demo["parity"], "audio_cosine_min": round(least, 7)}
        _write(folder / MANIFEST, manifest)
        if out.exists():
            shutil.rmtree(out)
        shutil.move(str(folder), out)
    return least


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tower", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=DEMO_SOUND)
    arguments = parser.parse_args()
    print(f"cosine to PyTorch {join(load(arguments.tower), arguments.out):.7f}: {arguments.out}")


if __name__ == "__main__":
    main()
