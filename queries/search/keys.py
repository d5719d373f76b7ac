"""What a search knows documents by: their index and id or, where that is enough, their index and slot.

An id lies among the stored fields, which are compressed together with the documents' sources: long documents make the
ids of a window expensive to fetch. A slot is a document's sequence number, which Elasticsearch keeps as a column. In an
index of one shard it names one document in one version, so a document that was written since it was found has none
(`Moved`). Ids are then asked for as well, but only those of what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.search.requests import Query

_SLOT = "_seq_no"
# What a search asks for, so that its hits come with their slots and without ids.
BY_SLOT: Mapping[str, Any] = {"_source": False, "stored_fields": "_none_", "docvalue_fields": [_SLOT]}


class Slot(str):
    """A sequence number in the place of an id. One search knows its documents by slots or by ids, never by both."""


class Moved(Exception):  # noqa: N818 - not an error: the same search by ids is the answer
    """A document isn't in its slot any longer, or slots don't distinguish documents here."""


def key_of(hit: Mapping[str, Any]) -> DocumentKey:
    """Return what a hit is known by. Raises `Moved` for one that has neither an id nor a slot."""
    if "_id" in hit:
        return id_of(hit)
    slots = hit.get("fields", {}).get(_SLOT)
    if not slots:
        raise Moved
    return hit["_index"], Slot(slots[0])


def id_of(hit: Mapping[str, Any]) -> DocumentKey:
    """Return index and id of a hit that was fetched with its id."""
    return hit["_index"], hit["_id"]


def slot_of(hit: Mapping[str, Any]) -> DocumentKey:
    """Return index and slot of a hit that was fetched with its sequence number."""
    return hit["_index"], Slot(hit[_SLOT])


def named(keys: Sequence[DocumentKey]) -> Query:
    """A query that exactly the documents of these keys meet."""
    by_index: dict[str, list[str]] = {}
    for index, id in keys:
        by_index.setdefault(index, []).append(id)
    parts: list[Query] = [
        {"bool": {"filter": [{"term": {"_index": index}}, _among(ids)]}} for index, ids in by_index.items()
    ]
    return parts[0] if len(parts) == 1 else {"bool": {"should": parts, "minimum_should_match": 1}}


def _among(ids: list[str]) -> Query:
    if isinstance(ids[0], Slot):
        return {"terms": {_SLOT: [int(slot) for slot in ids]}}
    return {"ids": {"values": ids}}
