"""What a search knows documents by: their index and id or, until they are shown, their index and slot.

An id lies among the stored fields, which are compressed together with the documents' sources: long documents make the
ids of a window expensive to fetch. A slot is made of columns. In an index of one shard it is the document's sequence
number, which names one document in one version. Documents of several shards may have one sequence number, so there the
hash of a vector's source belongs to it. Two documents that have even that in common are taken for one at first. What
they score together is no less than what each scores alone, so if one is to be shown, both are found when it is fetched.

A document that was written since it was found, or that isn't alone in its slot, raises `Moved`: then the search is made
again by ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.search.requests import Query

_NUMBER = "_seq_no"
_AT = "crosslens slot "


class Moved(Exception):  # noqa: N818 - not an error: the same search by ids is the answer
    """A document isn't in its slot any longer, or slots don't distinguish documents here."""


class Slot(str):
    """What stands in the place of an id. One search knows its documents by slots or by ids, never by both.

    ``columns`` are those that it is made of, with their values; one without a value is left out.
    """

    columns: dict[str, Any]

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> Slot:
        """Return the slot of a document with these values of the columns that were asked for."""
        slot = cls("/".join(str(columns[name]) for name in sorted(columns)))
        slot.columns = dict(columns)
        return slot


@dataclass(frozen=True)
class Slots:
    """The columns that slots are made of; ``hashed`` is that of a source's hash (None: of one shard)."""

    hashed: str | None

    @property
    def asked(self) -> dict[str, Any]:
        """What a search asks for, so that its hits come with their slots and without ids."""
        columns = [_NUMBER] if self.hashed is None else [_NUMBER, self.hashed]
        return {"_source": False, "stored_fields": "_none_", "docvalue_fields": columns}


def key_of(hit: Mapping[str, Any]) -> DocumentKey:
    """Return what a hit is known by. Raises `Moved` for one that has neither an id nor a slot."""
    if "_id" in hit:
        return id_of(hit)
    columns = hit.get("fields", {})
    if _NUMBER not in columns:
        raise Moved
    return hit["_index"], Slot.of({name: values[0] for name, values in columns.items()})


def id_of(hit: Mapping[str, Any]) -> DocumentKey:
    """Return index and id of a hit that was fetched with its id."""
    return hit["_index"], hit["_id"]


def named(keys: Sequence[DocumentKey]) -> Query:
    """A query that exactly the documents of these keys meet."""
    by_index: dict[str, list[str]] = {}
    for index, id in keys:
        by_index.setdefault(index, []).append(id)
    parts: list[Query] = [
        {"bool": {"filter": [{"term": {"_index": index}}, _among(ids)]}} for index, ids in by_index.items()
    ]
    return parts[0] if len(parts) == 1 else {"bool": {"should": parts, "minimum_should_match": 1}}


def _among(ids: Sequence[str]) -> Query:
    slots = [each for each in ids if isinstance(each, Slot)]
    if not slots:
        return {"ids": {"values": list(ids)}}
    if all(len(slot.columns) == 1 for slot in slots):
        return {"terms": {_NUMBER: [slot.columns[_NUMBER] for slot in slots]}}
    return {"bool": {"should": [_in(slot) for slot in slots], "minimum_should_match": 1}}


def slot_clauses(keys: Sequence[DocumentKey]) -> list[Query]:
    """Clauses that say by their names which slot a hit is in (`slot_of`)."""
    return [{"bool": {**_in(slot)["bool"], "_name": _AT + slot}} for _, slot in keys if isinstance(slot, Slot)]


def slot_of(hit: Mapping[str, Any]) -> DocumentKey:
    """Return index and slot of a hit that was fetched with its id. Raises `Moved` where it isn't in one slot."""
    at = [name.removeprefix(_AT) for name in hit.get("matched_queries", ()) if name.startswith(_AT)]
    if len(at) != 1:
        raise Moved
    return hit["_index"], at[0]


def _in(slot: Slot) -> Query:
    return {"bool": {"filter": [{"term": {name: value}} for name, value in slot.columns.items()]}}
