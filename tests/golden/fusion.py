"""Scores by leg and what each normalizer and mean makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crosslens.queries.fusion.fuse import Mean, Scores, fuse
from crosslens.queries.fusion.normalizers import NORMALIZERS, Normalizer
from tests.golden import Line

Leg = dict[str, Any]
_OF_ALL_MEANS = ("one empty of two", "positive and negative", "weights", "a weight of 0", "new documents")


def leg(name: str, raw: dict[str, float], *, floor: float = 0.0, **more: Any) -> Leg:
    """A leg's scores; ``weight`` None means that none is given, ``moments`` serve "standardise".

    Where given, ``found`` are those of ``raw`` that the leg found by itself, the others being completed, and ``lacks``
    documents that have nothing for it to compare.
    """
    return {"name": name, "raw": raw, "floor": floor, "weight": None, "moments": None, **more}


def cosines(name: str, raw: dict[str, float], **more: Any) -> Leg:
    return leg(name, raw, floor=-1.0, **more)


def cases() -> dict[str, list[Leg]]:
    words = {"a": 7.5, "b": 3.25, "c": 0.5}
    titles = cosines("titles", {"b": 0.83, "c": 0.79, "d": 0.61}, moments=[0.55, 0.08])
    photos = cosines("photos", {"a": 0.31, "d": 0.27, "e": 0.22}, moments=[0.19, 0.03])
    whole = {"a": 0.31, "b": 0.24, "c": 0.29, "d": 0.27, "e": 0.22}
    completed = [
        leg("words", {"a": 7.5, "b": 3.25, "c": 0.5, "d": 0.0, "e": 0.0}, found=["a", "b", "c"]),
        cosines("photos", whole, moments=[0.19, 0.03], found=["a", "c", "d"]),
    ]
    return {
        "no legs": [],
        "an empty leg": [leg("words", {})],
        "one empty of two": [leg("words", {}), titles],
        "one hit": [leg("words", {"a": 4.0})],
        "one hit of nothing": [leg("words", {"a": 0.0}), titles],
        "equal scores": [leg("words", dict.fromkeys("abcd", 2.5))],
        "equal but for rounding": [leg("words", {"a": 0.1 + 0.2, "b": 0.3, "c": 0.3})],
        "ties": [leg("words", {"a": 5.0, "b": 7.0, "c": 5.0, "d": 1.0, "e": 1.0})],
        "negative cosines": [cosines("titles", {"a": -0.1, "b": -0.4, "c": -0.95}, moments=[-0.3, 0.1])],
        "positive and negative": [cosines("titles", {"a": 0.4, "b": 0.0, "c": -0.2})],
        "below the floor": [leg("words", {"a": 3.0, "b": -1.0})],
        "all at the floor": [cosines("titles", {"a": -1.0, "b": -1.0}), leg("words", words)],
        "very small": [leg("words", {"a": 3e-200, "b": 4e-200})],
        "very large": [leg("words", {"a": 3e38, "b": 2e38, "c": 1.0})],
        "two legs": [leg("words", words), titles],
        "three legs": [leg("words", words), titles, photos],
        "weights": [leg("words", words, weight=2.0), titles | {"weight": 0.5}, photos | {"weight": 0.25}],
        "a weight of 0": [leg("words", words, weight=0.0), titles],
        "some weights": [leg("words", words, weight=3.0), titles, photos],
        "a deviation of 0": [titles | {"moments": [0.7, 0.0]}, photos],
        "completed": completed,
        "new documents": [
            leg("words", {**words, "n": 9.0, "o": 0.0}, weight=2.0, found=["a", "b", "c", "n"]),
            titles | {"lacks": ["a", "n", "o"]},
            photos | {"lacks": ["b", "n"], "weight": 0.5},
        ],
        "nothing found, and a new document": [
            leg("words", {}),
            titles,
            cosines("photos", {"b": 0.3}, lacks=["c", "d"]),
        ],
        "judged by nothing that weighs": [leg("words", words, weight=0.0), titles | {"lacks": ["a"]}],
        "all below the corpus's mean": [titles | {"moments": [0.99, 0.01]}, leg("words", words)],
    }


def combinations() -> Iterator[tuple[str, Normalizer, Mean]]:
    """A case, a normalizer and a mean; "evidence", which needs more than scores, has its own file."""
    for case in cases():
        for normalizer in NORMALIZERS:
            if normalizer == "evidence":
                continue
            yield case, normalizer, "arithmetic"
            if normalizer != "z-score" and case in _OF_ALL_MEANS:
                yield case, normalizer, "geometric"
                yield case, normalizer, "harmonic"


def fused(legs: list[Leg], normalizer: Normalizer, mean: Mean) -> Line:
    """Totals by document; by leg and document what is normalized and what is weighted."""
    scores: dict[str, Scores[str]] = {
        each["name"]: Scores(
            each["raw"],
            each["floor"],
            moments=None if each["moments"] is None else tuple(each["moments"]),
            window={key: each["raw"][key] for key in each["found"]} if "found" in each else None,
            lacks=frozenset(each.get("lacks", ())),
        )
        for each in legs
    }
    weights = {each["name"]: each["weight"] for each in legs if each["weight"] is not None}
    found = fuse(scores, weights, normalizer=normalizer, mean=mean)
    return {
        "totals": {key: total for key, (total, _) in found.items()},
        "parts": {
            name: {key: [parts[name].normalized, parts[name].weighted] for key, (_, parts) in found.items()}
            for name in scores
        },
    }


def recorded() -> list[Line]:
    return [
        {"case": case, "normalizer": normalizer, "mean": mean, "legs": legs, **fused(legs, normalizer, mean)}
        for (case, normalizer, mean), legs in ((each, cases()[each[0]]) for each in combinations())
    ]
