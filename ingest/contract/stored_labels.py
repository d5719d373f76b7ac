"""Where the numbers of label sets are kept: beside the corpus statistics, in the hidden index `crosslens-moments`.

A mapping is part of the cluster's state, which every node holds in memory; ten thousand labels don't belong there. So
the mapping's ``_meta.crosslens.labels`` only names each set (see `crosslens.ingest.contract.record.LabelEntry`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from elasticsearch import ApiError, AuthorizationException, Elasticsearch, NotFoundError

from crosslens.errors import MappingError
from crosslens.ingest.contract.label_set import Doubles, Kind, LabelSet, Noise, stored_numbers
from crosslens.ingest.contract.mapping import check_room, flat_properties
from crosslens.ingest.contract.settings import index_uuids
from crosslens.ingest.contract.statistics import STATISTICS_INDEX, create_statistics_index

_LOG = logging.getLogger("crosslens")
_FIELD_TYPES: dict[Kind, tuple[str, ...]] = {
    "keyword": ("keyword",),
    "boolean": ("boolean",),
    "caption": ("text", "match_only_text", "keyword", "wildcard", "search_as_you_type", "semantic_text"),
}
_NEW_TYPE: dict[Kind, str] = {"keyword": "keyword", "boolean": "boolean", "caption": "text"}


def check_into(index: str, mapping: dict[str, Any], into: str, kind: Kind) -> dict[str, Any] | None:
    """What the mapping lacks for labels of a ``kind`` in the field ``into``; None where it is there already.

    Raises `MappingError` where the field is of another type, or lies where no field can be.
    """
    properties = flat_properties(mapping)
    place, otherwise = f"the field {into!r} of index {index!r}", "name another field"
    check_room(place, properties, into, otherwise)
    there = properties.get(into)
    if there is None:
        return {"type": _NEW_TYPE[kind]}
    if there.get("type", "object") not in _FIELD_TYPES[kind]:
        what = {"keyword": "labels", "boolean": "true or false", "caption": "captions"}[kind]
        raise MappingError(
            f"{place} is of type {there.get('type', 'object')}; {what} are written to {', '.join(_FIELD_TYPES[kind])}",
            hint=otherwise,
            parameter="into",
        )
    return None


def store_labels(client: Elasticsearch, index: str, into: str, labels: LabelSet) -> None:
    """Stores a label set of one index's field, in place of the one before.

    Where that isn't allowed, it is logged: documents are given labels all the same, and a later run measures anew.
    """
    _store(client, index, into, labels.as_sources())


def copy_labels(client: Elasticsearch, index: str, copy: str, fields: Iterable[str]) -> None:
    """Stores for an index's ``copy`` the label sets of the index's ``fields``, as far as that is allowed."""
    for into in fields:
        sources = _stored(client, index, into)
        if sources:
            _store(client, copy, into, sources)


def _store(client: Elasticsearch, index: str, into: str, sources: Sequence[dict[str, Any]]) -> None:
    identity = {"index": index, "uuid": index_uuids(client, index)[index], "path": into}
    try:
        create_statistics_index(client)
        for source in sources:
            id = _id(index, into, source["part"])
            client.index(index=STATISTICS_INDEX, id=id, document={**source, **identity}, refresh=True)
        _delete_from(client, index, into, len(sources))
    except AuthorizationException as error:
        _LOG.warning(
            "the numbers of the labels in %s/%s can't be kept in %s (%s); the next run will measure anew, and write "
            "every document again",
            *(index, into, STATISTICS_INDEX, error),
        )


def find_numbers(client: Elasticsearch, index: str, into: str, definition: str) -> tuple[Noise, Doubles] | None:
    """The noise and thresholds stored of one index's field, if they are of this ``definition``."""
    return stored_numbers(_stored(client, index, into), definition)


def _stored(client: Elasticsearch, index: str, into: str) -> list[dict[str, Any]]:
    """What is stored of the label set of one index's field; nothing where a part is missing, or can't be read."""
    try:
        first = client.get(index=STATISTICS_INDEX, id=_id(index, into, 0))["_source"]
        if first.get("uuid") != index_uuids(client, index)[index]:
            return []
        ids = [_id(index, into, part) for part in range(1, int(first["parts"]))]
        return [first, *(client.get(index=STATISTICS_INDEX, id=id)["_source"] for id in ids)]
    except (NotFoundError, AuthorizationException):
        return []


def delete_labels(client: Elasticsearch, index: str, into: str) -> None:
    """Deletes the label set of one index's field, as far as that is allowed."""
    try:
        _delete_from(client, index, into, 0)
    except ApiError as error:
        _LOG.warning("the numbers of the labels in %s/%s stay in %s (%s)", index, into, STATISTICS_INDEX, error)


def _delete_from(client: Elasticsearch, index: str, into: str, part: int) -> None:
    while True:
        try:
            client.delete(index=STATISTICS_INDEX, id=_id(index, into, part), refresh=True)
        except NotFoundError:
            return
        part += 1


def _id(index: str, into: str, part: int) -> str:
    return f"{index}/{into}/labels/{part}"
