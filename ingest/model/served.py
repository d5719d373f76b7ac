"""What the server plugin needs of a model folder: less can be read there than here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from crosslens.errors import ModelError
from crosslens.ingest.model.folder import ModelFolder, open_model
from crosslens.ingest.model.layouts import TEXT_MODEL, VISION_MODEL
from crosslens.ingest.model.ports import TextPorts, VisionPorts

# As in Encoder.java.
_IDS, _PIXELS = "input_ids", "pixel_values"
_TEXT_OUTPUTS = ("text_embeds", "pooler_output", "sentence_embedding")
_IMAGE_OUTPUTS = ("image_embeds", "pooler_output")


def check_served(folders: Iterable[Path]) -> None:
    """Raise `ModelError` for a folder that crosslens can't read, or that only the Python side can.

    The server plugin reads graphs by the names that transformers.js and crosslens give to them and to their inputs.
    """
    for folder in folders:
        model = open_model(folder)
        if model.joined is not None and model.joined.heads:
            raise ModelError(
                f"the server plugin can't serve {folder}: its texts have another vector for each kind that they look "
                "for",
                hint="encode with it in Python",
            )
        reason = _unserved(model)
        if reason:
            raise ModelError(
                f"the server plugin can't serve {folder}: {reason}",
                hint="export the checkpoint to a new folder, which both sides read",
                verb="export",
            )


def _unserved(model: ModelFolder) -> str:
    text, vision = model.text_ports, model.vision_ports
    reason = _unread(model, text, TEXT_MODEL, (text.ids.name, _IDS), _TEXT_OUTPUTS)
    if vision is not None:
        reason = reason or _unread(model, vision, VISION_MODEL, (vision.pixels.name, _PIXELS), _IMAGE_OUTPUTS)
    return reason or _unfit(model)


def _unread(
    model: ModelFolder, ports: TextPorts | VisionPorts, name: str, called: tuple[str, str], outputs: tuple[str, ...]
) -> str:
    """Return which name the plugin doesn't know; ``called`` is the name of a graph's input, and what it should be."""
    if ports.path not in (model.path / name, model.path / Path(name).name):
        return f"it looks for {name}, and the folder has {ports.path.relative_to(model.path).as_posix()}"
    given, needed = called
    if given != needed:
        return f"{ports.path.name} calls its input {given}, not {needed}"
    if ports.output not in outputs:
        return f"{ports.path.name} calls its vectors {ports.output}, not {outputs[0]}"
    return ""


def _unfit(model: ModelFolder) -> str:
    text, vision = model.text_ports, model.vision_ports
    if vision is not None and vision.pixels.dtype not in (np.float32, np.float16):
        return f"{vision.path.name} reads pixels of another type than float32 and float16"
    if any(port.dtype not in (np.int32, np.int64) for port in text.others):
        return f"{text.path.name} reads its mask as another type than int32 and int64"
    if model.text.canonical:
        return "it doesn't clean texts as open_clip does"
    return ""
