"""Moments of sounds and footage that a hit matched: from where to where, and by what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Sense = Literal["text", "image", "frames", "sound", "captions", "both", "words"]
"""What a leg compares with a query: vectors of a text, a picture, or a part of a file, or the words of captions."""

_BY: Mapping[str, str] = {
    "frames": "picture",
    "sound": "sound",
    "captions": "words",
    "words": "words",
    "both": "picture and sound",
}


@dataclass(frozen=True)
class MatchedMoment:
    """A moment of a file that the document's field ``source`` refers to, from ``start_ms`` to ``end_ms``.

    ``position`` is the file's among the field's values.
    ``by`` says what of it matched, "picture", "sound", "words" or "picture and sound", each with its share of the hit's
    score, 0 to 1. ``text`` is what is said in it, where the captions matched, or None.
    """

    source: str
    position: int
    start_ms: int
    end_ms: int
    by: dict[str, float]
    text: str | None = None


@dataclass(frozen=True)
class Found:
    """What one leg found: of the file of ``source``, by ``sense``, a moment as `Hit.matched` has it.

    ``share`` is the leg's of the hit's score.
    """

    source: str
    sense: Sense
    share: float
    moment: Mapping[str, Any]


def moments_of(found: Iterable[Found]) -> list[MatchedMoment]:
    """Return what the legs found as moments, that with the greatest share first.

    Moments of one file that overlap are one: the time that they have in common. Legs without a share, which didn't find
    the document, only count where there is no other.
    """
    several = sorted(found, key=lambda each: -each.share)
    merged: list[MatchedMoment] = []
    for each in [one for one in several if one.share > 0] or several:
        file, by = (each.source, each.moment["position"]), _BY[each.sense]
        start, end = each.moment["start_ms"], each.moment["end_ms"]
        text = each.moment.get("text") if by == "words" else None
        for i, known in enumerate(merged):
            common = max(known.start_ms, start), min(known.end_ms, end)
            if (known.source, known.position) == file and common[0] < common[1]:
                shares = {**known.by, by: known.by.get(by, 0.0) + each.share}
                merged[i] = replace(
                    known, start_ms=common[0], end_ms=common[1], by=shares, text=known.text if text is None else text
                )
                break
        else:
            merged.append(MatchedMoment(*file, start, end, {by: each.share}, text))
    return sorted(merged, key=lambda each: -sum(each.by.values()))


def clock(ms: int) -> str:
    """Return a time as people write it: 2:03.4, or 1:02:03.4 from an hour on. What is below a tenth is cut."""
    tenths, hours = ms // 100 % 600, ms // 3_600_000
    minutes, seconds = ms // 60_000 % 60, f"{tenths // 10:02}.{tenths % 10}"
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"


def span(start_ms: int, end_ms: int) -> str:
    """Return a moment's time as people write it."""
    return f"{clock(start_ms)} to {clock(end_ms)}"


def described(moment: MatchedMoment) -> str:
    """Return when a moment is, and by what it matched, that with the greatest share first."""
    by = sorted(moment.by.items(), key=lambda item: -item[1])
    return f"{span(moment.start_ms, moment.end_ms)}, by {' and '.join(f'{what} ({share:.0%})' for what, share in by)}"


def fragment(moment: MatchedMoment) -> str:
    """Return the part of a URL that has a player play only this moment (W3C Media Fragments URI 1.0)."""
    return f"#t={moment.start_ms / 1e3:.3f},{moment.end_ms / 1e3:.3f}"
