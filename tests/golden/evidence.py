"""What fusion by evidence gives for chosen inputs."""

from __future__ import annotations

import math
import random
from typing import Any

from crosslens.queries.fusion.evidence import combine
from crosslens.queries.fusion.scores import Scores
from tests.golden import Line

_KEPT = ("normalized", "weighted", "chance", "covered")


def vectors(window: dict[str, float], *, name: str = "vectors", **rest: Any) -> dict[str, Any]:
    """A leg of cosines; so ``rest`` of words is the score ``attainable``, None where it isn't known."""
    return {"name": name, "found": window, "floor": -1.0, "depth": 100, "lacks": [], **_unsaid(), **rest}


def words(window: dict[str, float], *, name: str = "words", **rest: Any) -> dict[str, Any]:
    return {"name": name, "found": window, "floor": 0.0, "depth": 100, "lacks": [], **_unsaid(), **rest}


def _unsaid() -> dict[str, Any]:
    return {"attainable": None, "source": None, "weight": None}


def _tail(n: int, seed: int, start: int = 0) -> dict[str, float]:
    """A window as a kNN search gives it: the largest of cosines that fall off as an exponential does."""
    drawn = random.Random(seed)
    return {f"d{start + i}": round(0.2 + 0.03 * math.log((n + 1) / (i + drawn.random())), 7) for i in range(n)}


def cases() -> dict[str, list[dict[str, Any]]]:
    """The legs, by what is special about them."""
    titles = {"d0": 4.25, "d3": 3.5, "d7": 1.25, "x": 0.5}
    return {
        "no legs found anything": [vectors({}), words({}, attainable=2.0)],
        "one leg": [vectors(_tail(100, 1))],
        "one hit": [vectors({"a": 0.3})],
        "two hits": [vectors({"a": 0.3, "b": 0.25})],
        "three hits": [vectors({"a": 0.3, "b": 0.25, "c": 0.1})],
        "equal scores": [vectors(dict.fromkeys("abcdefg", 0.3))],
        "equal at the end": [vectors({"a": 0.9, "b": 0.8, **dict.fromkeys("cdefgh", 0.3)})],
        "ties at the top": [vectors({**dict.fromkeys("abcdef", 0.4), **_tail(20, 2)})],
        "negative cosines": [vectors({"a": -0.1, "b": -0.2, "c": -0.25, "d": -0.4, "e": -0.9})],
        "one that stands out": [vectors({"best": 0.95, **_tail(49, 3)})],
        "words all covered": [words({"a": 4.0, "b": 3.0}, attainable=4.0)],
        "words in part": [words(titles, attainable=5.0)],
        "more than attainable": [words(titles, attainable=4.0)],
        "words of unknown worth": [words(titles)],
        "words without a match": [words({"a": 0.0, "b": 2.0}, attainable=2.0), vectors({"a": 0.2, "b": 0.1, "c": 0.1})],
        "two sources": [words(titles, attainable=5.0), vectors(_tail(30, 4), depth=30)],
        "one source": [
            words(titles, attainable=5.0, source="title"),
            vectors(_tail(25, 5), source="title"),
        ],
        "two opinions and a witness": [
            words(titles, attainable=5.0, source="title"),
            vectors(_tail(40, 6, 2), name="title vectors", source="title"),
            vectors(_tail(40, 7, 20), name="pictures", source="photo"),
        ],
        "weights": [
            words(titles, attainable=5.0, source="title", weight=2.0),
            vectors(_tail(20, 8), name="title vectors", source="title", weight=0.5),
            vectors(_tail(20, 9, 10), name="pictures", source="photo", weight=0.25),
        ],
        "some weights": [
            words(titles, attainable=5.0, source="title", weight=2.0),
            vectors(_tail(20, 8), name="title vectors", source="title"),
            vectors(_tail(20, 9, 10), name="pictures"),
        ],
        "a leg without weight": [words(titles, attainable=5.0, weight=0.0), vectors(_tail(30, 10))],
        "a source without weight": [
            words(titles, attainable=5.0, source="title", weight=0.0),
            vectors(_tail(30, 11), source="title", weight=0.0, name="title vectors"),
            vectors(_tail(30, 12, 3), name="pictures"),
        ],
        "a weight that is next to nothing": [
            words(titles, attainable=5.0, source="title", weight=1e-12),
            vectors(_tail(30, 13), source="title", weight=1e6),
        ],
        "documents without vectors": [
            words(titles, attainable=5.0, source="title"),
            vectors(_tail(20, 14), name="title vectors", source="title", lacks=["x", "d99"]),
            vectors(_tail(20, 15), name="pictures", source="photo", lacks=["x"]),
        ],
        "no vectors yet": [
            words(titles, attainable=5.0, source="title"),
            vectors({}, source="title", lacks=["d0", "x"]),
        ],
        "a leg of a source that found nothing": [
            words({}, attainable=5.0, source="title"),
            vectors(_tail(20, 16), source="title"),
        ],
        "a small window": [words(titles, attainable=5.0, depth=1), vectors(_tail(3, 17), depth=3)],
        "far beyond doubt": [vectors({"best": 0.9999, "next": 0.9998, **{f"{i}": 0.1 + i * 1e-6 for i in range(30)}})],
        "far below": [words({"a": 1e-30, "b": 5.0}, attainable=1e6)],
        "of another fusion": [vectors({"a": 0.9, "b": 0.4, "c": 0.1}, floor=0.0), words(titles, attainable=5.0)],
    }


def fused(legs: list[dict[str, Any]]) -> Line:
    """The legs with the totals that they give, and of each part what is in `_KEPT`, by leg and document."""
    scores = {
        leg["name"]: Scores(
            leg["found"],
            leg["floor"],
            window=leg["found"],
            depth=leg["depth"],
            attainable=leg["attainable"],
            lacks=frozenset(leg["lacks"]),
            source=leg["source"],
        )
        for leg in legs
    }
    weights = {leg["name"]: leg["weight"] for leg in legs if leg["weight"] is not None}
    found = combine(scores, weights)
    return {
        "legs": legs,
        "totals": {key: total for key, (total, _) in found.items()},
        "parts": {
            name: {key: [getattr(parts[name], each) for each in _KEPT] for key, (_, parts) in found.items()}
            for name in scores
        },
    }


def recorded() -> list[Line]:
    return [{"case": name, **fused(legs)} for name, legs in cases().items()]
