"""How far the operations on indices go, by shard: what is asked every few seconds, and the only cost of quiet indices.

Each operation on a shard has a sequence number. Up to the global checkpoint all have reached every copy of the shard in
use, and keep their numbers whichever copy becomes the primary: so what was looked at up to there needs no second look.
https://www.elastic.co/blog/elasticsearch-sequence-ids-6-0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from elasticsearch import ApiError, Elasticsearch

from crosslens.errors import MappingError

_ANSWER = (
    "indices.*.uuid",
    "indices.*.shards.*.seq_no.max_seq_no",
    "indices.*.shards.*.seq_no.global_checkpoint",
    "indices.*.shards.*.commit.user_data.history_uuid",
)


@dataclass(frozen=True)
class Place:
    """A shard's global ``checkpoint`` (-1: no operation yet); where ``history`` differs, numbers were given anew.

    ``highest`` is the last number that was given; operations above the checkpoint are under way.
    """

    history: str
    checkpoint: int
    highest: int

    @property
    def settled(self) -> bool:
        """Whether no operation is under way."""
        return self.checkpoint == self.highest


@dataclass(frozen=True)
class Places:
    """The places of an index's shards, by their numbers, as far as they are in use; ``uuid`` is the index's."""

    uuid: str
    shards: Mapping[int, Place]


def read_places(client: Elasticsearch, names: Sequence[str]) -> dict[str, Places]:
    """The places of every open index that ``names`` stand for, in one request; names that stand for none are left out.

    Raises `MappingError` without the right to ask (the index privilege ``monitor``).
    """
    params = {"level": "shards", "expand_wildcards": "open", "ignore_unavailable": "true"}
    try:
        answer: Any = client.perform_request(
            "GET",
            f"/{','.join(names)}/_stats/docs",
            params={**params, "filter_path": ",".join(_ANSWER)},
            headers={"accept": "application/json"},
        )
    except ApiError as error:
        if error.status_code == 403:
            raise MappingError(
                f"this user may not read the sequence numbers of {', '.join(names)}, by which changes are noticed",
                hint="grant the index privilege monitor",
            ) from error
        if error.status_code == 404:
            return {}
        raise
    return {
        name: Places(entry["uuid"], {int(number): _place(copies) for number, copies in entry.get("shards", {}).items()})
        for name, entry in answer.body.get("indices", {}).items()
    }


def _place(copies: Sequence[Mapping[str, Any]]) -> Place:
    """The furthest that a copy knows of; each knows the primary's checkpoint, some later than others."""
    known = [
        Place(
            copy.get("commit", {}).get("user_data", {}).get("history_uuid", ""),
            max(int(copy.get("seq_no", {}).get("global_checkpoint", -1)), -1),
            max(int(copy.get("seq_no", {}).get("max_seq_no", -1)), -1),
        )
        for copy in copies
    ]
    furthest = max(known, key=lambda place: place.checkpoint)
    return replace(furthest, highest=max(place.highest for place in known))
