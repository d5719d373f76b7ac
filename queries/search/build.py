"""The legs of a search: the keyword query with the probes of its words, and a query vector for each vector field.

Where only the server knows what the words of a text are, it is asked while the query's vectors are made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from elasticsearch import ApiError

from crosslens.errors import QueryError
from crosslens.ingest.contract.encoders import Encoders
from crosslens.queries.search.legs import KEYWORD, Leg, captions_leg, keyword_leg, knn_leg, named
from crosslens.queries.search.liked import Liked
from crosslens.queries.search.mapping import Seen, Text
from crosslens.queries.search.probes import Probes, probes_of
from crosslens.queries.search.readings import words_of
from crosslens.queries.search.remembered import QueryVectors
from crosslens.queries.search.requests import Query, Steps, TermVectors, Together, Work
from crosslens.queries.search.terms import vectors
from crosslens.queries.search.textual import Captions
from crosslens.queries.search.units import fields_of, texts_of
from crosslens.queries.search.wanted import Wanted
from crosslens.queries.search.words import parted, places

_LOG = logging.getLogger("crosslens")
# How a text is parted into words by the server, remembered for so many texts.
_PARTED = 1_000
_Number = TypeVar("_Number", int, float)


def legs_of(
    seen: Seen, wanted: Wanted, liked: Liked, encoders: Encoders, remembered: QueryVectors, window: int
) -> Steps[list[Leg]]:
    """Return the legs, the keyword leg first, each over its ``window`` best documents.

    Raises `QueryError` where terms cancel each other out, or none of the legs asked for is there, `ImageError` for an
    image that can't be read, and `MediaError` for a sound or video that can't.
    """
    query = _keyword_query(seen, wanted, liked)
    spoken = _captions_queries(seen, wanted)
    asked = [*([] if query is None else [(KEYWORD, query)]), *((each.path, said) for each, said in spoken)]
    texts = _unparted(seen, [each for name, each in asked if wanted.needs_words(name)])
    work = Work(lambda: vectors(wanted.terms, list(seen.fields.values()), encoders, remembered, liked.vectors))
    made, answers = yield Together(work, [TermVectors(*seen.analysis.question(*text)) for text in texts])
    for text, answer in zip(texts, answers, strict=True):
        _remember(seen, text, answer)
    filters, post_filters = list(wanted.filters), wanted.options.post_filters
    if liked.keys:
        # What is to be found more of isn't itself a result.
        filters.append({"bool": {"must_not": [named(liked.keys)]}})
    legs = [] if query is None else [_keyword_leg(seen, wanted, query, filters, window)]
    for captions, each in spoken:
        legs.append(
            captions_leg(
                captions.path,
                each,
                source=captions.source,
                window=window,
                filters=filters,
                probes=_probes(seen, wanted, captions.path, each, filters),
                post_filters=post_filters,
            )
        )
    options = wanted.options
    for name, vector in made.items():
        legs.append(
            knn_leg(
                seen.fields[name],
                vector,
                window=window,
                filters=[*filters, *post_filters],
                candidates=_for_leg(options.candidates, name),
                oversample=_for_leg(options.oversample, name),
            )
        )
    return _kept(legs, options.legs)


def _keyword_query(seen: Seen, wanted: Wanted, liked: Liked) -> Query | None:
    """What the keyword leg asks; None where it has nothing to ask."""
    if wanted.options.query:
        return wanted.options.query
    if not seen.texts.names:
        return None
    if wanted.terms.words:
        return seen.texts.matching(wanted.terms.words)
    return seen.texts.like(liked.items, seen.analysis.index) if liked.keys else None


def _captions_queries(seen: Seen, wanted: Wanted) -> list[tuple[Captions, Query]]:
    """What is asked of the words spoken in moments; a query of the user's own says itself where it looks."""
    if wanted.options.query or not wanted.terms.words:
        return []
    return [(each, each.matching(wanted.terms.words)) for each in seen.captions]


def _unparted(seen: Seen, queries: Iterable[Query]) -> list[Text]:
    """The texts whose words only the server knows, as far as it wasn't asked yet."""
    texts = dict.fromkeys(text for query in queries for text in texts_of(query))
    return [text for text in texts if text not in seen.parted and seen.analysis.words(*text) is None]


def _remember(seen: Seen, text: Text, answer: Mapping[str, Any] | ApiError) -> None:
    if isinstance(answer, ApiError):
        # A text that the server doesn't part stays whole: the ranking is then a little less sure of its words.
        _LOG.debug("the server doesn't say what a text's words are: %s", answer)
        answer = {}
    if len(seen.parted) >= _PARTED:
        seen.parted.clear()
    found = parted(places(answer, seen.analysis.named(text[1])), text[0])
    # An analyser that makes one token of the whole text, or none that have a place, leaves it as it is.
    seen.parted[text] = found or [text[0]]


def _keyword_leg(seen: Seen, wanted: Wanted, query: Query, filters: Sequence[Query], window: int) -> Leg:
    read = (fields_of(query) if wanted.options.query else None) or seen.texts.names
    return keyword_leg(
        query,
        seen.texts.names,
        window=window,
        filters=filters,
        reads=words_of(read, seen.copies, seen.analysis.named, seen.spoken),
        probes=_probes(seen, wanted, KEYWORD, query, filters),
        post_filters=wanted.options.post_filters,
    )


def _probes(seen: Seen, wanted: Wanted, leg: str, query: Query, filters: Sequence[Query]) -> Probes | None:
    if not wanted.needs_words(leg):
        return None

    def split(text: str, fields: tuple[str, ...]) -> Sequence[str]:
        known = seen.analysis.words(text, fields)
        return seen.parted.get((text, fields), [text]) if known is None else known

    return probes_of(query, split, [*filters, *wanted.options.post_filters])


def _for_leg(value: _Number | Mapping[str, _Number] | None, name: str) -> _Number | None:
    return value.get(name) if isinstance(value, Mapping) else value


def _kept(legs: list[Leg], names: Sequence[str] | None) -> list[Leg]:
    if names is None:
        return legs
    kept = [leg for leg in legs if leg.name in names]
    if not kept:
        raise QueryError(f"no leg is named {', '.join(names)}; this search has {', '.join(leg.name for leg in legs)}")
    return kept
