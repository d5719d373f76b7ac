"""The text fields of a keyword leg, those within nested objects among them, and the queries over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from crosslens.errors import QueryError
from crosslens.ingest.contract.mapping import searchable_texts
from crosslens.ingest.contract.record import VectorField
from crosslens.queries.search.requests import Query
from crosslens.queries.search.senses import captions_of, other_captions

# Each field is a clause for each word, of which the server takes some thousands.
MOST_FIELDS, _MOST_CLAUSES = 256, 4_096


@dataclass(frozen=True)
class TextFields:
    """Field ``names`` as a query has them, with boosts (``title^3``) and wildcards.

    ``nested`` has, by field within nested objects, the path of the innermost. ``lenient``: a field that can't read the
    text isn't an error.
    """

    names: tuple[str, ...] = ()
    nested: Mapping[str, str] = field(default_factory=dict)
    lenient: bool = False

    @classmethod
    def of(
        cls, mappings: Mapping[str, Mapping[str, Any]], vectors: Iterable[VectorField], named: Sequence[str] | None
    ) -> TextFields:
        """Return the fields ``named`` (None: all that can be searched in each of the indices, 256 at most).

        Of more than that those are kept that a vector is made from, then those nearest to the document's root, in the
        mapping's order. Captions of sounds and footage are left out (see `Captions`).
        """
        spoken = other_captions(mappings)
        nested = {
            name: path for each in mappings.values() for name, path in _nested(each).items() if name not in spoken
        }
        if named is not None:
            return cls(tuple(name for name in named if name.partition("^")[0] not in spoken), nested)
        sources = {source for each in vectors for source in each.sources}
        texts = [name for name in searchable_texts(mappings.values()) if name not in spoken]
        known = sorted(texts, key=lambda name: (name not in sources, name.count(".")))
        return cls(tuple(known[:MOST_FIELDS]), nested, lenient=True)

    def matching(self, text: str) -> Query:
        """Return the query for a text: each document by its best field, any word may match.

        The more words, the fewer of the fields are searched, so that the server takes the query. Raises `QueryError`
        where there is no field.
        """
        names = self.names
        if self.lenient:
            names = names[: max(1, _MOST_CLAUSES // max(1, len(text.split())))]
        queries: list[Query] = []
        for path, fields in self._by_path(names).items():
            query = words_query(text, fields, lenient=self.lenient)
            if path is not None:
                query = {"nested": {"path": path, "query": query, "score_mode": "max", "ignore_unmapped": True}}
            queries.append(query)
        if not queries:
            return words_query(text, ())
        return queries[0] if len(queries) == 1 else {"dis_max": {"queries": queries}}

    def like(self, documents: Sequence[Mapping[str, Any]], mapped: Iterable[str]) -> Query | None:
        """Return the query for documents with the words of others; None where no field can be compared.

        Those are fields of the document itself, without their boosts; ``mapped`` are the index's, for wildcards.
        """
        patterns = dict.fromkeys(name.partition("^")[0] for name in self.names)
        known = list(mapped)
        fields = dict.fromkeys(
            name
            for pattern in patterns
            for name in ([each for each in known if fnmatchcase(each, pattern)] if "*" in pattern else [pattern])
            if name not in self.nested
        )
        if not fields:
            return None
        how = {"min_term_freq": 1, "min_doc_freq": 1}
        return {"more_like_this": {"fields": list(fields), "like": list(documents), **how}}

    def _by_path(self, names: Iterable[str]) -> dict[str | None, list[str]]:
        """The fields to search, by the nested objects that they are in (None: in none), those in none first."""
        found: dict[str | None, list[str]] = {None: []}
        for name in names:
            pattern, caret, boost = name.partition("^")
            if pattern in self.nested:
                found.setdefault(self.nested[pattern], []).append(name)
                continue
            found[None].append(name)
            for each, path in self.nested.items() if "*" in pattern else ():
                if fnmatchcase(each, pattern):
                    found.setdefault(path, []).append(f"{each}{caret}{boost}")
        return {path: fields for path, fields in found.items() if fields}


@dataclass(frozen=True)
class Captions:
    """The words spoken in the moments of a file: their text field ``name`` as a query has it (``clip_vector.text^2``),
    and the field ``source`` that refers to the file."""

    name: str
    source: str

    @classmethod
    def of(cls, mappings: Mapping[str, Mapping[str, Any]], named: Sequence[str] | None) -> tuple[Captions, ...]:
        """Return those that can be searched in each of the indices, as far as they are ``named`` (None: all)."""
        spoken = captions_of(mappings)
        found: list[Captions] = []
        for path in searchable_texts(mappings.values()) if spoken else ():
            names = [path] if named is None else [name for name in named if fnmatchcase(path, name.partition("^")[0])]
            if path in spoken and names:
                _, caret, boost = names[0].partition("^")
                found.append(cls(f"{path}{caret}{boost}", spoken[path]))
        return tuple(found)

    @property
    def path(self) -> str:
        """The text field."""
        return self.name.partition("^")[0]

    def matching(self, text: str) -> Query:
        """Return the query for a text: each document by its best moment, any word may match."""
        query = words_query(text, (self.name,), lenient=True)
        moments = self.path.rpartition(".")[0]
        return {"nested": {"path": moments, "query": query, "score_mode": "max", "ignore_unmapped": True}}


def words_query(text: str, fields: Sequence[str], *, lenient: bool = False) -> Query:
    """Return the query for a text over ``fields`` of one object. Raises `QueryError` where there is no field."""
    if not fields:
        raise QueryError("the index has no text field to search by keyword; leave the keyword leg out")
    how: dict[str, Any] = {"query": text, "fields": list(fields), "type": "best_fields", "operator": "or"}
    return {"multi_match": {**how, "lenient": True} if lenient else how}


def _nested(mapping: Mapping[str, Any]) -> dict[str, str]:
    return {name: path for name, path in searchable_texts([mapping]).items() if path is not None}
