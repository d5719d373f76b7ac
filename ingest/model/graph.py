"""An ONNX file's inputs, outputs and external weight files, read without loading it.

Weights are skipped by their length, so reading a graph of gigabytes takes milliseconds. Field numbers are those of
onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike

from crosslens.errors import ModelError
from crosslens.ingest.model.files import is_pointer
from crosslens.ingest.model.protobuf import Span, fields, messages, text

# The values of TensorProto.DataType that crosslens can feed or read.
TYPES: dict[int, DTypeLike] = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}
# By kind of message, the fields whose messages lead to tensors.
INSIDE = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
GRAPH, INITIALIZER, INPUT, OUTPUT = 7, 5, 11, 12
TENSOR_NAME, _EXTERNAL = 8, 13

_T = TypeVar("_T")


@dataclass(frozen=True)
class Port:
    """An input or output: ``kind`` as in `TYPES`, and the ``shape``, with None for each size that may vary."""

    name: str
    kind: int
    shape: tuple[int | None, ...]

    @property
    def dtype(self) -> DTypeLike:
        """Return the NumPy type to feed."""
        return TYPES[self.kind]


@dataclass(frozen=True)
class Graph:
    """A graph's inputs and outputs; ``external`` are its weight files, relative to its folder."""

    path: Path
    inputs: dict[str, Port] = field(default_factory=dict)
    outputs: dict[str, Port] = field(default_factory=dict)
    external: frozenset[str] = frozenset()


def read_graph(path: Path) -> Graph:
    """Read an ONNX file's inputs, outputs and external files.

    Raises `ModelError` when it isn't an ONNX file, or is only a Git LFS pointer to one.
    """
    if is_pointer(path):
        raise ModelError(f"{path} is a Git LFS pointer, not the graph itself", hint="fetch it with git lfs pull")
    return opened(path, lambda data: _read(path, data))


def opened(path: Path, read: Callable[[mmap.mmap], _T]) -> _T:
    """Return what ``read`` makes of an ONNX file's bytes. Raises `ModelError` where they aren't a graph."""
    try:
        with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read(data)
    except (ValueError, KeyError, IndexError, RecursionError) as error:
        raise ModelError(f"{path} isn't an ONNX graph ({error})", hint="copy or export the folder again") from error


def _read(path: Path, data: mmap.mmap) -> Graph:
    external: set[str] = set()
    whole = (0, len(data))
    graphs = [span for number, span in messages(data, whole) if number == GRAPH]
    if not graphs:
        raise ValueError("it holds no graph")
    for tensor in _tensors(data, whole, "model"):
        entries = [dict(messages(data, span)) for number, span in messages(data, tensor) if number == _EXTERNAL]
        external |= {text(data, entry[2]) for entry in entries if text(data, entry[1]) == "location"}
    inputs, outputs, weights = [], [], set()
    for number, span in messages(data, graphs[-1]):
        if number == INPUT:
            inputs.append(_port(data, span))
        elif number == OUTPUT:
            outputs.append(_port(data, span))
        elif number == INITIALIZER:
            weights |= {text(data, name) for n, name in messages(data, span) if n == TENSOR_NAME}
    # Older graphs list their weights among the inputs.
    wanted = {port.name: port for port in inputs if port.name not in weights}
    return Graph(path, wanted, {port.name: port for port in outputs}, frozenset(external))


def _tensors(data: mmap.mmap, span: Span, kind: str) -> Iterator[Span]:
    if kind == "tensor":
        yield span
        return
    inside = INSIDE[kind]
    for number, part in messages(data, span):
        if number in inside:
            yield from _tensors(data, part, inside[number])


def _port(data: mmap.mmap, span: Span) -> Port:
    parts = dict(messages(data, span))
    kind, shape = 0, []
    tensor = dict(messages(data, parts[2])).get(1) if 2 in parts else None
    if tensor is not None:
        for number, value in fields(data, tensor):
            if number == 1 and isinstance(value, int):
                kind = value
            elif number == 2 and not isinstance(value, int):
                for _, dimension in messages(data, value):
                    sizes = [size for n, size in fields(data, dimension) if n == 1 and isinstance(size, int)]
                    # Some exporters write 0 or a negative number for a dynamic size.
                    shape.append(sizes[0] if sizes and 0 < sizes[0] < 1 << 62 else None)
    return Port(text(data, parts[1]), kind, tuple(shape))
