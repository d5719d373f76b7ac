"""Measuring the vectors that an index has: see `crosslens.ingest.contract.statistics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from elasticsearch import Elasticsearch, NotFoundError

from crosslens.errors import MappingError
from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.fields import choose, read_mappings
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.selection import done_query
from crosslens.ingest.contract.statistics import MOMENTS_INDEX, Moments, store_moments, vectors_of
from crosslens.ingest.run.reading import Reader, prefetched
from crosslens.retrying import patient

DEFAULT_SAMPLE = 50_000


def calibrate(
    client: Elasticsearch,
    index: str,
    *,
    fields: Sequence[str] | None = None,
    sample: int = DEFAULT_SAMPLE,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, int]:
    """Gathers the moments of the vectors that ``index`` has now, from about ``sample`` documents of each index.

    Replaces what was gathered before. Returns how many vectors were read, by field. Raises `MappingError` when the
    index has no such fields, or no vector in one.
    """
    client = patient(client)
    mappings = read_mappings(client, index)
    chosen = choose(index, mappings, fields)
    counts: dict[str, int] = {}
    for name in mappings:
        for each in chosen.values():
            moments = _gather(client, name, each, sample, progress)
            if moments is not None:
                store_moments(client, name, each, moments, anew=True)
                counts[each.field] = counts.get(each.field, 0) + moments.count
    empty = sorted(chosen.keys() - counts.keys())
    if empty:
        raise MappingError(f"index {index!r} has no vectors in {', '.join(empty)} yet")
    return counts


def try_null_queries(
    client: Elasticsearch, index: str, texts: Sequence[str], encoders: Encoders, *, fields: Sequence[str] | None = None
) -> dict[str, int]:
    """Notes how near documents come to queries that have no answer in ``index``, for `Moments.noise_floor`.

    Call `calibrate` first, which forgets earlier ones. Returns the number of queries by field. Raises `MappingError`
    where the vectors have not been measured.
    """
    client = patient(client)
    mappings = read_mappings(client, index)
    chosen = choose(index, mappings, fields)
    asked: dict[str, int] = {}
    for name in mappings:
        for each in chosen.values():
            try:
                source = client.get(index=MOMENTS_INDEX, id=f"{name}/{each.path}")["_source"]
            except NotFoundError as error:
                raise MappingError(f"{each.field!r} in {name!r} has not been measured; calibrate first") from error
            moments = Moments.from_source(source)
            reached = []
            for query in encoders.for_field(each).encode_texts(list(texts)):
                knn = {"field": each.vector_path, "query_vector": query.tolist(), "k": 1, "num_candidates": 200}
                hits = client.search(index=name, knn=knn, size=1, source=False)["hits"]["hits"]
                mean, deviation = moments.of_cosine(query.tolist())
                if hits and deviation > 0:
                    reached.append((2 * hits[0]["_score"] - 1 - mean) / deviation)
            store_moments(client, name, each, replace(moments, null=tuple(reached)), anew=True)
            asked[each.field] = asked.get(each.field, 0) + len(reached)
    return asked


def _gather(
    client: Elasticsearch, index: str, each: VectorField, sample: int, progress: Callable[[int, int], None]
) -> Moments | None:
    reader = Reader(client, index, [each.path], vectors=True)
    query = done_query(each)
    total = min(sample, reader.count(query))
    moments, read = None, 0
    for page in prefetched(reader.pages(query)):
        vectors = [vector for document in page for vector in vectors_of(document.source, each)]
        if vectors:
            here = Moments.of(vectors)
            moments = here if moments is None else moments.merged(here)
        read += len(page)
        progress(min(read, total), total)
        if read >= sample:
            break
    return moments
