"""Saying in words why a document ranks where it does."""

from __future__ import annotations

from collections.abc import Mapping

from crosslens.queries.fusion.scores import Part
from crosslens.queries.show.moments import Sense

_NOUNS: Mapping[Sense, tuple[str, str]] = {
    "image": ("picture", "pictures"),
    "text": ("text", "texts"),
    "frames": ("scene", "scenes"),
    "sound": ("sound", "sounds"),
    "captions": ("caption", "captions"),
    "both": ("clip", "clips"),
}


def explain(
    parts: Mapping[str, Part],
    senses: Mapping[str, Sense | None],
    depth: int,
    times: Mapping[str, str] | None = None,
) -> list[str]:
    """A sentence for each leg: those that found the document first, of them the one that adds most.

    ``senses`` are by leg, None for the keyword leg, and so are ``times``, when in the document's file the moment is
    that a leg found. ``depth`` is the window. Parts of other normalizers than "evidence" say nothing, and give none.
    """
    ranked = sorted(parts.items(), key=lambda item: (item[1].chance is None, -item[1].weighted))
    if not any(part.chance is not None for part in parts.values()):
        return []
    all_senses = list(senses.values())
    sentences = []
    for leg, part in ranked:
        sense = senses.get(leg)
        if sense is None or sense == "words":
            sentence = _of_words(part, "words" if sense is None else "captions")
        else:
            sentence = _of_vectors(part, _NOUNS[sense], depth)
        when = f" ({times[leg]})" if times and leg in times else ""
        # With two legs of one kind the sentence must say which is meant.
        sentences.append(f"{leg}: {sentence}{when}" if sense and all_senses.count(sense) > 1 else f"{sentence}{when}")
    return sentences


def _of_words(part: Part, what: str) -> str:
    if part.chance is None:
        return f"the {what} don't match"
    if part.covered is not None:
        spelt = ", spelt a little otherwise" if part.respelt else ""
        return f"the {what} cover {part.covered:.0%} of the query{spelt}".replace("%", " %")
    return f"{_how_many(part.chance, ('document', 'documents'))} would match the {what} as well by chance"


def _of_vectors(part: Part, noun: tuple[str, str], depth: int) -> str:
    if part.chance is not None:
        return f"{_how_many(part.chance, noun)} would match as well by chance"
    if part.lacking:
        return f"it has no {noun[0]} to compare"
    return f"its {noun[0]} is not among the {depth} nearest"


def _how_many(chance: float, noun: tuple[str, str]) -> str:
    one, many = noun
    if chance < 0.05:
        return f"next to no {one}"
    if chance < 0.95:
        return f"about {chance:.1f} {many}"
    rounded = round(chance)
    return f"about {rounded} {one if rounded == 1 else many}"
