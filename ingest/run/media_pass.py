"""Sound and footage of documents to vectors, which are written in pieces while a file is being encoded.

    documents -> files, opened and cut ahead -> frames and sound, decoded ahead -> vectors -> guarded updates

A piece holds all moments planned so far, some still without vector, and the state says that the document is unfinished:
whoever goes on after a kill makes only the vectors that are lacking.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from crosslens import stopping
from crosslens.errors import MediaError
from crosslens.ingest.contract import documents
from crosslens.ingest.contract.encoders import VectorEncoder
from crosslens.ingest.contract.gathering import Gathering
from crosslens.ingest.contract.record import STATE, VectorField
from crosslens.ingest.contract.settings import vector_packer
from crosslens.ingest.contract.statistics import CorpusStatistics
from crosslens.ingest.model.transform import Float32Array
from crosslens.ingest.run.media_files import Files, Opened, closing, lacking
from crosslens.ingest.run.media_vectors import moment_vectors
from crosslens.ingest.run.media_work import FieldWork, SourceWork, refused
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Document, Reader
from crosslens.ingest.run.report import Failure, Report
from crosslens.ingest.run.run import Run
from crosslens.ingest.run.sending import send
from crosslens.ingest.run.tasks import Task, still_wanted
from crosslens.ingest.run.wanted import Wanted
from crosslens.ingest.sources.access import ImageAccess
from crosslens.ingest.sources.media import MediaReader

# At most so much encoding is lost by a kill; a piece rewrites the document, all its moments with it.
PIECE_S = 20.0
# The server says at once whether it takes so many moments, before they are encoded.
_MANY = 500
_AHEAD = 1
_TRIES = 20
_PAGE = 50


@dataclass
class MediaPass:
    """Encodes the sound and footage of documents; ``written`` counts the updates that applied."""

    run: Run
    report: Report
    written: int = 0

    def __post_init__(self) -> None:
        fields = [each for each in self.run.fields if each.moments]
        self._fields = {each.path: each for each in fields}
        self._encoders: dict[str, VectorEncoder] = {}
        self._gathered: dict[tuple[str, str], Gathering] = {}
        self._now = Reader(self.run.client, self.run.index, self.run.wanted)
        self._whole = Reader(self.run.client, self.run.index, None)

    @property
    def statistics(self) -> dict[tuple[str, str], CorpusStatistics]:
        """The corpus statistics of all vectors made so far, by index and the field's path."""
        return {key: gathered.statistics() for key, gathered in self._gathered.items()}

    def encode(self, wanted: Sequence[Wanted]) -> None:
        """Gives documents the vectors of their moments. What is encoded when it is stopped is written."""
        if not wanted:
            return
        self._encoders = {path: self.run.encoders.for_field(each) for path, each in self._fields.items()}
        self._pack = vector_packer(self.run.client, self.run.index)
        alone = {each.document.key for each in wanted if each.alone}
        with closing(Files(self._encoders, self._readers(), self.run.options.media)) as files:
            work: SourceWork | None = None
            try:
                for opened in prefetched(files.of(self._documents(wanted)), _AHEAD):
                    if work is None or opened.position <= 0:
                        work = SourceWork(opened)
                    self._encode(work, opened)
                    files.done_with(opened)
                    if opened.last:
                        work = None
                        self.run.report_on(self.report, 1 if opened.document.key in alone else 0)
            except KeyboardInterrupt:
                with stopping.shielded():
                    if work is not None:
                        self._put(work, work.begun, ended=False)
                raise

    def _readers(self) -> dict[str, MediaReader]:
        access: Mapping[str, ImageAccess] = self.run.access
        fields = self._fields.values()
        return {each.field: MediaReader(access.get(each.field, self.run.options.images)) for each in fields}

    def _documents(self, wanted: Sequence[Wanted]) -> Iterator[tuple[Document, Document, Sequence[Task]]]:
        """The documents as they are now, with what is still to be done; and, where a part is done, with their vectors.

        No point in time is held open, since one document may take hours.
        """
        for start in range(0, len(wanted), _PAGE):
            page = {each.document.key: each for each in wanted[start : start + _PAGE]}
            for key in list(page):
                for document in self._one(self._now, page[key].document):
                    tasks = still_wanted(document, page[key].tasks, self.run.options.selection)
                    begun = any(documents.state_of(document.source, task.field.path) for task in tasks)
                    for whole in self._one(self._whole, document) if begun else [document]:
                        if tasks:
                            yield document, whole, tasks

    def _one(self, reader: Reader, document: Document) -> list[Document]:
        return [found for page in reader.again([document]) for found in page]

    def _encode(self, work: SourceWork, opened: Opened) -> None:
        """Makes what one file lacks for every field, and writes it: in pieces, and at the last file all."""
        if opened.position >= 0:
            work.take(opened)
        fields = list(work.fields.values())
        if not work.blocked:
            self._plan(work, fields, opened)
            for each in fields:
                self._make(work, each, opened)
        if opened.last:
            self._end(work, fields)

    def _plan(self, work: SourceWork, fields: Sequence[FieldWork], opened: Opened) -> None:
        """Stores many moments before they are encoded: whether the index takes them is known then."""
        many = [each for each in fields if len(lacking(each.moments)) >= _MANY]
        if many and opened.media is not None:
            self._put(work, many, ended=False)

    def _make(self, work: SourceWork, each: FieldWork, opened: Opened) -> None:
        here = each.task.field
        moments = opened.moments.get(here.path, [])
        todo = lacking(moments)
        self._count(self.report.kept, here, len(moments) - len(todo))
        encoder = self._encoders[here.path]
        if here.part == "captions" and todo:
            each.cut = max(each.cut, *encoder.lost([moment.text or "" for moment in todo]))
        if here.path in work.given_up:
            return
        try:
            for batch, vectors in moment_vectors(here, encoder, opened.media, todo):
                for moment, vector in zip(batch, vectors, strict=True):
                    moment.vector = vector
                each.made += len(batch)
                self._gather(here, work.document.index, vectors)
                self._count(self.report.moments, here, len(batch))
                self.run.report_on(self.report, 0)
                stopping.check()
                if time.monotonic() - work.since >= PIECE_S and not self._put(work, work.begun, ended=False):
                    return
        except MediaError as error:
            each.wrong.append(f"[{opened.position}] {error}" if len(work.values) > 1 else str(error))
        # What the file holds nothing of has no vector to come.
        each.moments = [m for m in each.moments if m.vector is not None or m.position != opened.position]

    def _end(self, work: SourceWork, fields: Sequence[FieldWork]) -> None:
        ended = []
        for each in fields:
            here = each.task.field
            if here.path in work.given_up:
                continue
            if documents.obstacle(work.document.source, f"{STATE}.{here.path}") is not None:
                self._fail(work.document, here, f"the document's own {STATE!r} field is in the way")
                continue
            if work.unchanged(each):
                self.report.count(self.report.unchanged, here.field)
                continue
            reason = each.state(work.document, work.values, ended=True).error
            if reason is not None:
                self._fail(work.document, here, reason)
            if not work.stays(each):
                ended.append(each)
        self._put(work, ended, ended=True)

    def _put(self, work: SourceWork, fields: Sequence[FieldWork], *, ended: bool) -> bool:
        """Writes what there is of some fields. A document that changed meanwhile is written nevertheless, if it still
        refers to the same files. False where there is nothing to go on with."""
        fields = [each for each in fields if each.task.field.path not in work.given_up]
        if not fields:
            return True
        for _ in range(_TRIES):
            outcome = send(self.run.client, [(write := work.write(fields, self._pack, ended=ended), write.lines())])[0]
            if outcome.status < 300:
                self.written += 1
                self.report.count_states(write.body)
                work.applied(write, outcome.guard)
                return True
            if outcome.status == 404:
                break
            if outcome.status != 409:
                self._refused(work, fields, outcome.reason)
                return False
            now = self._one(self._now, work.document)
            if not now or not work.same_source(now[0]):
                # What refers to other files now is taken up again as any document that changed.
                break
            work.document = now[0]
        work.given_up |= {each.task.field.path for each in fields}
        return False

    def _refused(self, work: SourceWork, fields: Sequence[FieldWork], reason: str) -> None:
        """Records that the index doesn't take so many moments, or so large a document."""
        for each in fields:
            here = each.task.field
            said = refused(here, len(each.moments), reason)
            each.wrong, each.moments = [said], []
            work.given_up.add(here.path)
            self._fail(work.document, here, said)
            write = work.write([each], self._pack, ended=True)
            if send(self.run.client, [(write, write.lines())])[0].status < 300:
                self.written += 1

    def _gather(self, each: VectorField, index: str, vectors: Float32Array) -> None:
        self._gathered.setdefault((index, each.path), Gathering(vectors.shape[1])).add(vectors)

    def _count(self, counts: dict[str, int], each: VectorField, more: int) -> None:
        if more:
            counts[each.field] = counts.get(each.field, 0) + more

    def _fail(self, document: Document, each: VectorField, reason: str) -> None:
        self.run.fail(self.report, Failure(document.index, document.id, each.field, reason))
