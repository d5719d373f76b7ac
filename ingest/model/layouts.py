"""Where a model folder keeps its parts: as transformers.js, Optimum and crosslens lay them out, or as Immich does."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crosslens.errors import ModelError
from crosslens.ingest.model.files import read_json

TEXT_MODEL = "onnx/text_model.onnx"
VISION_MODEL = "onnx/vision_model.onnx"
AUDIO_MODEL = "onnx/audio_model.onnx"
TOKENIZER = "tokenizer.json"
PREPROCESSOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
_RESAMPLING = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}


@dataclass(frozen=True)
class Layout:
    """The parts of a model folder; ``preprocessor`` is the file that ``preprocessing`` was read from.

    ``text_model`` and ``vision_model`` may be one file that holds both encoders. A text model's folder has no part that
    is for pictures. ``hearing`` is for sounds what ``preprocessing`` is for pictures, read from ``feature_extractor``.
    """

    text_model: Path
    tokenizer: Path
    vision_model: Path | None = None
    preprocessor: Path | None = None
    preprocessing: dict[str, Any] | None = None
    audio_model: Path | None = None
    feature_extractor: Path | None = None
    hearing: dict[str, Any] | None = None

    @property
    def tokenizer_config(self) -> Path:
        """Return the path of the tokenizer's settings; the file is optional."""
        return self.tokenizer.with_name("tokenizer_config.json")


def find_layout(path: Path, variant: str | None) -> Layout:
    """Find a folder's parts; ``variant`` picks among graphs of several precisions.

    Raises `ModelError` for a missing part, and for several graphs of one kind without a ``variant`` to choose by.
    """
    if (path / "textual/model.onnx").exists() and (path / "visual/model.onnx").exists():
        if variant:
            raise ModelError(f"{path} has one graph for each encoder, so no {variant} ones")
        preprocessor = path / "visual/preprocess_cfg.json"
        text, vision = path / "textual/model.onnx", path / "visual/model.onnx"
        layout = Layout(text, path / "textual" / TOKENIZER, vision, preprocessor, _open_clip(preprocessor))
    elif is_text_model(path):
        layout = Layout(_text_graph(path, variant), path / TOKENIZER)
    else:
        text, vision = _graphs(path, variant)
        if text == vision and not any((path / name).exists() for name in (PREPROCESSOR, PROCESSOR)):
            # As sentence-transformers lays its models out; the graph then gives a vector of each token.
            raise ModelError(
                f"{path} has no {PREPROCESSOR}, and of a text model {text.name} is not the graph that crosslens reads",
                hint="export the checkpoint, which makes one that gives a vector of each text",
                verb="export",
            )
        layout = Layout(text, path / TOKENIZER, vision, *_preprocessing(path))
    layout = _with_audio(layout, path, variant)
    if not layout.tokenizer.exists():
        raise ModelError(f"{layout.tokenizer} is missing", hint="the folder's tokenizer must be in that form")
    return layout


def is_text_model(path: Path) -> bool:
    """Return whether a folder encodes texts, maybe sounds, but no pictures: it has neither an image encoder nor what
    prepares pictures for one."""
    if not _variants(path, "text_model") or _variants(path, "vision_model") or (path / "visual").exists():
        return False
    if _variants(path, "audio_model"):
        return True
    return not (path / PREPROCESSOR).exists() and not (path / PROCESSOR).exists()


def _text_graph(path: Path, variant: str | None) -> Path:
    texts = _variants(path, "text_model")
    if variant is None and len(texts) == 1:
        return next(iter(texts.values()))
    if (variant or "") in texts:
        return texts[variant or ""]
    name = f"text_model_{variant}.onnx" if variant else "text_model.onnx"
    raise ModelError(
        f"{path} has no onnx/{name}; it has {', '.join(sorted(file.name for file in texts.values()))}",
        hint="keep one in the folder, or say which variant is meant",
    )


def within(layout: Layout, path: Path, root: Path) -> Layout:
    """Return the layout with those graphs that also lie below ``root`` as they lie below ``path``."""

    def there(graph: Path) -> Path:
        twin = root / graph.relative_to(path)
        return twin if twin.exists() else graph

    vision, audio = layout.vision_model, layout.audio_model
    return replace(
        layout,
        text_model=there(layout.text_model),
        vision_model=vision and there(vision),
        audio_model=audio and there(audio),
    )


