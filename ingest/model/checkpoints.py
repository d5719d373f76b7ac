"""Loading checkpoints of CLIP's families and of text models through transformers' own classes, as towers that return
plain tensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import nn

from crosslens.errors import ExportError, ModelError
from crosslens.ingest.model.checkpoint_texts import clip_text, joined_text, pe_av_text, sentence_text
from crosslens.ingest.model.files import read_json
from crosslens.ingest.model.folder import TextSettings
from crosslens.ingest.model.gemma import Gemma
from crosslens.ingest.model.hearing import load_extractor
from crosslens.ingest.model.pe_av import PeAv
from crosslens.ingest.model.perception import PE_AV
from crosslens.ingest.model.prompts import Prompts, TextOptions
from crosslens.ingest.model.sentence import (
    TEXT_FAMILIES,
    load_plain_encoder,
    load_sentence_tower,
    sentence_modules,
)
from crosslens.ingest.model.towers import AudioTower, ImageTower, SquarePatches
from crosslens.ingest.model.transform import parse_transform
from crosslens.ingest.model.weights import first_line, load_weights, require_no_pointers, require_weights

# Those of texts and pictures, and those of texts and sounds.
_SEEING = ("clip", "siglip", "siglip2", "chinese_clip", "align")
FAMILIES = (*_SEEING, "clap")
_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint ready for export.

    ``text`` maps input_ids [n, t] (and attention_mask [n, t] when ``masked``) to [n, dims]; ``vision`` maps
    pixel_values [n, 3, h, w] to [n, dims], and is None of a text model, with all that is for pictures; ``audio`` maps
    input_features, as ``feature_extractor`` makes them, to [n, dims], and ``hearing`` are that one's settings. With
    ``lower_case``, texts are lowercased before they reach ``tokenizer``; the exported tokenizer lowercases them itself.
    """

    name: str
    revision: str
    text: nn.Module
    masked: bool
    settings: TextSettings
    prompts: Prompts
    tokenizer: Any
    lower_case: bool
    exported_tokenizer: Tokenizer
    config: dict[str, Any]
    vision: nn.Module | None = None
    image_processor: Any = None
    preprocessor: dict[str, Any] | None = None
    audio: AudioTower | None = None
    feature_extractor: Any = None
    hearing: dict[str, Any] | None = None
    gemma: Gemma | None = None
    pe_av: PeAv | None = None

    @property
    def in_parts(self) -> bool:
        """Return whether its encoders of pictures and sounds are exported as parts."""
        return self.gemma is not None or self.pe_av is not None


def load_checkpoint(
    checkpoint: str,
    *,
    image_tower: str | None,
    revision: str | None,
    trust_remote_code: bool,
    texts: TextOptions | None = None,
    dims: int | None = None,
) -> Checkpoint:
    """Load a hub id or local folder: both encoders of a CLIP, or the one of a text model. ``image_tower`` names the
    CLIP whose image space a text tower (in sentence-transformers' layout) was distilled into.

    Raises `ExportError` when the checkpoint belongs to an unknown family, can't be fetched, or is incomplete: every
    weight and the tokenizer must be present and match the sizes in its config.json.
    """
    from transformers.utils import logging

    # The caller reports progress; transformers' own loading bars and tables would interrupt it.
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    chosen = texts or TextOptions()
    folder = _clip_inside(_local_folder(checkpoint, revision, trust_remote_code))
    family = _family(folder)
    joined = family == "embedding_gemma2"
    if dims is not None and not joined:
        raise ExportError(f"{checkpoint} has vectors that can't be cut", hint="leave the dims out", parameter="dims")
    in_modules = bool(sentence_modules(folder)) and not joined
    plain = not in_modules and family in TEXT_FAMILIES
    if image_tower is not None and not in_modules:
        raise ExportError(
            f"{checkpoint} {'is a text model of its own' if plain else 'has both towers'}, and an image tower goes "
            "with a text tower in modules.json's layout only",
            hint="leave the image tower out",
            parameter="image_tower",
        )
    if chosen.pooling is not None and not plain:
        raise ExportError(
            f"how {checkpoint} makes a vector of a text's tokens is fixed already",
            hint="leave the pooling out",
            parameter="pooling",
        )
    local = Path(checkpoint).expanduser().is_dir()
    called: dict[str, Any] = {
        "name": Path(checkpoint).expanduser().resolve().name if local else checkpoint,
        "revision": "local" if local else revision or folder.name,
    }
    if joined:
        return Checkpoint(**called, **joined_text(folder, chosen, dims, trust_remote_code))
    if family == PE_AV:
        return Checkpoint(**called, **pe_av_text(folder, chosen, trust_remote_code))
    if not (in_modules or plain):
        config, model = _load_model(folder, checkpoint, False, trust_remote_code)
        family = str(config["model_type"])
        other = _sounds(folder, model) if family == "clap" else _pictures(folder, model, family, trust_remote_code)
        return Checkpoint(**called, **clip_text(folder, model, config, chosen, trust_remote_code), **other)
    if plain:
        tower = load_plain_encoder(folder, chosen.pooling or "mean", trust_remote_code=trust_remote_code)
    else:
        tower = load_sentence_tower(folder, trust_remote_code=trust_remote_code)
    pictures = {"config": tower.module.transformer.config.to_diff_dict()}
    if image_tower is not None:
        image_folder = _clip_inside(_local_folder(image_tower, None, trust_remote_code))
        config, model = _load_model(image_folder, image_tower, True, trust_remote_code)
        pictures = {**_pictures(image_folder, model, str(config["model_type"]), trust_remote_code), "config": config}
    return Checkpoint(**called, **sentence_text(tower, chosen, trust_remote_code), **pictures)


