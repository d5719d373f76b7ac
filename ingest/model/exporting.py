"""Exporting a checkpoint to ONNX: two graphs, their tokenizer and preprocessing, and the proof that they agree.

The proof is part of the export: golden texts and pictures go through transformers and PyTorch on one side and
through `crosslens.Encoder` on the other; the folder appears only if every pair of vectors agrees (`prove`).

Importing this module needs neither PyTorch nor onnx, so that `crosslens.export` is there for everybody.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crosslens.errors import ExportError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.files import sha256
from crosslens.ingest.model.folder import CONFIG, MANIFEST, fingerprint
from crosslens.ingest.model.layouts import PREPROCESSOR, TEXT_MODEL, TOKENIZER, VISION_MODEL


@dataclass(frozen=True)
class ExportReport:
    """An export's least and mean cosine to PyTorch over the golden inputs, and its folder's size in bytes."""

    out: str
    name: str
    fingerprint: str
    dims: int
    precision: str
    text_cosine_min: float
    text_cosine_mean: float
    image_cosine_min: float
    image_cosine_mean: float
    size: int


def export(
    checkpoint: str,
    out: Path,
    *,
    precision: str = "fp32",
    image_tower: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> ExportReport:
    """Export ``checkpoint`` (a hub id or folder) to the new folder ``out``.

    ``precision``: fp32; fp16 stores the weights in half precision and computes in single; int8 quantises the weights
    of the matrix products (dynamic quantisation). ``progress`` is called with each step.

    Needs the extra "export". Raises `ExportError` when that isn't installed, ``out`` exists, the checkpoint can't be
    loaded, or a vector differs from PyTorch's by more than its precision allows; then nothing is left behind.
    """
    try:
        from crosslens.ingest.model.checkpoints import load_checkpoint
        from crosslens.ingest.model.export import PRECISIONS, convert, export_text, export_vision
        from crosslens.ingest.model.proof import prove
    except ImportError as error:
        raise ExportError(
            f"exporting needs the extra 'export' ({error})", hint="pip install 'crosslens[export]'"
        ) from error
    if precision not in PRECISIONS:
        raise ExportError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    out = Path(out).expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} exists already", hint="give a new folder, or remove it")
    progress(f"loading {checkpoint}")
    loaded = load_checkpoint(
        checkpoint, image_tower=image_tower, revision=revision, trust_remote_code=trust_remote_code
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as tmp:
        folder = Path(tmp) / "model"
        (folder / "onnx").mkdir(parents=True)
        progress("exporting the text encoder")
        export_text(loaded, folder / TEXT_MODEL)
        progress("exporting the image encoder")
        export_vision(loaded, folder / VISION_MODEL)
        for name in (TEXT_MODEL, VISION_MODEL):
            convert(folder / name, precision)
        loaded.exported_tokenizer.save(str(folder / TOKENIZER))
        _write_json(folder / PREPROCESSOR, loaded.preprocessor)
        _write_json(folder / CONFIG, loaded.config)
        files = {
            file.relative_to(folder).as_posix(): sha256(file) for file in sorted(folder.rglob("*")) if file.is_file()
        }
        manifest: dict[str, Any] = {
            "name": loaded.name,
            "revision": loaded.revision,
            "precision": precision,
            "text": asdict(loaded.settings),
            "files": files,
            "fingerprint": fingerprint(files),
        }
        _write_json(folder / MANIFEST, manifest)
        progress("comparing with PyTorch")
        encoder = Encoder(folder)
        proof = prove(loaded, encoder, precision)
        text, image = proof.text, proof.image
        manifest["dims"] = encoder.dims
        manifest["parity"] = {
            "text_cosine_min": round(float(text.min()), 7),
            "image_cosine_min": round(float(image.min()), 7),
        }
        _write_json(folder / MANIFEST, manifest)
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        if out.exists():
            out.rmdir()
        shutil.move(str(folder), out)
    return ExportReport(
        out=str(out),
        name=loaded.name,
        fingerprint=fingerprint(files),
        dims=encoder.dims,
        precision=precision,
        text_cosine_min=float(text.min()),
        text_cosine_mean=float(text.mean()),
        image_cosine_min=float(image.min()),
        image_cosine_mean=float(image.mean()),
        size=size,
    )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
