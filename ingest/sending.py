"""Sending requests that may be sent again, with growing pauses, and guarded bulk updates among them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from elastic_transport import ConnectionError as TransportConnectionError
from elasticsearch import ApiError, ConnectionTimeout, Elasticsearch

from crosslens.errors import ConnectionFailedError

_T = TypeVar("_T")
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

    def attempt() -> None:
        nonlocal pending
        lines = [line for update in pending for line in update.operations()]
        busy = []
        for update, item in zip(pending, client.bulk(operations=lines, source=False)["items"], strict=True):
            result = item["update"]
            if result["status"] in _BUSY:
                busy.append(update)
            else:
                outcomes.append(Outcome(update, result["status"], _reason(result.get("error"))))
        pending = busy
        if pending:
            raise _StillBusyError

    patiently(attempt)
    return outcomes


class _StillBusyError(Exception):
    """Some updates of a request were turned away for now."""

    def __str__(self) -> str:
        return "it stays too busy"


def patiently(request: Callable[[], _T]) -> _T:
    """The answer to ``request``, made again with growing pauses while the server is busy or can't be reached.

    For requests that may be made twice. Raises `ConnectionFailedError` after about half a minute of pauses.
    """
    for pause in _pauses():
        try:
            return request()
        except (TransportConnectionError, ConnectionTimeout, ApiError, _StillBusyError) as error:
            if isinstance(error, ApiError) and error.status_code not in _BUSY:
                raise
            if pause is None:
                raise ConnectionFailedError(
                    f"Elasticsearch gave no answer in {_ATTEMPTS} attempts ({error}); "
                    "what was written stays: run the same command again to go on"
                ) from error
            time.sleep(pause)
    raise AssertionError("the last pause is None")


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
