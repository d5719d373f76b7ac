"""How many of the true nearest documents an index's approximate search finds, on the user's own vectors.

Queries are the index's own vectors: those of its texts look for images, those of its images for images, and so on. The
true neighbours are computed here, from every vector, read in pages.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from elasticsearch import Elasticsearch, helpers
from numpy.typing import NDArray

from crosslens import stopping
from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.ingest.contract.fields import choose, read_mappings
from crosslens.ingest.contract.mapping import mapping_update
from crosslens.ingest.contract.record import VectorField, read_record
from crosslens.ingest.contract.selection import done_query
from crosslens.ingest.contract.statistics import vectors_of
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Reader
from crosslens.ingest.run.status import disk_sizes
from crosslens.queries.search.legs import knn_leg
from crosslens.retrying import patient
from crosslens.stopping import stoppable

DEFAULT_OVERSAMPLES: tuple[float | None, ...] = (None, 2.0, 3.0)
_BULK = 500


@dataclass(frozen=True)
class RecallRow:
    """Recall@k of one direction ("text -> image") with one index type and oversampling, over ``queries``.

    ``p50_ms`` is a search's median time by the client's clock; ``bytes`` the field's size on disk, if known.
    """

    direction: str
    field: str
    index_type: str
    oversample: float | None
    recall: float
    queries: int
    p50_ms: float
    bytes: int | None


@dataclass
class _Task:
    """Queries of one direction, and the true nearest documents found so far, best first."""

    source: VectorField
    target: VectorField
    keys: list[DocumentKey]
    vectors: NDArray[np.float32]
    best: list[list[tuple[float, DocumentKey]]] = field(default_factory=list)

    @property
    def direction(self) -> str:
        return f"{self.source.modality} -> {self.target.modality}"


@stoppable
def measure_recall(
    client: Elasticsearch,
    index: str,
    *,
    fields: Sequence[str] | None = None,
    queries: int = 100,
    k: int = 10,
    oversamples: Sequence[float | None] = DEFAULT_OVERSAMPLES,
    index_types: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[RecallRow]:
    """Compare approximate with exact search for every pair of fields of one model.

    ``index_types`` are tried on a copy of the field's vectors in an index of its own, which is deleted afterwards;
    fields with several vectors a document are measured as they are. Raises `QueryError` for fewer than 2 * k vectors.
    """
    client = patient(client)
    mappings = read_mappings(client, index)
    chosen = list(choose(index, mappings, fields).values())
    samples = {each.field: _sample(client, index, each, queries) for each in chosen}
    rows: list[RecallRow] = []
    sizes = disk_sizes(client, index) or {}
    for target in chosen:
        tasks = [
            _Task(source, target, *samples[source.field])
            for source in chosen
            if source.fingerprint == target.fingerprint and samples[source.field][0]
        ]
        copies = {kind: f"crosslens-recall-{uuid.uuid4().hex[:8]}" for kind in index_types if not target.each}
        try:
            for kind, name in copies.items():
                _make(client, name, replace(target, index_type=kind))
            count = _exact(client, index, target, tasks, k, copies, progress)
            if count < 2 * k:
                raise QueryError(f"{target.field!r} holds {count} vectors; recall@{k} needs {2 * k} at least")
            for task in tasks:
                rows += _approximate(client, index, task, target, k, oversamples, sizes.get(target.vector_path))
                for kind, name in copies.items():
                    size = (disk_sizes(client, name) or {}).get(target.vector_path)
                    rows += _approximate(client, name, task, replace(target, index_type=kind), k, oversamples, size)
        finally:
            with stopping.shielded():
                for name in copies.values():
                    client.options(ignore_status=404).indices.delete(index=name)
    return rows


def _sample(
    client: Elasticsearch, index: str, each: VectorField, queries: int
) -> tuple[list[DocumentKey], NDArray[np.float32]]:
    """Return the vectors of ``queries`` documents from random parts of the index."""
    found = list(islice(_vectors(client, index, each), queries))
    keys = [key for key, _ in found]
    return keys, np.array([vectors[0] for _, vectors in found], dtype=np.float32)


def _vectors(client: Elasticsearch, index: str, each: VectorField) -> Iterator[tuple[DocumentKey, list[list[float]]]]:
    reader = Reader(client, index, [each.path], vectors=True)
    for page in prefetched(reader.pages(done_query(each))):
        for document in page:
            vectors = vectors_of(document.source, each)
            if vectors:
                yield (document.index, document.id), vectors


def _exact(
    client: Elasticsearch,
    index: str,
    target: VectorField,
    tasks: Sequence[_Task],
    k: int,
    copies: dict[str, str],
    progress: Callable[[int, int], None],
) -> int:
    """Fill in each task's true nearest documents, and the copies; return how many documents have vectors."""
    total = Reader(client, index, []).count(done_query(target))
    for task in tasks:
        task.best = [[] for _ in task.keys]
    count = 0
    documents = _vectors(client, index, target)
    while batch := list(islice(documents, _BULK)):
        owners = [key for key, vectors in batch for _ in vectors]
        rows = np.array([vector for _, vectors in batch for vector in vectors], dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        for task in tasks:
            unit = task.vectors / np.linalg.norm(task.vectors, axis=1, keepdims=True)
            for query, cosines in enumerate(unit @ rows.T):
                nearest: dict[DocumentKey, float] = {}
                # A document counts by its nearest vector; a batch can contribute at most k.
                for i in np.argsort(-cosines):
                    nearest.setdefault(owners[int(i)], float(cosines[int(i)]))
                    if len(nearest) > k + 1:
                        break
                merged = task.best[query] + [
                    (cosine, key) for key, cosine in nearest.items() if key != task.keys[query]
                ]
                task.best[query] = sorted(merged, key=lambda item: -item[0])[:k]
        for name in copies.values():
            actions = ({"_index": name, "_id": f"{key[0]}/{key[1]}", target.path: vectors[0]} for key, vectors in batch)
            helpers.bulk(client, actions)
        count += len(batch)
        progress(count, total)
    for name in copies.values():
        client.indices.refresh(index=name)
    return count


def _make(client: Elasticsearch, name: str, target: VectorField) -> None:
    body = mapping_update({}, read_record({}), [replace(target, each=False)])
    settings = {"number_of_replicas": 0, "hidden": True}
    client.indices.create(index=name, mappings={"properties": body["properties"]}, settings=settings)


def _approximate(
    client: Elasticsearch,
    index: str,
    task: _Task,
    target: VectorField,
    k: int,
    oversamples: Sequence[float | None],
    size: int | None,
) -> Iterator[RecallRow]:
    copied = index.startswith("crosslens-recall-")
    for oversample in oversamples:
        if oversample is not None and target.index_type in ("hnsw", "flat"):
            continue
        recalls, times = [], []
        for key, vector, best in zip(task.keys, task.vectors, task.best, strict=True):
            # One more than asked for, since a document finds itself.
            leg = knn_leg(target, vector.tolist(), window=k + 1, filters=[], oversample=oversample)
            started = time.perf_counter()
            hits = client.search(index=index, body=leg.request)["hits"]["hits"]
            times.append((time.perf_counter() - started) * 1e3)
            found = [tuple(hit["_id"].split("/", 1)) if copied else (hit["_index"], hit["_id"]) for hit in hits]
            wanted = {other for _, other in best}
            recalls.append(len(wanted.intersection([each for each in found if each != key][:k])) / max(len(wanted), 1))
        yield RecallRow(
            task.direction,
            target.field,
            target.index_type,
            oversample,
            float(np.mean(recalls)),
            len(recalls),
            float(np.median(times)),
            size,
        )


def advice(rows: Sequence[RecallRow], goal: float = 0.95) -> list[str]:
    """Return, for each direction, the cheapest setting that reaches ``goal``, by disk, then by time."""
    said = []
    for direction in dict.fromkeys((row.direction, row.field) for row in rows):
        here = [row for row in rows if (row.direction, row.field) == direction]
        good = [row for row in here if row.recall >= goal]
        best = (
            min(good, key=lambda row: (row.bytes or 0, row.p50_ms)) if good else max(here, key=lambda row: row.recall)
        )
        how = f"{best.index_type}" + (f", oversample {best.oversample:g}" if best.oversample else "")
        verdict = "is enough" if good else f"comes nearest, short of {goal:.2f}"
        said.append(
            f"{direction[0]} in {direction[1]}: {how} {verdict} (recall {best.recall:.3f}, {best.p50_ms:.1f} ms)"
        )
    return said
