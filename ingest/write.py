"""The write path: read documents that lack a vector, encode what they refer to, write it back, guarded.

    PIT pages -> open and prepare images on threads -> encode in batches -> guarded bulk updates on a thread

Nothing is remembered outside the index: a run that is stopped at any point is continued by the next.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch, NotFoundError

from crosslens.client import server_version
from crosslens.errors import ImageError, MappingError
from crosslens.ingest import contract
from crosslens.ingest.contract import State, Target, VectorField
from crosslens.ingest.encoder import Encoder
from crosslens.ingest.sending import Update, patiently, send
from crosslens.ingest.sources import ImageRoot, read_image
from crosslens.ingest.transform import Float32Array

_A = TypeVar("_A")
_B = TypeVar("_B")
# A page must be encoded before its point in time runs out; 200 documents take ViT-B/32 some 15 s on two cores.
_PAGE = 200
_KEEP_ALIVE = "30m"
_ROUNDS = 20
_BASE64_SINCE = (9, 3)


@dataclass(frozen=True)
class Failure:
    """A document that got no vector for one field (None: for any), and why."""

    index: str
    id: str
    field: str | None
    reason: str


@dataclass
class AddReport:
    """What a run did: ``todo`` documents found, ``documents`` encoded; the other counts are of vectors, by field."""

    index: str
    fields: dict[str, VectorField]
    todo: int = 0
    documents: int = 0
    written: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    failed_earlier: dict[str, int] = field(default_factory=dict)
    reread: int = 0
    seconds: float = 0.0
    interrupted: bool = False


@dataclass(frozen=True)
class Options:
    """How a run goes. ``image_root`` as in `ImageRoot.of`; ``retry_failed`` takes up documents that failed before;
    ``workers`` threads open images; ``dry_run`` only counts."""

    image_root: Path | str | None = None
    retry_failed: bool = False
    workers: int = 0
    dry_run: bool = False


@dataclass(frozen=True)
class _Document:
    index: str
    id: str
    routing: str | None
    seq_no: int
    primary_term: int
    source: dict[str, Any]


@dataclass
class _Prepared:
    """A document with what its fields encode: pixels or a text; fields without it have their final state already."""

    document: _Document
    pixels: dict[str, Float32Array] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)


def add_vectors(
    client: Elasticsearch,
    index: str,
    encoder: Encoder,
    targets: Sequence[Target],
    options: Options | None = None,
    *,
    progress: Callable[[AddReport], None] = lambda _: None,
) -> AddReport:
    """Gives the documents of ``index`` (a name, alias or pattern) the vectors they lack, and returns what was done.

    Puts the mapping first. Documents whose image can't be opened get their error recorded, and the run goes on; those
    with an empty source are recorded as skipped. A document that changes while its vector is computed is read and
    encoded again. ``progress`` gets the growing report after every batch. On KeyboardInterrupt what is encoded is
    still written, and the report says ``interrupted``.

    Raises `MappingError` when index, sources or vector fields don't fit (see `contract.check_target`), and
    `ConnectionFailedError` when the server stays away.
    """
    options = options or Options()
    started = time.monotonic()
    mappings = read_mappings(client, index)
    searchable = _check_sources(client, index, mappings, targets)
    fields = _agree_fields(mappings, targets, encoder)
    report = AddReport(index=index, fields={f.field: f for f in fields})
    if not options.dry_run:
        for name, mapping in mappings.items():
            _put_mapping(client, name, mapping, fields)
    todo = contract.todo_query(fields, searchable, retry_failed=options.retry_failed)
    report.todo = int(client.count(index=index, query=todo)["count"])
    if not options.retry_failed:
        for each in fields:
            failed = int(client.count(index=index, query=contract.failed_query(each))["count"])
            if failed:
                report.failed_earlier[each.field] = failed
    if report.todo and not options.dry_run:
        _Run(client, index, encoder, fields, options, report, progress).go(todo)
    report.seconds = time.monotonic() - started
    return report


def read_mappings(client: Elasticsearch, index: str) -> dict[str, dict[str, Any]]:
    """The ``mappings`` object of every index that ``index`` names. Raises `MappingError` when there is none."""
    try:
        found = client.indices.get_mapping(index=index, expand_wildcards="open")
    except NotFoundError as error:
        raise MappingError(f"no index, alias or data stream is named {index!r}; {_present(client, index)}") from error
    if not found:
        raise MappingError(f"no index matches {index!r}")
    mappings = {name: entry["mappings"] for name, entry in found.items()}
    for name, mapping in mappings.items():
        if (mapping.get("_source") or {}).get("enabled") is False:
            raise MappingError(f"index {name!r} keeps no _source, so its documents can't be read or updated")
    return mappings


def _present(client: Elasticsearch, wanted: str) -> str:
    """What the cluster has instead of an index that isn't there: names like it, else the first ones."""
    known = sorted(n for n in client.indices.get_alias(index="*", expand_wildcards="open") if not n.startswith("."))
    if not known:
        return "the cluster has no index"
    alike = difflib.get_close_matches(wanted, known)
    return f"did you mean {' or '.join(alike)}?" if alike else f"the cluster has {', '.join(known[:20])}"


