"""A whole search as a URL holds it: read from a query string, and written as one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from crosslens.errors import QueryError
from crosslens.queries.fusion.normalizers import NORMALIZERS, Normalizer

# What one search may ask for; a page's own searches stay far below.
MOST_CHARACTERS = 2_000
MOST_LIKE = 8
MOST_CHOSEN = 50
MOST_SHOWN = 100
_LONGEST_VALUE = 1_000
# A point in time names every shard.
_LONGEST_PAGE = 60_000
_LARGEST_WEIGHT = 1_000.0
DEFAULT_SHOWN = 24

Document = tuple[str, str]
"""A document by index and id."""


@dataclass(frozen=True)
class Asked:
    """A search as a person composed it.

    index: one of the served ones; empty: the first.
    text: what was typed; ``pictures`` are ids of pictures that were given (see `crosslens.serving.given`).
    like, less: documents to look for more of, and to look away from.
    chosen: values of keyword fields, as (field, value): of one field any, of several fields all must be met.
    least, most: the bounds of numbers and dates, as (field, bound), both inclusive.
    weights: by leg, where they aren't the index's own; ``normalizer`` likewise.
    sort: a field and whether it descends; None: by score.
    page: what a page before gave as its next; empty: the first page.
    """

    index: str = ""
    text: str = ""
    pictures: tuple[str, ...] = ()
    like: tuple[Document, ...] = ()
    less: tuple[Document, ...] = ()
    chosen: tuple[tuple[str, str], ...] = ()
    least: tuple[tuple[str, str], ...] = ()
    most: tuple[tuple[str, str], ...] = ()
    weights: tuple[tuple[str, float], ...] = ()
    normalizer: Normalizer | None = None
    sort: tuple[str, bool] | None = None
    page: str = ""
    size: int = DEFAULT_SHOWN

    @property
    def empty(self) -> bool:
        """Whether nothing is looked for."""
        return not (self.text.strip() or self.pictures or self.like)

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Asked:
        """Read the names and values of a query string. Raises `QueryError` naming what can't be understood."""
        found: dict[str, Any] = {}
        several: dict[str, list[Any]] = {}
        for name, value in pairs:
            if value == "":
                # A form sends what was left empty as well.
                continue
            _bounded(name, name, _LONGEST_VALUE)
            kind, dot, field = name.partition(".")
            if dot and kind in _BY_FIELD and field:
                _bounded(name, value, _LONGEST_VALUE)
                attribute, read = _BY_FIELD[kind]
                several.setdefault(attribute, []).append((field, read(name, value)))
            elif name in _SEVERAL:
                _bounded(name, value, _LONGEST_VALUE)
                attribute, read = _SEVERAL[name]
                several.setdefault(attribute, []).append(read(name, value))
            elif name in _ONE:
                attribute, read = _ONE[name]
                if attribute in found:
                    raise QueryError(f"{name!r} is given twice")
                found[attribute] = read(name, value)
            else:
                raise QueryError(f"{_shown(name)} is not something that a search takes")
        for attribute in ("least", "most", "weights"):
            names = [field for field, _ in several.get(attribute, ())]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise QueryError(f"{_shown(twice)} has two values; it takes one")
        for attribute, values in several.items():
            limit = MOST_LIKE if attribute in ("pictures", "like", "less") else MOST_CHOSEN
            if len(values) > limit:
                raise QueryError(f"{len(values)} values of {attribute!r} are more than the {limit} that a search takes")
            found[attribute] = tuple(dict.fromkeys(values))
        return cls(**found)

    def pairs(self) -> list[tuple[str, str]]:
        """Return the names and values that `of` reads, without those at their default."""
        pairs = [("in", self.index), ("q", self.text)]
        pairs += [("picture", each) for each in self.pictures]
        pairs += [(name, f"{index}/{id}") for name in ("like", "less") for index, id in getattr(self, name)]
        for kind, attribute in (("f", "chosen"), ("from", "least"), ("to", "most")):
            pairs += [(f"{kind}.{field}", value) for field, value in getattr(self, attribute)]
        pairs += [(f"w.{leg}", repr(weight)) for leg, weight in self.weights]
        pairs.append(("fusion", self.normalizer or ""))
        pairs.append(("sort", "" if self.sort is None else f"{self.sort[0]}:{'desc' if self.sort[1] else 'asc'}"))
        pairs.append(("size", "" if self.size == DEFAULT_SHOWN else str(self.size)))
        pairs.append(("page", self.page))
        return [(name, value) for name, value in pairs if value]

    def query_string(self) -> str:
        """Return the search as a URL's query string, without the question mark; empty for a search at its defaults."""
        return urlencode(self.pairs(), errors="replace")

    def first_page(self) -> Asked:
        """Return the same search from its beginning."""
        return replace(self, page="")

    def with_like(self, document: Document) -> Asked:
        """Return the search for more of a document."""
        less = tuple(each for each in self.less if each != document)
        return replace(self.first_page(), like=_added(self.like, document), less=less)

    def with_less(self, document: Document) -> Asked:
        """Return the search that looks away from a document."""
        like = tuple(each for each in self.like if each != document)
        return replace(self.first_page(), less=_added(self.less, document), like=like)

    def without(self, document: Document) -> Asked:
        """Return the search in which a document says nothing."""
        like, less = (tuple(each for each in several if each != document) for several in (self.like, self.less))
        return replace(self.first_page(), like=like, less=less)

    def toggled(self, field: str, value: str) -> Asked:
        """Return the search with a facet's value chosen, or no longer chosen."""
        pair = (field, value)
        if pair in self.chosen:
            return replace(self.first_page(), chosen=tuple(each for each in self.chosen if each != pair))
        return replace(self.first_page(), chosen=(*self.chosen, pair))


