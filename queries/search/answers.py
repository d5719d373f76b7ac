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

# Of the server's answers, and of its exceptions, those that a later attempt may not meet.
_BUSY = (429, 503)
_PASSING = frozenset(
    (
        *("es_rejected_execution_exception", "circuit_breaking_exception", "no_shard_available_action_exception"),
        *("node_not_connected_exception", "node_disconnected_exception", "node_closed_exception"),
        *("unavailable_shards_exception", "shard_not_found_exception", "receive_timeout_transport_exception"),
        *("illegal_index_shard_state_exception", "node_not_part_of_cluster_exception"),
    )
)
Answer = dict[str, Any]
ByLeg = dict[str, dict[DocumentKey, float]]


def ask(searches: Sequence[Search], *, scoring: bool = False) -> Steps[list[Answer]]:
    """Return the answers of searches, in their order; without any, nothing is asked.

    ``scoring``: with the scores of named clauses. Raises `QueryError` where the server refuses all of them; an answer
    may still be an error (see `checked`).
    """
    if not searches:
        return []
    try:
        answer = yield MultiSearch(searches, scoring)
    except ApiError as error:
        raise refused(error) from error
    answers: list[Answer] = answer["responses"]
    return answers


def refused(error: ApiError) -> QueryError:
    """Return what the server says of a request as a whole, as an error of ours."""
    body = error.body if isinstance(error.body, dict) else {}
    cause = body.get("error")
    said = _said(cause) if cause else str(error)
    return QueryError(f"Elasticsearch refused the search: {said}", hint=_hint(error.status_code, cause))


def checked(answers: Sequence[Answer], names: Sequence[str]) -> list[Answer]:
    """Return the answers of searches by these ``names``.

    Raises `QueryError` for one that is an error, and for shards that didn't answer.
    """
    for name, answer in zip(names, answers, strict=True):
        if "error" in answer:
            cause = answer["error"]
            hint = _hint(answer.get("status"), cause)
            raise QueryError(f"Elasticsearch refused the search ({name}): {_said(cause)}", hint=hint)
        shards = answer["_shards"]
        if shards["failed"]:
            causes = [failure["reason"] for failure in shards.get("failures", ()) if failure.get("reason")]
            lasting = [cause for cause in causes if not _passes(cause)]
            said = "".join(f": {_said(cause)}" for cause in (lasting or causes)[:1])
            hint = "" if lasting else "try again"
            raise QueryError(
                f"{shards['failed']} of {shards['total']} shards failed in the search ({name}){said}", hint=hint
            )
    return list(answers)


def _said(cause: Any) -> str:
    """The server's reason, with what is behind it: that of a script, say, only there says what went wrong."""
    said = reason(cause)
    deepest = (cause.get("root_cause") or [cause])[0] if isinstance(cause, Mapping) else {}
    while isinstance(deepest.get("caused_by"), Mapping):
        deepest = deepest["caused_by"]
    behind = str(deepest.get("reason") or "")
    return said if not behind or behind in said else f"{said} ({behind})"


def _hint(status: int | None, cause: Any) -> str:
    return "try again" if status in _BUSY or (isinstance(cause, Mapping) and _passes(cause)) else ""


def _passes(cause: Mapping[str, Any]) -> bool:
    """Whether a cause is one that goes away: a busy node, or a shard that is on no node at present."""
    causes = [cause, *(cause.get("root_cause") or ())]
    return any(each.get("type") in _PASSING for each in causes)


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
