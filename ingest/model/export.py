"""Exporting a checkpoint to ONNX: two graphs, their tokenizer and preprocessing, and the proof that they agree.

The proof is part of the export: golden texts and pictures go through transformers and PyTorch on one side and
through `crosslens.Encoder` on the other, and the folder appears only if every pair of vectors agrees.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from crosslens.errors import ExportError
from crosslens.ingest.model.checkpoints import Checkpoint, load_checkpoint
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.folder import (
    CONFIG,
    MANIFEST,
    PREPROCESSOR,
    TEXT_MODEL,
    TOKENIZER,
    VISION_MODEL,
    fingerprint,
    sha256,
)
from crosslens.ingest.model.transform import parse_transform
from crosslens.ingest.sources.images import to_rgb

_Item = TypeVar("_Item")
PRECISIONS = ("fp32", "fp16", "int8")
_OPSET = 17
_BATCHES = (1, 16)
# The least cosine, over the golden inputs, that an export of each precision must reach.
_LEAST_COSINE = {"fp32": 0.9999, "fp16": 0.9999, "int8": 0.9}
_GOLDEN_TEXTS = (
    "a",
    "shoe",
    "a photo of a cat",
    "Blue running shoes, size 42!",
    "two   spaces\tand a\nnew line",
    "Überraschung: naïve café, 東京の写真, красный ботинок",
    "🙂 a smiling face",
    "it's 3.50 (per litre) & they're sold-out #sale @shop",
    "",
    "ALL CAPITALS AND numbers 1234567890",
    "a photo of " + "a very long description of a thing that goes on " * 4,
    "word " * 400,
)
_GOLDEN_PICTURES = (
    ("RGB", (640, 480)),
    ("RGB", (37, 91)),
    ("RGB", (500, 20)),
    ("L", (224, 224)),
    ("RGBA", (65, 64)),
    ("P", (300, 301)),
    ("CMYK", (128, 97)),
    ("RGB", (3, 2)),
)


@dataclass(frozen=True)
class ExportReport:
    """What an export made: least and mean cosine to PyTorch over the golden inputs, and the folder's size in bytes."""

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
    """Exports ``checkpoint`` (a hub id or folder) to the new folder ``out``.

    ``precision``: fp32; fp16 stores the weights in half precision and computes in single; int8 quantises the weights
    of the matrix products (dynamic quantisation). ``progress`` is told each step.

    Raises `ExportError` when ``out`` exists, the checkpoint can't be loaded, or a vector differs from PyTorch's by
    more than its precision allows; then nothing is left behind.
    """
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
        _export_text(loaded, folder / TEXT_MODEL)
        progress("exporting the image encoder")
        _export_vision(loaded, folder / VISION_MODEL)
        for name in (TEXT_MODEL, VISION_MODEL):
            _convert(folder / name, precision)
        loaded.exported_tokenizer.save(str(folder / TOKENIZER))
        _write_json(folder / PREPROCESSOR, loaded.preprocessor)
        _write_json(folder / CONFIG, loaded.config)
        files = {n: sha256(folder / n) for n in (TEXT_MODEL, VISION_MODEL, TOKENIZER, PREPROCESSOR, CONFIG)}
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
        text, image = _text_cosines(loaded, encoder), _image_cosines(loaded, encoder)
        least = _LEAST_COSINE[precision]
        for kind, cosines in (("text", text), ("image", image)):
            if not cosines.min() >= least:
                raise ExportError(
                    f"the exported {kind} encoder differs from PyTorch: cosine {cosines.min():.6f} on golden input "
                    f"{int(cosines.argmin())}, {least} needed; nothing was written"
                )
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


def golden_pictures() -> list[Image.Image]:
    """Pictures of odd sizes and modes, the same every time: smooth colours with some noise, as photographs have."""
    rng = np.random.default_rng(20)
    pictures = []
    for mode, (width, height) in _GOLDEN_PICTURES:
        y, x = np.mgrid[0:height, 0:width] / max(width, height)
        waves = [np.sin(x * a + y * b + c) for a, b, c in rng.uniform(1, 12, (3, 3))]
        pixels = np.stack(waves, -1) * 90 + 128 + rng.normal(0, 12, (height, width, 3))
        picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)
        if mode == "RGBA":
            picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        pictures.append(picture)
    return pictures