def _agree_fields(
    mappings: Mapping[str, Mapping[str, Any]], targets: Sequence[Target], encoder: Encoder
) -> list[VectorField]:
    names = [target.field for target in targets]
    if not targets:
        raise MappingError("name at least one source field to make vectors from")
    if len(set(names)) != len(names):
        raise MappingError(f"two vector fields would share a name: {names}; tell them apart with --into")
    fields: dict[str, VectorField] = {}
    for index, mapping in mappings.items():
        for target in targets:
            fields[target.field] = contract.check_target(
                index, mapping, target, model=encoder.name, fingerprint=encoder.fingerprint, dims=encoder.dims
            )
    return list(fields.values())


def _check_sources(
    client: Elasticsearch, index: str, mappings: Mapping[str, Mapping[str, Any]], targets: Sequence[Target]
) -> set[str]:
    """The source fields that a query can ask for. Raises `MappingError` for one that no mapping and no document has."""
    sources = sorted({source for target in targets for source in target.sources})
    caps = client.field_caps(index=index, fields=sources)["fields"] if sources else {}
    mapped = {path for mapping in mappings.values() for path in contract.flat_properties(mapping)}
    for source in sources:
        if source in mapped:
            continue
        # An object with "dynamic": false or "enabled": false keeps fields that the mapping doesn't name.
        sample = client.search(index=index, size=100, source_includes=[source], sort=["_doc"])["hits"]["hits"]
        if not any(contract.source_values(hit.get("_source") or {}, source) for hit in sample):
            listing = ", ".join(sorted(p for p in mapped if not p.startswith(f"{contract.STATE}.")))
            raise MappingError(f"index {index!r} has no field {source!r}; it has {listing or 'none'}")
    return {
        source
        for source in sources
        if source in caps and all(c.get("searchable") or c.get("aggregatable") for c in caps[source].values())
    }


def _put_mapping(client: Elasticsearch, index: str, mapping: dict[str, Any], fields: list[VectorField]) -> None:
    recorded = contract.vector_fields(mapping)
    if all(recorded.get(each.field) == each for each in fields):
        return
    body = contract.mapping_update(mapping, fields)
    try:
        client.indices.put_mapping(index=index, properties=body["properties"], meta=body["_meta"])
    except ApiError as error:
        raise MappingError(f"index {index!r} refused the mapping of the vector fields: {error}") from error


