"""The words of a text: parted here where spaces do it, else read from the tokens that the server makes of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Beginnings of the Unicode names of characters of scripts without spaces.
_SPACELESS = (
    "CJK ",
    "HIRAGANA",
    "KATAKANA",
    "HALFWIDTH KATA",
    "THAI",
    "LAO ",
    "KHMER",
    "MYANMAR",
    "TIBETAN",
    "BOPOMOFO",
)


def in_words(text: str) -> list[str]:
    """Return the text parted at spaces; a word holds at least one letter or digit."""
    return [word for word in text.split() if any(char.isalnum() for char in word)]


def spaces_part(text: str) -> bool:
    """Return whether the text's scripts part words by spaces: not so Chinese, Japanese, Thai and the like."""
    return text.isascii() or not any(_spaceless(char) for char in text)


def _spaceless(char: str) -> bool:
    return char > "\u0dff" and unicodedata.name(char, "").startswith(_SPACELESS)


def parted(tokens: Mapping[str, Sequence[tuple[int, int]]], text: str) -> list[str]:
    """Return the words of a text by the tokens' places, (start, end) by field: of several fields the one with the most.

    Of tokens that lie in one another (beginnings, synonyms, parts of compounds) the longest counts. Repeated words
    stay repeated.
    """
    words: list[str] = []
    for places in tokens.values():
        kept: list[tuple[int, int]] = []
        for start, end in sorted(set(places), key=lambda place: (place[0], -place[1])):
            if not kept or end > kept[-1][1]:
                kept.append((start, end))
        found = [_between(text, start, end) for start, end in kept]
        words = max(words, found, key=len)
    return words


def _between(text: str, start: int, end: int) -> str:
    """A part of the text by places as Java counts them, in UTF-16 code units."""
    if text.isascii():
        return text[start:end]
    units = text.encode("utf-16-le", "surrogatepass")
    return units[2 * start : 2 * end].decode("utf-16-le", "replace")


def places(answer: Mapping[str, Any], fields: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
    """Return the tokens' places by field, from the term vectors of an artificial document."""
    return {
        field: [
            (token["start_offset"], token["end_offset"])
            for term in vectors["terms"].values()
            for token in term["tokens"]
        ]
        for field, vectors in answer.get("term_vectors", {}).items()
        if field in set(fields)
    }