def _preprocessing(path: Path) -> tuple[Path, dict[str, Any]]:
    if not (path / PREPROCESSOR).exists() and (path / PROCESSOR).exists():
        # transformers 5 writes one file for all of a model's processors.
        inside = read_json(path / PROCESSOR).get("image_processor")
        if isinstance(inside, dict):
            return path / PROCESSOR, inside
    return path / PREPROCESSOR, read_json(path / PREPROCESSOR)


def _with_audio(layout: Layout, path: Path, variant: str | None) -> Layout:
    """Return the layout with the folder's audio encoder, if it has one: of a ``variant``, if there is one of it."""
    there = _variants(path, "audio_model")
    if not there:
        return layout
    # An encoder of sounds needn't come in each precision that those of texts and pictures come in.
    graph = there.get(variant or "") or there.get("")
    if graph is None and len(there) == 1:
        (graph,) = there.values()
    if graph is None:
        raise ModelError(
            f"{path} has no {AUDIO_MODEL}; it has {', '.join(sorted(file.name for file in there.values()))}",
            hint="keep one in the folder, or say which variant is meant",
        )
    for name, inside in ((PROCESSOR, "feature_extractor"), (PREPROCESSOR, None)):
        stated = read_json(path / name) if (path / name).exists() else {}
        settings = stated.get(inside) if inside else stated
        if isinstance(settings, dict) and hears(settings):
            return replace(layout, audio_model=graph, feature_extractor=path / name, hearing=settings)
    raise ModelError(
        f"{path} has {graph.name}, and neither {PROCESSOR} nor {PREPROCESSOR} says what it reads of a sound",
        hint="copy or export the folder again",
    )


def hears(config: dict[str, Any]) -> bool:
    """Return whether settings in a preprocessor_config.json are for sounds."""
    return isinstance(config.get("feature_extractor_type"), str) and "sampling_rate" in config


def _open_clip(path: Path) -> dict[str, Any]:
    """Return open_clip's preprocessing in transformers' terms."""
    stated = read_json(path)
    size, mode = stated.get("size"), stated.get("resize_mode", "shortest")
    sides = list(size) if isinstance(size, list) else [size, size]
    resample = _RESAMPLING.get(str(stated.get("interpolation", "bicubic")))
    if len(sides) != 2 or not all(isinstance(side, int) for side in sides) or resample is None:
        raise ModelError(f"{path}: size {size!r} or interpolation {stated.get('interpolation')!r} is unknown")
    if mode not in ("shortest", "squash") or (mode == "shortest" and sides[0] != sides[1]):
        raise ModelError(f"{path}: resize_mode {mode!r} to {size!r} is not one that crosslens does")
    whole = {"height": sides[0], "width": sides[1]}
    return {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": sides[0]} if mode == "shortest" else whole,
        "do_center_crop": mode == "shortest",
        "crop_size": whole,
        "resample": resample,
        "image_mean": stated.get("mean"),
        "image_std": stated.get("std"),
    }


def _graphs(path: Path, variant: str | None) -> tuple[Path, Path]:
    texts, visions = _variants(path, "text_model"), _variants(path, "vision_model")
    kinds = "text_model", "vision_model"
    if not texts and not visions:
        texts = visions = _variants(path, "model")
        kinds = ("model", "model") if texts else kinds
    wanted = variant or ""
    if wanted in texts and wanted in visions:
        return texts[wanted], visions[wanted]
    if variant is None and len(texts) == len(visions) == 1:
        return next(iter(texts.values())), next(iter(visions.values()))
    both = texts.keys() & visions.keys()
    if variant is None and len(both) == 1:
        return texts[min(both)], visions[min(both)]
    kind, there = (kinds[1], visions) if wanted in texts else (kinds[0], texts)
    name = f"{kind}_{variant}.onnx" if variant else f"{kind}.onnx"
    if not there:
        raise ModelError(
            f"{path} has no onnx/{name}", hint="export the checkpoint, which keeps the encoders apart", verb="export"
        )
    raise ModelError(
        f"{path} has no onnx/{name}; it has {', '.join(sorted(file.name for file in there.values()))}",
        hint="keep one of each kind in the folder, or say which variant is meant",
    )


def _variants(path: Path, kind: str) -> dict[str, Path]:
    """Return the graphs of a ``kind`` by the suffix in their names; those in onnx/ take precedence."""
    found: dict[str, Path] = {}
    for folder in (path, path / "onnx"):
        for file in sorted(folder.glob(f"{kind}*.onnx")):
            named = re.fullmatch(rf"{kind}(?:_(\w+))?", file.stem)
            if named:
                found[named[1] or ""] = file
    return found
