"""The parts of a keyword query that can match each by itself, and whose scores add up: words, phrases, exact values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from crosslens.queries.search.requests import Query

# Parts a text into words, given the fields that it is searched in (empty: the server's default ones).
Split = Callable[[str, tuple[str, ...]], Sequence[str]]
# Types of a match that take the text as one.
WHOLE_TYPES = ("phrase", "phrase_prefix")
_LONGEST = 20_000
_OF_A_TEXT = ("match", "match_bool_prefix", "combined_fields", "multi_match")
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


def units(query: Mapping[str, Any], split: Split) -> Iterator[Query | None]:
    """Yield the parts that can match each by itself, and add up; None for a part of which nothing is known."""
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
                yield from units(each, split)
    elif kind == "dis_max":
        yield from _of_alternatives(body, split)
    elif kind == "nested" and body.get("score_mode", "avg") in ("avg", "max"):
        wrapping = {k: v for k, v in body.items() if k not in ("inner_hits", "query")}
        for unit in units(body.get("query") or {}, split):
            yield None if unit is None else {"nested": {**wrapping, "query": unit}}
    else:
        yield None


def texts_of(query: Query) -> list[tuple[str, tuple[str, ...]]]:
    """Return the texts that `units` would part, each with the fields that it is searched in."""
    texts: list[tuple[str, tuple[str, ...]]] = []

    def note(text: str, fields: tuple[str, ...]) -> Sequence[str]:
        texts.append((text, fields))
        return text.split()

    list(units(query, note))
    return texts


def fields_of(query: Query) -> set[str]:
    """Return the fields that a query's scoring parts name; none where it searches the server's default ones."""
    return {field for _, fields in texts_of(query) for field in fields} | set(_named(query))


def _of_a_text(kind: str, body: Mapping[str, Any], split: Split) -> Iterator[Query | None]:
    per_field = kind in ("match", "match_bool_prefix")
    if per_field and len(body) != 1:
        yield None
        return
    field, how = next(iter(body.items())) if per_field else ("", body)
    how = dict(how) if isinstance(how, Mapping) else {"query": how}
    text = how.get("query")
    if how.get("type") in WHOLE_TYPES:
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


def _of_alternatives(body: Mapping[str, Any], split: Split) -> Iterator[Query | None]:
    """Of several queries for one text, of which the best counts, the words of that text."""
    queries = body.get("queries") or []
    texts = [text for each in queries for text in texts_of(each)]
    alike = all(len(list(units(each, _whole))) == 1 for each in queries)
    if not alike or len(texts) != len(queries) or len({text for text, _ in texts}) != 1:
        yield None
        return
    fields = tuple(dict.fromkeys(field for _, fields in texts for field in fields))
    for word in split(texts[0][0][:_LONGEST], fields):
        parts = [part for each in queries for part in units(each, lambda *_, word=word: (word,))]
        yield {"dis_max": {**{k: v for k, v in body.items() if k != "_name"}, "queries": parts}}


def _whole(text: str, _fields: tuple[str, ...]) -> Sequence[str]:
    return (text,)


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
        elif kind == "dis_max":
            for each in body.get("queries") or []:
                yield from _named(each)
        elif kind == "nested":
            yield from _named(body.get("query") or {})
