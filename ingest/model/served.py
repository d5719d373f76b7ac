"""What the server plugin needs of a model folder: less can be read there than here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from crosslens.errors import ModelError
from crosslens.ingest.model.folder import ModelFolder, open_model
from crosslens.ingest.model.layouts import TEXT_MODEL, VISION_MODEL

# As in Encoder.java.
_IDS, _PIXELS = "input_ids", "pixel_values"
_TEXT_OUTPUTS = ("text_embeds", "pooler_output", "sentence_embedding")
_IMAGE_OUTPUTS = ("image_embeds", "pooler_output")


def check_served(folders: Iterable[Path]) -> None:
    """Raise `ModelError` for a folder that crosslens can't read, or that only the Python side can.

    The server plugin reads graphs by the names that transformers.js and crosslens give to them and to their inputs.
    """
    for folder in folders:
        reason = _unserved(open_model(folder))
        if reason:
            raise ModelError(
                f"the server plugin can't serve {folder}: {reason}",
                hint="export the checkpoint to a new folder, which both sides read",
                verb="export",
            )


def _unserved(model: ModelFolder) -> str:
    for path, name in ((model.text_model, TEXT_MODEL), (model.vision_model, VISION_MODEL)):
        if path not in (model.path / name, model.path / Path(name).name):
            return f"it looks for {name}, and the folder has {path.relative_to(model.path).as_posix()}"
    text, vision = model.text_ports, model.vision_ports
    for graph, needed, given in ((text, _IDS, text.ids), (vision, _PIXELS, vision.pixels)):
        if given.name != needed:
            return f"{graph.path.name} calls its input {given.name}, not {needed}"
    if vision.pixels.dtype not in (np.float32, np.float16):
        return f"{vision.path.name} reads pixels of another type than float32 and float16"
    if any(port.dtype not in (np.int32, np.int64) for port in text.others):
        return f"{text.path.name} reads its mask as another type than int32 and int64"
    for output, known, path in ((text.output, _TEXT_OUTPUTS, text.path), (vision.output, _IMAGE_OUTPUTS, vision.path)):
        if output not in known:
            return f"{path.name} calls its vectors {output}, not {known[0]}"
    if model.text.canonical:
        return "it doesn't clean texts as open_clip does"
    return ""
