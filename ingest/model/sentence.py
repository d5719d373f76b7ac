"""Text towers in sentence-transformers' layout: a transformer, pooling and dense layers, as modules.json lists them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from crosslens.errors import ExportError
from crosslens.ingest.model.files import read_json
from crosslens.ingest.model.towers import SentenceTower
from crosslens.ingest.model.weights import first_line, load_weights, refuse, require_weights

_ACTIVATIONS: dict[str, type[nn.Module]] = {"Identity": nn.Identity, "Tanh": nn.Tanh}


@dataclass(frozen=True)
class SentenceText:
    """A text tower, the folder of its transformer and tokenizer, and how it treats texts."""

    folder: Path
    module: nn.Module
    length: int
    lower_case: bool


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


def load_sentence_tower(folder: Path) -> SentenceText:
    """Load a text tower. Raises `ExportError` for missing or unexpected weights, and for modules, pooling or settings
    that crosslens doesn't export."""
    from transformers import AutoModel

    place, transformer, mean = folder, None, None
    dense: list[nn.Module] = []
    for kind, part in sentence_modules(folder):
        if kind == "Transformer" and transformer is None:
            place, transformer = part, load_weights(AutoModel, part)
        elif kind == "Pooling" and mean is None and not dense:
            mean = _pools_by_mean(part)
        elif kind == "Dense" and mean is not None:
            dense += _dense(part)
        elif kind != "Normalize":
            raise ExportError(f"{folder}/modules.json: a {kind} module is not exported there")
    if transformer is None or mean is None:
        lacking = "Transformer" if transformer is None else "Pooling"
        raise ExportError(f"{folder}/modules.json names no {lacking} module")
    _require_no_prompt(folder)
    settings_file = place / "sentence_bert_config.json"
    settings = read_json(settings_file) if settings_file.exists() else {}
    longest = getattr(transformer.config, "max_position_embeddings", None) or 128
    length = int(settings.get("max_seq_length") or min(128, longest))
    return SentenceText(place, SentenceTower(transformer, mean, dense), length, bool(settings.get("do_lower_case")))


def _pools_by_mean(place: Path) -> bool:
    settings = read_json(place / "config.json")
    modes = {
        name.removeprefix("pooling_mode_") for name, on in settings.items() if name.startswith("pooling_mode_") and on
    }
    modes |= {str(settings["pooling_mode"])} if isinstance(settings.get("pooling_mode"), str) else set()
    if modes not in ({"mean_tokens"}, {"cls_token"}, {"mean"}, {"cls"}):
        raise ExportError(f"{place}: only mean or CLS pooling is exported, not {sorted(modes)}")
    return modes <= {"mean_tokens", "mean"}


def _require_no_prompt(folder: Path) -> None:
    file = folder / "config_sentence_transformers.json"
    name = read_json(file).get("default_prompt_name") if file.exists() else None
    if name is not None:
        raise ExportError(f"{folder} puts a prompt ({name!r}) before every text, which is not exported")


def _dense(place: Path) -> list[nn.Module]:
    settings = read_json(place / "config.json")
    require_weights(place)
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
