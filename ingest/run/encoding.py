"""From documents to vectors: read what their fields refer to on threads, encode it in batches."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import ImageError, TextError
from crosslens.ingest.contract import documents
from crosslens.ingest.contract.documents import State
from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.gathering import Gathering
from crosslens.ingest.contract.record import STATE, VectorField
from crosslens.ingest.contract.statistics import CorpusStatistics
from crosslens.ingest.model.transform import Float32Array
from crosslens.ingest.run.passages import Passages
from crosslens.ingest.run.prefetch import map_ahead, weighing
from crosslens.ingest.run.reading import Document
from crosslens.ingest.run.tasks import Task
from crosslens.ingest.sources.access import ImageReader, is_remote
from crosslens.ingest.sources.hashing import content_hash
from crosslens.ingest.sources.inline import is_inline
from crosslens.surrogates import well_formed

# Texts cost little memory before they are encoded, and a longer row of them sorts into batches of more like lengths.
_TEXT_BATCHES = 8
_MOST_WORKERS = 16
_PEEKED = 16


@dataclass
class Prepared:
    """A document with what its fields encode, by path: texts, or pixels (None for an image that can't be read).

    ``states`` are final. ``failed`` are (field, reason) for the report; a field whose vector is still right, but could
    not be checked, is among them without a state. ``unchanged`` fields need nothing. ``truncated`` has a field for each
    picture that was let pass though its last rows are missing. ``passages`` are those of texts that make them.
    """

    document: Document
    inputs: dict[str, list[str]] = field(default_factory=dict)
    pixels: dict[str, list[NDArray[Any] | None]] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)
    vectors: dict[str, Any] = field(default_factory=dict)
    passages: dict[str, Passages] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """How many vectors are made of it at most, at least 1."""
        return max((len(values) for values in self.inputs.values()), default=1) or 1


class Pipeline:
    """Prepares and encodes documents for ``fields``; ``pack`` turns a vector into what is sent.

    ``encoding_s`` are the seconds that encoding took so far.
    """

    def __init__(
        self,
        fields: Sequence[VectorField],
        encoders: Encoders,
        images: ImageReader,
        pack: Callable[[Float32Array], Any],
        *,
        workers: int,
        fresh_s: float,
        field_images: Mapping[str, ImageReader] | None = None,
        only_new: bool = False,
    ):
        """``workers`` threads read images (0: as many as suit); ``fresh_s`` as in `ImageReader.read`; ``field_images``
        are other readers than ``images``, by field. With ``only_new`` vectors that take another's place don't count in
        the `statistics`, in which the other counts already."""
        self._encoders = {each.path: encoders.for_field(each) for each in fields}
        self._fields, self._images, self._pack = fields, images, pack
        self._fresh_s = fresh_s
        self._field_images = field_images or {}
        self._workers, self._only_new = workers, only_new
        self.encoding_s = 0.0
        self._gathered: dict[tuple[str, str], Gathering] = {}
        batch = max(encoder.batch_size for encoder in self._encoders.values())
        # Prepared images are large: as many as one run of the encoder takes.
        self._chunk = batch if any(each.modality == "image" for each in fields) else _TEXT_BATCHES * batch

    @property
    def statistics(self) -> dict[tuple[str, str], CorpusStatistics]:
        """The corpus statistics of all vectors made so far, by index and the field's path."""
        return {key: gathered.statistics() for key, gathered in self._gathered.items()}

    def take_statistics(self) -> dict[tuple[str, str], CorpusStatistics]:
        """The same of the vectors made since this was last called."""
        taken = self.statistics
        self._gathered.clear()
        return taken

    def run(self, work: Iterable[tuple[Document, Sequence[Task]]], *, encode: bool = True) -> Iterator[list[Prepared]]:
        """Documents in chunks, prepared and encoded (or only prepared)."""
        work = iter(work)
        first = list(islice(work, _PEEKED))
        workers = self._workers or self._suitable(first)
        with ThreadPoolExecutor(workers, thread_name_prefix="crosslens-image") as pool:
            ahead = self._chunk + 2 * workers
            prepared = map_ahead(pool, lambda item: self._prepare(*item), chain(first, work), ahead)
            try:
                while chunk := list(weighing(prepared, lambda each: each.weight, self._chunk)):
                    if encode:
                        started = time.perf_counter()
                        self._encode(chunk)
                        self.encoding_s += time.perf_counter() - started
                    yield chunk
            finally:
                prepared.close()

    def _suitable(self, work: Sequence[tuple[Document, Sequence[Task]]]) -> int:
        """As many threads as cores, since images have to be decoded; more where they mostly wait for others."""
        if any(encoder.remote for encoder in self._encoders.values()):
            return _MOST_WORKERS
        cores = min(_MOST_WORKERS, os.cpu_count() or 1)
        references = [
            reference
            for document, tasks in work
            for task in tasks
            if task.field.modality == "image"
            for reference in documents.inputs(document.source, task.field)
        ]
        return _MOST_WORKERS if any(map(is_remote, references)) else cores

    def _prepare(self, document: Document, tasks: Sequence[Task]) -> Prepared:
        """Reads and decodes what the document's fields need; runs on a thread, and raises for no document's fault."""
        prepared = Prepared(document)
        for task in tasks:
            each = task.field
            values = documents.inputs(document.source, each)
            state = State(documents.source_hash(values, each), each.fingerprint)
            blocked = documents.obstacle(document.source, each.path)
            if documents.obstacle(document.source, f"{STATE}.{each.path}") is not None:
                prepared.failed.append((each.field, f"the document's own {STATE!r} field is in the way"))
            elif blocked is not None:
                reason = f"{blocked!r} isn't an object in this document, so {each.path!r} can't be stored in it"
                self._fail(prepared, each, state, reason)
            elif not values:
                reason = f"no {each.modality} in {', '.join(each.sources)}"
                prepared.states[each.path] = State(state.source, state.model, skipped=reason)
            elif each.passages:
                self._prepare_passages(prepared, each, values, state)
            elif each.modality == "text":
                prepared.inputs[each.path] = values
                prepared.states[each.path] = replace(state, cut=self.lost(values, each) or None)
            else:
                self._prepare_images(prepared, task, values, state)
        return prepared

    def lost(self, values: Sequence[str], each: VectorField) -> float:
        """The greatest share of any of the texts that the field's model doesn't read."""
        return round(max(self._encoders[each.path].lost(values), default=0.0), 3)

    def _prepare_passages(self, prepared: Prepared, each: VectorField, values: list[str], state: State) -> None:
        """Makes passages. Those that the document has already, by the same model, keep their vectors."""
        try:
            made = Passages.of(values, self._encoders[each.path])
        except TextError as error:
            self._fail(prepared, each, state, str(error))
            return
        made.keep(prepared.document.source, each)
        prepared.passages[each.path], prepared.states[each.path] = made, state
        prepared.inputs[each.path] = made.lacking

    def _prepare_images(self, prepared: Prepared, task: Task, values: list[str], state: State) -> None:
        each = task.field
        contents: list[str] = []
        pixels: list[NDArray[Any] | None] = []
        wrong: list[str] = []
        before = documents.state_of(prepared.document.source, each.path) or {}
        data: list[bytes | None] = []
        images = self._field_images.get(each.field, self._images)
        for i, reference in enumerate(values):
            try:
                data.append(_read(images, reference, self._fresh_s))
            except ImageError as error:
                data.append(None)
                wrong.append(f"[{i}] {error}" if each.each else str(error))
            contents.append(content_hash(data[-1]) if data[-1] is not None else "-")
        content = contents[0] if not each.each else content_hash("\n".join(contents).encode())
        if task.check and content == before.get("content"):
            prepared.unchanged.append(each.field)
            return
        for i, found in enumerate(data):
            pixels.append(None)
            if found is None:
                continue
            try:
                rules = self._images.rules(values[i], lambda: prepared.truncated.append(each.field))
                pixels[-1] = self._encoders[each.path].prepare_image(found, rules)
            except ImageError as error:
                wrong.append(f"[{i}] {error}" if each.each else str(error))
        if wrong:
            more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            self._fail(prepared, each, state, "; ".join(wrong[:3]) + more, content=content)
            if not any(found is not None for found in pixels) or each.path not in prepared.states:
                return
        else:
            prepared.states[each.path] = State(state.source, state.model, content=content)
        prepared.inputs[each.path], prepared.pixels[each.path] = values, pixels

    def _fail(
        self, prepared: Prepared, each: VectorField, state: State, reason: str, *, content: str | None = None
    ) -> None:
        """Notes a failure. A vector made of the same source by the same model stays, though it can't be made again."""
        prepared.failed.append((each.field, reason))
        before = documents.state_of(prepared.document.source, each.path) or {}
        same = (before.get("source"), before.get("model")) == (state.source, state.model)
        if not (same and not before.get("error") and not before.get("skipped")):
            kept = content if each.each else None
            prepared.states[each.path] = State(state.source, state.model, content=kept, error=reason)

    def _encode(self, chunk: Sequence[Prepared]) -> None:
        for each in self._fields:
            if each.passages:
                self._encode_passages(chunk, each)
                continue
            rows = [(p, i) for p in chunk for i, _ in enumerate(p.inputs.get(each.path, ()))]
            if each.modality == "image":
                rows = [(p, i) for p, i in rows if p.pixels[each.path][i] is not None]
            if not rows:
                continue
            made: dict[int, dict[int, Any]] = {}
            vectors = self._vectors(each, rows)
            self._gather(each, [p.document for p, _ in rows], vectors)
            for (p, i), vector in zip(rows, vectors, strict=True):
                made.setdefault(id(p), {})[i] = self._pack(vector)
            for p in chunk:
                if id(p) in made:
                    p.vectors[each.path] = _stored(each, p.inputs[each.path], made[id(p)])
                p.pixels.pop(each.path, None)

    def _encode_passages(self, chunk: Sequence[Prepared], each: VectorField) -> None:
        """Makes the vectors that passages lack, and puts each document's together."""
        lacking = [text for p in chunk for text in p.inputs.get(each.path, ())]
        of = [p.document for p in chunk for _ in p.inputs.get(each.path, ())]
        vectors = self._encoders[each.path].encode_texts(lacking)
        if lacking:
            self._gather(each, of, vectors)
        made = iter(vectors)
        for prepared in chunk:
            if each.path in prepared.passages:
                prepared.vectors[each.path] = prepared.passages[each.path].stored(made, self._pack)

    def _gather(self, each: VectorField, of: Sequence[Document], vectors: Float32Array) -> None:
        """Counts the vectors of documents, one each, in the statistics of their indices."""
        rows: dict[str, list[int]] = {}
        for i, document in enumerate(of):
            if not (self._only_new and documents.has_vector(document.source, each.path)):
                rows.setdefault(document.index, []).append(i)
        for index, these in rows.items():
            here = self._gathered.setdefault((index, each.path), Gathering(vectors.shape[1]))
            here.add(vectors[these])

    def _vectors(self, each: VectorField, rows: Sequence[tuple[Prepared, int]]) -> Float32Array:
        encoder = self._encoders[each.path]
        if each.modality == "text":
            return encoder.encode_texts([p.inputs[each.path][i] for p, i in rows])
        parts = []
        for start in range(0, len(rows), encoder.batch_size):
            batch = [p.pixels[each.path][i] for p, i in rows[start : start + encoder.batch_size]]
            parts.append(encoder.encode_pixels(np.stack([pixels for pixels in batch if pixels is not None])))
        return np.concatenate(parts)


def _read(images: ImageReader, reference: str, fresh_s: float) -> bytes:
    """The bytes behind a reference; raises `ImageError` for every one that can't be read."""
    try:
        return images.read(reference, fresh_s=fresh_s)
    except UnicodeError as error:
        # JSON can hold half a surrogate pair, and no path or address can.
        raise ImageError(f"{reference}: holds half a character, so nothing can be read there") from error


def _stored(each: VectorField, values: Sequence[str], vectors: Mapping[int, Any]) -> Any:
    """What a document keeps: the vector, or with ``each`` an object for every value, in order.

    An image that stands in the document isn't repeated; its position identifies it.
    """
    if not each.each:
        return vectors[0]
    stored = []
    for i, vector in sorted(vectors.items()):
        entry: dict[str, Any] = {"vector": vector, "position": i}
        if each.modality == "image" and not is_inline(values[i]):
            entry["reference"] = well_formed(values[i])
        stored.append(entry)
    return stored
