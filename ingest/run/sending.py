"""Sending requests that may be sent again, with growing pauses, and guarded bulk writes among them."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_transport import ConnectionError as TransportConnectionError
from elasticsearch import Elasticsearch

from crosslens.errors import BlockedError
from crosslens.ingest.run.throttle import Throttle
from crosslens.retrying import BUSY, GO_ON, StillBusyError, impatient, patiently


@dataclass(frozen=True)
class Guard:
    """The document as it was read: a write applies only if it is still that."""

    seq_no: int
    primary_term: int


@dataclass(frozen=True)
class Write:
    """One document to write.

    ``kind`` "update" merges ``body``, "index" replaces the document by it, "create" only makes a new one, "delete"
    needs no body. ``version`` is an external version: the write applies unless the document has a higher one.
    """

    kind: str
    index: str
    id: str
    routing: str | None
    body: dict[str, Any]
    guard: Guard | None = None
    version: int | None = None

    def lines(self) -> bytes:
        """The lines of a bulk request, each with its line feed."""
        action: dict[str, Any] = {"_index": self.index, "_id": self.id}
        if self.routing is not None:
            action["routing"] = self.routing
        if self.guard is not None:
            action |= {"if_seq_no": self.guard.seq_no, "if_primary_term": self.guard.primary_term}
        if self.version is not None:
            action |= {"version": self.version, "version_type": "external_gte"}
        lines = _json({self.kind: action})
        if self.kind != "delete":
            lines += _json({"doc": self.body} if self.kind == "update" else self.body)
        return lines


def _json(value: object) -> bytes:
    # Documents can hold lone surrogates; the server reads them as it wrote them.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"


@dataclass(frozen=True)
class Outcome:
    """What became of one write: ``status`` is HTTP's, 409 for a document changed meanwhile, 404 for a deleted one.

    ``guard`` is the document as it is now, where the write applied."""

    write: Write
    status: int
    reason: str = ""
    guard: Guard | None = None


def send(
    client: Elasticsearch, writes: Sequence[tuple[Write, bytes]], throttle: Throttle | None = None
) -> list[Outcome]:
    """Sends writes with their lines, and waits for every one's outcome; no ingest pipeline of the index is run.

    Whether or not ``client`` is patient: a server can turn away a part of a bulk request, and only that is sent again.
    A busy server (429, 503) and lost connections are tried again: a guard makes a repeated write harmless, since one
    that had gone through answers 409. Raises `BlockedError` when an index refuses writes, `ConnectionFailedError` when
    the server stays away or busy.
    """
    throttle, client = throttle or Throttle(), impatient(client)
    outcomes: list[Outcome] = []
    pending = list(writes)

    def attempt() -> None:
        nonlocal pending
        payload = [lines for _, lines in pending]
        started = time.monotonic()
        operations: Any = [b"".join(payload)]
        answer = client.bulk(operations=operations, source=False, pipeline="_none").body
        if not answer:
            raise TransportConnectionError("the answer was cut short")
        items = answer["items"]
        rest = throttle.answered(sum(map(len, payload)), time.monotonic() - started)
        busy, why = [], ""
        for entry, item in zip(pending, items, strict=True):
            result = next(iter(item.values()))
            error = result.get("error") or {}
            if result["status"] in BUSY:
                busy.append(entry)
                why = _reason(error)
            elif error.get("type") == "cluster_block_exception":
                raise BlockedError(_reason(error), hint=f"lift the block, then go on; {GO_ON}")
            else:
                outcomes.append(Outcome(entry[0], result["status"], _reason(error), _guard(result)))
        pending = busy
        if pending:
            raise StillBusyError(why)
        time.sleep(rest)

    patiently(attempt, refused=throttle.refused)
    return outcomes


def _guard(result: dict[str, Any]) -> Guard | None:
    return Guard(result["_seq_no"], result["_primary_term"]) if "_seq_no" in result else None


def _reason(error: dict[str, Any]) -> str:
    if not error:
        return ""
    cause = error.get("caused_by") or {}
    return f"{error.get('type')}: {error.get('reason')}" + (f" ({cause['reason']})" if cause.get("reason") else "")


class Writer:
    """Sends writes on its own thread, in requests of as many bytes as the server takes well.

    ``done`` is called on that thread with the outcomes of each request. A failure there is raised at the next call of
    `put` or `flush`.
    """

    def __init__(self, client: Elasticsearch, done: Callable[[list[Outcome]], None]):
        self._client, self._done = client, done
        self._throttle = Throttle()
        self._queue: queue.Queue[list[Write] | None] = queue.Queue(maxsize=4)
        self._idle = threading.Condition()
        self._waiting = 0
        self._flushing = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="crosslens-writer", daemon=True)
        self._thread.start()

    def put(self, writes: list[Write]) -> None:
        """Hands writes over; waits while the server is behind."""
        self._check()
        if writes:
            with self._idle:
                self._waiting += len(writes)
            self._queue.put(writes)

    def flush(self) -> None:
        """Returns when everything handed over is written."""
        with self._idle:
            self._flushing = True
        self._queue.put([])
        with self._idle:
            self._idle.wait_for(lambda: self._waiting == 0 or self._error is not None)
            self._flushing = False
        self._check()

    def close(self) -> None:
        """Writes what was handed over, and ends the thread; what goes wrong is raised by `flush` only."""
        with self._idle:
            self._flushing = True
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        gathered: list[tuple[Write, bytes]] = []
        size = 0
        more = True
        while more:
            writes = self._queue.get()
            more = writes is not None
            if self._error is not None:
                continue
            try:
                for write in writes or ():
                    lines = write.lines()
                    gathered.append((write, lines))
                    size += len(lines)
                    if size >= self._throttle.limit:
                        self._send(gathered)
                        gathered, size = [], 0
                # A server that keeps up gets what there is at once; only one that is behind gets larger requests.
                if gathered and (self._queue.empty() or self._flushing):
                    self._send(gathered)
                    gathered, size = [], 0
            except BaseException as error:  # noqa: BLE001 - raised again on the thread that uses the writer
                with self._idle:
                    self._error = error
                    self._idle.notify_all()

    def _send(self, writes: list[tuple[Write, bytes]]) -> None:
        self._done(send(self._client, writes, self._throttle))
        with self._idle:
            self._waiting -= len(writes)
            self._idle.notify_all()

    def _check(self) -> None:
        with self._idle:
            if self._error is not None:
                raise self._error
