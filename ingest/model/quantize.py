"""Quantising the matrix products of an ONNX graph to 8 bits, so that equal inputs get equal vectors in any batch.

Weights are signed, with a scale for each output channel. Activations are unsigned, with a scale for each row (a token
or a patch), taken from that row alone: ONNX Runtime's dynamic quantisation has one scale for the whole batch, so that a
vector depends on what else is in it. Scales for each token and each channel are those of LLM.int8() (Dettmers et al.
2022, section 3). They are written in standard operators, which ONNX Runtime fuses:

    m = max(max(x) / (255 - z), -min(x) / z)                 of each row, where z stands for 0
    y = m * (DequantizeLinear(QuantizeLinear(x / m, z)) @ DequantizeLinear(weights))
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# The input of a graph made by `switched`: which of its layers are quantised.
SWITCHES = "crosslens_quantised"
# What stands for 0 in an activation; what an activation function gives is hardly ever below 0.
_ZERO, _LOW_ZERO = 128, 32
_FUNCTIONS = {"Sigmoid", "Erf", "Tanh", "Relu", "Gelu"}
_ELEMENTWISE = {"Mul", "Add", "Sub", "Div", "Pow", "Identity", "Cast", *_FUNCTIONS}
_MOST, _PAIR = 127, 128
# Smaller matrices cost more to quantise than they save.
_SMALLEST = 1024
# A row of zeros is divided by this.
_TINY = np.float32(1e-30)


@dataclass(frozen=True)
class Layer:
    """A matrix product with constant weights: its node's name, and ``weights`` [inputs, outputs]."""

    name: str
    weights: NDArray[np.float32]


