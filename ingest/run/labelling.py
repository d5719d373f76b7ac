"""Giving documents labels, or captions, by the vectors that they have; no picture is read again.

    PIT pages with vectors -> scores in blocks -> guarded bulk updates on a thread

and the same again for documents that changed meanwhile. Each document records which label set it was given and by which
vector, so a run that is stopped at any point is continued by the next, and a document that is up to date is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from elasticsearch import ApiError, AuthorizationException

from crosslens import stopping
from crosslens.errors import MappingError
from crosslens.ingest.contract.fields import record_change
from crosslens.ingest.contract.ingest_pipeline import follow
from crosslens.ingest.contract.label_set import Found, LabelSet
from crosslens.ingest.contract.labelled import (
    STATE_PROPERTIES,
    current_query,
    due_query,
    label_sources,
    label_state,
    labelled,
    vector_identity,
    why_not,
)
from crosslens.ingest.contract.mapping import nest
from crosslens.ingest.contract.record import STATE, LabelEntry, VectorField, with_labels
from crosslens.ingest.contract.selection import Query, encoded_query
from crosslens.ingest.contract.statistics import vectors_of
from crosslens.ingest.contract.stored_labels import check_into, store_labels
from crosslens.ingest.run.label_report import LabelListener, LabelReport
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Document, Reader
from crosslens.ingest.run.report import Failure
from crosslens.ingest.run.rounds import End, repeat
from crosslens.ingest.run.run import Run
from crosslens.ingest.run.sending import Outcome, Write, Writer

_ROUNDS = 20
_LOG = logging.getLogger("crosslens")


def prepare(run: Run, mappings: Mapping[str, dict[str, Any]], each: VectorField, into: str, labels: LabelSet) -> None:
    """Maps the field that labels are written to, by the vectors in ``each``; records and stores the label set, in every
    index; and has the indices' pipelines give new documents these labels from here on."""
    entry = LabelEntry(
        labels.field, labels.kind, labels.fingerprint, len(labels.labels), labels.false_alarms, each.fingerprint
    )
    for index, mapping in mappings.items():
        properties: dict[str, Any] = {}
        lacking = check_into(index, mapping, into, labels.kind)
        if lacking is not None:
            nest(properties, into, lacking, through="properties")
        nest(properties, f"{STATE}.{into}", {"properties": STATE_PROPERTIES}, through="properties")
        try:
            run.client.indices.put_mapping(index=index, properties=properties)
        except ApiError as error:
            raise MappingError(f"index {index!r} refused the mapping of {into!r}: {error}") from error
        store_labels(run.client, index, into, labels)
        record_change(run.client, index, lambda record: with_labels(record, into, entry))
    try:
        follow(run.client, run.index, dict(mappings))
    except (AuthorizationException, MappingError) as error:
        # Labels for the documents that are there don't depend on it.
        _LOG.warning(
            "the pipeline of %s can't be changed, and gives new documents no labels, or earlier ones: %s",
            run.index,
            error,
        )


class Labelling:
    """One run over the documents of one index that lack labels, or have those of other ones or of another vector."""

    def __init__(
        self, run: Run, index: str, each: VectorField, labels: LabelSet, report: LabelReport, progress: LabelListener
    ):
        self._run, self._index, self._each, self._labels = run, index, each, labels
        self._report, self._progress = report, progress
        self._into = report.into
        self._reader = Reader(run.client, index, label_sources(each, self._into), vectors=True)
        self._conflicts = 0
        self._failed: set[tuple[str, str, str | None]] = set()
        self._taken = 0

    def go(self) -> None:
        """Labels what is due; `LabelReport.interrupted` where it was stopped."""
        self._reader.refresh()
        due = due_query(self._into, self._each, self._labels.fingerprint)
        self._report.todo += self._reader.count(due)
        self._progress(self._report)
        if self._report.dry_run:
            for page in prefetched(self._pages(due, outdated=True)):
                self._updates(page)
            return
        writer = Writer(self._run.client, self._record)
        look = True

        def once() -> bool:
            nonlocal look
            taken, self._conflicts = self._taken, 0
            for page in prefetched(self._pages(due, outdated=look)):
                writer.put(self._updates(page))
            writer.flush()
            self._reader.refresh()
            look = self._conflicts > 0
            return look or self._taken > taken

        try:
            self._report.still_changing |= repeat(once, _ROUNDS) is End.CHANGING
        except KeyboardInterrupt:
            self._report.interrupted = True
        finally:
            writer.close()
        self._report.interrupted = self._report.interrupted or stopping.asked()

    def _pages(self, due: Query, *, outdated: bool) -> Iterator[list[Document]]:
        """Documents whose labels are of this set, but of another vector than theirs; then those that are ``due``."""
        if outdated:
            yield from self._outdated()
        yield from self._reader.pages(due)

    def _outdated(self) -> Iterator[list[Document]]:
        current = {"bool": {"filter": [current_query(self._into, self._labels.fingerprint), encoded_query(self._each)]}}
        if not self._reader.count(current):
            return
        states = Reader(self._run.client, self._index, label_sources(self._each, self._into, vectors=False))
        for page in states.pages(current):
            ids = [
                document.id
                for document in page
                if label_state(document.source, self._into)["vector"] != vector_identity(document.source, self._each)
            ]
            if ids:
                yield from self._reader.pages({"ids": {"values": ids}})

    def _updates(self, page: list[Document]) -> list[Write]:
        """The writes that give a page's documents their labels; those that can't be written are noted."""
        fit: list[Document] = []
        for document in page:
            reason = why_not(document.source, self._into)
            if reason is not None:
                self._fail(document.key, reason)
            elif document.key not in self._failed:
                fit.append(document)
        writes = []
        for document, found in found_in(fit, self._each, self._labels):
            bare = found is None
            update = labelled(
                document.source,
                self._into,
                self._labels.kind,
                found or [],
                labels=None if bare else self._labels.fingerprint,
                vector=vector_identity(document.source, self._each),
            )
            writes.append(Write("update", document.index, document.id, document.routing, update, guard=document.guard))
            if self._report.dry_run:
                self._report.count([name for name, _ in found or ()])
        self._taken += len(writes)
        self._report.documents += len(fit)
        self._progress(self._report)
        return writes

    def _record(self, outcomes: list[Outcome]) -> None:
        """Counts what became of updates; runs on the writer's thread."""
        for outcome in outcomes:
            if outcome.status == 409:
                self._conflicts += 1
            elif outcome.status < 300:
                self._report.written += 1
                self._report.count(label_state(outcome.write.body, self._into).get("found") or [])
            elif outcome.status != 404:
                self._fail((outcome.write.index, outcome.write.id, outcome.write.routing), outcome.reason)

    def _fail(self, key: tuple[str, str, str | None], reason: str) -> None:
        if key not in self._failed:
            self._failed.add(key)
            self._report.fail(Failure(key[0], key[1], self._into, reason))


def found_in(
    documents: Sequence[Document], each: VectorField, labels: LabelSet, *, most: int = 1
) -> Iterator[tuple[Document, Found | None]]:
    """What documents are given, in order; None for one that has no vector."""
    vectors = [np.asarray(vectors_of(document.source, each), dtype=np.float32) for document in documents]
    some = [rows for rows in vectors if len(rows)]
    made = labels.found(some, most=most) if some else iter(())
    for document, rows in zip(documents, vectors, strict=True):
        yield document, next(made) if len(rows) else None
