"""Saying in words why a document ranks where it does."""

from __future__ import annotations

from collections.abc import Mapping

from crosslens.ingest.contract.record import Modality
from crosslens.queries.fusion.scores import Part

_NOUNS: dict[Modality, tuple[str, str]] = {"image": ("picture", "pictures"), "text": ("text", "texts")}


def explain(parts: Mapping[str, Part], modalities: Mapping[str, Modality | None], depth: int) -> list[str]:
    """A sentence for each leg: those that found the document first, of them the one that adds most.

    ``modalities`` are by leg, None for a keyword leg.

    ``depth`` is the window. Parts of other normalizers than "evidence" say nothing, and give none.
    """
    ranked = sorted(parts.items(), key=lambda item: (item[1].chance is None, -item[1].weighted))
    if not any(part.chance is not None for part in parts.values()):
        return []
    all_kinds = list(modalities.values())
    sentences = []
    for leg, part in ranked:
        modality = modalities.get(leg)
        sentence = _of_words(part) if modality is None else _of_vectors(part, _NOUNS[modality], depth)
        # With two legs of one kind the sentence must say which is meant.
        sentences.append(f"{leg}: {sentence}" if modality and all_kinds.count(modality) > 1 else sentence)
    return sentences


def _of_words(part: Part) -> str:
    if part.chance is None:
        return "the words don't match"
    if part.covered is not None:
        spelt = ", spelt a little otherwise" if part.respelt else ""
        return f"the words cover {part.covered:.0%} of the query{spelt}".replace("%", " %")
    return f"{_how_many(part.chance, ('document', 'documents'))} would match the words as well by chance"


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
