"""Half a surrogate pair, which JSON and Python's strings can hold and UTF-8 can't."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


def mended(value: Any) -> Any:
    """Return the same with U+FFFD in the place of half pairs, in the strings of lists and mappings as well.

    So does Java, and the encoder. Whole pairs become the character that they stand for. What needs no mending is
    returned as it is, not as a copy.
    """
    if isinstance(value, str):
        if value.isascii() or not _SURROGATE.search(value):
            return value
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, Mapping):
        pairs = {mended(name): mended(each) for name, each in value.items()}
        same = all(new is old and pairs[new] is value[old] for new, old in zip(pairs, value, strict=False))
        return value if same and len(pairs) == len(value) else pairs
    if isinstance(value, list | tuple):
        several = [mended(each) for each in value]
        same = all(new is old for new, old in zip(several, value, strict=True))
        return value if same else type(value)(several)
    return value
