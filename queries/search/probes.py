"""What a keyword query could get at most: the words' probes.

A document's BM25 score alone says nothing of how much of the query it covers. So the same `_msearch` that asks the legs
also asks, for each word of the query, what the best document for that word alone gets anywhere: searches for one hit
each, without its id. Their sum is what a document would get that has each word as well as the word's best document.
No document of one's own may be like that: where the best document of all has every word, no more can be attained than
it has. That is one search more, for the best one among the documents with every word.

Words are the server's. Where a field's analysis is known to part words at spaces, each of them goes to the server as it
stands, which analyses it as the field does: stop words, stems and synonyms are its own; a word of which nothing is left
doesn't count. Where it isn't (analysers of the index's own, and scripts that are written without spaces), the server
is asked how it parts the text (`parted`, by term vectors of an artificial document, which need no more than the right
to read).
"""

from __future__ import annotations

import re
import struct
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Query = dict[str, Any]
# More words are sampled evenly: what the rest can get is taken to be as much on average.
MOST = 16
_SINGLE = struct.Struct("f")
_LONGEST = 20_000
# Of shorter words too many others are one letter away.
_LEAST_LETTERS = 4
# No longer ones are words of a language, and what is one letter away from them is costly to tell.
_MOST_LETTERS = 32
# Scores are single floats, added up in another order.
_ROUNDED = 1e-5
_OF_A_TEXT = ("match", "match_bool_prefix", "combined_fields", "multi_match")
_WHOLE_TYPES = ("phrase", "phrase_prefix")
# Everything that matches or not, as one: a phrase, an exact value.
_UNITS = (
    "match_phrase",
    "match_phrase_prefix",
    "term",
    "prefix",
    "wildcard",
    "regexp",
    "fuzzy",
    "intervals",
    "span_near",
    "span_term",
)
_OF_STRINGS = ("query_string", "simple_query_string")
# What says how many words must match: a single one is always enough for a probe.
_DEMANDS = ("operator", "minimum_should_match", "default_operator")
_STRING_PARTS = re.compile(r'(?P<sign>[-+!]*)(?P<unit>(?:[\w.*]+:)?"[^"]*"(?:[~^][\d.]+)*|[^\s"|()]+)|[|()]')
# Queries that only a parser knows the parts of: groups of fields, ranges, expressions, escapes.
_OPAQUE = re.compile(r"[\\/{}\[\]]|:\(")
_NAME = re.compile(r"[A-Za-z_.*]+:")