def _export_text(loaded: Checkpoint, path: Path) -> None:
    length = loaded.settings.length if loaded.settings.fixed else 7
    # Ids below the special tokens exist in every vocabulary; pooling looks for none of them while tracing.
    ids = torch.randint(1, 50, (2, length), dtype=torch.int64)
    named = {"input_ids": ids}
    if loaded.masked:
        named["attention_mask"] = torch.ones_like(ids)
    axes = {0: "batch"} if loaded.settings.fixed else {0: "batch", 1: "sequence"}
    _trace(loaded.text, named, path, "text_embeds", axes)


def _export_vision(loaded: Checkpoint, path: Path) -> None:
    height, width = parse_transform(loaded.preprocessor).output_size
    pixels = torch.randn(2, 3, height, width)
    _trace(loaded.vision, {"pixel_values": pixels}, path, "image_embeds", {0: "batch"})


def _trace(
    module: torch.nn.Module, inputs: dict[str, torch.Tensor], path: Path, output: str, axes: dict[int, str]
) -> None:
    """Exports ``module`` by running it on ``inputs``, in its arguments' order; all share the dynamic ``axes``."""
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer warns of every Python number it fixes; the parity check below tells whether any mattered.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes={**dict.fromkeys(inputs, axes), output: {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
        )


def _convert(path: Path, precision: str) -> None:
    if precision == "fp16":
        store_half(path)
    elif precision == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantised = path.with_suffix(".int8.onnx")
        quantize_dynamic(
            path, quantised, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8
        )
        quantised.replace(path)


def store_half(path: Path) -> None:
    """Stores the graph's large weights as float16 and casts them to float32 when it is loaded: half the file, the
    same arithmetic. Weights already rounded to float16 stay exact."""
    model = onnx.load(str(path))
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < 256:
            continue
        half, name = numpy_helper.to_array(tensor).astype(np.float16), tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    onnx.save(model, str(path))


@torch.no_grad()
def _text_cosines(loaded: Checkpoint, encoder: Encoder) -> NDArray[np.float64]:
    """Cosines of each golden text, for each batch size."""
    cosines = []
    texts = list(_GOLDEN_TEXTS)
    for size in _BATCHES:
        padding = "max_length" if loaded.settings.fixed else True
        for batch in _batches(texts, size):
            tokens = loaded.tokenizer(
                batch, padding=padding, truncation=True, max_length=loaded.settings.length, return_tensors="pt"
            )
            inputs = [tokens["input_ids"]]
            if loaded.masked:
                inputs.append(tokens["attention_mask"])
            cosines.append(_cosine(loaded.text(*inputs).numpy(), encoder.encode_texts(batch)))
    return np.concatenate(cosines)


@torch.no_grad()
def _image_cosines(loaded: Checkpoint, encoder: Encoder) -> NDArray[np.float64]:
    """Cosines of each golden picture, for each batch size; transformers prepares the pixels on PyTorch's side."""
    cosines = []
    for size in _BATCHES:
        for batch in _batches(golden_pictures(), size):
            opened = [to_rgb(picture) for picture in batch]
            if hasattr(loaded.vision, "side"):
                # NaFlex's processor keeps the aspect ratio; the exported square grid is compared on its own pixels.
                pixels = torch.from_numpy(np.stack([encoder.transform(p) for p in opened]))
            else:
                pixels = loaded.image_processor(opened, return_tensors="pt")["pixel_values"]
            cosines.append(_cosine(loaded.vision(pixels).numpy(), encoder.encode_images(batch)))
    return np.concatenate(cosines)


def _batches(items: list[_Item], size: int) -> list[list[_Item]]:
    """All items in batches of ``size``, the last one filled up from the start."""
    filled = [*items, *(items * size)[: -len(items) % size]]
    return [filled[i : i + size] for i in range(0, len(filled), size)]


def _cosine(expected: NDArray[np.float32], got: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = expected.astype(np.float64), got.astype(np.float64)
    return np.asarray((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
