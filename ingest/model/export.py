"""A checkpoint's two towers as ONNX graphs, in the precision that is asked for."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from crosslens.errors import ExportError
from crosslens.ingest.model.checkpoints import Checkpoint
from crosslens.ingest.model.graph import read_graph
from crosslens.ingest.model.transform import parse_transform
from crosslens.ingest.model.weights import first_line

PRECISIONS = ("fp32", "fp16", "int8")
_OPSET = 17
# A protocol buffer beyond this size can't be one file.
_LARGEST = 2**31 - 2**20


def export_text(loaded: Checkpoint, path: Path) -> None:
    """Write the text encoder's graph to ``path``. Raises `ExportError` where it can't be traced."""
    length = loaded.settings.length if loaded.settings.fixed else 7
    # Ids below the special tokens exist in every vocabulary, and pooling doesn't look for them while tracing.
    ids = torch.randint(1, min(50, loaded.exported_tokenizer.get_vocab_size()), (2, length), dtype=torch.int64)
    named = {"input_ids": ids}
    if loaded.masked:
        named["attention_mask"] = torch.ones_like(ids)
    axes = {0: "batch"} if loaded.settings.fixed else {0: "batch", 1: "sequence"}
    _trace(loaded.text, named, path, "text_embeds", axes)


def export_vision(loaded: Checkpoint, path: Path) -> None:
    """Write the image encoder's graph to ``path``. Raises `ExportError` where it can't be traced."""
    height, width = parse_transform(loaded.preprocessor).output_size
    pixels = torch.randn(2, 3, height, width)
    _trace(loaded.vision, {"pixel_values": pixels}, path, "image_embeds", {0: "batch"})


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


def convert(path: Path, precision: str) -> None:
    """Change a graph in place from single precision to one of `PRECISIONS`."""
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