class _Run:
    """One pass over the documents that lack vectors, and over those that changed under it."""

    def __init__(
        self,
        client: Elasticsearch,
        index: str,
        encoder: Encoder,
        fields: list[VectorField],
        options: Options,
        report: AddReport,
        progress: Callable[[AddReport], None],
    ):
        self._client, self._index, self._encoder, self._fields = client, index, encoder, fields
        self._options, self._report, self._progress = options, report, progress
        self._root = ImageRoot.of(options.image_root)
        self._pack = _vector_packer(client, index)
        self._workers = options.workers or min(8, os.cpu_count() or 1)
        self._wanted = [*sorted({source for each in fields for source in each.sources}), contract.STATE]
        self._changed: list[Update] = []

    def go(self, todo: dict[str, Any]) -> None:
        writer = _Writer(self._record)
        try:
            with ThreadPoolExecutor(self._workers, thread_name_prefix="crosslens-image") as pool:
                self._encode_all(_prefetched(self._read(todo)), pool, writer)
                for _ in range(_ROUNDS):
                    writer.wait()
                    changed, self._changed = self._changed, []
                    if not changed:
                        break
                    self._report.reread += len(changed)
                    self._encode_all(self._read_again(changed), pool, writer)
                else:
                    writer.wait()
                    for update in self._changed:
                        reason = f"it changed {_ROUNDS} times while it was encoded; run again to take it up"
                        self._report.failures.append(Failure(update.index, update.id, None, reason))
        except KeyboardInterrupt:
            self._report.interrupted = True
        finally:
            writer.close()
        writer.check()
        patiently(lambda: self._client.indices.refresh(index=self._index))

    def _encode_all(self, documents: Iterator[_Document], pool: ThreadPoolExecutor, writer: _Writer) -> None:
        ahead = 2 * self._encoder.batch_size
        prepared = _map_ahead(pool, self._prepare, documents, ahead)
        try:
            while batch := list(islice(prepared, self._encoder.batch_size)):
                writer.put(self._encode(batch))
                self._report.documents += len(batch)
                self._progress(self._report)
        finally:
            prepared.close()

    def _read(self, todo: dict[str, Any]) -> Iterator[_Document]:
        """Every document to do, as of the start; begun anew when the point in time is lost."""
        while True:
            pit = patiently(lambda: self._client.open_point_in_time(index=self._index, keep_alive=_KEEP_ALIVE))["id"]
            after: list[Any] | None = None
            try:
                while True:
                    ask = partial(
                        self._client.search,
                        pit={"id": pit, "keep_alive": _KEEP_ALIVE},
                        query=todo,
                        sort=["_shard_doc"],
                        search_after=after,
                        size=_PAGE,
                        source_includes=self._wanted,
                        seq_no_primary_term=True,
                        track_total_hits=False,
                    )
                    page = patiently(ask)
                    pit = page["pit_id"]
                    hits = page["hits"]["hits"]
                    if not hits:
                        return
                    after = hits[-1]["sort"]
                    for hit in hits:
                        yield _document(hit)
            except NotFoundError:
                # What was done since is no longer in the query's answer, once the index is refreshed.
                patiently(lambda: self._client.indices.refresh(index=self._index))
            finally:
                with contextlib.suppress(ApiError, TransportError):
                    self._client.close_point_in_time(id=pit)

    def _read_again(self, updates: list[Update]) -> Iterator[_Document]:
        """The present state of documents that changed or vanished; what is done or deleted by now is left out."""
        for start in range(0, len(updates), _PAGE):
            wanted = []
            for update in updates[start : start + _PAGE]:
                entry = {"_index": update.index, "_id": update.id, "_source": self._wanted}
                wanted.append(entry if update.routing is None else {**entry, "routing": update.routing})
            for found in patiently(partial(self._client.mget, docs=wanted))["docs"]:
                if found.get("found"):
                    document = _document(found)
                    if self._due(document):
                        yield document

    def _due(self, document: _Document) -> list[VectorField]:
        """The fields that the document lacks; with ``retry_failed`` also those with an error."""
        due = []
        for each in self._fields:
            state = contract.state_of(document.source, each.field)
            if state is None or (self._options.retry_failed and state.get("error")):
                due.append(each)
        return due

    def _prepare(self, document: _Document) -> _Prepared:
        """Reads and decodes what the document's fields need; runs on a thread, and raises for no document's fault."""
        prepared = _Prepared(document)
        for each in self._due(document):
            if each.modality == "text":
                text = contract.source_text(document.source, each.sources)
                state = State(contract.source_hash(text), each.fingerprint)
                if text is None:
                    prepared.states[each.field] = _skipped(state, each)
                else:
                    prepared.texts[each.field] = text
                    prepared.states[each.field] = state
            else:
                self._prepare_image(prepared, each)
        return prepared

    def _prepare_image(self, prepared: _Prepared, each: VectorField) -> None:
        reference = contract.source_image(prepared.document.source, each.sources)
        state = State(contract.source_hash(reference), each.fingerprint)
        if reference is None:
            prepared.states[each.field] = _skipped(state, each)
            return
        try:
            data = read_image(reference, self._root)
            prepared.pixels[each.field] = self._encoder.prepare_image(data)
            prepared.states[each.field] = State(state.source, state.model, content=contract.content_hash(data))
        except ImageError as error:
            prepared.states[each.field] = State(state.source, state.model, error=str(error))

    def _encode(self, batch: list[_Prepared]) -> list[Update]:
        vectors: list[dict[str, Any]] = [{} for _ in batch]
        for each in self._fields:
            name = each.field
            rows = [i for i, p in enumerate(batch) if name in p.texts]
            if rows:
                encoded = self._encoder.encode_texts([batch[i].texts[name] for i in rows])
            else:
                rows = [i for i, p in enumerate(batch) if name in p.pixels]
                if not rows:
                    continue
                encoded = self._encoder.encode_pixels(np.stack([batch[i].pixels[name] for i in rows]))
            for i, vector in zip(rows, encoded, strict=True):
                vectors[i][name] = self._pack(vector)
        return [
            Update(
                index=p.document.index,
                id=p.document.id,
                routing=p.document.routing,
                seq_no=p.document.seq_no,
                primary_term=p.document.primary_term,
                doc=contract.document_update(p.states, v, p.document.source),
            )
            for p, v in zip(batch, vectors, strict=True)
            if p.states
        ]

    def _record(self, updates: list[Update]) -> None:
        """Sends updates and counts what became of them; runs on the writer's thread."""
        report = self._report
        for outcome in send(self._client, updates):
            update = outcome.update
            if outcome.status == 409:
                self._changed.append(update)
            elif outcome.status == 404:
                continue
            elif outcome.status >= 300:
                report.failures.append(Failure(update.index, update.id, None, outcome.reason))
            else:
                self._count(update)

    def _count(self, update: Update) -> None:
        for name in self._report.fields:
            state = contract.state_of(update.doc, name)
            if state is None:
                continue
            if state.get("error"):
                self._report.failures.append(Failure(update.index, update.id, name, state["error"]))
            elif state.get("skipped"):
                self._report.skipped[name] = self._report.skipped.get(name, 0) + 1
            else:
                self._report.written[name] = self._report.written.get(name, 0) + 1


