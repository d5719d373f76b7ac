"""A checkpoint's towers, or a text model's one, as ONNX graphs in single precision."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from crosslens.errors import ExportError
from crosslens.ingest.model import pe_av, perception
from crosslens.ingest.model.checkpoints import Checkpoint
from crosslens.ingest.model.gemma import Body, Gemma, Pictures, Sounds, traceable
from crosslens.ingest.model.joined import BODY, JOINED, PICTURES, SOUNDS
from crosslens.ingest.model.perception import HEADS, TOKENS, VECTORS
from crosslens.ingest.model.storing import gather
from crosslens.ingest.model.transform import parse_transform
from crosslens.ingest.model.weights import first_line

_OPSET = 17


def export_text(loaded: Checkpoint, path: Path) -> None:
    """Write the text encoder's graph to ``path``. Raises `ExportError` where it can't be traced."""
    length = loaded.settings.length if loaded.settings.fixed else 7
    # Ids below the special tokens exist in every vocabulary, and pooling doesn't look for them while tracing.
    ids = torch.randint(1, min(50, loaded.exported_tokenizer.get_vocab_size()), (2, length), dtype=torch.int64)
    named = {"input_ids": ids}
    if loaded.masked:
        named["attention_mask"] = torch.ones_like(ids)
    axes = {0: "batch"} if loaded.settings.fixed else {0: "batch", 1: "sequence"}
    if loaded.pe_av is None:
        _trace(loaded.text, named, path, "text_embeds", axes)
    else:
        _trace(pe_av.Texts(loaded.pe_av.model).eval(), named, path, list(dict.fromkeys(HEADS.values())), axes)


def export_vision(vision: torch.nn.Module, preprocessor: dict[str, Any], path: Path) -> None:
    """Write the image encoder's graph to ``path``. Raises `ExportError` where it can't be traced."""
    height, width = parse_transform(preprocessor).output_size
    pixels = torch.randn(2, 3, height, width)
    _trace(vision, {"pixel_values": pixels}, path, "image_embeds", {0: "batch"})


def export_audio(audio: torch.nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """Write the graph of an encoder of sounds, prepared to ``shape``. Raises `ExportError` where it can't be traced."""
    features = torch.randn(2, *shape)
    _trace(audio, {"input_features": features}, path, "audio_embeds", {0: "batch"})


def export_joined(gemma: Gemma, folder: Path) -> None:
    """Write the parts of an EmbeddingGemma 2 and how they are joined. Raises `ExportError` if one can't be traced."""
    settings = gemma.settings()
    patches = 9 * settings["frame"]["pool"] ** 2
    across, down = torch.meshgrid(torch.arange(patches // 9), torch.arange(9), indexing="xy")
    places = torch.stack([across, down], -1).reshape(1, patches, 2)
    seen = {"pixel_values": torch.rand(2, patches, 3 * settings["frame"]["side"] ** 2)}
    seen["position_ids"] = places.repeat(2, 1, 1)
    heard = {"input_features": torch.randn(2, 160, settings["audio"]["mels"])}
    heard["input_features_mask"] = torch.arange(160)[None] < torch.tensor([[150], [98]])
    sequences = {"inputs_embeds": torch.randn(2, 9, gemma.model.config.text_config.hidden_size)}
    sequences["attention_mask"] = torch.ones(2, 9, dtype=torch.int64)
    several = {0: "batch", 1: "tokens"}
    with traceable():
        _trace(Pictures(gemma.model).eval(), seen, folder / PICTURES, "tokens", {0: "batch", 1: "patches"}, several)
        _trace(Sounds(gemma.model).eval(), heard, folder / SOUNDS, "tokens", {0: "batch", 1: "frames"}, several)
    _trace(Body(gemma.model, gemma.dims).eval(), sequences, folder / BODY, "embeds", {0: "batch", 1: "sequence"})
    (folder / JOINED).write_text(json.dumps(settings) + "\n", encoding="ascii")


def export_perception(exported: pe_av.PeAv, folder: Path) -> None:
    """Write the parts of a PE-AV and what they read. Raises `ExportError` if one can't be traced."""
    model, settings = exported.model, exported.settings
    height, width = parse_transform(settings["picture"]).output_size
    shown = {"pixel_values_videos": torch.randn(2, 3, 3, height, width)}
    heard = {"input_values": torch.randn(2, 1, 5 * settings["audio"]["hop"])}
    encoder = model.config.audio_video_config
    beside = {"sound_tokens": torch.randn(2, 5, encoder.audio_config.hidden_size)}
    beside["picture_tokens"] = torch.randn(2, 5, encoder.video_config.hidden_size)
    given, many = [VECTORS, TOKENS], {0: "batch", 1: "frames"}
    _trace(pe_av.Pictures(model).eval(), shown, folder / perception.PICTURES, given, many, many)
    _trace(pe_av.Sounds(model).eval(), heard, folder / perception.SOUNDS, given, {0: "batch", 2: "samples"}, many)
    _trace(pe_av.Both(model).eval(), beside, folder / perception.BOTH, VECTORS, {0: "batch", 1: "tokens"})
    (folder / JOINED).write_text(json.dumps(settings) + "\n", encoding="ascii")


def _trace(
    module: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    path: Path,
    output: str | list[str],
    axes: dict[int, str],
    made: dict[int, str] | None = None,
) -> None:
    """Export ``module`` by running it on ``inputs``, in its arguments' order; all share the dynamic ``axes``, and the
    last output has those in ``made``, or else the first, as others have."""
    outputs = [output] if isinstance(output, str) else output
    rows = {0: "batch"}
    dynamic = {**dict.fromkeys(inputs, axes), **dict.fromkeys(outputs, rows), outputs[-1]: made or rows}
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer warns about every Python number it freezes; the proof shows afterwards whether any mattered.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module,
                tuple(inputs.values()),
                str(path),
                input_names=list(inputs),
                output_names=outputs,
                dynamic_axes=dynamic,
                opset_version=_OPSET,
                dynamo=False,
            )
        except Exception as error:
            raise ExportError(
                f"the checkpoint can't be exported ({first_line(error)}); nothing was written",
                hint="its config.json, tokenizer and preprocessing must be of one checkpoint",
            ) from error
    gather(path)
