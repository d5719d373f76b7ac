"""The part of an ONNX graph that computes one of its outputs, for graphs that hold both encoders.

ONNX Runtime runs all of a graph, whichever output is asked for, so a text would be encoded together with a picture.
"""

from __future__ import annotations

import mmap

from crosslens.errors import ModelError
from crosslens.ingest.model.graph import GRAPH, INITIALIZER, INPUT, INSIDE, OUTPUT, TENSOR_NAME, Graph, opened
from crosslens.ingest.model.protobuf import Span, message, messages, text, whole_messages

_NODE, _READS, _MAKES, _NAME = 1, 1, 2, 1
# Descriptions of what lies between nodes, which nobody needs.
_LEFT_OUT = {13, 14}


def apart(graph: Graph) -> tuple[Graph, Graph]:
    """Return the text encoder and the image encoder of a graph that holds both, as their outputs depend on inputs.

    Raises `ModelError` where it doesn't give a vector of each.
    """
    names = "text_embeds", "image_embeds"
    if not set(names) <= graph.outputs.keys():
        raise ModelError(
            f"{graph.path} should hold both encoders, and gives {', '.join(graph.outputs)} instead of "
            f"{' and '.join(names)}",
            hint="export the checkpoint, which keeps the encoders apart",
            verb="export",
        )
    text, vision = (narrowed(graph, name) for name in names)
    if text.inputs.keys() & vision.inputs.keys():
        raise ModelError(
            f"{graph.path} needs texts and pictures together, and crosslens encodes each by itself",
            hint="such a model can't be used",
        )
    return text, vision


def narrowed(graph: Graph, output: str) -> Graph:
    """Return the part of a graph that computes ``output``, with the inputs that it needs. Raises as `read_graph`."""
    needed = opened(graph.path, lambda data: _needed(data, _graph(data), output))
    inputs = {name: port for name, port in graph.inputs.items() if name in needed}
    return Graph(graph.path, inputs, {output: graph.outputs[output]}, graph.external)


def cut_out(graph: Graph, output: str) -> bytes:
    """Return the part of a graph that computes ``output``, as an ONNX file. Raises as `read_graph`."""
    return opened(graph.path, lambda data: b"".join(_model(data, output)))


def _model(data: mmap.mmap, output: str) -> list[bytes]:
    kept: list[bytes] = []
    graph = _graph(data)
    needed = _needed(data, graph, output)
    for number, span, (start, end) in whole_messages(data, (0, len(data))):
        if span == graph:
            kept += message(GRAPH, _parts(data, graph, needed, output))
        elif number != GRAPH:
            kept.append(data[start:end])
    return kept


def _parts(data: mmap.mmap, graph: Span, needed: set[str], output: str) -> list[bytes]:
    kept = []
    for number, span, (start, end) in whole_messages(data, graph):
        if number in _LEFT_OUT:
            continue
        if span is not None and number == _NODE and needed.isdisjoint(_texts(data, span, _MAKES)):
            continue
        if span is not None and number == INITIALIZER and needed.isdisjoint(_texts(data, span, TENSOR_NAME)):
            continue
        if span is not None and number == INPUT and needed.isdisjoint(_texts(data, span, _NAME)):
            continue
        if span is not None and number == OUTPUT and _texts(data, span, _NAME) != {output}:
            continue
        kept.append(data[start:end])
    return kept


def _graph(data: mmap.mmap) -> Span:
    # As everywhere in protocol buffers, the last one counts.
    return [span for number, span in messages(data, (0, len(data))) if number == GRAPH][-1]


def _needed(data: mmap.mmap, graph: Span, output: str) -> set[str]:
    """Return the names of all that ``output`` is computed from, its own included."""
    made_by: dict[str, set[str]] = {}
    for number, node in messages(data, graph):
        if number == _NODE:
            # What stands beside a result that is needed is made with it, but nothing is made for it.
            made_by |= dict.fromkeys(_texts(data, node, _MAKES), _read_by(data, node))
    needed, left = {output}, [output]
    while left:
        more = made_by.get(left.pop(), set()) - needed
        needed |= more
        left += more
    return needed - {""}


def _read_by(data: mmap.mmap, node: Span) -> set[str]:
    """Return what a node reads, also from within the branches and loop bodies that it holds."""
    read = _texts(data, node, _READS)
    for number, attribute in messages(data, node):
        if number not in INSIDE["node"]:
            continue
        for body in (span for n, span in messages(data, attribute) if INSIDE["attribute"].get(n) == "graph"):
            for n, part in messages(data, body):
                if n == _NODE:
                    read |= _read_by(data, part)
                elif n == OUTPUT:
                    # It may hand on a result from outside as it is.
                    read |= _texts(data, part, _NAME)
    return read


def _texts(data: mmap.mmap, span: Span, field: int) -> set[str]:
    return {text(data, part) for number, part in messages(data, span) if number == field}
