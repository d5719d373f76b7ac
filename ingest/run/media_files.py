"""The sounds and videos that documents refer to, opened ahead: what each holds, and how it is cut into moments."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from crosslens.errors import MediaError
from crosslens.ingest.contract import documents
from crosslens.ingest.contract.encoders import VectorEncoder
from crosslens.ingest.contract.moments import StoredMoment, stored_moments, windows, words_by_moment
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.run.reading import Document
from crosslens.ingest.run.tasks import Task
from crosslens.ingest.sources.access import shown
from crosslens.ingest.sources.decoding.shapes import Cue, Cutting, MediaInfo, MediaLimits, Moment
from crosslens.ingest.sources.media import Media, MediaFile, MediaReader, open_media, read_captions


@dataclass
class Opened:
    """The file at ``position`` of the ``values`` of one source of a document, opened for ``tasks`` of that source.

    ``moments`` are planned by the field's path, with the vectors that the document has already; for a field that the
    file has nothing for, ``nothing`` says why. ``media`` is None where no vector is lacking, or for an ``error``.
    ``position`` -1 stands for a source without values.
    """

    document: Document
    tasks: Sequence[Task]
    values: Sequence[str]
    position: int = -1
    content: str | None = None
    media: Media | None = None
    moments: dict[str, list[StoredMoment]] = field(default_factory=dict)
    nothing: dict[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def last(self) -> bool:
        """Whether it is the last file of its source in this document."""
        return self.position == len(self.values) - 1


class Files:
    """Opens documents' files one after the other, each by its field's reader; closes what nobody takes any more."""

    def __init__(
        self,
        encoders: Mapping[str, VectorEncoder],
        readers: Mapping[str, MediaReader],
        limits: MediaLimits | None = None,
    ):
        """``encoders`` by the field's path, ``readers`` by the field."""
        self._encoders, self._readers, self._limits = encoders, readers, limits or MediaLimits()
        self._open: list[Media] = []

    def of(self, work: Iterable[tuple[Document, Document, Sequence[Task]]]) -> Iterator[Opened]:
        """The files of documents. Each comes with itself as it stands with its vectors (or again, where it has none),
        and the fields to make."""
        for document, whole, tasks in work:
            for source in dict.fromkeys(task.field.sources for task in tasks):
                yield from self._files(document, whole, [task for task in tasks if task.field.sources == source])

    def close(self) -> None:
        """Close every file that is still open."""
        for media in self._open:
            media.close()
        self._open.clear()

    def done_with(self, opened: Opened) -> None:
        """Close a file whose moments are made."""
        if opened.media is not None:
            opened.media.close()
            self._open = [each for each in self._open if each is not opened.media]

    def _files(self, document: Document, whole: Document, tasks: Sequence[Task]) -> Iterator[Opened]:
        values = documents.inputs(document.source, tasks[0].field)
        if not values:
            yield Opened(document, tasks, values)
        for i, reference in enumerate(values):
            opened = Opened(document, tasks, values, i)
            try:
                with self._readers[tasks[0].field.field].open(reference) as file:
                    self._plan(opened, file, whole)
            except (MediaError, UnicodeError) as error:
                # JSON can hold half a surrogate pair, and no path or address can.
                half = f"{shown(reference)}: holds half a character, so nothing can be read there"
                opened.error = half if isinstance(error, UnicodeError) else str(error)
            yield opened

    def _plan(self, opened: Opened, file: MediaFile, whole: Document) -> None:
        """Plans the moments of every field; those that the document has of the same content keep their vectors."""
        opened.content = file.content
        kept = {task.field.path: _kept(whole, task.field, file.content, opened.position) for task in opened.tasks}
        for path, (moments, planned) in kept.items():
            if planned:
                opened.moments[path] = moments
        if all(path in opened.moments and not lacking(opened.moments[path]) for path in kept):
            return
        opened.media = media = open_media(file.file, self._limits, name=file.name)
        self._open.append(media)
        cutting = _Cutting(media, file)
        for task in opened.tasks:
            each = task.field
            if each.path in opened.moments:
                continue
            why = _why_nothing(each, media.info, cutting.cues, file.name)
            if why is not None:
                opened.nothing[each.path] = why
                continue
            made = cutting.planned(each, self._encoders[each.path], opened.position, file.content)
            vectors = {moment.span: moment.vector for moment in kept[each.path][0]}
            opened.moments[each.path] = [replace(moment, vector=vectors.get(moment.span)) for moment in made]


class _Cutting:
    """The moments of one file, cut once for every field that cuts it alike, and its captions."""

    def __init__(self, media: Media, file: MediaFile):
        self._media = media
        self._cut: dict[Cutting, list[Moment]] = {}
        self.cues: list[Cue] = read_captions(file.captions, name=file.name) if file.captions else media.cues()

    def planned(self, each: VectorField, encoder: VectorEncoder, position: int, content: str) -> list[StoredMoment]:
        cutting = each.cutting or Cutting()
        if cutting not in self._cut:
            self._cut[cutting] = self._media.moments(cutting)
        spans = self._cut[cutting]
        if each.part == "sound" and encoder.audio is not None:
            spans = windows(spans, encoder.audio.seconds)
        if each.part == "both" and encoder.video is not None:
            spans = windows(spans, encoder.video.seconds)
        words = words_by_moment(spans, self.cues)
        made = [StoredMoment(position, span, content, text) for span, text in zip(spans, words, strict=True)]
        return [moment for moment in made if moment.text is not None] if each.part == "captions" else made


def lacking(moments: Iterable[StoredMoment]) -> list[StoredMoment]:
    """The moments that have no vector yet."""
    return [each for each in moments if each.vector is None]


def _kept(whole: Document, each: VectorField, content: str, position: int) -> tuple[list[StoredMoment], bool]:
    """The moments that a document has of a file's content, and whether they are all that it makes.

    They are where the last run planned them, and no error left some of them out.
    """
    found = {m.span: m for m in stored_moments(whole.source, each) if m.hash == content}
    state = documents.state_of(whole.source, each.path) or {}
    moments = [replace(moment, position=position) for _, moment in sorted(found.items())]
    return moments, bool(moments) and not state.get("error")


def _why_nothing(each: VectorField, info: MediaInfo, cues: Sequence[Cue], name: str) -> str | None:
    """Why a file has nothing for a field; None where it has."""
    if each.part in ("frames", "both") and not info.video:
        return f"{name}: no picture that moves"
    if each.part == "sound" and not info.audio:
        return f"{name}: no sound"
    if each.part == "captions" and not cues:
        return f"{name}: no captions, in it or beside it"
    return None


@contextlib.contextmanager
def closing(files: Files) -> Iterator[Files]:
    """Close the files in the end, whatever happens."""
    try:
        yield files
    finally:
        files.close()
