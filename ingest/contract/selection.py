"""Which documents a run takes up, as Elasticsearch queries. Plain data in and plain data out."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crosslens.ingest.contract.record import STATE, VectorField

Query = dict[str, Any]


@dataclass(frozen=True)
class Selection:
    """What a run takes up of each vector field.

    ``missing``: a source and no state. ``stale``: text, reference or model changed since; with ``contents`` also the
    image itself, which has to be read. ``failed``: the last attempt failed. ``every``: all that have a source.
    ``query`` (Elasticsearch's) narrows each.
    """

    missing: bool = True
    stale: bool = False
    contents: bool = False
    failed: bool = False
    every: bool = False
    query: Query | None = None

    def to_read(self, fields: Iterable[VectorField], searchable: set[str]) -> Query:
        """The documents to look at. Whether one with a state is stale is seen by reading it."""
        wanted = []
        for each in fields:
            if self.every:
                wanted += [has_source(each, searchable), _has_state(each)]
                continue
            if self.missing:
                wanted.append(missing_query(each, searchable))
            if self.stale:
                wanted.append(_has_state(each))
            if self.failed:
                wanted.append(failed_query(each))
        return self.narrow(any_of(wanted))

    def narrow(self, query: Query) -> Query:
        """The documents that ``query`` means, of those that the selection's own means."""
        return narrowed(query, self.query)


def missing_query(field: VectorField, searchable: set[str]) -> Query:
    """Documents with a source and no state, or whose moments were begun and not finished; where a source isn't
    ``searchable``, all documents without state, and those."""
    missing = {"bool": {"filter": [has_source(field, searchable)], "must_not": [_has_state(field)]}}
    return any_of([missing, unfinished_query(field)]) if field.moments else missing


def unfinished_query(field: VectorField) -> Query:
    """Documents with sound or footage whose moments were begun and not finished."""
    return {"exists": {"field": f"{STATE}.{field.path}.unfinished"}}


def failed_query(field: VectorField) -> Query:
    """Documents whose last attempt failed. A very long error is not indexed, but named in _ignored."""
    error = f"{STATE}.{field.path}.error"
    return any_of([{"exists": {"field": error}}, {"term": {"_ignored": error}}])


def skipped_query(field: VectorField) -> Query:
    """Documents in which there was nothing to encode."""
    return {"exists": {"field": f"{STATE}.{field.path}.skipped"}}


def cut_query(field: VectorField) -> Query:
    """Documents whose text is longer than the model reads."""
    return {"exists": {"field": f"{STATE}.{field.path}.cut"}}


def other_model_query(field: VectorField) -> Query:
    """Documents whose vector is of another model than the one recorded for the field."""
    model = {"term": {f"{STATE}.{field.path}.model": field.fingerprint}}
    return {"bool": {"filter": [_has_state(field)], "must_not": [model]}}


def done_query(field: VectorField) -> Query:
    """Documents whose last attempt gave a vector of the field's model."""
    model = {"term": {f"{STATE}.{field.path}.model": field.fingerprint}}
    unfinished = [unfinished_query(field)] if field.moments else []
    return {"bool": {"filter": [model], "must_not": [failed_query(field), skipped_query(field), *unfinished]}}


def vector_query(field: VectorField) -> Query:
    """Documents with a vector, whoever made it."""
    vector: Query = {"exists": {"field": field.vector_path}}
    return {"nested": {"path": field.path, "query": vector}} if field.each else vector


def encoded_query(field: VectorField) -> Query:
    """Documents with a vector of the field's model, though another of their images failed."""
    return {"bool": {"filter": [{"term": {f"{STATE}.{field.path}.model": field.fingerprint}}, vector_query(field)]}}


def changed_since(marks: Mapping[str, int]) -> Query:
    """Documents written after the moment at which each index's sequence numbers stood at ``marks``."""
    return any_of(
        [
            {"bool": {"filter": [{"term": {"_index": index}}, {"range": {"_seq_no": {"gt": mark}}}]}}
            for index, mark in marks.items()
        ]
    )


def narrowed(query: Query, by: Query | None) -> Query:
    """Documents that meet both."""
    return query if by is None else {"bool": {"filter": [query, by]}}


def chosen_at_random(query: Query, share: float) -> Query:
    """Of the documents that meet ``query`` a ``share`` from 0 to 1: each with that probability, anew at each call."""
    if share >= 1:
        return query
    # A column that every document has and that doesn't change while a point in time is read.
    luck = {"seed": random.randrange(2**31), "field": "_seq_no"}
    scored = {"query": query, "random_score": luck, "boost_mode": "replace", "min_score": 1 - share}
    return {"bool": {"filter": [{"function_score": scored}]}}


def any_of(queries: list[Query]) -> Query:
    """Documents that meet at least one; without queries, none."""
    if not queries:
        return {"match_none": {}}
    return queries[0] if len(queries) == 1 else {"bool": {"should": queries, "minimum_should_match": 1}}


def _has_state(field: VectorField) -> Query:
    return {"exists": {"field": f"{STATE}.{field.path}.model"}}


def has_source(field: VectorField, searchable: set[str]) -> Query:
    """Documents with a source; where a source isn't ``searchable``, all documents."""
    if not set(field.sources) <= searchable:
        return {"match_all": {}}
    # A value longer than a keyword's ignore_above isn't indexed, but named in _ignored.
    has: list[Query] = [{"exists": {"field": source}} for source in field.sources]
    return any_of([*has, *({"term": {"_ignored": source}} for source in field.sources)])
