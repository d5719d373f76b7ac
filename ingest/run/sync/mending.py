"""What is done to a portion of an index's documents: make what each lacks, write it guarded, note what became of it."""

from __future__ import annotations

import logging
import random
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from crosslens.ingest.contract import documents
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.contract.statistics import add_statistics
from crosslens.ingest.run.encoding import Prepared
from crosslens.ingest.run.filling import update_of
from crosslens.ingest.run.reading import Document, Reader
from crosslens.ingest.run.run import Run
from crosslens.ingest.run.sending import Outcome, Write, send
from crosslens.ingest.run.sync.pacing import Key, Retries
from crosslens.ingest.run.tasks import Task, behind
from crosslens.ingest.run.throttle import Throttle

_LOG = logging.getLogger("crosslens")
_CONTESTED_S = 60.0
_FEWEST = 4
_LOGGED_FAILURES = 10
# Of this process alone: in what order documents are taken that another follower may be at as well.
_OWN = random.randbytes(8)

Choose = Callable[[Document], list[Task]]


@dataclass
class Tally:
    """What was done to an index since the process began: ``vectors`` by field and outcome, and documents."""

    vectors: Counter[tuple[str, str]] = field(default_factory=Counter)
    read: int = 0
    written: int = 0
    conflicts: int = 0
    encoding_s: float = 0.0


class Mending:
    """Brings documents of one index up to date, and plans to try again what failed (``retries``)."""

    def __init__(self, run: Run, reader: Reader, retries: Retries, tally: Tally):
        self.run, self.retries, self.tally = run, retries, tally
        self._reader = reader
        again = replace(run, options=replace(run.options, selection=Selection(failed=True)))
        self._pipelines = {False: run.pipeline(only_new=True), True: again.pipeline(only_new=True)}
        self._throttle = Throttle()
        self._contested = float("-inf")
        self._refused: set[Key] = set()
        self._own_writes = self._logged = 0

    @property
    def incomplete(self) -> bool:
        """Whether there are documents that the index refused to take, which nothing in it shows."""
        return bool(self._refused) or self.retries.overflowed

    def taken_own_writes(self) -> int:
        """How many operations its own writes were since this was last called."""
        count, self._own_writes = self._own_writes, 0
        return count

    def store_statistics(self) -> None:
        """Store the corpus statistics of the vectors made since this was last called."""
        self._logged = 0
        for pipeline in self._pipelines.values():
            add_statistics(self.run.client, self.run.fields, pipeline.take_statistics())

    def do(self, page: Sequence[Document], choose: Choose, now: float, *, anew: bool = False) -> None:
        """Make and write what ``choose`` says of each document; with ``anew`` images behind URLs are fetched again."""
        pipeline = self._pipelines[anew]
        self.tally.read += len(page)
        for part in self._parts(page, choose, now):
            before = pipeline.encoding_s
            for chunk in pipeline.run(part):
                self._send([prepared for prepared in chunk if self._note(prepared, now)], now)
            self.tally.encoding_s += pipeline.encoding_s - before

    def _parts(
        self, page: Sequence[Document], choose: Choose, now: float
    ) -> Iterable[list[tuple[Document, list[Task]]]]:
        """The documents that something is to be done to, with it.

        Where another follower is at work they come in parts, in this one's own order, and each part as it is by then:
        so both do a half.
        """
        work = self._chosen(page, choose, now)
        if len(work) <= _FEWEST or now - self._contested > _CONTESTED_S:
            if work:
                yield work
            return
        work.sort(key=lambda each: zlib.crc32(_OWN + each[0].id.encode("utf-8", "surrogatepass")))
        size = max(_FEWEST, len(work) // 8)
        for start in range(0, len(work), size):
            part = work[start : start + size]
            if start:
                now_there = [d for some in self._reader.again([document for document, _ in part]) for d in some]
                part = self._chosen(now_there, choose, now)
            if part:
                yield part

    def _chosen(self, page: Sequence[Document], choose: Choose, now: float) -> list[tuple[Document, list[Task]]]:
        work = []
        for document in page:
            key = (document.id, document.routing)
            tasks = choose(document)
            if tasks:
                work.append((document, tasks))
            elif self._failed(document):
                self.retries.failed(key, now)
            else:
                self.retries.mended(key)
                self._refused.discard(key)
        return work

    def behind(self, document: Document) -> list[Task]:
        """What a document lacks, or has of an older source or model."""
        return behind(document, self.run.fields)

    def behind_or_failed(self, document: Document) -> list[Task]:
        """The same, and what failed."""
        return self.behind(document) + self._failed(document)

    def _failed(self, document: Document) -> list[Task]:
        return [Task(each) for each in self.run.fields if documents.standing(document.source, each) == "failed"]

    def _note(self, prepared: Prepared, now: float) -> bool:
        """Count what was made of a document; returns whether it is to be written."""
        document, vectors = prepared.document, self.tally.vectors
        for name in prepared.unchanged:
            vectors[name, "unchanged"] += 1
        for name, reason in prepared.failed:
            vectors[name, "failed"] += 1
            self._say_failed(document.id, name, reason)
        if prepared.failed:
            self.retries.failed((document.id, document.routing), now)
        # A failure for the same reason as before is in the document already.
        return any(_stored(document, path) != state.as_source() for path, state in prepared.states.items())

    def _send(self, made: list[Prepared], now: float) -> None:
        before = {(prepared.document.id, prepared.document.routing): prepared.document for prepared in made}
        writes = [update_of(prepared) for prepared in made]
        lines = [(write, write.lines()) for write in writes]
        while lines:
            size, count = 0, 0
            while count < len(lines) and size < self._throttle.limit:
                size += len(lines[count][1])
                count += 1
            for outcome in send(self.run.client, lines[:count], self._throttle):
                self._record(outcome, before[outcome.write.id, outcome.write.routing], now)
            lines = lines[count:]

    def _record(self, outcome: Outcome, before: Document, now: float) -> None:
        key = (before.id, before.routing)
        if outcome.status < 300:
            self._own_writes += 1
            self.tally.written += 1
            self._refused.discard(key)
            self._count_states(outcome.write, before)
        elif outcome.status == 409:
            # It was written meanwhile, by which it has a number that a later look finds.
            self.tally.conflicts += 1
            self._contested = now
        elif outcome.status != 404 or "\ufffd" in before.id:
            # An id that was given half a character shows another one, by which no document is found.
            reason = outcome.reason or "the document can't be addressed, since its id holds half a character"
            self.tally.vectors["", "refused"] += 1
            self._refused.add(key)
            self.retries.failed(key, now)
            self._say_failed(before.id, None, reason)

    def _count_states(self, write: Write, before: Document) -> None:
        failed = False
        for each in self.run.fields:
            state = documents.state_of(write.body, each.path)
            if state is None:
                failed = failed or documents.standing(before.source, each) == "failed"
            elif state.get("error"):
                failed = True
            else:
                self.tally.vectors[each.field, "skipped" if state.get("skipped") else "encoded"] += 1
        if not failed:
            self.retries.mended((before.id, before.routing))

    def _say_failed(self, id: str, name: str | None, reason: str) -> None:
        self._logged += 1
        if self._logged <= _LOGGED_FAILURES:
            fields = {"index": self.run.index, "id": id, "field": name, "reason": reason}
            _LOG.warning("%s/%s: %s", self.run.index, id, reason, extra={"fields": fields})


def _stored(document: Document, path: str) -> dict[str, object]:
    """The state that a document keeps, without what it says is null."""
    return {
        name: value for name, value in (documents.state_of(document.source, path) or {}).items() if value is not None
    }
