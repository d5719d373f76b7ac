"""The same keyword query in another spelling, where it has words that nobody wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crosslens.queries.search.probes import Probes, for_a_score
from crosslens.queries.search.requests import Query

# Of shorter words too many others are one letter away.
_LEAST_LETTERS = 4
# No longer ones are words of a language, and what is one letter away from them is costly to find out.
_MOST_LETTERS = 32


@dataclass(frozen=True)
class Respelt:
    """A ``query`` for another spelling, and ``searches`` for the best scores of the words that it changed.

    ``places`` are those of the changed words among the probed ones, of the probes ``of`` the query as typed.
    """

    query: Query
    searches: tuple[dict[str, Any], ...]
    places: tuple[int, ...]
    of: Probes

    def attainable(self, before: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> float | None:
        """Return what `Probes.attainable` does, of the words as typed (``before``) and those spelt otherwise.

        None where nobody wrote the others either.
        """
        if not any(answer["hits"]["hits"] for answer in answers):
            return None
        said = list(before[: len(self.of.times)])
        for place, answer in zip(self.places, answers, strict=True):
            said[place] = answer
        return replace(self.of, whole=False).attainable(said, 0.0)


def respelt(probes: Probes, query: Query, answers: Sequence[Mapping[str, Any]]) -> Respelt | None:
    """Return the same query with the words that nobody wrote spelt a little otherwise; None where there are none.

    ``answers`` are those of the probes. Only of a single match or multi_match that doesn't say itself how exactly words
    are to be taken, alone, in nested objects, or as all that a bool must match, and of words of 4 to 32 letters: with
    one letter changed, left out, put in, or two exchanged.
    """
    if not probes.whole:
        return None
    changed = {
        i: fuzzy
        for i, (part, answer) in enumerate(zip(probes.parts, answers, strict=False))
        if not answer["hits"]["hits"] and (fuzzy := _fuzzy(part)) is not None
    }
    if not changed:
        return None
    parts = [changed.get(i, part) for i, part in enumerate(probes.parts)]
    should = [_weighing(part, times) for part, times in zip(parts, probes.times, strict=True)]
    asked = _in_its_place(query, {"bool": {"should": should}})
    searches = tuple(for_a_score(part) for part in changed.values())
    return None if asked is None else Respelt(asked, searches, tuple(changed), probes)


def _in_its_place(query: Query, words: Query) -> Query | None:
    """The query with ``words``, a bool of what each should match, in the place of its own."""
    if _by_words(query):
        return _together(query, words)
    ((kind, body),) = query.items()
    if kind != "bool" or not isinstance(body, Mapping) or body.get("should"):
        return None
    must = body.get("must") or []
    alone = [must] if isinstance(must, Mapping) else list(must)
    return {"bool": {**body, "must": [_together(alone[0], words)]}} if len(alone) == 1 and _by_words(alone[0]) else None


def _together(query: Mapping[str, Any], words: Query) -> Query:
    """The words of a query in nested objects as they are looked for there: in one of them."""
    if "nested" not in query:
        return words
    body = query["nested"]
    inside = [_inside(each) for each in words["bool"]["should"]]
    return {"nested": {**body, "query": _together(body["query"], {"bool": {"should": inside}})}}


def _inside(word: Query) -> Query:
    if "nested" in word:
        inside: Query = word["nested"]["query"]
        return inside
    return {"bool": {**word["bool"], "must": [_inside(word["bool"]["must"][0])]}}


def _by_words(query: Mapping[str, Any]) -> bool:
    ((kind, body),) = query.items()
    if not isinstance(body, Mapping):
        return False
    if kind == "nested":
        return _by_words(body["query"])
    if kind == "dis_max":
        return all(_by_words(each) for each in body["queries"])
    if kind not in ("match", "multi_match"):
        return False
    how = next(iter(body.values()), None) if kind == "match" else body
    return not isinstance(how, Mapping) or (
        "fuzziness" not in how and how.get("type", "best_fields") in ("best_fields", "most_fields")
    )


def _fuzzy(part: Query) -> Query | None:
    ((kind, body),) = part.items()
    if kind == "nested":
        inner = _fuzzy(body["query"])
        return None if inner is None else {"nested": {**body, "query": inner}}
    if kind == "dis_max":
        several = [fuzzy for each in body["queries"] if (fuzzy := _fuzzy(each)) is not None]
        return {"dis_max": {**body, "queries": several}} if len(several) == len(body["queries"]) else None
    if kind not in ("match", "multi_match"):
        return None
    how = next(iter(body.values())) if kind == "match" else body
    if not isinstance(how, Mapping) or not isinstance(how.get("query"), str):
        return None
    if not _LEAST_LETTERS <= len(how["query"]) <= _MOST_LETTERS or not how["query"].isalpha():
        return None
    changed = {**how, "fuzziness": 1, "prefix_length": 0, "max_expansions": 50}
    return {kind: {next(iter(body)): changed} if kind == "match" else changed}


def _weighing(part: Query, times: int) -> Query:
    return part if times == 1 else {"bool": {"must": [part], "boost": times}}
