"""What identifies, in a hit, the nested object that came nearest: of sounds and footage, a moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crosslens.surrogates import well_formed

INNER = "matched"
_TIMES = ("position", "start", "end")


def inner_moments(path: str, size: int, *, words: bool = False) -> dict[str, Any]:
    """Return the ``inner_hits`` that bring the ``size`` best moments at ``path``, with the ``words`` spoken in them.

    File and times come from doc values, which cost little; for words the whole document is read, with its vectors.
    """
    times = [f"{path}.{name}" for name in _TIMES]
    return {"name": INNER, "size": size, "_source": [f"{path}.text"] if words else False, "docvalue_fields": times}


def moment_of(inner: Mapping[str, Any], path: str, score: float) -> dict[str, Any]:
    """Return an inner hit's moment as `Hit.matched` has it, with its raw ``score``."""
    position, start, end = (int(inner["fields"][f"{path}.{name}"][0]) for name in _TIMES)
    said = (inner.get("_source") or {}).get("text")
    words = {} if said is None else {"text": well_formed(said)}
    return {"position": position, "start_ms": start, "end_ms": end, "score": score, **words}
