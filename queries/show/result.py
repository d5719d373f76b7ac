"""What a search returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.fusion.normalizers import DEFAULT_NORMALIZER, Normalizer
from crosslens.queries.fusion.scores import Part, Scores
from crosslens.queries.show.moments import MatchedMoment

if TYPE_CHECKING:
    from crosslens.queries.show.pictures import Pictures


@dataclass(frozen=True)
class Hit:
    """One result: ``score`` 0..1 is the sum of the ``parts``, one for each leg of the search (or another mean of them).

    ``explanation`` says in words why it ranks where it does, a sentence for each leg, by the normalizer "evidence".
    ``matched`` has, by leg, which value of a field with a vector for each value came nearest: its ``position`` among
    the document's values, and an image's ``reference``; of a passage its ``start`` and ``end`` in that value, in
    characters, and its ``text``, unless the field isn't among what is returned; of a sound or footage the best moment's
    ``start_ms`` and ``end_ms``, its ``score`` on the leg's scale, the captions' ``text``, and ``also`` those next to
    it. ``moments`` are those that all legs found, put together. ``fields`` and ``highlight`` are Elasticsearch's.
    ``answers`` is the part of a draft that the document answers: ``start``, ``end`` and ``text``.
    """

    index: str
    id: str
    score: float
    parts: dict[str, Part]
    source: dict[str, Any]
    matched: dict[str, dict[str, Any]] = field(default_factory=dict)
    fields: dict[str, list[Any]] = field(default_factory=dict)
    highlight: dict[str, list[str]] = field(default_factory=dict)
    explanation: list[str] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    moments: list[MatchedMoment] = field(default_factory=list)


@dataclass(frozen=True)
class Draft:
    """How many ``passages`` the draft that was searched with has, and with how many of them was ``searched``."""

    passages: int
    searched: int


# From here on the best document is more likely an answer than chance: fewer than one would do as well by it.
_ANSWERED = 0.5


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first; ``found`` documents were in some leg's window and passed ``min_score`` and ``collapse``.

    Times in milliseconds; ``profile`` has the server's own time of each leg and of the completion. ``next`` continues a
    search by pages (None: the window is at its end). ``noise`` has, by vector leg, the standardised cosine ``z`` of its
    best document, and the ``floor`` that chance exceeds at the rate asked for. ``sources`` names, by leg, what it reads
    (see `crosslens.queries.search.readings`). ``best`` is the greatest total found, before ``min_score``. ``scores``
    are what was fused: every leg's raw scores of all documents of the window, unless the server plugin made the search.
    ``draft`` is there for a search with one.
    """

    hits: list[Hit]
    legs: list[str]
    found: int
    encode_ms: float = 0.0
    search_ms: float = 0.0
    aggregations: dict[str, Any] = field(default_factory=dict)
    profile: dict[str, float] = field(default_factory=dict)
    next: str | None = None
    noise: dict[str, dict[str, float]] = field(default_factory=dict)
    normalizer: Normalizer = DEFAULT_NORMALIZER
    min_score: float | None = None
    sources: dict[str, str] = field(default_factory=dict)
    best: float = 0.0
    scores: dict[str, Scores[DocumentKey]] = field(default_factory=dict, repr=False, compare=False)
    draft: Draft | None = None
    pictures: Pictures | None = field(default=None, repr=False, compare=False)

    @property
    def answered(self) -> bool | None:
        """Whether the index answers the query.

        With a false-alarm rate: whether any vector leg's best document stands out of the noise. Else, by the normalizer
        "evidence": whether the best document reaches ``min_score``, or, where none is given, 0.5, at which fewer than
        one document would do as well by chance. None by other normalizers, whose totals say nothing of it.
        """
        if self.noise:
            return any(each["z"] > each["floor"] for each in self.noise.values())
        if self.normalizer != "evidence":
            return None
        return self.best >= (_ANSWERED if self.min_score is None else self.min_score) and self.best > 0

    def _repr_html_(self) -> str:
        from crosslens.queries.show.notebook import as_html

        return as_html(self)

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, for JSON."""
        return asdict(replace(self, scores={}, pictures=None))
