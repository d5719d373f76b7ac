"""Exporting a checkpoint to ONNX: its graphs, their tokenizer and preprocessing, and the proof that they agree.

The proof is part of the export: golden texts and pictures go through transformers and PyTorch on one side and
through `crosslens.Encoder` on the other; the folder appears only if every pair of vectors agrees (`prove`).
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from crosslens.errors import ExportError
from crosslens.ingest.model.checkpoints import Checkpoint, load_checkpoint
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.files import sha256
from crosslens.ingest.model.folder import CONFIG, MANIFEST, fingerprint
from crosslens.ingest.model.graph import read_graph
from crosslens.ingest.model.layouts import PREPROCESSOR, TEXT_MODEL, TOKENIZER, VISION_MODEL
from crosslens.ingest.model.prompts import PROMPTS, Prompts, TextOptions
from crosslens.ingest.model.proof import prove
from crosslens.ingest.model.transform import parse_transform
from crosslens.ingest.model.weights import first_line

PRECISIONS = ("fp32", "fp16", "int8")
_OPSET = 17
# A protocol buffer beyond this size can't be one file.
_LARGEST = 2**31 - 2**20


@dataclass(frozen=True)
class ExportReport:
    """An export's least and mean cosine to PyTorch over the golden inputs, and its folder's size in bytes.

    Of a text model there are none of images.
    """

    out: str
    name: str
    fingerprint: str
    dims: int
    precision: str
    text_cosine_min: float
    text_cosine_mean: float
    image_cosine_min: float | None
    image_cosine_mean: float | None
    size: int


def export(
    checkpoint: str,
    out: Path,
    *,
    precision: str = "fp32",
    image_tower: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    texts: TextOptions | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> ExportReport:
    """Export ``checkpoint`` (a hub id or folder) to the new folder ``out``.

    ``precision``: fp32; fp16 stores the weights in half precision and computes in single; int8 quantises the weights
    of the matrix products (dynamic quantisation). ``texts`` are options of text models. ``progress`` is called with
    each step.

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
        checkpoint, image_tower=image_tower, revision=revision, trust_remote_code=trust_remote_code, texts=texts
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as tmp:
        folder = Path(tmp) / "model"
        (folder / "onnx").mkdir(parents=True)
        progress("exporting the text encoder")
        _export_text(loaded, folder / TEXT_MODEL)
        if loaded.vision is not None and loaded.preprocessor is not None:
            progress("exporting the image encoder")
            _export_vision(loaded.vision, loaded.preprocessor, folder / VISION_MODEL)
            _write_json(folder / PREPROCESSOR, loaded.preprocessor)
        for graph in sorted((folder / "onnx").glob("*.onnx")):
            _convert(graph, precision)
        loaded.exported_tokenizer.save(str(folder / TOKENIZER))
        _write_json(folder / CONFIG, loaded.config)
        if loaded.prompts != Prompts():
            _write_json(folder / PROMPTS, loaded.prompts.as_file())
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
        manifest["parity"] = {"text_cosine_min": round(float(text.min()), 7)}
        if image is not None:
            manifest["parity"]["image_cosine_min"] = round(float(image.min()), 7)
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
        image_cosine_min=None if image is None else float(image.min()),
        image_cosine_mean=None if image is None else float(image.mean()),
        size=size,
    )


def _export_text(loaded: Checkpoint, path: Path) -> None:
    length = loaded.settings.length if loaded.settings.fixed else 7
    # Ids below the special tokens exist in every vocabulary, and pooling doesn't look for them while tracing.
    ids = torch.randint(1, min(50, loaded.exported_tokenizer.get_vocab_size()), (2, length), dtype=torch.int64)
    named = {"input_ids": ids}
    if loaded.masked:
        named["attention_mask"] = torch.ones_like(ids)
    axes = {0: "batch"} if loaded.settings.fixed else {0: "batch", 1: "sequence"}
    _trace(loaded.text, named, path, "text_embeds", axes)


def _export_vision(vision: torch.nn.Module, preprocessor: dict[str, Any], path: Path) -> None:
    height, width = parse_transform(preprocessor).output_size
    pixels = torch.randn(2, 3, height, width)
    _trace(vision, {"pixel_values": pixels}, path, "image_embeds", {0: "batch"})


def _trace(
    module: torch.nn.Module, inputs: dict[str, torch.Tensor], path: Path, output: str, axes: dict[int, str]
) -> None:
    """Export ``module`` by running it on ``inputs``, in its arguments' order; all share the dynamic ``axes``."""
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer warns about every Python number it freezes; the proof shows afterwards whether any mattered.
        warnings.simplefilter("ignore")
        try:
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
        except Exception as error:
            raise ExportError(
                f"the checkpoint can't be exported ({first_line(error)}); nothing was written",
                hint="its config.json, tokenizer and preprocessing must be of one checkpoint",
            ) from error
    gather(path)


def gather(path: Path) -> None:
    """Move the weights that PyTorch left beside a graph, one file each, into the graph, or else all into one file."""
    external = read_graph(path).external
    if not external:
        return
    model = onnx.load(str(path))
    for name in external:
        (path.parent / name).unlink()
    _save(model, path)


def _save(model: onnx.ModelProto, path: Path) -> None:
    """Write one file, or two where one would exceed a protocol buffer's limit."""
    beside = f"{path.name}_data"
    (path.parent / beside).unlink(missing_ok=True)
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > _LARGEST:
        onnx.save(model, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=beside)
    else:
        onnx.save(model, str(path))


def _convert(path: Path, precision: str) -> None:
    if precision == "fp16":
        store_half(path)
    elif precision == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        external = read_graph(path).external
        quantised = path.with_suffix(".int8.onnx")
        quantize_dynamic(
            path,
            quantised,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=bool(external),
        )
        for name in external:
            (path.parent / name).unlink()
        quantised.replace(path)
        gather(path)


def store_half(path: Path) -> None:
    """Store the graph's large weights as float16 and cast them to float32 at load time: half the file size, the same
    arithmetic. Weights already rounded to float16 stay exact."""
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
    _save(model, path)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
