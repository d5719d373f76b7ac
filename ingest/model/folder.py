"""A model folder: what lies in it, whether it is whole, and which vectors it makes (its fingerprint)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosslens.errors import ModelError

MANIFEST = "crosslens.json"
TOKENIZER = "tokenizer.json"
PREPROCESSOR = "preprocessor_config.json"
CONFIG = "config.json"
TEXT_MODEL = "onnx/text_model.onnx"
VISION_MODEL = "onnx/vision_model.onnx"
# Pooling of these families reads the last position, so their texts are always padded to the full length.
_FIXED_LENGTH_FAMILIES = {"siglip", "siglip2", "siglip_text_model", "siglip2_text_model"}


@dataclass(frozen=True)
class TextSettings:
    """How texts become token ids: at most ``length`` tokens, padded with ``pad_id`` on the ``side`` (left or right)
    that the checkpoint was trained with, always to the full length when ``fixed``."""

    length: int
    pad_id: int
    fixed: bool
    side: str = "right"


@dataclass(frozen=True)
class ModelFolder:
    """A folder with both encoders. ``fingerprint`` changes whenever a file that shapes the vectors does; ``dims`` is
    None where no manifest tells it."""

    path: Path
    name: str
    fingerprint: str
    text_model: Path
    vision_model: Path
    text: TextSettings
    preprocessor: dict[str, Any]
    dims: int | None = None


def open_model(path: Path, *, variant: str | None = None, verify: bool = True) -> ModelFolder:
    """Reads a folder made by crosslens or, in the same layout, by transformers.js or Optimum tools.

    ``variant`` picks ``text_model_VARIANT.onnx`` and its twin (transformers.js's quantized, fp16, ...). Where the
    folder has a manifest, every file's sha256 is checked unless ``verify`` is False.

    Raises `ModelError` for a missing file, an altered one (named), or a layout that can't be read.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise ModelError(f"{path} is not a model folder", hint="export a checkpoint to make one", verb="export")
    config = read_json(path / CONFIG)
    text_model, vision_model = (_graph(path, kind, variant) for kind in ("text_model", "vision_model"))
    tokenizer = path / TOKENIZER
    if not tokenizer.exists():
        raise ModelError(f"{tokenizer} is missing: the folder's tokenizer must be in that form")
    preprocessor = read_json(path / PREPROCESSOR)
    manifest = read_json(path / MANIFEST) if (path / MANIFEST).exists() else {}
    if manifest and variant is None:
        hashes = dict(manifest["files"])
        if verify:
            _verify(path, hashes)
    else:
        files = (text_model, vision_model, tokenizer, path / PREPROCESSOR)
        hashes = {file.relative_to(path).as_posix(): sha256(file) for file in files}
    return ModelFolder(
        path=path,
        name=str(manifest.get("name") or config.get("_name_or_path") or path.name),
        fingerprint=fingerprint(hashes),
        text_model=text_model,
        vision_model=vision_model,
        text=_text_settings(path, config, manifest),
        preprocessor=preprocessor,
        dims=manifest.get("dims"),
    )


def fingerprint(hashes: dict[str, str]) -> str:
    """16 hex digits over the files' names and sha256, in the names' order."""
    lines = "".join(f"{name} {hashes[name]}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """The file's sha256 in hex, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises `ModelError` when it is missing or isn't one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing: the folder is not a whole model export") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} can't be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} must hold a JSON object")
    return value


def text_settings(config: dict[str, Any], tokenizer_config: dict[str, Any], pad_id: int | None) -> TextSettings:
    """Token settings from a checkpoint's config.json and tokenizer_config.json; ``pad_id`` as the tokenizer has it."""
    text = config.get("text_config") or {}
    limits = [text.get("max_position_embeddings"), tokenizer_config.get("model_max_length")]
    # transformers writes 1e30 where a tokenizer has no limit.
    lengths = [int(n) for n in limits if isinstance(n, int | float) and 0 < n < 100_000]
    fixed = str(config.get("model_type")) in _FIXED_LENGTH_FAMILIES
    length = min(lengths, default=64 if fixed else 77)
    known = (pad_id, text.get("pad_token_id"), config.get("pad_token_id"))
    side = str(tokenizer_config.get("padding_side") or "right")
    return TextSettings(length, int(next((id for id in known if id is not None), 0)), fixed, side)


def _text_settings(path: Path, config: dict[str, Any], manifest: dict[str, Any]) -> TextSettings:
    if "text" in manifest:
        return TextSettings(**manifest["text"])
    tokenizer_config = path / "tokenizer_config.json"
    settings = read_json(tokenizer_config) if tokenizer_config.exists() else {}
    return text_settings(config, settings, _pad_id(path / TOKENIZER, settings))


def _pad_id(tokenizer: Path, settings: dict[str, Any]) -> int | None:
    from tokenizers import Tokenizer

    token = settings.get("pad_token")
    name = token.get("content") if isinstance(token, dict) else token
    if not isinstance(name, str):
        return None
    found = Tokenizer.from_file(str(tokenizer)).token_to_id(name)
    return int(found) if found is not None else None


def _graph(path: Path, kind: str, variant: str | None) -> Path:
    name = f"{kind}_{variant}.onnx" if variant else f"{kind}.onnx"
    for place in (path / "onnx" / name, path / name):
        if place.exists():
            return place
    combined = [p for p in (path / "onnx" / "model.onnx", path / "model.onnx") if p.exists()]
    if combined:
        raise ModelError(
            f"{combined[0]} holds both encoders in one graph, which computes both for every query",
            hint="export the checkpoint, which keeps them apart",
            verb="export",
        )
    present = sorted(p.name for p in path.rglob(f"{kind}*.onnx"))
    raise ModelError(
        f"{path} has no onnx/{name}",
        hint=f"it has {', '.join(present)}: choose one of them by its variant" if present else "",
    )


def _verify(path: Path, hashes: dict[str, str]) -> None:
    for name, expected in hashes.items():
        file = path / name
        if not file.exists():
            raise ModelError(f"{file} is missing: the model folder is incomplete", hint="copy or export it again")
        if sha256(file) != expected:
            raise ModelError(
                f"{file} has been changed since its export (its sha256 differs from {MANIFEST})",
                hint="copy or export the folder again",
            )