Split = Callable[[str, tuple[str, ...]], Sequence[str]]


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
        """What a document could get at most, from the searches' answers, in their order.

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

    def respelt(self, query: Query, answers: Sequence[Mapping[str, Any]]) -> Respelt | None:
        """The same query with the words that nobody wrote spelt a little otherwise; None where there are none.

        Only of a single match or multi_match that doesn't say itself how exactly words are to be taken, alone or as all
        that a bool must match, and of words of 4 to 32 letters: with one letter changed, left out, put in, or two
        exchanged.
        """
        if not self.whole:
            return None
        changed = {
            i: fuzzy
            for i, (part, answer) in enumerate(zip(self.parts, answers, strict=False))
            if not answer["hits"]["hits"] and (fuzzy := _fuzzy(part)) is not None
        }
        if not changed:
            return None
        parts = [changed.get(i, part) for i, part in enumerate(self.parts)]
        should = [_weighing(part, times) for part, times in zip(parts, self.times, strict=True)]
        asked = _in_its_place(query, {"bool": {"should": should}})
        searches = tuple(_for_a_score(part) for part in changed.values())
        return None if asked is None else Respelt(asked, searches, tuple(changed), self)


@dataclass(frozen=True)
class Respelt:
    """A ``query`` for another spelling, and searches for the best scores of the words that ``places`` tell."""

    query: Query
    searches: tuple[dict[str, Any], ...]
    places: tuple[int, ...]
    of: Probes

    def attainable(self, before: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> float | None:
        """As `Probes.attainable`, of the words as typed (``before``) and of those spelt otherwise; None for none."""
        if not any(answer["hits"]["hits"] for answer in answers):
            return None
        told = list(before[: len(self.of.times)])
        for place, answer in zip(self.places, answers, strict=True):
            told[place] = answer
        return replace(self.of, whole=False).attainable(told, 0.0)


def _in_its_place(query: Query, words: Query) -> Query | None:
    """The query with ``words`` in the place of its own."""
    if _by_words(query):
        return words
    ((kind, body),) = query.items()
    if kind != "bool" or not isinstance(body, Mapping) or body.get("should"):
        return None
    must = body.get("must") or []
    alone = [must] if isinstance(must, Mapping) else list(must)
    return {"bool": {**body, "must": [words]}} if len(alone) == 1 and _by_words(alone[0]) else None


def _by_words(query: Mapping[str, Any]) -> bool:
    ((kind, body),) = query.items()
    if kind not in ("match", "multi_match") or not isinstance(body, Mapping):
        return False
    how = next(iter(body.values()), None) if kind == "match" else body
    return not isinstance(how, Mapping) or (
        "fuzziness" not in how and how.get("type", "best_fields") in ("best_fields", "most_fields")
    )


def _fuzzy(part: Query) -> Query | None:
    ((kind, body),) = part.items()
    how = next(iter(body.values())) if kind == "match" else body
    if not isinstance(how, Mapping) or not isinstance(how["query"], str):
        return None
    if not _LEAST_LETTERS <= len(how["query"]) <= _MOST_LETTERS or not how["query"].isalpha():
        return None
    changed = {**how, "fuzziness": 1, "prefix_length": 0, "max_expansions": 50}
    return {kind: {next(iter(body)): changed} if kind == "match" else changed}


def _weighing(part: Query, times: int) -> Query:
    return part if times == 1 else {"bool": {"must": [part], "boost": times}}


def _best(answer: Mapping[str, Any]) -> float:
    hits = answer["hits"]["hits"]
    return single(hits[0]["_score"]) if hits else 0.0


def single(score: float) -> float:
    """A score as the server has it: it prints as few digits as tell one single float from the next."""
    exact: float = _SINGLE.unpack(_SINGLE.pack(score))[0]
    return exact


def probes_of(query: Query, split: Split, filters: Sequence[Query] = ()) -> Probes | None:
    """The searches for what ``query`` could get at most; None for a query of which that can't be told.

    ``split`` parts a text into words, given the fields that it is searched in (empty: the server's default ones). What
    the words can get doesn't depend on ``filters``; which document is the best does.
    """
    units = list(_units(query, split))
    if not units or None in units:
        return None
    counted = Counter(_Frozen.of(unit) for unit in units if unit is not None)
    distinct = list(counted)
    searches: list[dict[str, Any]] = []
    whole = len(distinct) <= MOST
    if whole:
        every = [_reading(each.query, "all") for each in distinct]
        searches = [_for_a_score({"bool": {"must": [query], "filter": [*every, *filters]}})]
    else:
        distinct = [distinct[i * len(distinct) // MOST] for i in range(MOST)]
    return Probes(
        (*(_search(each.query) for each in distinct), *searches),
        tuple(counted[each] for each in distinct),
        sum(counted.values()),
        whole,
        tuple(each.query for each in distinct),
    )


def texts_of(query: Query) -> list[tuple[str, tuple[str, ...]]]:
    """The texts that `probes_of` would part, each with the fields that it is searched in."""
    texts: list[tuple[str, tuple[str, ...]]] = []

    def note(text: str, fields: tuple[str, ...]) -> Sequence[str]:
        texts.append((text, fields))
        return text.split()

    list(_units(query, note))
    return texts


def fields_of(query: Query) -> set[str]:
    """The fields that a query's scoring parts name; none where they aren't told, or are the server's default ones."""
    return {field for _, fields in texts_of(query) for field in fields} | set(_named(query))


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


def _units(query: Mapping[str, Any], split: Split) -> Iterator[Query | None]:
    """The parts that can match each by itself, and add up; None for a part of which nothing is known."""
    if len(query) != 1:
        yield None
        return
    ((kind, body),) = query.items()
    if not isinstance(body, Mapping):
        yield None
    elif kind in _OF_A_TEXT:
        yield from _of_a_text(kind, body, split)
    elif kind in _UNITS:
        yield dict(query)
    elif kind in _OF_STRINGS:
        yield from _of_a_string(kind, body, split)
    elif kind == "bool" and body.get("boost", 1.0) == 1.0:
        for clause in ("must", "should"):
            inner = body.get(clause) or []
            for each in [inner] if isinstance(inner, Mapping) else inner:
                yield from _units(each, split)
    elif kind == "nested" and body.get("score_mode", "avg") in ("avg", "max"):
        wrapping = {k: v for k, v in body.items() if k not in ("inner_hits", "query")}
        for unit in _units(body.get("query") or {}, split):
            yield None if unit is None else {"nested": {**wrapping, "query": unit}}
    else:
        yield None


def _of_a_text(kind: str, body: Mapping[str, Any], split: Split) -> Iterator[Query | None]:
    per_field = kind in ("match", "match_bool_prefix")
    if per_field and len(body) != 1:
        yield None
        return
    field, how = next(iter(body.items())) if per_field else ("", body)
    how = dict(how) if isinstance(how, Mapping) else {"query": how}
    text = how.get("query")
    if how.get("type") in _WHOLE_TYPES:
        yield {kind: dict(body)}
        return
    if not isinstance(text, str):
        # A number, a date or a boolean is one word.
        yield {kind: dict(body)} if isinstance(text, int | float) else None
        return
    fields = (field,) if per_field else tuple(how.get("fields") or ())
    kept = {k: v for k, v in how.items() if k not in (*_DEMANDS, "_name")}
    # Of the type bool_prefix only the last word is a beginning; as a probe any may be one.
    for word in split(text[:_LONGEST], fields):
        wanted = {**kept, "query": word}
        yield {kind: {field: wanted} if per_field else wanted}


def _of_a_string(kind: str, body: Mapping[str, Any], split: Split) -> Iterator[Query | None]:
    """A text with operators: phrases and words are parts; what is excluded, and the operators, are none."""
    text = body.get("query")
    if not isinstance(text, str) or _OPAQUE.search(text):
        yield None
        return
    kept = {k: v for k, v in body.items() if k not in (*_DEMANDS, "_name")}
    fields = tuple(body.get("fields") or ([body["default_field"]] if "default_field" in body else []))
    negated = False
    for part in _STRING_PARTS.finditer(text[:_LONGEST]):
        unit, sign = part["unit"], part["sign"] or ""
        if unit is None:
            continue
        if unit in ("AND", "OR", "&&", "||") and kind == "query_string":
            continue
        if unit in ("NOT", "!") and kind == "query_string":
            negated = True
            continue
        excluded = negated or "-" in sign or "!" in sign
        negated = False
        if excluded:
            continue
        # Operators of its own, a field or a phrase stay as they are; a bare text is parted as its fields do.
        plain = unit.isalnum()
        for word in split(unit, fields) if plain else [unit]:
            yield {kind: {**kept, "query": word}}


def _named(query: Mapping[str, Any]) -> Iterator[str]:
    for kind, body in query.items():
        if not isinstance(body, Mapping):
            continue
        if kind == "span_near":
            for each in body.get("clauses") or []:
                yield from _named(each)
        elif kind in _UNITS or kind in ("match", "match_bool_prefix"):
            yield from (name for name in body if name not in ("boost", "_name"))
        elif kind == "bool":
            for clause in ("must", "should"):
                inner = body.get(clause) or []
                for each in [inner] if isinstance(inner, Mapping) else inner:
                    yield from _named(each)
        elif kind == "nested":
            yield from _named(body.get("query") or {})


def _search(unit: Query) -> dict[str, Any]:
    """The best score that a part gets alone; a hit of score 0 tells that the analysis leaves nothing of it."""
    found, left = _reading(unit, "none"), _reading(unit, "all")
    return _for_a_score(unit if left is unit else {"bool": {"should": [found, {"bool": {"filter": [left]}}]}})


def _reading(unit: Query, zero: str) -> Query:
    """The part, that matches "none" or "all" where the analysis leaves nothing of it; the same where that can't be."""
    ((kind, body),) = unit.items()
    if kind == "nested":
        inner = _reading(body["query"], zero)
        return unit if inner is body["query"] else {"nested": {**body, "query": inner}}
    if kind == "match":
        ((field, how),) = body.items()
        return {"match": {field: {**how, "zero_terms_query": zero}}} if isinstance(how, Mapping) else unit
    if kind in ("combined_fields", "multi_match") and body.get("type") not in _WHOLE_TYPES:
        return {kind: {**body, "zero_terms_query": zero}}
    return unit


def _for_a_score(query: Query) -> dict[str, Any]:
    return {"query": query, "size": 1, "_source": False, "stored_fields": "_none_", "track_total_hits": False}


def parted(tokens: Mapping[str, Sequence[tuple[int, int]]], text: str) -> list[str]:
    """The words of a text by the tokens' places, as (start, end) by field: of several fields the one with the most.

    Of tokens that lie in one another (beginnings, synonyms, parts of compounds) the longest counts. Repeated words
    stay repeated.
    """
    words: list[str] = []
    for places in tokens.values():
        kept: list[tuple[int, int]] = []
        for start, end in sorted(set(places), key=lambda place: (place[0], -place[1])):
            if not kept or end > kept[-1][1]:
                kept.append((start, end))
        found = [_between(text, start, end) for start, end in kept]
        words = max(words, found, key=len)
    return words


def _between(text: str, start: int, end: int) -> str:
    """A part of the text by places as Java counts them, in UTF-16 code units."""
    if text.isascii():
        return text[start:end]
    units = text.encode("utf-16-le", "surrogatepass")
    return units[2 * start : 2 * end].decode("utf-16-le", "replace")


def in_words(text: str) -> list[str]:
    """The text parted at spaces; what holds no letter and no digit is no word."""
    return [word for word in text.split() if any(char.isalnum() for char in word)]


def spaces_part(text: str) -> bool:
    """Whether the text's scripts part words by spaces: no Chinese, Japanese, Thai, Lao, Khmer, Burmese, or Tibetan."""
    return text.isascii() or not any(_spaceless(char) for char in text)


# Beginnings of characters' Unicode names.
_SPACELESS = (
    "CJK ",
    "HIRAGANA",
    "KATAKANA",
    "HALFWIDTH KATA",
    "THAI",
    "LAO ",
    "KHMER",
    "MYANMAR",
    "TIBETAN",
    "BOPOMOFO",
)


def _spaceless(char: str) -> bool:
    return char > "\u0dff" and unicodedata.name(char, "").startswith(_SPACELESS)


def places(answer: Mapping[str, Any], fields: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
    """The tokens' places by field, from the term vectors of an artificial document."""
    return {
        field: [
            (token["start_offset"], token["end_offset"])
            for term in vectors["terms"].values()
            for token in term["tokens"]
        ]
        for field, vectors in answer.get("term_vectors", {}).items()
        if field in set(fields)
    }
