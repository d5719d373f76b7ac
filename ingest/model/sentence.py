"""Text encoders: a transformer, pooling and dense layers, as sentence-transformers' modules.json lists them, or a
transformer alone, whose tokens are pooled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from safetensors.torch import load_file
from torch import nn

from crosslens.errors import ExportError, ModelError
from crosslens.ingest.model.files import read_json
from crosslens.ingest.model.folder import SENTENCES
from crosslens.ingest.model.prompts import Pooling, Prompts, read_prompts
from crosslens.ingest.model.towers import SentenceTower, Unit
from crosslens.ingest.model.weights import first_line, load_weights, refuse, require_weights

# Encoders of whole texts, which may come without modules.json.
TEXT_FAMILIES = (
    "bert",
    "camembert",
    "deberta-v2",
    "distilbert",
    "electra",
    "modernbert",
    "mpnet",
    "roberta",
    "xlm-roberta",
)
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    each.__name__: each for each in (nn.Identity, nn.Tanh, nn.GELU, nn.ReLU, nn.SiLU, nn.Sigmoid)
}
_POOLINGS: dict[str, Pooling] = {
    "mean_tokens": "mean",
    "mean": "mean",
    "cls_token": "cls",
    "cls": "cls",
    "lasttoken": "last",
}


@dataclass(frozen=True)
class SentenceText:
    """A text encoder, the folder of its transformer and tokenizer, and how it treats texts.

    ``length`` is the most tokens of a text that it reads; the tokenizer may say fewer, unless ``stated``.
    """

    folder: Path
    module: SentenceTower
    length: int
    stated: bool
    lower_case: bool
    prompts: Prompts

    def limit(self, of_tokenizer: int) -> int:
        """Return how many tokens of a text are read at most, given the tokenizer's own limit."""
        return self.length if self.stated else min(self.length, of_tokenizer)


def sentence_modules(folder: Path) -> list[tuple[str, Path]]:
    """Return the modules that modules.json lists, each with its folder; empty without such a file."""
    file = folder / "modules.json"
    if not file.exists():
        return []
    try:
        modules = [
            (str(m["type"]).rsplit(".", 1)[-1], folder / str(m["path"])) for m in json.loads(file.read_text("utf-8"))
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{file} can't be read ({first_line(error)})") from error
    for kind, place in modules:
        if kind != "Normalize" and not place.is_dir():
            raise ExportError(f"{place} is missing, which modules.json lists")
    return modules


def load_sentence_tower(folder: Path, *, trust_remote_code: bool = False) -> SentenceText:
    """Load the text encoder that modules.json describes. Raises `ExportError` for missing or unexpected weights, and
    for modules, pooling or settings that crosslens doesn't export."""
    from transformers import AutoModel

    place, transformer, pooling = folder, None, None
    after: list[nn.Module] = []
    prompts = stated_prompts(folder)
    for kind, part in sentence_modules(folder):
        if kind == "Transformer" and transformer is None:
            place, transformer = part, load_weights(AutoModel, part, trust_remote_code=trust_remote_code)
        elif kind == "Pooling" and pooling is None and not after:
            pooling = _pooling(part, prompts)
        elif kind == "Dense" and pooling is not None:
            after += _dense(part)
        elif kind == "Normalize":
            after.append(Unit())
        else:
            raise ExportError(f"{folder}/modules.json: a {kind} module is not exported there")
    if transformer is None or pooling is None:
        lacking = "Transformer" if transformer is None else "Pooling"
        raise ExportError(f"{folder}/modules.json names no {lacking} module")
    settings = read_json(place / SENTENCES) if (place / SENTENCES).exists() else {}
    if settings.get("transformer_task") not in (None, "feature-extraction"):
        raise ExportError(f"{place / SENTENCES}: the task {settings['transformer_task']!r} gives no vector of a text")
    stated = settings.get("max_seq_length")
    length = min(int(stated or _positions(transformer)), _positions(transformer))
    lower_case = bool(settings.get("do_lower_case"))
    tower = SentenceTower(transformer, pooling, after)
    return SentenceText(place, tower, length, stated is not None, lower_case, prompts)


def load_plain_encoder(folder: Path, pooling: Pooling, *, trust_remote_code: bool = False) -> SentenceText:
    """Load a transformer without modules.json, whose tokens are pooled as ``pooling`` says. Raises `ExportError` as
    `load_sentence_tower` does."""
    from transformers import AutoModel

    transformer = load_weights(AutoModel, folder, trust_remote_code=trust_remote_code)
    tower = SentenceTower(transformer, pooling, [])
    return SentenceText(folder, tower, _positions(transformer), False, False, stated_prompts(folder))


def _positions(transformer: Any) -> int:
    longest = int(getattr(transformer.config, "max_position_embeddings", None) or 512)
    # RoBERTa's kind count positions from the padding token's id on.
    padding = getattr(getattr(transformer, "embeddings", None), "padding_idx", None)
    return longest - (0 if padding is None else int(padding) + 1)


def _pooling(place: Path, prompts: Prompts) -> Pooling:
    settings = read_json(place / "config.json")
    modes = {
        name.removeprefix("pooling_mode_") for name, on in settings.items() if name.startswith("pooling_mode_") and on
    }
    named = settings.get("pooling_mode") or []
    modes |= {named} if isinstance(named, str) else set(named)
    if len(modes) != 1 or not modes <= _POOLINGS.keys():
        raise ExportError(f"{place}: pooling by {', '.join(get_args(Pooling))} is exported, not by {sorted(modes)}")
    if settings.get("include_prompt") is False and prompts != Prompts():
        raise ExportError(
            f"{place} leaves the prompt's tokens out of the vector (include_prompt), which isn't exported"
        )
    return _POOLINGS[modes.pop()]


def stated_prompts(folder: Path) -> Prompts:
    """Return the prompts that a checkpoint states. Raises `ExportError` where they can't be understood."""
    try:
        return read_prompts(folder)
    except ModelError as error:
        raise ExportError(error.message, hint=error.hint) from error


def _dense(place: Path) -> list[nn.Module]:
    settings = read_json(place / "config.json")
    require_weights(place)
    if settings.get("use_residual"):
        raise ExportError(f"{place} adds what it was given to what it makes (use_residual), which isn't exported")
    try:
        layer = nn.Linear(settings["in_features"], settings["out_features"], bias=settings.get("bias", True))
        weights = {k.removeprefix("linear."): v for k, v in load_file(place / "model.safetensors").items()}
    except Exception as error:
        raise ExportError(f"the dense layer in {place} can't be read: {first_line(error)}") from error
    wanted = layer.state_dict()
    wrong = {
        "lacks": sorted(wanted.keys() - weights.keys()),
        "has, beyond what config.json describes,": sorted(weights.keys() - wanted.keys()),
        "has in another shape than config.json describes": [
            f"{name} {list(weights[name].shape)} instead of {list(wanted[name].shape)}"
            for name in sorted(wanted.keys() & weights.keys())
            if weights[name].shape != wanted[name].shape
        ],
        "has numbers that aren't finite in": [name for name, v in weights.items() if not bool(v.isfinite().all())],
    }
    refuse(place, wrong)
    layer.load_state_dict({name: values.float() for name, values in weights.items()})
    activation = str(settings.get("activation_function", "")).rsplit(".", 1)[-1]
    if activation not in _ACTIVATIONS:
        raise ExportError(f"{place}: the activation {activation!r} is not exported")
    return [layer, _ACTIVATIONS[activation]()]
