"""How the graphs of a model folder are fed and read: by their declared inputs and outputs, whoever made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import ModelError
from crosslens.ingest.model.graph import TYPES, Graph, Port

_TEXT_OUTPUTS = ("text_embeds", "pooler_output", "sentence_embedding", "embedding")
_IMAGE_OUTPUTS = ("image_embeds", "pooler_output", "embedding")
_AUDIO_OUTPUTS = ("audio_embeds", "pooler_output", "embedding")
# Whether a sound is longer than a fused encoder reads; see `audio_inputs`.
_LONGER = "is_longer"
_MASKS = ("attention_mask", "token_type_ids")
_WHOLE, _FLOAT = {6, 7}, {1, 10, 11}
# Their pooled output is not yet projected into the space that both encoders share.
_PROJECTED = ("clip", "chinese_clip", "align")
_AGAIN = "export the checkpoint to a new folder"


@dataclass(frozen=True)
class TextPorts:
    """A text graph: ``ids`` and its other inputs; None stands for a dynamic size."""

    path: Path
    ids: Port
    others: tuple[Port, ...]
    output: str
    dims: int | None
    # Whether the graph is all for texts.
    alone: bool = True

    @property
    def batch(self) -> int | None:
        """Return how many texts it reads at once."""
        return self.ids.shape[0]

    @property
    def masked(self) -> bool:
        """Return whether it takes an attention mask."""
        return any(port.name == "attention_mask" for port in self.others)

    @property
    def length(self) -> int | None:
        """Return how many tokens it reads of each text."""
        return self.ids.shape[1]


@dataclass(frozen=True)
class VisionPorts:
    """An image graph, whose ``pixels`` are [pictures, 3, height, width]; None stands for a dynamic size."""

    path: Path
    pixels: Port
    output: str
    dims: int | None
    # Whether the graph is all for pictures.
    alone: bool = True

    @property
    def batch(self) -> int | None:
        """Return how many pictures it reads at once."""
        return self.pixels.shape[0]


@dataclass(frozen=True)
class AudioPorts:
    """An audio graph, whose ``features`` are [sounds, channels, frames, mels]; None stands for a dynamic size.
    ``longer`` is where a fused encoder of other tools is told which sounds it should fuse."""

    path: Path
    features: Port
    longer: Port | None
    output: str
    dims: int | None
    alone: bool = True

    @property
    def batch(self) -> int | None:
        """Return how many sounds it reads at once."""
        return self.features.shape[0]


def text_ports(graph: Graph, config: dict[str, Any]) -> TextPorts:
    """Find a text encoder's inputs and output. Raises `ModelError` for one that crosslens can't feed."""
    others = tuple(port for name, port in graph.inputs.items() if name in _MASKS)
    ids = [port for name, port in graph.inputs.items() if name not in _MASKS]
    if len(ids) != 1 or ids[0].kind not in _WHOLE or len(ids[0].shape) != 2:
        raise _unknown_inputs(graph)
    for port in others:
        if port.kind not in TYPES or len(port.shape) != 2:
            raise ModelError(
                f"{graph.path} asks for {port.name} in a form that crosslens doesn't know", hint=_AGAIN, verb="export"
            )
    output = _output(graph, _TEXT_OUTPUTS)
    if output.name == "pooler_output" and config.get("model_type") in _PROJECTED:
        raise ModelError(f"{graph.path} gives no text_embeds: it lacks its projection", hint=_AGAIN, verb="export")
    return TextPorts(graph.path, ids[0], others, output.name, _dims(output))


def vision_ports(graph: Graph, size: tuple[int, int]) -> VisionPorts:
    """Find an image encoder's input and output; ``size`` is the (height, width) of prepared pictures.

    Raises `ModelError` for one that crosslens can't feed, or that reads pictures of another size.
    """
    inputs = [port for port in graph.inputs.values() if port.kind in _FLOAT and len(port.shape) == 4]
    if len(inputs) != 1 or len(graph.inputs) != 1 or inputs[0].shape[1] not in (None, 3):
        raise _unknown_inputs(graph)
    reads = inputs[0].shape[2:]
    _check_shape(graph, reads, size, f"pictures of {reads[0]} x {reads[1]} pixels", f"{size[0]} x {size[1]}")
    output = _output(graph, _IMAGE_OUTPUTS)
    return VisionPorts(graph.path, inputs[0], output.name, _dims(output))


def audio_ports(graph: Graph, shape: tuple[int, ...]) -> AudioPorts:
    """Find an audio encoder's inputs and output; ``shape`` is that of a prepared sound.

    Raises `ModelError` for one that crosslens can't feed, or that reads sounds of another shape.
    """
    longer = graph.inputs.get(_LONGER)
    others = [port for name, port in graph.inputs.items() if name != _LONGER]
    known = longer is None or (longer.kind in TYPES and len(longer.shape) <= 2)
    if len(others) != 1 or not known or others[0].kind not in _FLOAT or len(others[0].shape) != 1 + len(shape):
        raise _unknown_inputs(graph)
    reads = others[0].shape[1:]
    _check_shape(graph, reads, shape, f"sounds as {list(reads)} numbers", str(list(shape)))
    output = _output(graph, _AUDIO_OUTPUTS)
    return AudioPorts(graph.path, others[0], longer, output.name, _dims(output))


def audio_inputs(ports: AudioPorts, features: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Return the inputs of a run of an audio graph, of prepared sounds, stacked.

    transformers' processor has one sound of each batch fused even if none is longer: the only one, of one sound. So
    that a vector doesn't depend on the sounds beside it, every sound is fused.
    """
    inputs: dict[str, NDArray[Any]] = {ports.features.name: features.astype(ports.features.dtype, copy=False)}
    if ports.longer is not None:
        size = (len(features), 1)[: len(ports.longer.shape)]
        inputs[ports.longer.name] = np.ones(size, dtype=ports.longer.dtype)
    return inputs


def _unknown_inputs(graph: Graph) -> ModelError:
    said = f"{graph.path} asks for inputs that crosslens doesn't know: {_described(graph)}"
    return ModelError(said, hint=_AGAIN, verb="export")


def _check_shape(
    graph: Graph, reads: Sequence[int | None], makes: Sequence[int], reads_said: str, makes_said: str
) -> None:
    """Raises `ModelError` where a graph ``reads`` inputs of another shape than the folder's preprocessing ``makes``."""
    if any(read not in (None, made) for read, made in zip(reads, makes, strict=True)):
        raise ModelError(
            f"{graph.path} reads {reads_said}, and the folder's preprocessing makes them {makes_said}",
            hint=_AGAIN,
            verb="export",
        )


def _output(graph: Graph, names: tuple[str, ...]) -> Port:
    for name in names:
        if name in graph.outputs:
            found = graph.outputs[name]
            break
    else:
        if len(graph.outputs) != 1:
            raise ModelError(f"{graph.path} gives {sorted(graph.outputs)}, none of which is {' or '.join(names)}")
        (found,) = graph.outputs.values()
    if found.kind not in _FLOAT or len(found.shape) not in (0, 2):
        raise ModelError(
            f"{graph.path} gives {_described_port(found)}, not one vector for each input", hint=_AGAIN, verb="export"
        )
    return found


def _dims(output: Port) -> int | None:
    return output.shape[1] if len(output.shape) == 2 else None


def _described(graph: Graph) -> str:
    return ", ".join(_described_port(port) for port in graph.inputs.values()) or "none"


def _described_port(port: Port) -> str:
    kind = getattr(TYPES.get(port.kind), "__name__", f"type {port.kind}")
    return f"{port.name} ({kind} {[size or '?' for size in port.shape]})"
