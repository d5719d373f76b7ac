"""Each leg's scores in a search, and each leg's part in a document's total."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
DEFAULT_WINDOW = 100


@dataclass(frozen=True, slots=True)
class Part:
    """One leg's part in a document's total: ``raw`` score (None: not scored), ``normalized``, and ``weighted``.

    The weighted parts of a document sum to its total (to the arithmetic mean, where a mean is taken).

    Of the normalizer "evidence": ``chance`` is how many documents would do as well in this leg by chance (None: the leg
    didn't find the document), ``covered`` the share of the query, from 0 to 1, that a keyword match covers (None where
    the words' own scores aren't known), ``lacking`` says that the document has nothing for this leg to compare, and
    ``respelt`` that it was found by words of another spelling than the query's.
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

    ``moments`` are the query score's mean and standard deviation over the whole corpus, for `standardise`. The rest
    serves `crosslens.queries.fusion.evidence`: ``window`` are the documents that the leg found by itself, of ``depth``
    that it was asked for (None: those in ``raw``); ``attainable`` is the score that a document would get that has each
    of the query's words as well as the word's best document has it (None: not known); ``lacks`` are documents that have
    nothing for this leg to compare, such as a vector yet to be made; ``source`` names what the leg reads (None:
    something that no other leg reads); ``respelt`` are the scores of the same query with words spelt a little
    otherwise.
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
        """Return the leg's own window."""
        return self.raw if self.window is None else self.window

    @property
    def keys(self) -> dict[K, None]:
        """Return every document that has a score of any kind, those that the leg found by itself first."""
        respelt = self.respelt.found if self.respelt is not None else {}
        return dict.fromkeys((*self.found, *respelt, *self.raw))
