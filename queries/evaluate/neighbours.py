"""The true nearest documents of queries: computed from every vector, or found by the deepest search and judged by a
sample."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from elasticsearch import Elasticsearch, helpers
from numpy.typing import NDArray

from crosslens.ingest.contract.documents import DocumentKey
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.selection import done_query
from crosslens.ingest.contract.statistics import vectors_of
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Reader
from crosslens.queries.search.legs import knn_leg

_BULK = 500
# Elasticsearch's own limit of num_candidates, and how many times more candidates than results are compared with floats.
_DEEPEST, _RESCORED = 10_000, 10
# Cosines that differ by less are equal: the server's are single floats.
_EQUAL = 1e-6


@dataclass
class Task:
    """Queries of one direction, and the true nearest documents found so far, best first.

    Of the true neighbours in a sample, a search that stood for the truth had ``seen`` so many and ``missed`` so many.
    """

    source: VectorField
    target: VectorField
    keys: list[DocumentKey]
    vectors: NDArray[np.float32]
    best: list[list[tuple[float, DocumentKey]]] = field(default_factory=list)
    seen: int | None = None
    missed: int | None = None

    @property
    def unit(self) -> NDArray[np.float32]:
        """The queries' vectors, of length 1."""
        unit: NDArray[np.float32] = self.vectors / np.linalg.norm(self.vectors, axis=1, keepdims=True)
        return unit

    @property
    def direction(self) -> str:
        """What looks for what, as in "text -> image"."""
        return f"{self.source.modality} -> {self.target.modality}"


def sample_of(
    client: Elasticsearch, index: str, each: VectorField, queries: int
) -> tuple[list[DocumentKey], NDArray[np.float32]]:
    """Return the vectors of ``queries`` documents chosen at random, or of all."""
    # A few more than are wanted: how many documents are chosen is a matter of luck.
    found = list(_vectors(client, index, each, round(queries + 4 * queries**0.5)))
    found = random.sample(found, min(queries, len(found)))
    keys = [key for key, _ in found]
    return keys, np.array([vectors[0] for _, vectors in found], dtype=np.float32)


def _vectors(
    client: Elasticsearch, index: str, each: VectorField, count: int | None = None
) -> Iterator[tuple[DocumentKey, list[list[float]]]]:
    """Documents with their vectors, about ``count`` of them chosen at random (None: all)."""
    reader, query = Reader(client, index, [each.path], vectors=True), done_query(each)
    for page in prefetched(reader.pages(query) if count is None else reader.sampled(query, count)):
        for document in page:
            vectors = vectors_of(document.source, each)
            if vectors:
                yield (document.index, document.id), vectors


def exact_neighbours(
    client: Elasticsearch,
    index: str,
    target: VectorField,
    tasks: Sequence[Task],
    k: int,
    copies: dict[str, str],
    progress: Callable[[int, int], None],
) -> int:
    """Fill in each task's true nearest documents, and the copies; return how many documents have vectors."""
    total = Reader(client, index, []).count(done_query(target))
    for task in tasks:
        task.best = [[] for _ in task.keys]
    count = 0
    progress(0, total)
    documents = _vectors(client, index, target)
    while batch := list(islice(documents, _BULK)):
        owners, rows = _rows(batch)
        for task in tasks:
            for query, cosines in enumerate(task.unit @ rows.T):
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


def _rows(
    batch: Sequence[tuple[DocumentKey, list[list[float]]]],
) -> tuple[list[DocumentKey], NDArray[np.float32]]:
    """The vectors of documents as rows of length 1, and whose each of them is."""
    owners = [key for key, vectors in batch for _ in vectors]
    rows = np.array([vector for _, vectors in batch for vector in vectors], dtype=np.float32)
    return owners, rows / np.linalg.norm(rows, axis=1, keepdims=True)


def deep_neighbours(
    client: Elasticsearch,
    index: str,
    target: VectorField,
    tasks: Sequence[Task],
    k: int,
    sample: int,
    progress: Callable[[int, int], None],
) -> None:
    """Fill in what the deepest search finds for each task, and how a sample of the vectors judges it."""
    progress(0, sample)
    for task in tasks:
        task.seen = task.missed = 0
        for key, vector in zip(task.keys, task.vectors, strict=True):
            # One more than asked for, since a document finds itself.
            most = min(max(_DEEPEST // _RESCORED, k + 1), _DEEPEST)
            leg = knn_leg(
                target, vector.tolist(), window=most, filters=[], candidates=_DEEPEST, oversample=_DEEPEST / most
            )
            hits = client.search(index=index, body={**leg.request, "size": k + 1})["hits"]["hits"]
            found = [(leg.raw(hit["_score"]), (hit["_index"], hit["_id"])) for hit in hits]
            task.best.append([each for each in found if each[1] != key][:k])
    read = 0
    documents = _vectors(client, index, target, sample)
    while batch := list(islice(documents, _BULK)):
        owners, rows = _rows(batch)
        for task in tasks:
            _judge(task, owners, task.unit @ rows.T)
        read += len(batch)
        progress(min(read, sample), sample)


def _judge(task: Task, owners: Sequence[DocumentKey], cosines: NDArray[np.float32]) -> None:
    """Count which of the true neighbours among ``owners`` were found; ``cosines`` are by query and vector."""
    for key, best, row in zip(task.keys, task.best, cosines, strict=True):
        if not best:
            continue
        found = {other for _, other in best}
        task.seen = (task.seen or 0) + len(found.intersection(owners))
        nearer = {owners[int(i)] for i in np.flatnonzero(row > best[-1][0] + _EQUAL)}
        task.missed = (task.missed or 0) + len(nearer - found - {key})
