"""Half a surrogate pair, most often a cut emoji, which JSON, Python and Elasticsearch can hold and UTF-8 can't."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


def well_formed(text: str) -> str:
    """Return ``text`` with U+FFFD for each lone surrogate, as in Java; whole pairs become their character."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def mended(value: Any) -> Any:
    """Return the same with every string in it `well_formed`, in lists and mappings as well, keys included.

    What needs no mending is returned as it is, not as a copy.
    """
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, Mapping):
        pairs = {mended(name): mended(each) for name, each in value.items()}
        same = all(new is old and pairs[new] is value[old] for new, old in zip(pairs, value, strict=False))
        return value if same and len(pairs) == len(value) else pairs
    if isinstance(value, list | tuple):
        several = [mended(each) for each in value]
        same = all(new is old for new, old in zip(several, value, strict=True))
        return value if same else type(value)(several)
    return value
