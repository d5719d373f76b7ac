"""A search with everything settled that its trips to the server depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crosslens.errors import QueryError
from crosslens.queries.search.legs import KEYWORD, Leg
from crosslens.queries.search.mapping import Seen
from crosslens.queries.search.options import SearchOptions
from crosslens.queries.search.paging import Page
from crosslens.queries.search.presence import Presence
from crosslens.queries.search.readings import assign
from crosslens.queries.search.requests import KEEP_ALIVE, Query, Search
from crosslens.queries.search.wanted import Wanted

RESCORES_SINCE = (8, 18)


@dataclass(frozen=True)
class Plan:
    """What is wanted, and by leg what decides the ranking.

    ``shown`` is the part of a request that asks for what is shown of a document. ``moments`` are the mean and the
    standard deviation of a leg's cosine over the whole corpus, ``floors`` the standardised cosine that chance exceeds
    at the false-alarm rate, ``sources`` the name of what a leg reads. ``rescore``: whether the server compares with
    whole floats on demand. ``most`` is how many documents a search may return. ``pit`` is the point in time to search
    (None: the index as it is), ``offset`` how many of the best were shown before, and ``presence``
    whether the server plugin is there.
    """

    wanted: Wanted
    index: str
    legs: Sequence[Leg]
    shown: Mapping[str, Any]
    weights: Mapping[str, float]
    sources: Mapping[str, str]
    moments: Mapping[str, tuple[float, float]]
    floors: Mapping[str, float]
    rescore: bool
    most: int
    pit: str | None
    offset: int
    presence: Presence

    @classmethod
    def of(cls, seen: Seen, wanted: Wanted, index: str, legs: Sequence[Leg], page: Page | None) -> Plan:
        """Return the plan of a search by these legs. Raises `QueryError` for sources and aggregations of other legs."""
        options = wanted.options
        if _aggregates(options, "keyword") and KEYWORD not in [leg.name for leg in legs]:
            raise QueryError('this search has no keyword leg to aggregate over; aggregate over the "window"')
        known = seen.moments if seen.moments is not None and wanted.needs_moments else {}
        vector_legs = [leg for leg in legs if leg.kind == "knn" and known]
        # Any of several legs can raise a false alarm, so each gets its share of the rate.
        rate = None if options.false_alarm is None else options.false_alarm / max(len(vector_legs), 1)
        return cls(
            wanted,
            index,
            legs,
            shown(options, seen.own_paths),
            _weights(seen, wanted, legs),
            assign({leg.name: leg.reads for leg in legs}, wanted.sources),
            {leg.name: known[leg.name].of_cosine(leg.query["query_vector"]) for leg in vector_legs},
            {} if rate is None else {leg.name: known[leg.name].noise_floor(rate) for leg in vector_legs},
            seen.version >= RESCORES_SINCE,
            seen.most,
            page.pit if page else None,
            page.offset if page else 0,
            seen.presence,
        )

    @property
    def options(self) -> SearchOptions:
        """The options of the search."""
        return self.wanted.options

    @property
    def over_keyword(self) -> bool:
        """Whether aggregations are asked for over all matches of the keyword leg."""
        return _aggregates(self.options, "keyword")

    @property
    def over_window(self) -> bool:
        """Whether aggregations are asked for over the documents of the window."""
        return _aggregates(self.options, "window")

    def search(self, body: Mapping[str, Any]) -> Search:
        """Return a search of the index, or of the point in time."""
        if self.pit:
            return self.index, {**body, "pit": {"id": self.pit, "keep_alive": KEEP_ALIVE}}
        return self.index, dict(body)

    def siblings(self, leg: Leg) -> list[Leg]:
        """Return the other vector legs of which it must be asked along whether a document lacks their vector.

        By evidence those of the same source, else all, unless a completion shows it.
        """
        concerned: list[Leg] = []
        if not (self.wanted.by_evidence or self.options.complete):
            concerned = list(self.legs)
        elif self.wanted.needs_chances:
            concerned = [each for each in self.legs if self.sources[each.name] == self.sources[leg.name]]
        return [other for other in concerned if other is not leg and other.kind == "knn"]


def _aggregates(options: SearchOptions, over: str) -> bool:
    return options.aggregations is not None and options.aggregate_over == over


def shown(options: SearchOptions, own_paths: Sequence[str]) -> dict[str, Any]:
    """Vectors and crosslens's own state are left out."""
    body: dict[str, Any] = {"_source": False}
    if options.source is not False:
        includes = ["*"] if options.source is True else list(options.source)
        body["_source"] = {"includes": includes, "excludes": list(own_paths)}
    fields = [*options.fields, *([options.collapse] if options.collapse else [])]
    if fields:
        body["fields"] = fields
    if options.highlight:
        body["highlight"] = dict(options.highlight)
    return body


def highlighting(plan: Plan, showing: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``showing``, with the words marked that are looked for, whether the query that does is a clause or not."""
    if "highlight" not in showing:
        return dict(showing)
    queries = [leg.words for leg in plan.legs if leg.kind == "keyword"]
    words: Query = queries[0] if len(queries) == 1 else {"bool": {"should": queries or [{"match_none": {}}]}}
    return {**showing, "highlight": {"highlight_query": words, **showing["highlight"]}}


def _weights(seen: Seen, wanted: Wanted, legs: Sequence[Leg]) -> dict[str, float]:
    given = wanted.options.weights
    if given is not None or wanted.normalizer != seen.settings.get("normalizer"):
        return dict(given or {})
    # As tuned, on the scale of the tuning; a search of other legs than those takes what concerns it.
    tuned = {leg.name: seen.settings.get("weights", {}).get(leg.name, 0.0) for leg in legs}
    return tuned if any(tuned.values()) else {}
