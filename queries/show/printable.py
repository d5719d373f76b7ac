"""Text that any terminal, file and page can take."""

from __future__ import annotations

import re
from typing import Any

# JSON may hold one half of a surrogate pair, most often a cut emoji, and Elasticsearch keeps it; UTF-8 can't write it.
_HALF = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def printable(text: str) -> str:
    """Return ``text`` with each half of a surrogate pair replaced by U+FFFD."""
    return _HALF.sub(_REPLACEMENT, text) if _HALF.search(text) else text


def printable_value(value: Any) -> Any:
    """Return what JSON can hold with every text in it, keys included, made `printable`."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable_value(key): printable_value(each) for key, each in value.items()}
    return [printable_value(each) for each in value] if isinstance(value, list | tuple) else value
