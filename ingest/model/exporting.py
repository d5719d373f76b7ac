"""Exporting a checkpoint to ONNX: a graph of each encoder, tokenizer and preprocessing, and the proof that they agree.

The proof is part of the export: golden texts, pictures and sounds go through transformers and PyTorch on one side and
through `crosslens.Encoder` on the other; the folder appears only if every pair of vectors agrees (`prove`).

Importing this module needs neither PyTorch nor onnx, so that `crosslens.export` is there for everybody.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import ExportError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.files import sha256
from crosslens.ingest.model.folder import CONFIG, FLOAT32, fingerprint
from crosslens.ingest.model.integrity import MANIFEST
from crosslens.ingest.model.layouts import AUDIO_MODEL, PREPROCESSOR, TEXT_MODEL, TOKENIZER, VISION_MODEL
from crosslens.ingest.model.prompts import PROMPTS, Prompts, TextOptions
from crosslens.ingest.model.sounds import parse_sound

if TYPE_CHECKING:
    from crosslens.ingest.model.calibration import Calibration
    from crosslens.ingest.model.precision import Choice, Loss

PRECISIONS = ("auto", "fp32", "fp16", "int8")


@dataclass(frozen=True)
class ExportReport:
    """An export's least and mean cosine to PyTorch over the golden inputs, and its folder's size in bytes.
    There are none of images and sounds that the model doesn't encode.

    ``precision`` is what was written, ``wanted`` what was asked for. Where int8 was tried, ``choices`` say what became
    of each encoder, ``searches`` what searches lose against float32, and ``calibration`` by what that was measured.
    """

    out: str
    name: str
    fingerprint: str
    dims: int
    precision: str
    text_cosine_min: float
    text_cosine_mean: float
    size: int
    image_cosine_min: float | None = None
    image_cosine_mean: float | None = None
    audio_cosine_min: float | None = None
    audio_cosine_mean: float | None = None
    video_cosine_min: float | None = None
    video_cosine_mean: float | None = None
    wanted: str = ""
    choices: tuple[Choice, ...] = ()
    searches: Loss | None = None
    calibration: str = ""
    fp32_fingerprint: str = ""


def export(
    checkpoint: str,
    out: Path,
    *,
    precision: str = "auto",
    image_tower: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    texts: TextOptions | None = None,
    dims: int | None = None,
    calibration: Calibration | None = None,
    keep_float32: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> ExportReport:
    """Export ``checkpoint`` (a hub id or folder) to the new folder ``out``.

    ``precision``: fp32; fp16 stores the weights in half precision and computes in single; int8 quantises all matrix
    products; auto quantises those of each encoder that lose next to nothing (`Bounds`), if that is faster on this
    machine, and else writes fp32. What is lost is measured over ``calibration``, see `read_calibration`; None: over
    built-in texts and pictures. ``keep_float32`` puts the float32 graphs beside quantised ones, as the variant "fp32".
    ``texts`` are options of text models; ``dims`` cuts vectors that were trained to be cut (EmbeddingGemma 2), of which
    auto leaves all in float32. ``progress`` is called with each step.

    Needs the extra "export". Raises `ExportError` when that isn't installed, ``out`` exists, the checkpoint can't be
    loaded, or a vector differs from PyTorch's by more than its precision allows; then nothing is left behind.
    """
    try:
        from crosslens.ingest.model.calibration import default_calibration
        from crosslens.ingest.model.checkpoints import load_checkpoint
        from crosslens.ingest.model.export import (
            export_audio,
            export_joined,
            export_perception,
            export_text,
            export_vision,
        )
        from crosslens.ingest.model.precision import Bounds
        from crosslens.ingest.model.proof import prove
        from crosslens.ingest.model.storing import store_half
        from crosslens.ingest.model.twins import quantise_folder
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
        checkpoint,
        image_tower=image_tower,
        revision=revision,
        trust_remote_code=trust_remote_code,
        texts=texts,
        dims=dims,
    )
    if precision == "int8" and loaded.in_parts:
        raise ExportError("parts that are joined can't be quantised", hint="take fp32 or fp16", parameter="precision")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as tmp:
        folder = Path(tmp) / "model"
        (folder / "onnx").mkdir(parents=True)
        progress("exporting the text encoder")
        export_text(loaded, folder / TEXT_MODEL)
        if loaded.vision is not None and loaded.preprocessor is not None:
            progress("exporting the image encoder")
            export_vision(loaded.vision, loaded.preprocessor, folder / VISION_MODEL)
            _write_json(folder / PREPROCESSOR, loaded.preprocessor)
        if loaded.audio is not None and loaded.hearing is not None:
            progress("exporting the audio encoder")
            export_audio(loaded.audio, parse_sound(loaded.hearing).shape, folder / AUDIO_MODEL)
            _write_json(folder / PREPROCESSOR, loaded.hearing)
        if loaded.gemma is not None:
            progress("exporting the encoders of pictures and sounds")
            export_joined(loaded.gemma, folder)
        if loaded.pe_av is not None:
            progress("exporting the encoders of footage and sounds")
            export_perception(loaded.pe_av, folder)
        if precision == "fp16":
            for graph in sorted((folder / "onnx").glob("*.onnx")):
                store_half(graph)
        loaded.exported_tokenizer.save(str(folder / TOKENIZER))
        _write_json(folder / CONFIG, loaded.config)
        if loaded.prompts != Prompts():
            _write_json(folder / PROMPTS, loaded.prompts.as_file())
        written = "fp16" if precision == "fp16" else "fp32"
        manifest: dict[str, Any] = {
            "name": loaded.name,
            "revision": loaded.revision,
            "precision": written,
            "text": asdict(loaded.settings),
            **_identity(folder),
        }
        _write_json(folder / MANIFEST, manifest)
        progress("comparing with PyTorch")
        encoder = Encoder(folder)
        proof = prove(loaded, encoder, written)
        choices: tuple[Choice, ...] = ()
        searches, own = None, manifest["fingerprint"]
        manifest["dims"] = encoder.dims
        if precision in ("auto", "int8") and not loaded.in_parts:
            search = precision == "auto"
            calibration = calibration or default_calibration()
            choices, searches = quantise_folder(
                encoder,
                calibration,
                search=search,
                keep=keep_float32,
                bounds=Bounds(),
                progress=progress,
            )
        if searches is not None:
            manifest.update(_twin(folder, manifest, choices, searches, keep_float32))
            _write_json(folder / MANIFEST, manifest)
            progress("comparing int8 with PyTorch")
            written, encoder = "int8", Encoder(folder)
            proof = prove(loaded, encoder, written)
        cosines = proof.kinds()
        manifest["parity"] = {f"{kind}_cosine_min": round(float(each.min()), 7) for kind, each in cosines.items()}
        _write_json(folder / MANIFEST, manifest)
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        if out.exists():
            out.rmdir()
        shutil.move(str(folder), out)
    return ExportReport(
        out=str(out),
        name=loaded.name,
        fingerprint=manifest["fingerprint"],
        dims=encoder.dims,
        precision=written,
        text_cosine_min=float(cosines["text"].min()),
        text_cosine_mean=float(cosines["text"].mean()),
        size=size,
        **_least_and_mean(cosines, ("image", "audio", "video")),
        wanted=precision,
        choices=choices,
        searches=searches,
        calibration=calibration.source if calibration is not None and choices else "",
        fp32_fingerprint=own if searches is not None else "",
    )


def _least_and_mean(cosines: Mapping[str, NDArray[np.float64]], kinds: Iterable[str]) -> dict[str, Any]:
    return {
        f"{kind}_cosine_{name}": float(cosine(cosines[kind]))
        for kind in kinds
        if kind in cosines
        for name, cosine in (("min", np.min), ("mean", np.mean))
    }


def _identity(folder: Path) -> dict[str, Any]:
    """Return the hashes of a folder's files, and the fingerprint over them."""
    kept = folder / FLOAT32
    files = {
        file.relative_to(folder).as_posix(): sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST and kept not in file.parents
    }
    return {"files": files, "fingerprint": fingerprint(files)}


def _twin(
    folder: Path, exact: dict[str, Any], choices: tuple[Choice, ...], searches: Loss, keep: bool
) -> dict[str, Any]:
    """Return what a manifest says of a quantised folder whose float32 manifest was ``exact``."""
    from crosslens.ingest.model.precision import Bounds

    said: dict[str, Any] = {
        "precision": "int8",
        **_identity(folder),
        "quantised": {
            each.kind: {"layers": each.layers, "float32": list(each.kept)}
            for each in choices
            if each.precision == "int8"
        },
        # Which other vectors the queries of this folder may be compared with, and what that loses.
        "relations": {
            exact["fingerprint"]: {
                "precision": "fp32",
                **{name: round(value, 6) for name, value in asdict(searches).items()},
                "search": searches.within(Bounds()),
            }
        },
    }
    if keep:
        said["variants"] = {FLOAT32: {key: exact[key] for key in ("precision", "files", "fingerprint")}}
    return said


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
