"""The write path: read documents that a selection names, encode what they refer to, write it back, guarded.

    PIT pages -> read and open images on threads -> encode in batches -> guarded bulk updates on a thread

and then the same for documents that changed meanwhile, until there is none. Nothing is remembered outside the index: a
run that is stopped at any point is continued by the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from elasticsearch import Elasticsearch

from crosslens.ingest.contract import documents
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.fields import (
    agree,
    choose,
    put_fields,
    read_mappings,
    searchable_sources,
    vector_packer,
)
from crosslens.ingest.contract.record import STATE, VectorField, vector_fields
from crosslens.ingest.contract.selection import Selection, failed_query, narrowed
from crosslens.ingest.contract.statistics import note_moments
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.run.encoding import Pipeline, Prepared, Task
from crosslens.ingest.run.estimate import estimate
from crosslens.ingest.run.reading import Document, Reader, Share, prefetched
from crosslens.ingest.run.report import Failure, Listener, Report
from crosslens.ingest.run.sending import Outcome, Write, Writer
from crosslens.ingest.sources.access import ImageAccess
from crosslens.retrying import patient

_ROUNDS = 20
_FRESH_S = 3600.0


@dataclass(frozen=True)
class Options:
    """How a run goes: which documents (``selection``, ``share`` of several workers), from where images come
    (``images``), how many threads read them (``workers``, 0: as many as suit). ``dry_run`` looks and writes nothing."""

    selection: Selection = field(default_factory=Selection)
    images: ImageAccess = field(default_factory=ImageAccess)
    workers: int = 0
    share: Share = field(default_factory=Share)
    dry_run: bool = False


def add_vectors(
    client: Elasticsearch,
    index: str,
    encoder: VectorEncoder,
    targets: Sequence[Target],
    options: Options | None = None,
    *,
    progress: Listener = lambda _: None,
    failed: Callable[[Failure], None] = lambda _: None,
) -> Report:
    """Gives the documents of ``index`` (a name, alias, pattern or data stream) the vectors they lack.

    Puts the mapping first. Documents whose image can't be opened get their error recorded, and the run goes on; those
    with an empty source are recorded as skipped. A document that changes while it runs is taken up again, so that at
    the end none has a vector of an older source. ``progress`` gets the growing report after every batch, ``failed``
    each failure. On KeyboardInterrupt what is encoded is still written, and the report says ``interrupted``.

    Raises `MappingError` when index, sources or vector fields don't fit (see `check_target`), `BlockedError`
    when an index refuses writes, and `ConnectionFailedError` when the server stays away.
    """
    options, client = options or Options(), patient(client)
    mappings = read_mappings(client, index)
    fields = agree(client, index, mappings, targets, encoder)
    if not options.dry_run:
        for name in mappings:
            put_fields(client, name, fields)
    return fill(client, index, fields, Encoders([encoder]), options, progress=progress, failed=failed)


def reindex(
    client: Elasticsearch,
    index: str,
    encoders: VectorEncoder | Encoders | Sequence[VectorEncoder] | None = None,
    options: Options | None = None,
    *,
    targets: Sequence[Target] = (),
    fields: Sequence[str] | None = None,
    progress: Listener = lambda _: None,
    failed: Callable[[Failure], None] = lambda _: None,
) -> Report:
    """Brings the vector fields that ``index`` has (``fields``: only those) up to date, as ``options.selection`` says.

    ``targets`` are further fields, made by the encoder given. ``encoders`` None means the models that this machine
    remembers. Otherwise as `add_vectors`; raises `ModelError` when a field's model isn't at hand.
    """
    options, client = options or Options(), patient(client)
    mappings = read_mappings(client, index)
    used = Encoders.of(encoders)
    new = {each.field: each for each in agree(client, index, mappings, targets, used.given())} if targets else {}
    known = any(vector_fields(mapping) for mapping in mappings.values()) or not targets
    present = choose(index, mappings, fields) if known else {}
    chosen = list({**present, **new}.values())
    used.check(chosen, index)
    if not options.dry_run:
        for name in mappings:
            put_fields(client, name, chosen)
    return fill(client, index, chosen, used, options, progress=progress, failed=failed)


def fill(
    client: Elasticsearch,
    index: str,
    fields: Sequence[VectorField],
    encoders: Encoders,
    options: Options,
    *,
    progress: Listener = lambda _: None,
    failed: Callable[[Failure], None] = lambda _: None,
) -> Report:
    """As `reindex`, for ``fields`` that are mapped already, in use or not."""
    started = time.monotonic()
    report = Report(index=index, fields={each.field: each for each in fields})
    run = _Run(client, index, fields, encoders, options, report, progress, failed)
    run.go()
    report.seconds = time.monotonic() - started
    return report


def pipeline_for(
    client: Elasticsearch, index: str, fields: Sequence[VectorField], encoders: Encoders, options: Options
) -> Pipeline:
    """The pipeline whose vectors are written to ``index``."""
    selection = options.selection
    return Pipeline(
        fields,
        encoders,
        options.images.reader(),
        vector_packer(client, index),
        workers=options.workers,
        # A downloaded image passes for what its URL still holds, but where changes are asked for.
        fresh_s=0.0 if selection.contents or selection.failed or selection.every else _FRESH_S,
    )


def count_states(report: Report, fields: Sequence[VectorField], body: Mapping[str, Any]) -> None:
    """Counts in ``report`` what a document that was written says of ``fields``; failures are counted apart."""
    for each in fields:
        state = documents.state_of(body, each.path)
        if state is not None and not state.get("error"):
            report.count(report.skipped if state.get("skipped") else report.written, each.field)


def wanted_paths(fields: Sequence[VectorField]) -> list[str]:
    """What of a document's source a run reads: sources, state, and the objects that vectors lie in."""
    parents = {each.path.split(".")[0] for each in fields if "." in each.path}
    return sorted({source for each in fields for source in each.sources} | parents | {STATE})