def _pictures(folder: Path, model: Any, family: str, trust_remote_code: bool) -> dict[str, Any]:
    """Return what a `Checkpoint` has for pictures."""
    vision: nn.Module = SquarePatches(model) if family == "siglip2" else ImageTower(model)
    processor = _load_processor(folder, trust_remote_code)
    return {
        "vision": vision.eval(),
        "image_processor": processor,
        "preprocessor": _fitting(_preprocessor(processor, vision), model, family),
    }


def _sounds(folder: Path, model: Any) -> dict[str, Any]:
    """Return what a `Checkpoint` has for sounds."""
    extractor, settings = load_extractor(folder)
    fused = bool(model.config.audio_config.enable_fusion)
    if fused != (settings.get("truncation") == "fusion"):
        raise ExportError(
            f"the audio encoder {'fuses' if fused else 'does not fuse'} parts of a sound (enable_fusion), and "
            f"{folder} prepares sounds with the truncation {settings.get('truncation')!r}",
            hint="the preprocessing is of another checkpoint, or config.json is",
        )
    return {"audio": AudioTower(model).eval(), "feature_extractor": extractor, "hearing": settings}


def _family(folder: Path) -> str:
    file = folder / "config.json"
    if file.exists():
        require_no_pointers(folder)
    try:
        return str(read_json(file).get("model_type")) if file.exists() else ""
    except ModelError as error:
        raise ExportError(error.message, hint=error.hint) from error


def _load_model(folder: Path, named: str, images_only: bool, trust_remote_code: bool) -> tuple[dict[str, Any], Any]:
    """Return the configuration and the model of a checkpoint with both towers."""
    from transformers import AutoModel

    if not (folder / "config.json").exists():
        open_clip = [p.name for p in sorted(folder.glob("open_clip*"))]
        if open_clip:
            raise ExportError(
                f"{named} is in open_clip's own form ({', '.join(open_clip)}), which crosslens doesn't read",
                hint="take the checkpoint in transformers' form, with a config.json",
            )
        raise ExportError(f"{folder} has no config.json, so it isn't a transformers checkpoint")
    require_no_pointers(folder)
    try:
        config = read_json(folder / "config.json")
    except ModelError as error:
        raise ExportError(error.message, hint=error.hint) from error
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise ExportError(
            f"{named} is a {family!r} model; crosslens exports {', '.join(FAMILIES)}, and as text models those in "
            f"sentence-transformers' layout (modules.json) and {', '.join(TEXT_FAMILIES)}"
        )
    if images_only and family not in _SEEING:
        raise ExportError(f"{named} is a {family!r} model, which has no image encoder", parameter="image_tower")
    require_weights(folder)
    but = ("text_model.", "text_projection.") if images_only else ()
    model = load_weights(AutoModel, folder, but=but, trust_remote_code=trust_remote_code)
    if getattr(getattr(model.config, "vision_config", None), "vision_use_head", True) is False:
        raise ExportError(
            f"{named} has no head that pools its patches (vision_use_head), so it gives a picture no vector"
        )
    return config, model


def _load_processor(folder: Path, trust_remote_code: bool) -> Any:
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=trust_remote_code)
    except Exception as error:
        raise ExportError(
            f"how {folder} prepares pictures can't be loaded: {first_line(error)}",
            hint="it takes a preprocessor_config.json or processor_config.json: take it from where the checkpoint was "
            "published",
        ) from error


def _fitting(preprocessor: dict[str, Any], model: Any, family: str) -> dict[str, Any]:
    """Return the preprocessing. Raises `ExportError` unless it makes pictures of the size that the model reads."""
    try:
        made = parse_transform(preprocessor).output_size
    except ModelError as error:
        raise ExportError(error.message, hint=error.hint) from error
    size = getattr(model.config.vision_config, "image_size", None)
    # A convolutional encoder reads every size, and the NaFlex preprocessing has already been made to fit.
    if family in ("align", "siglip2") or size is None:
        return preprocessor
    reads = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if made != reads:
        raise ExportError(
            f"the preprocessing makes pictures {made[0]} x {made[1]}, the image encoder reads {reads[0]} x {reads[1]}",
            hint="the preprocessing is of another checkpoint, or config.json is",
        )
    return preprocessor


def _clip_inside(folder: Path) -> Path:
    """Return the subfolder where sentence-transformers saves a CLIP with both towers, or else the folder itself."""
    modules = [(kind, place) for kind, place in sentence_modules(folder) if kind != "Normalize"]
    if [kind for kind, _ in modules] != ["CLIPModel"]:
        return folder
    return modules[0][1]


def _local_folder(checkpoint: str, revision: str | None, trust_remote_code: bool) -> Path:
    if Path(checkpoint).expanduser().is_dir():
        return Path(checkpoint).expanduser()
    from huggingface_hub import snapshot_download

    patterns = [*_PATTERNS, "*.py"] if trust_remote_code else _PATTERNS
    try:
        return Path(snapshot_download(checkpoint, revision=revision, allow_patterns=patterns))
    except Exception as error:
        raise ExportError(
            f"{checkpoint} is neither a folder here nor a checkpoint that could be fetched "
            f"({type(error).__name__}: {error})"
        ) from error


def _preprocessor(processor: Any, vision: nn.Module) -> dict[str, Any]:
    settings = {k: v for k, v in json.loads(processor.to_json_string()).items() if not k.startswith("_")}
    kind = str(settings.get("image_processor_type") or type(processor).__name__)
    settings["image_processor_type"] = kind.removesuffix("Pil").removesuffix("Fast")
    if isinstance(vision, SquarePatches):
        settings = {k: v for k, v in settings.items() if k not in ("patch_size", "max_num_patches")}
        settings["image_processor_type"] = "SiglipImageProcessor"
        settings["size"] = {"height": vision.side, "width": vision.side}
    return settings
