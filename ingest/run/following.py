"""Keeping a copy like its original: what isn't copied yet, what changes meanwhile, and what is deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from crosslens.errors import MigrationError
from crosslens.ingest.contract import documents
from crosslens.ingest.contract.record import STATE, VectorField, own_paths
from crosslens.ingest.contract.statistics import add_statistics
from crosslens.ingest.run.encoding import Prepared
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Document, Reader
from crosslens.ingest.run.report import CopyReport, Failure
from crosslens.ingest.run.rounds import Changes, End, repeat
from crosslens.ingest.run.run import Run
from crosslens.ingest.run.sending import Outcome, Write, Writer
from crosslens.ingest.run.tasks import Task, selected

_ROUNDS = 50
_SHORT_ROUND_S = 1.0


class Follower:
    """Copies the run's index into ``into``, and follows it. With ``compare``, ``into`` has documents already."""

    def __init__(self, run: Run, into: str, report: CopyReport, *, compare: bool):
        self.run, self.into, self.report = run, into, report
        # Sound and footage take too long to be encoded on the way: the copy takes over what there is, and is filled.
        self._plain = [each for each in run.fields if not each.moments]
        self._moments = [each for each in run.fields if each.moments]
        # Whatever is copied is written anyway: so what is behind is brought up to date with it.
        self._selection = replace(run.options.selection, missing=True, stale=True, query=None)
        self._own = own_paths(run.client.indices.get_mapping(index=into)[into]["mappings"])
        self._original = Reader(run.client, run.index, None)
        # Of the copy only the sources and the states are compared.
        self._copied = Reader(run.client, into, None, left_out=[path for path in self._own if path != STATE])
        self._pipeline = replace(run, index=into).pipeline()
        self._writer = Writer(run.client, self._record)
        self._compare = compare
        self._conflicts: set[tuple[str, str | None]] = set()

    def follow(self) -> None:
        """Copies what isn't copied yet, and what changes meanwhile, until little does. Deleted documents go as well.

        Raises `MigrationError` when the original changes faster than it can be copied.
        """
        self._changes = Changes(self._original)
        self._original.refresh()
        self._pass(self._original.pages({"match_all": {}}))
        self.catch_up()

    def catch_up(self, *, to_the_end: bool = False) -> None:
        """Copies what changed since the last look, until nothing does, or, unless ``to_the_end``, until little does."""
        self._compare = True
        if repeat(self._round, _ROUNDS, short_s=0.0 if to_the_end else _SHORT_ROUND_S) is End.CHANGING:
            raise MigrationError(
                f"index {self.run.index!r} changes faster than it can be copied", hint="try when it is quieter"
            )
        self._settle()

    def _round(self) -> bool:
        since = self._changes.look(unfinished=bool(self._conflicts))
        changed = since is not None and self._pass(self._original.pages(since)) > 0
        self.report.still_changing = changed
        return changed

    def _settle(self) -> None:
        """Delete what the original no longer has, and count the documents of both."""
        self._original.refresh()
        self._copied.refresh()
        everything: dict[str, Any] = {"match_all": {}}
        if self._copied.count(everything) > self._original.count(everything):
            for page in self._copied.pages(everything):
                asked = [replace(document, index=self.run.index) for document in page]
                there = {(d.id, d.routing) for part in self._original.again(asked) for d in part}
                gone = [d for d in page if (d.id, d.routing) not in there]
                self._writer.put([Write("delete", self.into, d.id, d.routing, {}, guard=d.guard) for d in gone])
                self.report.deleted += len(gone)
            self._writer.flush()
            self._copied.refresh()
        self.report.count_before = self._original.count(everything)
        self.report.count_after = self._copied.count(everything)

    def add_statistics(self) -> None:
        """Stores the corpus statistics of the vectors made for the copy; those that were copied, `calibrate` reads."""
        gathered = {(self.into, path): each for (_, path), each in self._pipeline.statistics.items()}
        add_statistics(self.run.client, self.run.fields, gathered)

    def close(self) -> None:
        """Writes what was handed over, and ends the writer."""
        self._writer.close()

    def _pass(self, pages: Iterator[list[Document]]) -> int:
        done = 0
        for chunk in self._pipeline.run(self._work(pages)):
            self._writer.put([self._write(prepared) for prepared in chunk])
            for prepared in chunk:
                for name in prepared.truncated:
                    self.report.count(self.report.truncated, name)
                for name, reason in prepared.failed:
                    self._fail(Failure(self.into, prepared.document.id, name, reason))
            done += len(chunk)
            self.run.report_on(self.report, len(chunk))
        self._writer.flush()
        return done

    def _work(self, pages: Iterator[list[Document]]) -> Iterator[tuple[Document, list[Task]]]:
        """The original's documents that the copy lacks or has otherwise, with the fields to encode for it."""
        for page in prefetched(pages):
            present: dict[tuple[str, str | None], Document] = {}
            if self._compare:
                asked = [replace(document, index=self.into) for document in page]
                present = {(d.id, d.routing): d for part in self._copied.again(asked) for d in part}
            for document in page:
                copy = present.get((document.id, document.routing))
                if copy is not None and self._like(document, copy):
                    continue
                if copy is not None and self._ahead(document, copy):
                    # The copy is of a higher version than the original: of an earlier document of that id, or written
                    # to as its sound or footage was encoded.
                    document = replace(document, version=-1, guard=copy.guard)
                self._conflicts.discard((document.id, document.routing))
                yield document, selected(document, self._plain, self._selection)

    def _ahead(self, document: Document, copy: Document) -> bool:
        conflicting = (document.id, document.routing) in self._conflicts
        return conflicting or (bool(self._moments) and copy.version > document.version)

    def _like(self, document: Document, copy: Document) -> bool:
        """Whether the copy is of the document as it is, vectors apart, and each vector of its present source."""
        if documents.without(document.source, self._own) != documents.without(copy.source, self._own):
            return False
        stands = {documents.standing(copy.source, each) for each in self._plain}
        return not stands & {"missing", "stale"}

    def _write(self, prepared: Prepared) -> Write:
        document = prepared.document
        # The copy's mapping has no room for moments of another model's dims.
        others = [e.path for e in self._moments if _model(document, e) not in (None, e.fingerprint)]
        source = documents.without(document.source, [*others, *(f"{STATE}.{path}" for path in others)])
        body = documents.with_vectors(source, prepared.states, prepared.vectors) if prepared.states else source
        if document.version < 0:
            return Write("index", self.into, document.id, document.routing, body, guard=document.guard)
        return Write("index", self.into, document.id, document.routing, body, version=document.version)

    def _record(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            write = outcome.write
            if write.kind == "delete":
                continue
            if outcome.status == 409:
                self._conflicts.add((write.id, write.routing))
            elif outcome.status >= 300:
                self._fail(Failure(self.into, write.id, None, outcome.reason))
            else:
                self.report.copied += 1
                self.report.count_states(write.body)

    def _fail(self, failure: Failure) -> None:
        self.run.fail(self.report, failure)


def _model(document: Document, each: VectorField) -> str | None:
    return (documents.state_of(document.source, each.path) or {}).get("model")