class _Writer:
    """Calls ``write`` on its own thread, one list at a time; a failure there is raised at the next call here."""

    def __init__(self, write: Callable[[list[Update]], None]):
        self._write = write
        self._queue: queue.Queue[list[Update] | None] = queue.Queue(maxsize=4)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="crosslens-writer", daemon=True)
        self._thread.start()

    def put(self, updates: list[Update]) -> None:
        self.check()
        if updates:
            self._queue.put(updates)

    def wait(self) -> None:
        """Returns when everything put so far is written."""
        self._queue.join()
        self.check()

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (updates := self._queue.get()) is not None:
            try:
                if self._error is None:
                    self._write(updates)
            except BaseException as error:  # noqa: BLE001 - raised again on the thread that uses the writer
                self._error = error
            finally:
                self._queue.task_done()
        self._queue.task_done()

    def check(self) -> None:
        """Raises what went wrong on the thread, once."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error


def _document(hit: Mapping[str, Any]) -> _Document:
    return _Document(
        hit["_index"], hit["_id"], hit.get("_routing"), hit["_seq_no"], hit["_primary_term"], hit.get("_source") or {}
    )


def _skipped(state: State, each: VectorField) -> State:
    return State(state.source, state.model, skipped=f"no {each.modality} in {', '.join(each.sources)}")


def _vector_packer(client: Elasticsearch, index: str) -> Callable[[Float32Array], Any]:
    """How vectors go over the wire: base64 where the server takes it and keeps them out of ``_source``.

    In an index that keeps vectors in ``_source``, base64 would stay there and its readers expect numbers.
    """
    if server_version(client) >= _BASE64_SINCE:
        name = "index.mapping.exclude_source_vectors"
        settings = client.indices.get_settings(index=index, name=name, include_defaults=True, flat_settings=True)
        values = [{**e.get("defaults", {}), **e.get("settings", {})}.get(name) for e in settings.values()]
        if values and all(str(value).lower() == "true" for value in values):
            from elasticsearch.helpers import pack_dense_vector

            return pack_dense_vector
    return lambda vector: vector.tolist()


def _map_ahead(
    pool: ThreadPoolExecutor, function: Callable[[_A], _B], items: Iterable[_A], ahead: int
) -> Generator[_B, None, None]:
    """Results in order, computed on the pool at most ``ahead`` items before they are asked for."""
    waiting: deque[Future[_B]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _prefetched(items: Iterator[_A], size: int = _PAGE) -> Iterator[_A]:
    """The same items, fetched by a thread while earlier ones are used."""
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=size)
    stop = threading.Event()

    def offer(entry: tuple[str, Any]) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(entry, timeout=0.1)
                return True
        return False

    def fetch() -> None:
        try:
            for item in items:
                if not offer(("item", item)):
                    return
            offer(("end", None))
        except BaseException as error:  # noqa: BLE001 - raised again on the thread that uses the items
            offer(("error", error))
        finally:
            # A generator that holds a point in time closes it here, on the thread that ran it.
            close = getattr(items, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=fetch, name="crosslens-reader", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stop.set()
        thread.join()
