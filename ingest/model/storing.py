"""Writing ONNX graphs, whose weights don't always fit one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from crosslens.ingest.model.graph import read_graph

# A protocol buffer beyond this size can't be one file.
LARGEST = 2**31 - 2**20


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write one file, or two where one would exceed a protocol buffer's limit."""
    beside = f"{path.name}_data"
    (path.parent / beside).unlink(missing_ok=True)
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > LARGEST:
        onnx.save(model, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=beside)
    else:
        onnx.save(model, str(path))


def gather(path: Path) -> None:
    """Move the weights that PyTorch left beside a graph, one file each, into the graph, or else all into one file."""
    external = read_graph(path).external
    if not external:
        return
    model = onnx.load(str(path))
    for name in external:
        (path.parent / name).unlink()
    save(model, path)


def rename(path: Path, to: Path) -> None:
    """Move a graph within its folder, with what `save` may have put beside it."""
    if read_graph(path).external:
        # The graph names its file of weights.
        model = onnx.load(str(path))
        remove(path)
        save(model, to)
    else:
        path.replace(to)


def remove(path: Path) -> None:
    """Remove a graph and what `save` may have put beside it."""
    path.unlink(missing_ok=True)
    (path.parent / f"{path.name}_data").unlink(missing_ok=True)


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
    save(model, path)
