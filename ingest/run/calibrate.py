"""Measuring the vectors that an index has: see `crosslens.ingest.contract.statistics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from elasticsearch import Elasticsearch

from crosslens.errors import MappingError
from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.fields import choose
from crosslens.ingest.contract.gathering import Gathering
from crosslens.ingest.contract.record import VectorField, vector_fields
from crosslens.ingest.contract.selection import done_query
from crosslens.ingest.contract.statistics import CorpusStatistics, store_statistics, stored_statistics, vectors_of
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Reader
from crosslens.ingest.run.run import Run
from crosslens.stopping import stoppable

DEFAULT_SAMPLE = 50_000


@stoppable
def calibrate(
    client: Elasticsearch,
    index: str,
    *,
    fields: Sequence[str] | None = None,
    sample: int = DEFAULT_SAMPLE,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, int]:
    """Gathers the corpus statistics of the vectors that ``index`` has now, from about ``sample`` documents an index.

    Replaces what was gathered before. An index that has no vector in a field yet is recorded as such. Returns how many
    vectors were read, by field. Raises `MappingError` when the index has no such fields, or no vector in one.
    """
    run = Run.begin(client, index)
    mappings = run.mappings()
    chosen = choose(index, mappings, fields)
    counts: dict[str, int] = {}
    bare: list[tuple[str, VectorField]] = []
    for name, mapping in mappings.items():
        for each in (field for key, field in vector_fields(mapping).items() if key in chosen):
            statistics = _gather(run, name, each, sample, progress)
            if statistics is not None:
                store_statistics(run.client, name, each, statistics, anew=True)
                counts[each.field] = counts.get(each.field, 0) + statistics.count
            else:
                bare.append((name, each))
    empty = sorted(chosen.keys() - counts.keys())
    if empty:
        raise MappingError(f"index {index!r} has no vectors in {', '.join(empty)} yet")
    for name, each in bare:
        store_statistics(run.client, name, each, CorpusStatistics.none(each.dims), anew=True)
    return counts


def try_null_queries(
    client: Elasticsearch, index: str, texts: Sequence[str], encoders: Encoders, *, fields: Sequence[str] | None = None
) -> dict[str, int]:
    """Stores how near documents come to queries without an answer in ``index``, for `CorpusStatistics.noise_floor`.

    Call `calibrate` first, which forgets earlier ones. Returns the number of queries by field. Raises `MappingError`
    where the vectors have not been measured.
    """
    run = Run.begin(client, index)
    mappings = run.mappings()
    run = run.making(choose(index, mappings, fields).values(), encoders)
    asked: dict[str, int] = {}
    for name in mappings:
        for each in run.fields:
            tried = _tried(run, name, each, texts)
            store_statistics(run.client, name, each, tried, anew=True)
            asked[each.field] = asked.get(each.field, 0) + len(tried.null)
    return asked


def _tried(run: Run, index: str, each: VectorField, texts: Sequence[str]) -> CorpusStatistics:
    """The statistics of one index's field, with what ``texts`` reach there."""
    statistics = stored_statistics(run.client, index, each)
    if statistics is None:
        raise MappingError(
            f"{each.field!r} in {index!r} has not been measured", hint="measure it first", verb="calibrate"
        )
    reached = []
    for query in run.encoders.for_field(each, searching=True).encode_texts(list(texts)):
        knn = {"field": each.vector_path, "query_vector": query.tolist(), "k": 1, "num_candidates": 200}
        hits = run.client.search(index=index, knn=knn, size=1, source=False)["hits"]["hits"]
        mean, deviation = statistics.of_cosine(query.tolist())
        if hits and deviation > 0:
            reached.append((2 * hits[0]["_score"] - 1 - mean) / deviation)
    return replace(statistics, null=tuple(reached))


def _gather(
    run: Run, index: str, each: VectorField, sample: int, progress: Callable[[int, int], None]
) -> CorpusStatistics | None:
    reader = Reader(run.client, index, [each.path], vectors=True)
    query = done_query(each)
    total = min(sample, reader.count(query))
    gathering, read = Gathering(each.dims), 0
    for page in prefetched(reader.sampled(query, sample)):
        vectors = [vector for document in page for vector in vectors_of(document.source, each)]
        if vectors:
            gathering.add(np.asarray(vectors, dtype=np.float32))
        read += len(page)
        progress(min(read, total), total)
    statistics = gathering.statistics()
    return statistics if statistics.count else None
