"""Asking several searches in one request, and reading their answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from elasticsearch import ApiError

from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.search.legs import Leg
from crosslens.queries.search.requests import MultiSearch, Search, Steps
from crosslens.refusals import reason

Answer = dict[str, Any]
ByLeg = dict[str, dict[DocumentKey, float]]


def ask(searches: Sequence[Search]) -> Steps[list[Answer]]:
    """Return the answers of searches, in their order; without any, nothing is asked.

    Raises `QueryError` where the server refuses all of them; an answer may still be an error (see `checked`).
    """
    if not searches:
        return []
    try:
        answer = yield MultiSearch(searches)
    except ApiError as error:
        raise refused(error) from error
    answers: list[Answer] = answer["responses"]
    return answers


def refused(error: ApiError) -> QueryError:
    """Return what the server says of a request as a whole, as an error of ours."""
    body = error.body if isinstance(error.body, dict) else {}
    return QueryError(f"Elasticsearch refused the search: {reason(body.get('error') or {}) or error}")


def checked(answers: Sequence[Answer], names: Sequence[str]) -> list[Answer]:
    """Return the answers of searches by these ``names``.

    Raises `QueryError` for one that is an error, and for shards that didn't answer.
    """
    for name, answer in zip(names, answers, strict=True):
        if "error" in answer:
            raise QueryError(f"Elasticsearch refused the search ({name}): {reason(answer['error'])}")
        if answer["_shards"]["failed"]:
            raise QueryError(f"{answer['_shards']['failed']} shards failed in the search ({name}); try again")
    return list(answers)


def failed(answers: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether any answer is an error or incomplete."""
    return any("error" in each or each["_shards"]["failed"] for each in answers)


def raw_scores(
    legs: Sequence[Leg], answers: Sequence[Mapping[str, Any]]
) -> tuple[ByLeg, dict[DocumentKey, dict[str, dict[str, Any]]]]:
    """Return raw scores by leg and document, and by document and leg which of its values matched."""
    raw: ByLeg = {}
    matched: dict[DocumentKey, dict[str, dict[str, Any]]] = {}
    for leg, answer in zip(legs, answers, strict=True):
        scores = raw.setdefault(leg.name, {})
        for hit in answer["hits"]["hits"]:
            key = (hit["_index"], hit["_id"])
            scores[key] = leg.raw(hit["_score"])
            value = leg.matched(hit)
            if value is not None:
                matched.setdefault(key, {})[leg.name] = value
    return raw, matched


def hits_of(answers: Sequence[Mapping[str, Any]]) -> dict[DocumentKey, Mapping[str, Any]]:
    """Return the hits of all answers by index and id."""
    return {(hit["_index"], hit["_id"]): hit for answer in answers for hit in answer["hits"]["hits"]}
