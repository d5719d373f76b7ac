"""What a search takes: the one place where every option stands with its type, its default and its meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from typing import Any, Literal, Self

from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.ingest.sources.images import ImageSource
from crosslens.queries.fusion.fuse import Mean
from crosslens.queries.fusion.normalizers import Normalizer
from crosslens.queries.fusion.scores import DEFAULT_WINDOW
from crosslens.queries.search.media import MediaSource
from crosslens.queries.search.remembered import QUERY_CACHE_BYTES
from crosslens.queries.search.requests import Query
from crosslens.surrogates import mended

MOST_PASSAGES = 32
"""With how many passages of a draft is searched unless more are asked for."""
_NOT_OF_DRAFTS = (
    "image",
    "audio",
    "video",
    "less_image",
    "like",
    "query",
    "sort",
    "collapse",
    "aggregations",
    "page",
    "false_alarm",
)
_SENT = (
    "text",
    "less_text",
    "like",
    "query",
    "filter",
    "post_filter",
    "collapse",
    "sort",
    "source",
    "fields",
    "highlight",
    "aggregations",
)


@dataclass(frozen=True)
class SearchOptions:
    """The arguments of `HybridSearcher.search`, ``text`` by position or name, all others by name.

    What to look for. Each vector field's query vector is the sum of the unit vectors of all that is looked for, less
    those of what is looked away from, made unit again.

    text: one text or several. The keyword leg searches for all of them.
    image: one image or several: paths, URLs, bytes, or opened pictures.
    audio, video: one sound or video or several: paths, or the bytes of files (see `crosslens.queries.search.media`).
        Each field's model reads of them what it has an encoder for. They need the extra "av".
    less_text, less_image: what to look away from.
    like: a document to find more of, or several, by id or (index, id). They aren't results themselves.
    query: any Elasticsearch query, for the keyword leg to ask in place of ``text``.

    Which documents.

    filter: an Elasticsearch query, or several, that every result meets.
    post_filter: the same, but aggregations over "keyword" also count documents that don't meet it.
    min_score: the least total, on the scale of the fused scores.
    collapse: a field of whose values each comes once, with its best document.
    sort: as in ``_search``: what the documents of the window are ordered by instead of their total. Those that it finds
        equal are ordered by their total. One more round trip.
    size: how many documents, from 0 to the searcher's window. The ranking never depends on it.

    How they are ranked.

    weights: by leg ("keyword", a vector field's name, or of captions their text field's, as in "clip_vector.text"), 0
        or more; a leg without a weight has its default (see `crosslens.queries.fusion.evidence`). None: as tuned, where
        the index records weights for this normalizer.
    sources: by leg, a name for what it reads, where legs read the same and the index doesn't say so, or says
        otherwise (see `crosslens.queries.search.readings`). Added to those that the index records.
    legs: the names of the legs to search; None: all that the query has.
    normalizer, mean: as in `crosslens.queries.fusion.fuse.fuse`. None: the normalizer that the index records, else
        "evidence", whose totals behave like probabilities.
    complete: whether the documents shown get their true scores in all legs, in a second round trip, which also fetches
        them. By evidence that changes no ranking. By other normalizers it decides the ranking: all of the window is
        completed, and what is shown comes in a third trip. False: one round trip, which fetches all of the window.
    spelling: whether, by evidence, a word that nobody wrote is also looked for with one letter changed, in one more
        round trip.
    candidates: how many documents each shard looks at, for all vector legs or by leg (see
        `crosslens.queries.search.legs.knn_leg`, as for ``oversample``).
    oversample: how many times the window is compared again with whole floats, for all vector legs or by leg.

    What is returned.

    source: the document fields to return; True: all but vectors, False: none.
    fields, highlight: as in ``_search``.
    aggregations: as in ``_search``.
    aggregate_over: "keyword", for all matches of the keyword leg, or "window", for the documents of the window.
    page: True for the first of pages that don't shift while the index changes, then the ``next`` of the page before.
    false_alarm: a rate between 0 and 1, as in 0.05, at which a query that nothing answers may pass for answered. The
        result's ``answered`` then says whether its best vectors stand out of the noise.

    Raises `QueryError` for a ``false_alarm`` or an ``aggregate_over`` other than these.
    """

    text: str | Sequence[str] | None = None
    _: KW_ONLY
    image: ImageSource | Sequence[ImageSource] | None = None
    audio: MediaSource | Sequence[MediaSource] | None = None
    video: MediaSource | Sequence[MediaSource] | None = None
    less_text: str | Sequence[str] | None = None
    less_image: ImageSource | Sequence[ImageSource] | None = None
    like: str | DocumentKey | Sequence[str | DocumentKey] | None = None
    query: Query | None = None
    filter: Query | Sequence[Query] | None = None
    post_filter: Query | Sequence[Query] | None = None
    min_score: float | None = None
    collapse: str | None = None
    sort: Any = None
    size: int = 10
    weights: Mapping[str, float] | None = None
    sources: Mapping[str, str] | None = None
    legs: Sequence[str] | None = None
    normalizer: Normalizer | None = None
    mean: Mean = "arithmetic"
    complete: bool = True
    spelling: bool = True
    candidates: int | Mapping[str, int] | None = None
    oversample: float | Mapping[str, float] | None = None
    source: Sequence[str] | bool = True
    fields: Sequence[Any] = ()
    highlight: Mapping[str, Any] | None = None
    aggregations: Mapping[str, Any] | None = None
    aggregate_over: Literal["keyword", "window"] = "keyword"
    page: str | Literal[True] | None = None
    false_alarm: float | None = None

    def __post_init__(self) -> None:
        if self.false_alarm is not None and not 0 < self.false_alarm < 1:
            raise QueryError(f"the false-alarm rate must lie between 0 and 1, not {self.false_alarm}")
        if self.aggregate_over not in ("keyword", "window"):
            raise QueryError(f'aggregate_over must be "keyword" or "window", not {self.aggregate_over!r}')

    @property
    def filters(self) -> list[Query]:
        """The filters as a list."""
        return _several(self.filter)

    @property
    def post_filters(self) -> list[Query]:
        """The filters that aggregations don't heed, as a list."""
        return _several(self.post_filter)

    @property
    def presents(self) -> bool:
        """Whether anything of the documents is returned besides their names."""
        return self.source is not False or bool(self.fields or self.highlight)

    @property
    def sendable(self) -> Self:
        """The same options, in whose strings nothing is left that can't be sent (see `mended`)."""
        given = {name: getattr(self, name) for name in _SENT}
        changed = {name: new for name, value in given.items() if (new := mended(value)) is not value}
        return replace(self, **changed) if changed else self

    def liked(self, index: str) -> list[DocumentKey]:
        """Return the documents to find more of by index and id; those named by id alone are in ``index``."""
        if self.like is None:
            return []
        several = [self.like] if isinstance(self.like, str | tuple) else self.like
        return [(index, each) if isinstance(each, str) else each for each in several]