def quantise_weights(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 [inputs, outputs] and the scale of each output, the one of least squared error.

    Of two neighbouring inputs, whose products are added first, the weights never exceed 128 in sum, so that 255 times
    their sum fits 16 bits: there, processors without VNNI saturate, and would give other vectors.
    """
    size = np.abs(weights)
    pairs = np.concatenate([size, np.zeros((len(size) % 2, size.shape[1]), size.dtype)]).reshape(-1, 2, size.shape[1])
    least, most = size.max(0) / _MOST, np.maximum(size.max(0), pairs.sum(1).max(0)) / _MOST
    best, chosen, scales = np.full(size.shape[1], np.inf), np.zeros(weights.shape, np.int8), np.ones(size.shape[1])
    for step in (0.0, 0.5, 1.0):
        scale = np.where(most > 0, least + step * (most - least), 1)
        whole = np.rint(pairs / scale)
        # A pair beyond the limit gives up half of the excess each.
        whole = np.minimum(whole - np.ceil(np.maximum(whole.sum(1, keepdims=True) - _PAIR, 0) / 2), _MOST)
        whole = np.maximum(whole, 0).reshape(-1, size.shape[1])[: len(size)]
        error = ((whole * scale - size) ** 2).sum(0)
        better = error < best
        best = np.where(better, error, best)
        chosen[:, better] = (np.sign(weights) * whole)[:, better].astype(np.int8)
        scales = np.where(better, scale, scales)
    return chosen, scales.astype(np.float32)


def layers(model: onnx.ModelProto) -> list[Layer]:
    """Return the layers that `quantised` can quantise, in the graph's order."""
    found: list[Layer] = []

    def build(_: _Rewriting, product: _Product) -> None:
        found.append(product.layer)

    _rewrite(model, build)
    return found


def quantised(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """Return a copy of a float32 ``model`` whose layers with those ``names`` are quantised."""

    def build(rewriting: _Rewriting, product: _Product) -> str | None:
        return rewriting.quantised(product) if product.layer.name in names else None

    return _rewrite(model, build)


def switched(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a float32 ``model`` that computes every layer both ways, with a further input `SWITCHES`, bool
    [layers], that says which way counts: with it, any choice of layers can be tried without another graph."""
    number = 0

    def build(rewriting: _Rewriting, product: _Product) -> str:
        nonlocal number
        number += 1
        return rewriting.either(product, number - 1)

    copy = _rewrite(model, build)
    copy.graph.input.append(helper.make_tensor_value_info(SWITCHES, TensorProto.BOOL, [number]))
    return copy


@dataclass(frozen=True)
class _Product:
    """A layer in its graph: ``y = x @ weights + bias``, the bias being optional."""

    layer: Layer
    x: str
    y: str
    bias: str | None


class _Rewriting:
    """A graph that is being rewritten: its nodes so far, and the constants added for them."""

    def __init__(self, graph: onnx.GraphProto):
        self.nodes: list[onnx.NodeProto] = []
        self.added: dict[str, TensorProto] = {}
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = {port.name: port for port in graph.input}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._quantised_rows: set[str] = set()

    def constant(self, name: str, value: Any) -> str:
        """Return the name of a constant, which is added where it isn't there."""
        if name not in self.added:
            self.added[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node, and return the name of what it gives."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def finish(self, product: _Product, made: str) -> None:
        """Name what was ``made`` of a product as the graph calls it, with its bias."""
        if product.bias is None:
            self.add("Identity", [made], product.y)
        else:
            self.add("Add", [made, product.bias], product.y)

    def quantised(self, product: _Product) -> str:
        """Add the nodes of a quantised product, and return what they give."""
        rows, name = self._rows(product.x), product.layer.name
        weights, scales = quantise_weights(product.layer.weights)
        form = [
            self.constant(f"{name}/int8", weights),
            self.constant(f"{name}/scales", scales),
            self.constant(f"{name}/zeros", np.zeros(len(scales), np.int8)),
        ]
        matrix = self.add("DequantizeLinear", form, f"{name}/weights", axis=1)
        made = self.add("MatMul", [rows, matrix], f"{name}/product")
        return self.add("Mul", [made, f"{product.x}/scale"], f"{name}/scaled")

    def either(self, product: _Product, number: int) -> str:
        """Add the nodes of both products, and return the one that the switch of this ``number`` says."""
        name = product.layer.name
        weights = self.constant(f"{name}/float", product.layer.weights)
        exact = self.add("MatMul", [product.x, weights], f"{name}/exact")
        switch = self.add("Gather", [SWITCHES, self.constant(f"{name}/number", np.int64(number))], f"{name}/switch")
        return self.add("Where", [switch, self.quantised(product), exact], f"{name}/either")

    def _rows(self, x: str) -> str:
        """Add the nodes that quantise the rows of ``x``, once for all products that share it."""
        if x not in self._quantised_rows:
            self._quantised_rows.add(x)
            zero = _LOW_ZERO if self._is_activated(x) else _ZERO
            high = self.add("ReduceMax", [x], f"{x}/max", axes=[-1], keepdims=1)
            low = self.add("ReduceMin", [x], f"{x}/min", axes=[-1], keepdims=1)
            share = self.constant(f"crosslens/{zero}/above", np.float32(1 / (255 - zero)))
            above = self.add("Mul", [high, share], f"{x}/above")
            share = self.constant(f"crosslens/{zero}/below", np.float32(-1 / zero))
            below = self.add("Mul", [low, share], f"{x}/below")
            scale = self.add("Max", [above, below, self.constant("crosslens/tiny", _TINY)], f"{x}/scale")
            scaled = self.add("Div", [x, scale], f"{x}/rows")
            form = [self.constant("crosslens/one", np.float32(1)), self.constant(f"crosslens/{zero}", np.uint8(zero))]
            whole = self.add("QuantizeLinear", [scaled, *form], f"{x}/uint8")
            self.add("DequantizeLinear", [whole, *form], f"{x}/quantised")
        return f"{x}/quantised"

    def _is_activated(self, x: str, depth: int = 8) -> bool:
        """Return whether ``x`` comes from an activation function, through element-wise operators alone."""
        maker = self._makers.get(x)
        if maker is None or depth == 0 or maker.op_type not in _ELEMENTWISE:
            return False
        return maker.op_type in _FUNCTIONS or any(self._is_activated(each, depth - 1) for each in maker.input)

    def source(self, x: str) -> str:
        """Return the name of what ``x`` is but for its type."""
        maker = self._makers.get(x)
        return self.source(maker.input[0]) if maker is not None and maker.op_type in ("Cast", "Identity") else x


_Build = Callable[[_Rewriting, _Product], str | None]


def _rewrite(model: onnx.ModelProto, build: _Build) -> onnx.ModelProto:
    """Return a copy of ``model``, with what ``build`` makes of each product in its place, where it makes anything."""
    rewriting = _Rewriting(model.graph)
    for node in model.graph.node:
        done = False
        if node.op_type in ("MatMul", "Gemm"):
            done = _dense(node, rewriting, build)
        elif node.op_type == "Conv":
            done = _patches(node, rewriting, build)
        if not done:
            rewriting.nodes.append(node)
    used = {name for node in rewriting.nodes for name in node.input} | {port.name for port in model.graph.output}
    copy = onnx.ModelProto()
    copy.ir_version, copy.producer_name = model.ir_version, model.producer_name
    copy.opset_import.extend(model.opset_import)
    copy.graph.name = model.graph.name
    copy.graph.input.extend(model.graph.input)
    copy.graph.output.extend(model.graph.output)
    copy.graph.node.extend(rewriting.nodes)
    for tensors in (rewriting.constants, rewriting.added):
        copy.graph.initializer.extend([tensor for name, tensor in tensors.items() if name in used])
    return copy


def _dense(node: onnx.NodeProto, rewriting: _Rewriting, build: _Build) -> bool:
    weights = _matrix(rewriting.constants.get(node.input[1]))
    if weights is None:
        return False
    bias = None
    if node.op_type == "Gemm":
        settings = _settings(node)
        if settings.get("transA", 0) or settings.get("alpha", 1.0) != 1.0 or settings.get("beta", 1.0) != 1.0:
            return False
        weights = np.ascontiguousarray(weights.T) if settings.get("transB", 0) else weights
        bias = node.input[2] if len(node.input) > 2 else None
    product = _Product(Layer(node.name or node.output[0], weights), node.input[0], node.output[0], bias)
    made = build(rewriting, product)
    if made is not None:
        rewriting.finish(product, made)
    return made is not None


def _patches(node: onnx.NodeProto, rewriting: _Rewriting, build: _Build) -> bool:
    """A convolution that cuts a picture into patches is a product of each patch's pixels with the same matrix."""
    tensor = rewriting.constants.get(node.input[1])
    pixels = rewriting.inputs.get(rewriting.source(node.input[0]))
    if tensor is None or pixels is None or len(tensor.dims) != 4 or tensor.data_type != TensorProto.FLOAT:
        return False
    outputs, channels, high, wide = tensor.dims
    _, depth, *size = [dimension.dim_value for dimension in pixels.type.tensor_type.shape.dim]
    settings = _settings(node)
    plain = settings.get("group", 1) == 1 and not any(settings.get("pads", [])) and depth == channels
    if not plain or list(settings.get("strides", [])) != [high, wide] or set(settings.get("dilations", [1])) != {1}:
        return False
    if not all(size) or size[0] % high or size[1] % wide or outputs * channels * high * wide < _SMALLEST:
        return False
    rows, columns = size[0] // high, size[1] // wide
    weights = np.ascontiguousarray(numpy_helper.to_array(tensor).reshape(outputs, -1).T)
    name = node.name or node.output[0]
    bias = node.input[2] if len(node.input) > 2 else None
    product = _Product(Layer(name, weights), f"{name}/patches", f"{name}/embedded", bias)
    before = len(rewriting.nodes)
    cut = _shape(rewriting, [-1, channels, rows, high, columns, wide])
    rewriting.add("Reshape", [node.input[0], cut], f"{name}/cut")
    rewriting.add("Transpose", [f"{name}/cut"], f"{name}/turned", perm=[0, 2, 4, 1, 3, 5])
    flat = _shape(rewriting, [-1, rows * columns, channels * high * wide])
    rewriting.add("Reshape", [f"{name}/turned", flat], product.x)
    made = build(rewriting, product)
    if made is None:
        del rewriting.nodes[before:]
        return False
    rewriting.finish(product, made)
    rewriting.add("Transpose", [product.y], f"{name}/channels", perm=[0, 2, 1])
    shape = _shape(rewriting, [-1, outputs, rows, columns])
    rewriting.add("Reshape", [f"{name}/channels", shape], node.output[0])
    return True


def _settings(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _shape(rewriting: _Rewriting, sizes: list[int]) -> str:
    return rewriting.constant(f"crosslens/shape {sizes}", np.array(sizes, np.int64))


def _matrix(tensor: TensorProto | None) -> NDArray[np.float32] | None:
    """Return a constant matrix that is worth quantising, else None."""
    if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2:
        return None
    return numpy_helper.to_array(tensor) if int(np.prod(tensor.dims)) >= _SMALLEST else None