def selected(document: Document, fields: Sequence[VectorField], selection: Selection) -> list[Task]:
    """The fields of a document that ``selection`` names."""
    tasks = []
    for each in fields:
        stands = documents.standing(document.source, each)
        if (
            # Recorded as skipped, an empty one isn't found again where a query can't tell that it has no source.
            (stands in ("missing", "empty") and (selection.missing or selection.every))
            or (stands == "stale" and (selection.stale or selection.every))
            or (selection.failed and _has_error(document, each))
            or selection.every
        ):
            tasks.append(Task(each))
        elif stands == "done" and selection.contents and each.modality == "image":
            tasks.append(Task(each, check=True))
    return tasks


class _Run:
    """One pass over the documents that a selection names, and passes over those that changed under it."""

    def __init__(
        self,
        client: Elasticsearch,
        index: str,
        fields: Sequence[VectorField],
        encoders: Encoders,
        options: Options,
        report: Report,
        progress: Listener,
        failed: Callable[[Failure], None],
    ):
        self._client, self._index, self._fields = client, index, fields
        self._options, self._report, self._progress, self._failed = options, report, progress, failed
        self._reader = Reader(client, index, wanted_paths(fields), options.share)
        self._pipeline = pipeline_for(client, index, fields, encoders, options)
        # Documents of which a write came too late: what was selected of them is still to be done.
        self._conflicts: set[tuple[str, str, str | None]] = set()
        self._written = 0

    def go(self) -> None:
        selection = self._options.selection
        # What was written a moment ago counts, too.
        self._reader.refresh()
        query = selection.to_read(self._fields, searchable_sources(self._client, self._index, self._fields))
        count = self._reader.count(query)
        # Shares are equal but for chance, and only counted by reading them.
        self._report.todo = round(count / self._options.share.parts)
        if not (selection.failed or selection.every):
            for each in self._fields:
                earlier = self._reader.count(selection.narrow(failed_query(each)))
                if earlier:
                    self._report.failed_earlier[each.field] = earlier
        if self._options.dry_run:
            self._look(query)
            return
        writer = Writer(self._client, self._record)
        try:
            marks = self._reader.marks()
            if count:
                untouched = marks.untouched_since
                pages = self._reader.pages(query, reopened=lambda: narrowed(query, untouched()))
                self._pass(pages, self._selected, writer)
            for _ in range(_ROUNDS):
                before, marks, written = marks, self._reader.marks(), self._written
                self._written = 0
                if marks.advanced_by(before) == written and not self._conflicts:
                    break
                self._reader.refresh()
                changed = self._reader.pages(selection.narrow(before.changed_since()))
                taken_up = self._pass(changed, self._behind, writer)
                self._report.caught_up += taken_up
                if not taken_up:
                    break
            else:
                # Each round is shorter than the one before; what changed in the last one is the next run's.
                self._report.still_changing = True
        except KeyboardInterrupt:
            self._report.interrupted = True
        finally:
            writer.close()
        if not self._report.interrupted:
            writer.flush()
        self._reader.refresh()
        note_moments(self._client, self._fields, self._pipeline.moments)

    def _look(self, query: dict[str, Any]) -> None:
        """Counts how documents stand and what a run would do, and estimates what it takes.

        Images are read where only their content tells.
        """
        selection, report = self._options.selection, self._report
        for page in prefetched(self._reader.pages(selection.narrow({"match_all": {}}))):
            for document in page:
                for each in self._fields:
                    stands = documents.standing(document.source, each)
                    report.count(report.stands.setdefault(each.field, {}), stands)
        to_do = report.todo
        if selection.stale or selection.contents or selection.every:
            to_do = 0
            for chunk in self._pipeline.run(self._work(self._reader.pages(query), self._selected), encode=False):
                for prepared in chunk:
                    self._note(prepared)
                    for each in self._fields:
                        if each.path in prepared.states:
                            report.count(report.written, each.field)
                to_do += sum(1 for prepared in chunk if prepared.states)
                report.documents += len(chunk)
                self._progress(report)
        sample = self._work(self._reader.pages(query), self._selected)
        report.estimate = estimate(self._pipeline, sample, self._fields, to_do)

    def _pass(self, pages: Iterator[list[Document]], tasks: Callable[[Document], list[Task]], writer: Writer) -> int:
        """Takes up the documents of ``pages`` that have ``tasks``; returns how many, when all is written."""
        done = 0
        for chunk in self._pipeline.run(self._work(pages, tasks)):
            writes = []
            for prepared in chunk:
                self._note(prepared)
                if prepared.states:
                    writes.append(_update(prepared))
            writer.put(writes)
            done += len(chunk)
            self._report.documents += len(chunk)
            self._progress(self._report)
        writer.flush()
        return done

    def _work(
        self, pages: Iterator[list[Document]], tasks: Callable[[Document], list[Task]]
    ) -> Iterator[tuple[Document, list[Task]]]:
        """Documents with their tasks; where others write to the index too, each as it is now."""
        for page in prefetched(pages):
            found: Iterator[list[Document]] = self._reader.again(page) if self._conflicts else iter([page])
            for document in (each for part in found for each in part):
                todo = tasks(document)
                if todo:
                    yield document, todo

    def _selected(self, document: Document) -> list[Task]:
        return selected(document, self._fields, self._options.selection)

    def _behind(self, document: Document) -> list[Task]:
        """The fields of a document, written by others since the run began, that its vectors are behind in."""
        if document.key in self._conflicts:
            self._conflicts.discard(document.key)
            chosen = self._selected(document)
        else:
            chosen = []
        named = {task.field.field for task in chosen}
        late = [each for each in self._fields if documents.standing(document.source, each) in ("missing", "stale")]
        return chosen + [Task(each) for each in late if each.field not in named]

    def _note(self, prepared: Prepared) -> None:
        for name in prepared.unchanged:
            self._report.count(self._report.unchanged, name)
        for name in prepared.truncated:
            self._report.count(self._report.truncated, name)
        for name, reason in prepared.failed:
            self._fail(Failure(prepared.document.index, prepared.document.id, name, reason))

    def _fail(self, failure: Failure) -> None:
        self._report.fail(failure)
        self._failed(failure)

    def _record(self, outcomes: list[Outcome]) -> None:
        """Counts what became of updates; runs on the writer's thread."""
        for outcome in outcomes:
            write = outcome.write
            if outcome.status == 409:
                self._conflicts.add((write.index, write.id, write.routing))
            elif outcome.status == 404:
                continue
            elif outcome.status >= 300:
                self._fail(Failure(write.index, write.id, None, outcome.reason))
            else:
                self._written += 1
                count_states(self._report, self._fields, write.body)


def _update(prepared: Prepared) -> Write:
    document = prepared.document
    body = documents.document_update(prepared.states, prepared.vectors, document.source)
    return Write("update", document.index, document.id, document.routing, body, guard=document.guard)


def _has_error(document: Document, each: VectorField) -> bool:
    return bool((documents.state_of(document.source, each.path) or {}).get("error"))
