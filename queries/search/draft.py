"""A text of any length as a query: its passages are searched for one by one, and what they find is combined.

An article isn't about one thing, and no model reads all of it. Each passage asks for what it is about, and a document
answers the passage, and in it the sentence, that it comes nearest to.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crosslens.errors import ModelError, QueryError, TextError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.model.passages import Passage, passages
from crosslens.ingest.model.sentences import sentences
from crosslens.ingest.model.transform import Float32Array
from crosslens.queries.search.options import DraftOptions
from crosslens.queries.search.remembered import QueryVectors
from crosslens.queries.show.result import Draft, Hit, SearchResult

# Passages whose vectors are nearer than that ask for the same.
_ALIKE = 0.95
# A draft of more passages is a book, of which a part must be chosen.
_MOST = 1_000
# Where no tokenizer is at hand: words and signs, of which CLIP reads some 70.
_WORDS = re.compile(r"\w+|[^\w\s]")
_MOST_WORDS = 50


@dataclass(frozen=True)
class Asked:
    """The passages of a draft that are searched for, and of how many they were chosen."""

    text: str
    passages: Sequence[Passage]
    total: int

    @classmethod
    def of(
        cls, text: str, fields: Sequence[VectorField], encoders: Encoders, remembered: QueryVectors, most: int
    ) -> Asked:
        """Return at most ``most`` passages: of those that are nearly alike the first one, and of more those that are
        farthest from each other, so that they cover the draft (Gonzalez 1985, Clustering to Minimize the Maximum
        Intercluster Distance).

        They fit the model that reads the least. Raises `QueryError` for a blank draft, and for one of over a thousand
        passages.
        """
        models = {each.fingerprint: encoders.for_field(each, searching=True) for each in fields}
        encoder, found = max(((each, _fitting(each, text)) for each in models.values()), key=lambda pair: len(pair[1]))
        if not found:
            raise QueryError("the draft has no words to search for")
        if len(found) > _MOST:
            raise _too_long(f"{len(found)} passages")
        vectors = remembered.of_texts(encoder, [text[each.start : each.end] for each in found])
        return cls(text, [found[i] for i in _chosen(vectors, most)], len(found))

    def words(self, passage: Passage) -> str:
        """Return the text of a passage."""
        return self.text[passage.start : passage.end]

    def sentences(self, passage: Passage) -> list[Passage]:
        """Return the sentences of a passage, by their places in the draft."""
        return [Passage(passage.start + start, passage.start + end) for start, end in sentences(self.words(passage))]


def _fitting(encoder: VectorEncoder, text: str) -> list[Passage]:
    try:
        return encoder.passages(text)
    except TextError as error:
        raise _too_long("thousands of passages") from error
    except ModelError:
        # The model is on the cluster's nodes, and its tokenizer with it.
        return passages(text, lambda texts: [len(_WORDS.findall(each)) for each in texts], _MOST_WORDS)


def _too_long(what: str) -> QueryError:
    return QueryError(
        f"the draft has {what}, more than the {_MOST:,} that are looked at", hint="search with a part of it"
    )


def _chosen(vectors: Float32Array, most: int) -> list[int]:
    kept: list[int] = []
    for i, vector in enumerate(vectors):
        if not kept or float((vectors[kept] @ vector).max()) < _ALIKE:
            kept.append(i)
    if len(kept) <= most:
        return kept
    candidates = vectors[kept]
    chosen, nearest = [0], candidates @ candidates[0]
    while len(chosen) < most:
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, candidates @ candidates[chosen[-1]])
    return [kept[i] for i in sorted(chosen)]


@dataclass(frozen=True)
class Found:
    """A document with its combined total, and the passage (by its place among those asked) that it answers best."""

    hit: Hit
    passage: int

    @property
    def key(self) -> DocumentKey:
        """The document's index and id."""
        return self.hit.index, self.hit.id

    def field(self, fields: Collection[str]) -> str | None:
        """The one of the vector ``fields`` that had the greatest part in finding it; None where words alone did."""
        found = {name: part.weighted for name, part in self.hit.parts.items() if name in fields and part.weighted}
        return max(found, key=lambda name: found[name]) if found else None


def combined(results: Sequence[SearchResult], options: DraftOptions) -> list[Found]:
    """Return every document that any passage found, best first, those below ``min_score`` left out.

    Its total is the greatest of those by passage, or their mean, to which a passage that didn't find it adds nothing.
    """
    best: dict[DocumentKey, Found] = {}
    sums: dict[DocumentKey, float] = {}
    for i, result in enumerate(results):
        for hit in result.hits:
            key = (hit.index, hit.id)
            sums[key] = sums.get(key, 0.0) + hit.score
            if key not in best or hit.score > best[key].hit.score:
                best[key] = Found(hit, i)
    if options.combine == "mean":
        best = {key: replace(each, hit=replace(each.hit, score=sums[key] / len(results))) for key, each in best.items()}
    found = sorted(best.values(), key=lambda each: (-each.hit.score, each.key))
    return [each for each in found if options.min_score is None or each.hit.score >= options.min_score]


def as_result(
    asked: Asked,
    results: Sequence[SearchResult],
    found: Sequence[Found],
    shown: Sequence[tuple[Found, Mapping[str, Any], Passage]],
    options: DraftOptions,
) -> SearchResult:
    """Return the result of a draft: ``shown`` are the best of what was ``found``, each with the document as the server
    gave it, and the part of the draft that it answers."""
    hits = [
        replace(
            each.hit,
            source=document.get("_source") or {},
            fields=document.get("fields") or {},
            highlight=document.get("highlight") or {},
            answers={"start": part.start, "end": part.end, "text": asked.words(part)},
        )
        for each, document, part in shown
    ]
    return replace(
        results[0],
        hits=hits,
        found=len(found),
        profile={},
        min_score=options.min_score,
        best=max((result.best for result in results), default=0.0),
        encode_ms=sum(result.encode_ms for result in results),
        search_ms=sum(result.search_ms for result in results),
        scores={},
        draft=Draft(asked.total, len(asked.passages)),
    )