def _several(queries: Query | Sequence[Query] | None) -> list[Query]:
    if queries is None:
        return []
    return [dict(queries)] if isinstance(queries, Mapping) else list(queries)


@dataclass(frozen=True)
class IndexSearchOptions(SearchOptions):
    """The arguments of `crosslens.Index.search`: those of a search, and what its searcher is made with.

    vector_fields, text_fields: those to search, text fields also with boosts and wildcards; None: all, of text fields
        those that can be searched in every index, 256 at most.
    window: how many documents each leg finds, from 1 to 10,000 and at most as many as the index returns, to which the
        default is cut. The ranking depends on it.
    query_cache_bytes: how much memory the vectors of recent queries may take; 0: none are kept.
    """

    _: KW_ONLY
    vector_fields: Sequence[str] | None = None
    text_fields: Sequence[str] | None = None
    window: int = DEFAULT_WINDOW
    query_cache_bytes: int = QUERY_CACHE_BYTES

    @property
    def of_search(self) -> dict[str, Any]:
        """The arguments of `HybridSearcher.search`."""
        return {each.name: getattr(self, each.name) for each in fields(SearchOptions)}

    @property
    def of_searcher(self) -> dict[str, Any]:
        """The arguments that a searcher is made with, which can be looked up by."""
        chosen = (self.vector_fields, self.text_fields)
        named = [None if names is None else tuple(names) for names in chosen]
        made_with = {"fields": named[0], "text_fields": named[1], "window": self.window}
        return {**made_with, "query_cache_bytes": self.query_cache_bytes}


@dataclass(frozen=True)
class _Draft:
    """What the search with a draft takes besides."""

    _: KW_ONLY
    combine: Literal["best", "mean"] = "best"
    most_passages: int = MOST_PASSAGES


@dataclass(frozen=True)
class DraftOptions(_Draft, SearchOptions):
    """The arguments of `HybridSearcher.search_draft`: those of a search whose one ``text`` is the draft, and two more.

    combine: "best" ranks a document by the passage that it answers best, "mean" by the mean over all passages.
    most_passages: with how many of the draft's passages is searched, at most.

    Raises `QueryError` for what a draft is not searched with: images, sounds, footage, documents, pages, and orders and
    counts of the whole window (``sort``, ``collapse``, ``aggregations``), as well as a ``query`` and a ``false_alarm``.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.text, str):
            raise QueryError("a draft is one text")
        if self.combine not in ("best", "mean"):
            raise QueryError(f'combine must be "best" or "mean", not {self.combine!r}')
        if self.most_passages < 1:
            raise QueryError(f"at least one passage is searched with, not {self.most_passages}")
        given = [name for name in _NOT_OF_DRAFTS if getattr(self, name) not in (None, [], ())]
        if given:
            raise QueryError(f"a draft is searched with by itself, without {', '.join(given)}")

    @property
    def of_passages(self) -> dict[str, Any]:
        """The arguments of the search for a passage, but for its text: documents aren't fetched, nor left out."""
        own = {each.name: getattr(self, each.name) for each in fields(SearchOptions)}
        return {**own, "source": False, "fields": (), "highlight": None, "min_score": None}


@dataclass(frozen=True)
class IndexDraftOptions(_Draft, IndexSearchOptions):
    """The arguments of `crosslens.Index.search_draft`: those of `DraftOptions`, and what a searcher is made with."""

    @property
    def of_search(self) -> dict[str, Any]:
        """The arguments of `HybridSearcher.search_draft`."""
        return {each.name: getattr(self, each.name) for each in fields(DraftOptions)}


@dataclass(frozen=True)
class ScoreOptions(SearchOptions):
    """The arguments of `HybridSearcher.scores`: those of a search, and one more.

    standardise: whether the corpus statistics that this normalizer needs are read as well.

    ``normalizer``, ``size`` and ``source`` are of no account: scores are raw, of the whole window, and no documents.
    """

    _: KW_ONLY
    standardise: bool = False
