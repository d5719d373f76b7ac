"""What a search knows of each leg's scores, and what each leg adds to a document's total."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
DEFAULT_WINDOW = 100


@dataclass(frozen=True, slots=True)
class Part:
    """What one leg adds to a document: ``raw`` score (None: it has none), ``normalized``, and ``weighted``.

    The weighted parts of a document sum to its total (to the arithmetic mean, where a mean is taken).

    Of the normalizer "evidence": ``chance`` is how many documents would do as well in this leg by chance (None: the leg
    didn't find the document), ``covered`` the share of the query, from 0 to 1, that a keyword match covers (None where
    the words' own scores aren't known), and ``respelt`` says that the document matched another spelling of the query's
    words. ``lacking``, with any normalizer: the document has nothing that this leg could compare.
    """

    raw: float | None
    normalized: float
    weighted: float
    chance: float | None = None
    covered: float | None = None
    lacking: bool = False
    respelt: bool = False


@dataclass(frozen=True)
class Scores(Generic[K]):
    """The raw scores of a leg by document, and their ``floor``, the least score possible.

    ``moments`` are the mean and standard deviation of the query's score over the whole corpus, for `standardise`.
    ``window`` holds the documents that the leg found by itself, out of the ``depth`` it was asked for (None: those in
    ``raw``); ``lacks`` holds documents with nothing for this leg to compare, such as those without a vector yet. The
    rest serves `crosslens.queries.fusion.evidence`: ``attainable`` is the score of a document that matched every word
    of the query as well as that word's best document does (None: unknown); ``source`` names what the leg reads (None:
    something that no other leg reads); ``respelt`` holds the scores of the same query with its words spelt slightly
    differently.
    """

    raw: Mapping[K, float]
    floor: float
    moments: tuple[float, float] | None = None
    window: Mapping[K, float] | None = None
    depth: int = DEFAULT_WINDOW
    attainable: float | None = None
    lacks: Collection[K] = frozenset()
    source: str | None = None
    respelt: Scores[K] | None = None

    @property
    def found(self) -> Mapping[K, float]:
        """The leg's own window."""
        return self.raw if self.window is None else self.window

    @cached_property
    def best(self) -> float:
        """The greatest score of the leg's own window; 0 for an empty one."""
        return max(self.found.values(), default=0.0)

    @property
    def keys(self) -> dict[K, None]:
        """Every document that has a score of any kind, those that the leg found by itself first."""
        respelt = self.respelt.found if self.respelt is not None else {}
        return dict.fromkeys((*self.found, *respelt, *self.raw))
