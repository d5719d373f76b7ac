"""Up to where an index was looked through: kept beside the corpus statistics, so that a restart needn't do it again.

What one follower has seen to be up to date is so for all of them, whichever stored it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from elasticsearch import ApiError, Elasticsearch, NotFoundError

from crosslens.errors import ConnectionFailedError
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.statistics import STATISTICS_INDEX, create_statistics_index
from crosslens.ingest.run.sync.places import Place, Places

_LOG = logging.getLogger("crosslens")


def signature(fields: Sequence[VectorField]) -> str:
    """What the vectors of ``fields`` depend on, but for their documents."""
    text = repr(sorted(map(astuple, fields), key=repr))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def position_in(source: Mapping[str, Any], places: Places, fields: Sequence[VectorField]) -> dict[int, int] | None:
    """The checkpoint by shard that a stored document says; None unless it is of all shards as they are, and of
    ``fields``."""
    try:
        if (source["uuid"], source["signature"]) != (places.uuid, signature(fields)):
            return None
        stored = {int(number): (str(history), int(mark)) for number, (history, mark) in source["shards"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if stored.keys() != places.shards.keys():
        return None
    for number, place in places.shards.items():
        history, checkpoint = stored[number]
        if history != place.history or checkpoint > place.checkpoint:
            return None
    return {number: checkpoint for number, (_, checkpoint) in stored.items()}


def read_position(
    client: Elasticsearch, index: str, places: Places, fields: Sequence[VectorField]
) -> dict[int, int] | None:
    """The checkpoint up to which each of the index's shards was looked through, as `position_in` reads it."""
    try:
        source = client.get(index=STATISTICS_INDEX, id=_id(index))["_source"]
    except NotFoundError:
        return None
    except (ApiError, ConnectionFailedError) as error:
        _LOG.warning("up to where %s was looked through can't be read (%s)", index, error)
        return None
    return position_in(source, places, fields)


def store_position(
    client: Elasticsearch, index: str, uuid: str, shards: Mapping[int, Place], fields: Sequence[VectorField]
) -> None:
    """Stores that everything up to ``shards`` is up to date. Where that can't be done, it is logged."""
    document = {
        "index": index,
        "uuid": uuid,
        "signature": signature(fields),
        "shards": {str(number): [place.history, place.checkpoint] for number, place in shards.items()},
    }
    try:
        create_statistics_index(client)
        client.index(index=STATISTICS_INDEX, id=_id(index), document=document)
    except (ApiError, ConnectionFailedError) as error:
        _LOG.warning("up to where %s was looked through can't be stored (%s)", index, error)


def _id(index: str) -> str:
    return f"{index}/sync"
