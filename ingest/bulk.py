"""Sending guarded bulk updates: what may be sent again is, with growing pauses; what may not is reported."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_transport import ConnectionError as TransportConnectionError
from elasticsearch import ApiError, ConnectionTimeout, Elasticsearch

from crosslens.errors import ConnectionFailedError

_BUSY = {429, 502, 503, 504}
_ATTEMPTS = 8
_LONGEST_PAUSE_S = 20.0


@dataclass(frozen=True)
class Update:
    """One partial document, to be merged only if the document is still the one that was read."""

    index: str
    id: str
    routing: str | None
    seq_no: int
    primary_term: int
    doc: dict[str, Any]

    def operations(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The two lines of a bulk request."""
        action: dict[str, Any] = {
            "_index": self.index,
            "_id": self.id,
            "if_seq_no": self.seq_no,
            "if_primary_term": self.primary_term,
        }
        if self.routing is not None:
            action["routing"] = self.routing
        return {"update": action}, {"doc": self.doc}


@dataclass(frozen=True)
class Outcome:
    """What became of one update: ``status`` is HTTP's, 409 for a document changed meanwhile, 404 for a deleted one."""

    update: Update
    status: int
    reason: str = ""


def send(client: Elasticsearch, updates: Sequence[Update]) -> list[Outcome]:
    """Sends the updates and waits for every one's outcome.

    A busy server (429, 503) and lost connections are tried again: the guard makes a repeated update harmless, since
    one that had gone through answers 409. Raises `ConnectionFailedError` when the server stays away.
    """
    outcomes: list[Outcome] = []
    pending = list(updates)
    for pause in _pauses():
        lines = [line for update in pending for line in update.operations()]
        try:
            items = client.bulk(operations=lines, source=False)["items"]
        except (TransportConnectionError, ConnectionTimeout, ApiError) as error:
            if isinstance(error, ApiError) and error.status_code not in _BUSY:
                raise
            failure: Exception | None = error
        else:
            failure, busy = None, []
            for update, item in zip(pending, items, strict=True):
                result = item["update"]
                if result["status"] in _BUSY:
                    busy.append(update)
                else:
                    outcomes.append(Outcome(update, result["status"], _reason(result.get("error"))))
            pending = busy
            if not pending:
                return outcomes
        if pause is None:
            why = failure or "it stays too busy"
            raise ConnectionFailedError(
                f"Elasticsearch took no more updates after {_ATTEMPTS} attempts ({why}); "
                "what was written stays: run the same command again to go on"
            )
        time.sleep(pause)
    return outcomes


def _pauses() -> Iterator[float | None]:
    """Seconds to wait after each attempt: doubling, with jitter so that several workers don't return together."""
    for attempt in range(_ATTEMPTS - 1):
        yield min(_LONGEST_PAUSE_S, 0.25 * 2**attempt) * random.uniform(0.7, 1.3)
    yield None


def _reason(error: dict[str, Any] | None) -> str:
    if not error:
        return ""
    cause = error.get("caused_by") or {}
    return f"{error.get('type')}: {error.get('reason')}" + (f" ({cause['reason']})" if cause.get("reason") else "")
