"""Where sentences end, by Unicode's rules (UAX #29, "Sentence Boundaries", of Unicode 17).

The rules know no language and no abbreviations: after "Dr." before a capital they see an end. In return they know
every script's full stops, need no model, take time in proportion to the text, and any other implementation of the same
version of Unicode agrees to the character. The version is fixed by the table beside this module, not by Python's own.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

# A mark or format character goes with the character before it (SB5), unless that ends a paragraph.
_UNIT = re.compile("[^cls]e*|[cls]")
_PARAGRAPH = re.compile("cl|[cls]")
# What may end a sentence (SB8 to SB11): a full stop, with closing marks and spaces after it.
_STOP = re.compile("[AT]q*p*")
# Before a word in lower case a full stop that may abbreviate ends nothing (SB8).
_LOWER_NEXT = re.compile("[^OULclsAT]*L")


class _Classes(dict[int, str]):
    """By code point, the class that it has in the rules; looked up once for each character that occurs."""

    def __init__(self) -> None:
        super().__init__()
        ranges = []
        table = files("crosslens.ingest.model").joinpath("sentence_breaks.txt").read_text(encoding="ascii")
        for line in table.splitlines():
            name, _, listed = line.partition(" ")
            for each in listed.split() if name not in ("", "#") else ():
                first, _, last = each.partition("-")
                ranges.append((int(first, 16), int(last or first, 16), name))
        ranges.sort()
        self._firsts = [first for first, _, _ in ranges]
        self._ranges = ranges

    def __missing__(self, point: int) -> str:
        at = bisect_right(self._firsts, point) - 1
        found = self._ranges[at][2] if at >= 0 and point <= self._ranges[at][1] else "x"
        self[point] = found
        return found


@cache
def _classes() -> _Classes:
    return _Classes()


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each sentence of ``text``, in characters, without the white space around it."""
    for start, end in bounds(text):
        inside = text[start:end]
        first = len(inside) - len(inside.lstrip())
        if first < len(inside):
            yield start + first, start + len(inside.rstrip())


def bounds(text: str) -> Iterator[tuple[int, int]]:
    """Yield all of the text, in sentences."""
    classes = text.translate(_classes())
    start = 0
    # A paragraph's end always ends a sentence (SB3, SB4), so each is looked at by itself.
    for found in _PARAGRAPH.finditer(classes):
        yield from _of_paragraph(classes[start : found.start()], start, found.end())
        start = found.end()
    yield from _of_paragraph(classes[start:], start, len(text))


def _of_paragraph(classes: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    places = [found.start() for found in _UNIT.finditer(classes)]
    units = "".join(classes[place] for place in places)
    begun = start
    for found in _STOP.finditer(units):
        if found.end() < len(units) and _ends(units, found):
            here = start + places[found.end()]
            yield begun, here
            begun = here
    if begun < end:
        yield begun, end


def _ends(units: str, stop: re.Match[str]) -> bool:
    """Return whether a sentence ends with ``stop``, which something follows."""
    at, after = stop.start(), stop.end()
    following = units[after]
    if following in "CAT":
        return False
    if units[at] == "T":
        return True
    if after == at + 1 and (following == "N" or (following == "U" and at > 0 and units[at - 1] in "UL")):
        return False
    return _LOWER_NEXT.match(units, after) is None
