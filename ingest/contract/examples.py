"""Examples of which documents deserve a label, the threshold that suits them, and how well it does on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crosslens.errors import LabelError

LEAST = 5
"""How many examples of each answer a threshold is set by at least."""
_FOLDS = 5
_ANSWERS = {"yes": True, "no": False, True: True, False: False}


@dataclass(frozen=True)
class Example:
    """Whether the document of that id deserves a label: ``yes`` or not."""

    document: str
    label: str
    yes: bool


def read_examples(path: Path) -> list[Example]:
    """Lines of ``{"document": ID, "label": NAME, "yes": true}``; "yes" and "no" do as well as true and false.

    Raises `LabelError`, with the line's number, for what can't be understood, contradicting answers, or none.
    """
    found: dict[tuple[str, str], bool] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line.decode("utf-8-sig"))
            document, label, yes = str(entry["document"]), entry["label"], _ANSWERS[entry["yes"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LabelError(
                f"{path}:{number} is not an example ({type(error).__name__}: {error})",
                hint='write {"document": "17", "label": "cat", "yes": true}',
            ) from error
        if found.setdefault((document, str(label)), yes) is not yes:
            raise LabelError(f"{path}:{number} contradicts an earlier line: {label!r} of document {document}")
    if not found:
        raise LabelError(f"{path} holds no example")
    return [Example(document, label, yes) for (document, label), yes in found.items()]


def check_examples(examples: Iterable[Example], names: Iterable[str]) -> None:
    """Raises `LabelError` for an example of a label that isn't among ``names``."""
    unknown = sorted({each.label for each in examples} - set(names))
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise LabelError(f"the examples judge {', '.join(map(repr, unknown[:3]))}{more}, which isn't among the labels")


@dataclass(frozen=True)
class Counts:
    """Of some examples, how many were ``given`` a label, ``deserve`` it, and both: ``right``."""

    right: int = 0
    given: int = 0
    deserve: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.right + other.right, self.given + other.given, self.deserve + other.deserve)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 0 to 1; 0 where nothing is right."""
        return 2 * self.right / (self.given + self.deserve) if self.right else 0.0


def counted(scores: Sequence[float], yes: Sequence[bool], threshold: float) -> Counts:
    """How a threshold does on examples."""
    given = [score >= threshold for score in scores]
    right = sum(1 for one, answer in zip(given, yes, strict=True) if one and answer)
    return Counts(right, sum(given), sum(yes))


def best_threshold(scores: Sequence[float], yes: Sequence[bool]) -> float:
    """The threshold with the greatest F1 on examples, at least one of them ``yes``; of several the highest.

    It lies halfway between the least score that it lets pass and the next lower one, if there is one. F1 is van
    Rijsbergen's (1979, Information Retrieval, chapter 7), which weighs precision and recall alike.
    """
    ranked = sorted(zip(scores, yes, strict=True), key=lambda pair: -pair[0])
    deserve = sum(yes)
    best, least, below = -1.0, ranked[0][0], ranked[0][0]
    right = 0
    for given, (score, answer) in enumerate(ranked, 1):
        right += answer
        following = ranked[given][0] if given < len(ranked) else score
        if following == score and given < len(ranked):
            continue
        f1 = Counts(right, given, deserve).f1
        if f1 > best:
            best, least, below = f1, score, following
    return (least + below) / 2


def cross_validated(scores: Sequence[float], yes: Sequence[bool]) -> Counts:
    """How `best_threshold` does on examples that it wasn't set by: each fifth by the threshold of the other four.

    Yes and no are dealt out each in turn, so that every fifth has its share of both. Needs `LEAST` of each.
    """
    folds = [0] * len(yes)
    for answer in (True, False):
        for turn, i in enumerate(i for i, each in enumerate(yes) if each is answer):
            folds[i] = turn % _FOLDS
    total = Counts()
    for fold in range(_FOLDS):
        inside = [i for i, each in enumerate(folds) if each == fold]
        others = [i for i, each in enumerate(folds) if each != fold]
        threshold = best_threshold([scores[i] for i in others], [yes[i] for i in others])
        total += counted([scores[i] for i in inside], [yes[i] for i in inside], threshold)
    return total
