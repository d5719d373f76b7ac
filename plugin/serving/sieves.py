"""What results can be narrowed down and ordered by: keyword fields, numbers and dates, as mappings have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crosslens.errors import QueryError
from crosslens.ingest.contract.mapping import flat_properties
from crosslens.ingest.contract.record import STATE, VectorField
from crosslens.serving.asked import Asked

Kind = Literal["keyword", "number", "date"]
Query = dict[str, Any]
_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("keyword", "constant_keyword", "boolean", "ip"), "keyword"),
    **dict.fromkeys(
        ("byte", "short", "integer", "long", "unsigned_long", "half_float", "float", "double", "scaled_float"), "number"
    ),
    **dict.fromkeys(("date", "date_nanos"), "date"),
}
VALUES = 12
"""Values of a keyword field that are listed."""
MOST_FIELDS = 12
"""Fields of each kind that a page offers, unless the user names them."""


@dataclass(frozen=True)
class Sieves:
    """The fields to choose values of (``keywords``), and those with bounds, by kind ("number" or "date")."""

    keywords: tuple[str, ...] = ()
    bounded: tuple[tuple[str, Kind], ...] = ()

    @classmethod
    def of(
        cls,
        mappings: Iterable[Mapping[str, Any]],
        vectors: Iterable[VectorField],
        named: Sequence[str] | None = None,
    ) -> Sieves:
        """Return those that every index of ``mappings`` can count and compare; ``named`` ones, or the first few.

        Fields in nested objects are left out, as bounds of several would be met by several objects; and so are those
        that refer to pictures and files, of which each document has its own, and crosslens's own. Raises `QueryError`
        for a named field that can't be one.
        """
        every = [_kinds(each) for each in mappings]
        common = {
            name: kind for name, kind in (every[0] if every else {}).items() if all(k.get(name) == kind for k in every)
        }
        if named is not None:
            if unknown := [name for name in named if name not in common]:
                raise QueryError(
                    f"{unknown[0]!r} is not a keyword, number or date field of every index",
                    hint=f"there are {', '.join(common) or 'none'}",
                )
            common = {name: common[name] for name in named}
        referring = {source for each in vectors if each.refers for source in each.sources}
        most = len(common) if named is not None else MOST_FIELDS
        offered = [(name, kind) for name, kind in common.items() if named is not None or name not in referring]
        keywords = [name for name, kind in offered if kind == "keyword"]
        return cls(tuple(keywords[:most]), tuple(each for each in offered if each[1] != "keyword")[:most])

    @property
    def sortable(self) -> list[str]:
        """The fields that results can be ordered by."""
        return [*(name for name, _ in self.bounded), *self.keywords]

    def filters(self, asked: Asked) -> list[Query]:
        """Return the queries that every result meets. Raises `QueryError` for a field that isn't offered."""
        chosen: dict[str, list[str]] = {}
        for field, value in asked.chosen:
            self._check(field, self.keywords)
            chosen.setdefault(field, []).append(value)
        bounds: dict[str, dict[str, str]] = {}
        for comparison, several in (("gte", asked.least), ("lte", asked.most)):
            for field, value in several:
                self._check(field, [name for name, _ in self.bounded])
                bounds.setdefault(field, {})[comparison] = value
        return [
            *({"terms": {field: values}} for field, values in chosen.items()),
            *({"range": {field: bound}} for field, bound in bounds.items()),
        ]

    def sort(self, asked: Asked) -> list[Query] | None:
        """Return the order asked for; None for that of the scores. Raises `QueryError` as `filters` does."""
        if asked.sort is None:
            return None
        field, descending = asked.sort
        self._check(field, self.sortable)
        return [{field: {"order": "desc" if descending else "asc"}}]

    def aggregations(self) -> dict[str, Any] | None:
        """Return what to count, by field; None where nothing is."""
        values = {name: {"terms": {"field": name, "size": VALUES}} for name in self.keywords}
        return {**values, **{name: {"stats": {"field": name}} for name, _ in self.bounded}} or None

    def facets(self, counted: Mapping[str, Any], asked: Asked) -> list[dict[str, Any]]:
        """Return the fields with values to choose, from the answer to `aggregations`.

        A field of which every document has a value of its own narrows nothing down, and is left out unless a value of
        it is chosen. Values that are chosen and don't occur any more stand at the end, so that they can be dropped.
        """
        facets = []
        for name in self.keywords:
            answer = counted.get(name) or {"buckets": []}
            chosen = [value for field, value in asked.chosen if field == name]
            values = [
                {"value": str(bucket.get("key_as_string", bucket["key"])), "count": int(bucket["doc_count"])}
                for bucket in answer["buckets"]
            ]
            if not chosen and all(each["count"] == 1 for each in values):
                continue
            values += [
                {"value": each, "count": 0} for each in chosen if each not in {known["value"] for known in values}
            ]
            for each in values:
                each["chosen"] = each["value"] in chosen
            facets.append({"field": name, "values": values, "others": int(answer.get("sum_other_doc_count", 0))})
        return facets

    def ranges(self, counted: Mapping[str, Any], asked: Asked) -> list[dict[str, Any]]:
        """Return the fields with bounds: the least and greatest value that occurs, and the bounds asked for."""
        least, most = dict(asked.least), dict(asked.most)
        ranges = []
        for name, kind in self.bounded:
            answer = counted.get(name) or {}
            if not answer.get("count") and name not in least and name not in most:
                continue
            shown = "_as_string" if kind == "date" else ""
            ranges.append(
                {
                    "field": name,
                    "kind": kind,
                    "lowest": answer.get(f"min{shown}"),
                    "highest": answer.get(f"max{shown}"),
                    "from": least.get(name, ""),
                    "to": most.get(name, ""),
                }
            )
        return ranges

    def _check(self, field: str, offered: Sequence[str]) -> None:
        if field not in offered:
            raise QueryError(f"{field!r} is not a field to narrow down or order by here")


def _kinds(mapping: Mapping[str, Any]) -> dict[str, Kind]:
    """The fields that can be counted or compared, those nearest to the document's root first."""
    properties = flat_properties(mapping)
    nested = [f"{name}." for name, definition in properties.items() if definition.get("type") == "nested"]
    found = {
        name: _KINDS[definition["type"]]
        for name, definition in properties.items()
        if definition.get("type") in _KINDS
        and not name.startswith((f"{STATE}.", *nested))
        and all(definition.get(each, True) not in (False, "false") for each in ("index", "doc_values"))
    }
    return dict(sorted(found.items(), key=lambda item: item[0].count(".")))
