"""Loading CLIP-family checkpoints through transformers' own classes, as two towers that give plain tensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

from crosslens.errors import ExportError
from crosslens.ingest.model.folder import TextSettings, read_json, text_settings

# Families whose text encoder needs to know which positions are padding.
_MASKED = {"chinese_clip", "align"}
FAMILIES = ("clip", "siglip", "siglip2", "chinese_clip", "align")
_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint ready for export.

    ``text`` maps input_ids [n, t] (and attention_mask [n, t] when ``masked``) to [n, dims]; ``vision`` maps
    pixel_values [n, 3, h, w] to [n, dims].
    """

    name: str
    revision: str
    text: nn.Module
    vision: nn.Module
    masked: bool
    settings: TextSettings
    tokenizer: Any
    exported_tokenizer: Tokenizer
    image_processor: Any
    preprocessor: dict[str, Any]
    config: dict[str, Any]


def load_checkpoint(
    checkpoint: str, *, image_tower: str | None, revision: str | None, trust_remote_code: bool
) -> Checkpoint:
    """Loads a hub id or local folder. ``image_tower`` names the CLIP whose images a multilingual text tower (in
    sentence-transformers' layout) was distilled onto.

    Raises `ExportError` when the checkpoint is of no known family, has no safetensors, or can't be fetched.
    """
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
    from transformers.utils import logging

    # The caller tells of its progress; bars of loading weights would break into it.
    logging.disable_progress_bar()
    folder = _local_folder(checkpoint, revision, trust_remote_code)
    image_folder = _local_folder(image_tower, None, trust_remote_code) if image_tower else folder
    config = read_json(image_folder / "config.json")
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise ExportError(
            f"{image_tower or checkpoint} is a {family!r} model; crosslens exports {', '.join(FAMILIES)}, "
            "and multilingual text towers beside the image tower that they go with",
            parameter="image_tower",
        )
    if not list(image_folder.glob("*.safetensors")):
        raise ExportError(f"{image_tower or checkpoint} has no safetensors weights; pickled ones are not loaded")
    # Eager attention is plain matrix products, which every ONNX opset has.
    model = AutoModel.from_pretrained(
        image_folder,
        use_safetensors=True,
        attn_implementation="eager",
        dtype=torch.float32,
        trust_remote_code=trust_remote_code,
    ).eval()
    vision: nn.Module = _SquarePatches(model) if family == "siglip2" else _ImageTower(model)
    if (folder / "modules.json").exists():
        if image_tower is None:
            raise ExportError(
                f"{checkpoint} is a text tower alone", hint="name the image model it goes with", parameter="image_tower"
            )
        transformer, text = _sentence_tower(folder)
        tokenizer = AutoTokenizer.from_pretrained(transformer)
        masked = True
        length = read_json(transformer / "sentence_bert_config.json").get("max_seq_length")
        settings = text_settings(
            {}, {"model_max_length": length or 128, "padding_side": tokenizer.padding_side}, tokenizer.pad_token_id
        )
    elif image_tower is not None:
        raise ExportError(
            f"{checkpoint} has both towers, and an image tower goes with a text tower in modules.json's layout only",
            hint="leave the image tower out",
            parameter="image_tower",
        )
    else:
        text, masked = _TextTower(model, family in _MASKED), family in _MASKED
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
        limits = {"model_max_length": tokenizer.model_max_length, "padding_side": tokenizer.padding_side}
        settings = text_settings(config, limits, tokenizer.pad_token_id)
    local = Path(checkpoint).expanduser().is_dir()
    processor = AutoImageProcessor.from_pretrained(image_folder, backend="pil", trust_remote_code=trust_remote_code)
    return Checkpoint(
        name=folder.resolve().name if local else checkpoint,
        revision="local" if local else revision or folder.name,
        text=text.eval(),
        vision=vision.eval(),
        masked=masked,
        settings=settings,
        tokenizer=tokenizer,
        exported_tokenizer=_fast_tokenizer(tokenizer, folder),
        image_processor=processor,
        preprocessor=_preprocessor(processor, vision),
        config=config,
    )


class _TextTower(nn.Module):
    def __init__(self, model: Any, masked: bool):
        super().__init__()
        self.model, self.masked = model, masked

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        # Without a mask the causal encoders read no padding before the token they pool at.
        if self.masked:
            return _pooled(self.model.get_text_features(input_ids=input_ids, attention_mask=attention_mask))
        return _pooled(self.model.get_text_features(input_ids=input_ids))


class _ImageTower(nn.Module):
    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        return _pooled(self.model.get_image_features(pixel_values=pixel_values))


class _SquarePatches(nn.Module):
    """SigLIP 2's NaFlex image tower at its native square grid.

    It was trained on many aspect ratios by resizing its position embeddings for each picture, which no static graph
    can; at the grid they were learned on nothing is resized, so one graph serves all pictures, stretched to a square.
    """

    def __init__(self, model: Any):
        super().__init__()
        self.vision, self.config = model.vision_model, model.config.vision_config
        self.patch = int(self.config.patch_size)
        self.grid = int(self.config.num_patches**0.5)
        self.side = self.patch * self.grid

    def forward(self, pixel_values: Tensor) -> Tensor:
        n = pixel_values.shape[0]
        grid, patch = self.grid, self.patch
        patches = pixel_values.reshape(n, 3, grid, patch, grid, patch).permute(0, 2, 4, 3, 5, 1)
        patches = patches.reshape(n, grid * grid, patch * patch * 3)
        embeddings = self.vision.embeddings
        hidden = embeddings.patch_embedding(patches) + embeddings.position_embedding.weight
        hidden = self.vision.encoder(inputs_embeds=hidden, attention_mask=None).last_hidden_state
        pooled: Tensor = self.vision.head(self.vision.post_layernorm(hidden), None)
        return pooled


