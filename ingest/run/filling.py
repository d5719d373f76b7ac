"""Filling vector fields: read documents that a selection names, encode what they refer to, write it back, guarded.

    PIT pages -> read and open images on threads -> encode in batches -> guarded bulk updates on a thread

and then the same for documents that changed meanwhile, until there is none. Nothing is remembered outside the index: a
run that is stopped at any point is continued by the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from crosslens import stopping
from crosslens.ingest.contract import documents
from crosslens.ingest.contract.fields import searchable_sources
from crosslens.ingest.contract.selection import failed_query, narrowed
from crosslens.ingest.contract.statistics import add_statistics
from crosslens.ingest.run.dry_run import look
from crosslens.ingest.run.encoding import Prepared
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Document, Reader
from crosslens.ingest.run.report import Failure, Report
from crosslens.ingest.run.rounds import Changes, End, repeat
from crosslens.ingest.run.run import Run
from crosslens.ingest.run.sending import Outcome, Write, Writer
from crosslens.ingest.run.tasks import Task, behind, selected, with_tasks
from crosslens.stopping import stoppable

_ROUNDS = 20


@stoppable
def fill(run: Run) -> Report:
    """Gives documents the vectors of the run's fields, which are mapped already, in use or not."""
    started = time.monotonic()
    report = Report(index=run.index, fields={each.field: each for each in run.fields})
    reader = run.reader()
    if run.options.dry_run:
        reader.refresh()
        query, _ = _to_read(run, reader, report)
        look(run, reader, query, report)
    else:
        _Filling(run, reader, report).go()
    report.seconds = time.monotonic() - started
    return report


def _to_read(run: Run, reader: Reader, report: Report) -> tuple[dict[str, Any], int]:
    """The query for the documents to look at, and their number; both go into ``report``, with earlier failures."""
    selection = run.options.selection
    query = selection.to_read(run.fields, searchable_sources(run.client, run.index, run.fields))
    count = reader.count(query)
    # Shares are equal but for chance, and only counted by reading them.
    report.todo = round(count / run.options.share.parts)
    if not (selection.failed or selection.every):
        for each in run.fields:
            earlier = reader.count(selection.narrow(failed_query(each)))
            if earlier:
                report.failed_earlier[each.field] = earlier
    return query, count


class _Filling:
    """One pass over the documents that a selection names, and passes over those that changed under it."""

    def __init__(self, run: Run, reader: Reader, report: Report):
        self._run, self._reader, self._report = run, reader, report
        self._pipeline = run.pipeline()
        # Documents of which a write came too late: what was selected of them is still to be done.
        self._conflicts: set[tuple[str, str, str | None]] = set()
        self._written = 0

    def go(self) -> None:
        selection = self._run.options.selection
        changes = Changes(self._reader)
        # What was written a moment ago counts as well.
        self._reader.refresh()
        query, count = _to_read(self._run, self._reader, self._report)
        writer = Writer(self._run.client, self._record)

        def catch_up() -> bool:
            written, self._written = self._written, 0
            since = changes.look(own=written, unfinished=bool(self._conflicts))
            if since is None:
                return False
            taken_up = self._pass(self._reader.pages(selection.narrow(since)), self._behind, writer)
            self._report.caught_up += taken_up
            return taken_up > 0

        try:
            if count:
                untouched = changes.untouched
                pages = self._reader.pages(query, reopened=lambda: narrowed(query, untouched()))
                self._pass(pages, self._selected, writer)
            # What changed in the last round is the next run's.
            self._report.still_changing = repeat(catch_up, _ROUNDS) is End.CHANGING
        except KeyboardInterrupt:
            self._report.interrupted = True
        finally:
            writer.close()
        # Asked for in the last moment, nothing was cut short, but what would follow this run mustn't.
        self._report.interrupted = self._report.interrupted or stopping.asked()
        if not self._report.interrupted:
            writer.flush()
        with stopping.shielded():
            self._reader.refresh()
            add_statistics(self._run.client, self._run.fields, self._pipeline.statistics)

    def _pass(self, pages: Iterator[list[Document]], tasks: Callable[[Document], list[Task]], writer: Writer) -> int:
        """Takes up the documents of ``pages`` that have ``tasks``; returns how many, when all is written."""
        done = 0
        for chunk in self._pipeline.run(with_tasks(self._as_now(pages), tasks)):
            writes = []
            for prepared in chunk:
                self._note(prepared)
                if prepared.states:
                    writes.append(update_of(prepared))
            writer.put(writes)
            done += len(chunk)
            self._run.report_on(self._report, len(chunk))
        writer.flush()
        return done

    def _as_now(self, pages: Iterator[list[Document]]) -> Iterator[list[Document]]:
        """The same documents; where others write to the index as well, each as it is now."""
        for page in prefetched(pages):
            yield from self._reader.again(page) if self._conflicts else [page]

    def _selected(self, document: Document) -> list[Task]:
        return selected(document, self._run.fields, self._run.options.selection)

    def _behind(self, document: Document) -> list[Task]:
        """What a document lacks that others wrote since the run began, and what was selected of it before."""
        chosen = []
        if document.key in self._conflicts:
            self._conflicts.discard(document.key)
            chosen = self._selected(document)
        named = {task.field.field for task in chosen}
        return chosen + [task for task in behind(document, self._run.fields) if task.field.field not in named]

    def _note(self, prepared: Prepared) -> None:
        for name in prepared.unchanged:
            self._report.count(self._report.unchanged, name)
        for name in prepared.truncated:
            self._report.count(self._report.truncated, name)
        for name, reason in prepared.failed:
            self._fail(Failure(prepared.document.index, prepared.document.id, name, reason))

    def _fail(self, failure: Failure) -> None:
        self._run.fail(self._report, failure)

    def _record(self, outcomes: list[Outcome]) -> None:
        """Counts what became of updates; runs on the writer's thread."""
        for outcome in outcomes:
            write = outcome.write
            if outcome.status == 409:
                self._conflicts.add((write.index, write.id, write.routing))
            elif outcome.status == 404 and "\ufffd" in write.id:
                # It was given half a surrogate pair, by which the server chose a shard, and shows another character.
                reason = "the document can't be addressed, since its id holds half a character"
                self._fail(Failure(write.index, write.id, None, reason))
            elif outcome.status == 404:
                continue
            elif outcome.status >= 300:
                self._fail(Failure(write.index, write.id, None, outcome.reason))
            else:
                self._written += 1
                self._report.count_states(write.body)


def update_of(prepared: Prepared) -> Write:
    """The guarded update that writes what was made of a document."""
    document = prepared.document
    body = documents.document_update(prepared.states, prepared.vectors, document.source)
    return Write("update", document.index, document.id, document.routing, body, guard=document.guard)
