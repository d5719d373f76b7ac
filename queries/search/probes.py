"""What a keyword query could get at most: the words' probes.

A document's BM25 score alone says nothing of how much of the query it covers. So the same `_msearch` that asks the legs
also asks, for each word of the query, what the best document for that word alone gets anywhere: searches for one hit
each, without its id. Their sum is what a document would get that has each word as well as the word's best document.
No document of one's own may be like that: where the best document of all has every word, no more can be attained than
it has. That is one search more, for the best one among the documents with every word.

Words are the server's. Where a field's analysis is known to part words at spaces, each of them goes to the server as it
stands, which analyses it as the field does: stop words, stems and synonyms are its own; a word of which nothing is left
doesn't count. Where it isn't (analysers of the index's own, and scripts that are written without spaces), the server
is asked how it parts the text, by term vectors of an artificial document, which need no more than the right to read
(`crosslens.queries.search.words.parted`).
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crosslens.queries.search.requests import Query
from crosslens.queries.search.units import WHOLE_TYPES, Split, units

# More words are sampled evenly: what the rest can get is taken to be as much on average.
MOST = 16
_SINGLE = struct.Struct("f")
# Scores are single floats, added up in another order.
_ROUNDED = 1e-5


@dataclass(frozen=True)
class Probes:
    """Searches for the words' best scores; ``times`` is how often each stands in the query, of ``words`` in all.

    ``whole``: after the words' there is a search for the best document with every word. ``parts`` are what each of the
    words' searches asks for.
    """

    searches: tuple[dict[str, Any], ...]
    times: tuple[int, ...]
    words: int
    whole: bool = False
    parts: tuple[Query, ...] = ()

    def attainable(self, answers: Sequence[Mapping[str, Any]], best: float) -> float | None:
        """Return what a document could get at most, from the searches' answers, in their order.

        That is ``best``, the best score that the query found, where a document with every word has it. Else the mean of
        the words' best scores times the number of words: so a word that nobody wrote counts as much as an average one,
        and so does one that wasn't asked for. Words of which the field's analysis leaves nothing don't count. None
        where nothing is known of any word.
        """
        if self.whole and best > 0 and _best(answers[-1]) >= best * (1 - _ROUNDED):
            return best
        total, known, none = 0.0, 0, 0
        for times, answer in zip(self.times, answers[: len(self.times)], strict=True):
            hits = answer["hits"]["hits"]
            alone = _best(answer)
            if alone > 0:
                total += times * alone
                known += times
            elif hits:
                none += times
        asked = sum(self.times)
        counted = self.words * (asked - none) / asked if asked else 0.0
        return total / known * counted if known else None


def _best(answer: Mapping[str, Any]) -> float:
    hits = answer["hits"]["hits"]
    return single(hits[0]["_score"]) if hits else 0.0


def single(score: float) -> float:
    """Return a score as the server has it: it prints as few digits as distinguish one single float from the next."""
    exact: float = _SINGLE.unpack(_SINGLE.pack(score))[0]
    return exact


def probes_of(query: Query, split: Split, filters: Sequence[Query] = ()) -> Probes | None:
    """Return the searches for what ``query`` could get at most; None for a query of which that can't be known.

    ``split`` parts a text into words, given the fields that it is searched in (empty: the server's default ones). What
    the words can get doesn't depend on ``filters``; which document is the best does.
    """
    parts = list(units(query, split))
    if not parts or None in parts:
        return None
    counted = Counter(_Frozen.of(part) for part in parts if part is not None)
    distinct = list(counted)
    searches: list[dict[str, Any]] = []
    whole = len(distinct) <= MOST
    if whole:
        every = [_reading(each.query, "all") for each in distinct]
        searches = [for_a_score({"bool": {"must": [query], "filter": [*every, *filters]}})]
    else:
        distinct = [distinct[i * len(distinct) // MOST] for i in range(MOST)]
    return Probes(
        (*(_search(each.query) for each in distinct), *searches),
        tuple(counted[each] for each in distinct),
        sum(counted.values()),
        whole,
        tuple(each.query for each in distinct),
    )


@dataclass(frozen=True)
class _Frozen:
    """A query that can be counted; equal queries are one."""

    written: str
    query: Query

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and self.written == other.written

    def __hash__(self) -> int:
        return hash(self.written)

    @classmethod
    def of(cls, query: Query) -> _Frozen:
        return cls(repr(query), query)


def _search(unit: Query) -> dict[str, Any]:
    """The best score that a part gets alone; a hit of score 0 means that the analysis leaves nothing of it."""
    found, left = _reading(unit, "none"), _reading(unit, "all")
    return for_a_score(unit if left is unit else {"bool": {"should": [found, {"bool": {"filter": [left]}}]}})


def _reading(unit: Query, zero: str) -> Query:
    """The part, that matches "none" or "all" where the analysis leaves nothing of it; the same where that can't be."""
    ((kind, body),) = unit.items()
    if kind == "nested":
        inner = _reading(body["query"], zero)
        return unit if inner is body["query"] else {"nested": {**body, "query": inner}}
    if kind == "dis_max":
        queries = [_reading(each, zero) for each in body["queries"]]
        alike = all(each is before for each, before in zip(queries, body["queries"], strict=True))
        return unit if alike else {"dis_max": {**body, "queries": queries}}
    if kind == "match":
        ((field, how),) = body.items()
        return {"match": {field: {**how, "zero_terms_query": zero}}} if isinstance(how, Mapping) else unit
    if kind in ("combined_fields", "multi_match") and body.get("type") not in WHOLE_TYPES:
        return {kind: {**body, "zero_terms_query": zero}}
    return unit


def for_a_score(query: Query) -> dict[str, Any]:
    """Return a search for the best score alone."""
    return {"query": query, "size": 1, "_source": False, "stored_fields": "_none_", "track_total_hits": False}