class _SentenceTower(nn.Module):
    """Mean-pooled transformer and dense layers: sentence-transformers' Transformer, Pooling and Dense modules."""

    def __init__(self, transformer: Any, mean: bool, dense: list[nn.Module]):
        super().__init__()
        self.transformer, self.mean, self.dense = transformer, mean, nn.Sequential(*dense)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled: Tensor = hidden[:, 0]
        if self.mean:
            weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(1) / weights.sum(1)
        projected: Tensor = self.dense(pooled)
        return projected


def _pooled(output: Any) -> Tensor:
    """transformers 5 returns an output object where version 4 returned the tensor."""
    return output if isinstance(output, Tensor) else output.pooler_output


def _sentence_tower(folder: Path) -> tuple[Path, nn.Module]:
    from transformers import AutoModel

    modules = json.loads((folder / "modules.json").read_text())
    transformer_folder, mean, dense = folder, True, []
    transformer: Any = None
    for module in modules:
        kind, place = module["type"].rsplit(".", 1)[-1], folder / module["path"]
        if kind == "Transformer":
            transformer_folder = place
            transformer = AutoModel.from_pretrained(
                place, use_safetensors=True, attn_implementation="eager", dtype=torch.float32
            )
        elif kind == "Pooling":
            pooling = read_json(place / "config.json")
            mean = bool(pooling.get("pooling_mode_mean_tokens"))
            if not mean and not pooling.get("pooling_mode_cls_token"):
                raise ExportError(f"{place}: only mean and CLS pooling are exported")
        elif kind == "Dense":
            dense += _dense(place)
        elif kind != "Normalize":
            raise ExportError(f"{folder}/modules.json: a {kind} module is not exported")
    if transformer is None:
        raise ExportError(f"{folder}/modules.json names no Transformer module")
    return transformer_folder, _SentenceTower(transformer, mean, dense)


def _dense(place: Path) -> list[nn.Module]:
    settings = read_json(place / "config.json")
    layer = nn.Linear(settings["in_features"], settings["out_features"], bias=settings.get("bias", True))
    weights = place / "model.safetensors"
    if not weights.exists():
        raise ExportError(f"{weights} is missing: pickled weights are not loaded")
    layer.load_state_dict({k.removeprefix("linear."): v for k, v in load_file(weights).items()})
    activation = str(settings.get("activation_function", "")).rsplit(".", 1)[-1]
    known: dict[str, type[nn.Module]] = {"Identity": nn.Identity, "Tanh": nn.Tanh}
    if activation not in known:
        raise ExportError(f"{place}: the activation {activation!r} is not exported")
    return [layer, known[activation]()]


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


def _fast_tokenizer(tokenizer: Any, folder: Path) -> Tokenizer:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return Tokenizer.from_str(backend.to_str())
    if (folder / "spiece.model").exists() and "siglip" in type(tokenizer).__name__.lower():
        return siglip_tokenizer(folder / "spiece.model")
    raise ExportError(f"the tokenizer {type(tokenizer).__name__} has no tokenizer.json form")


def siglip_tokenizer(pieces: Path) -> Tokenizer:
    """SigLIP's sentencepiece model as a tokenizers pipeline: lower case, no punctuation, single spaces, ``</s>``.

    Source: the canonicalisation in big_vision's prompt_engineering.py, which SigLIP was trained with.
    """
    from sentencepiece import sentencepiece_model_pb2

    # The module is generated from a protocol buffer, which mypy sees no names in.
    proto: Any = getattr(sentencepiece_model_pb2, "ModelProto")()  # noqa: B009
    proto.ParseFromString(pieces.read_bytes())
    if proto.trainer_spec.model_type != 1:
        raise ExportError(f"{pieces} is not a unigram model")
    vocabulary = [(piece.piece, piece.score) for piece in proto.pieces]
    tokenizer = Tokenizer(models.Unigram(vocabulary, proto.trainer_spec.unk_id, proto.trainer_spec.byte_fallback))
    steps: list[Any] = [
        normalizers.Lowercase(),
        normalizers.Replace(Regex(r"[!-/:-@\[-`{-~]"), ""),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip(),
    ]
    charsmap = proto.normalizer_spec.precompiled_charsmap
    if charsmap:
        steps.append(normalizers.Precompiled(charsmap))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    end = tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", end)])
    return tokenizer


def _preprocessor(processor: Any, vision: nn.Module) -> dict[str, Any]:
    settings = {k: v for k, v in json.loads(processor.to_json_string()).items() if not k.startswith("_")}
    kind = str(settings.get("image_processor_type") or type(processor).__name__)
    settings["image_processor_type"] = kind.removesuffix("Pil").removesuffix("Fast")
    if isinstance(vision, _SquarePatches):
        settings = {k: v for k, v in settings.items() if k not in ("patch_size", "max_num_patches")}
        settings["image_processor_type"] = "SiglipImageProcessor"
        settings["size"] = {"height": vision.side, "width": vision.side}
    return settings
