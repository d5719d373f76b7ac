"""Loading weights strictly: none that shapes a vector may be invented, left over, or have another shape."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from crosslens.errors import ExportError
from crosslens.ingest.model.files import is_pointer

# Vectors don't depend on these: loss scales, and BERT's heads for tasks other than embedding.
_NOT_NEEDED = ("logit_scale", "logit_bias", "temperature", "pooler.")
# Positions and counters, which aren't learned; earlier versions of transformers stored positions.
_COUNTED = ("position_ids", "num_batches_tracked")
_SHOWN = 4


def load_weights(kind: Any, place: Path, *, but: Iterable[str] = (), trust_remote_code: bool = False) -> Any:
    """Load the safetensors in ``place`` into a model of transformers' ``kind``, in single precision.

    ``but`` holds the prefixes of unused weights. Raises `ExportError` naming each weight that is missing, left over in
    a part that is used, of a shape that contradicts config.json, or not finite.
    """
    require_weights(place)
    with_all = {"dtype": torch.float32, "attn_implementation": "eager", "trust_remote_code": trust_remote_code}
    try:
        model, report = kind.from_pretrained(
            place, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **with_all
        )
    except Exception as error:
        raise ExportError(f"the weights in {place} can't be loaded: {first_line(error)}") from error
    unused = (*_NOT_NEEDED, *but)
    children = {name for name, _ in model.named_children()}
    parts = {name: name.removeprefix(f"{model.base_model_prefix}.") for name in report["unexpected_keys"]}
    wrong = {
        "lacks": [name for name in report["missing_keys"] if not name.startswith(unused)],
        "has, beyond what config.json describes,": [
            name for name, part in parts.items() if part.split(".")[0] in children and not part.startswith(unused)
        ],
        "has in another shape than config.json describes": [
            f"{name} {list(there)} instead of {list(wanted)}"
            for name, there, wanted in report["mismatched_keys"]
            if not name.startswith(unused)
        ],
        "has numbers that aren't finite in": [
            name
            for name, values in model.named_parameters()
            if not name.startswith(unused) and not bool(torch.isfinite(values).all())
        ],
    }
    refuse(place, {what: [n for n in names if not n.endswith(_COUNTED)] for what, names in wrong.items()})
    return model.eval()


def refuse(place: Path, wrong: dict[str, list[str]]) -> None:
    """Raise `ExportError` if any of the lists holds the name of a weight."""
    said = [f"{what} {_listed(names)}" for what, names in wrong.items() if names]
    if said:
        raise ExportError(
            f"{place} {', and '.join(said)}",
            hint="the checkpoint is incomplete, or its config.json is of another: its vectors would mean nothing",
        )


def require_weights(place: Path) -> None:
    """Raise `ExportError` unless ``place`` has safetensors weights in full."""
    files = sorted(place.glob("*.safetensors"))
    if not files:
        others = sorted(p.name for pattern in ("*.bin", "*.pt", "*.ckpt") for p in place.glob(pattern))
        there = f" ({', '.join(others)})" if others else ""
        raise ExportError(
            f"{place} has no safetensors weights; pickled ones{there} are not loaded",
            hint="a pickle can run any code; convert it with safetensors, or take a revision that has them",
        )
    require_no_pointers(place)


def require_no_pointers(place: Path) -> None:
    """Raise `ExportError` where Git LFS left a pointer in place of a file."""
    pointers = [p.name for p in sorted(place.iterdir()) if p.is_file() and is_pointer(p)]
    if pointers:
        raise ExportError(
            f"{place} holds Git LFS pointers in place of {', '.join(pointers)}",
            hint="fetch the files themselves with git lfs pull",
        )


def first_line(error: Exception) -> str:
    """Return the first line of another library's error message, with the error's type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _listed(names: list[str]) -> str:
    names = sorted(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