def _added(known: tuple[Document, ...], document: Document) -> tuple[Document, ...]:
    """The last ones count where there are too many."""
    return (*(each for each in known if each != document), document)[-MOST_LIKE:]


def _bounded(name: str, value: str, most: int) -> str:
    if len(value) > most:
        raise QueryError(f"{_shown(name)} holds {len(value):,} characters; {most:,} are allowed")
    return value


def _shown(name: str) -> str:
    return repr(name if len(name) <= 40 else f"{name[:37]}...")


def _text(name: str, value: str) -> str:
    return _bounded(name, value, MOST_CHARACTERS)


def _value(name: str, value: str) -> str:
    return _bounded(name, value, _LONGEST_VALUE)


def _page(name: str, value: str) -> str:
    return _bounded(name, value, _LONGEST_PAGE)


def _picture(name: str, value: str) -> str:
    if len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise QueryError(f"{_shown(name)} is not the id of a picture that was given")
    return value


def _document(name: str, value: str) -> Document:
    index, slash, id = value.partition("/")
    if not (index and slash and id):
        raise QueryError(f"{_shown(name)} names a document as INDEX/ID")
    return index, id


def _weight(name: str, value: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= _LARGEST_WEIGHT:
        raise QueryError(f"{_shown(name)} must be a number from 0 to {_LARGEST_WEIGHT:g}")
    return weight


def _normalizer(name: str, value: str) -> str:
    if value not in NORMALIZERS:
        raise QueryError(f"{_shown(name)} must be one of {', '.join(NORMALIZERS)}")
    return value


def _sort(name: str, value: str) -> tuple[str, bool]:
    field, colon, order = _value(name, value).rpartition(":")
    if not (field and colon and order in ("asc", "desc")):
        raise QueryError(f"{_shown(name)} must be FIELD:asc or FIELD:desc")
    return field, order == "desc"


def _size(name: str, value: str) -> int:
    # int() takes digits of every script, underscores and spaces, and at length takes long.
    if not (value.isascii() and value.isdigit() and len(value) <= 4 and 1 <= int(value) <= MOST_SHOWN):
        raise QueryError(f"{_shown(name)} must be a whole number from 1 to {MOST_SHOWN}")
    return int(value)


_ONE: dict[str, tuple[str, Any]] = {
    "in": ("index", _value),
    "q": ("text", _text),
    "fusion": ("normalizer", _normalizer),
    "sort": ("sort", _sort),
    "size": ("size", _size),
    "page": ("page", _page),
}
_SEVERAL: dict[str, tuple[str, Any]] = {
    "picture": ("pictures", _picture),
    "like": ("like", _document),
    "less": ("less", _document),
}
_BY_FIELD: dict[str, tuple[str, Any]] = {
    "f": ("chosen", _value),
    "from": ("least", _value),
    "to": ("most", _value),
    "w": ("weights", _weight),
}
