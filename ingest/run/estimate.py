"""What a run will take: seconds, from a sample that is encoded and thrown away, and bytes on disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.run.encoding import Pipeline
from crosslens.ingest.run.reading import Document
from crosslens.ingest.run.tasks import Task

# Bytes of a vector of d dims by index type: the float32 vector always stays beside its quantised form, and a graph
# keeps some 4 * 16 bytes of links (Elasticsearch's guide, "Tune approximate kNN search").
_PER_DIM = {"int8": 5.0, "int4": 4.5, "bbq": 4.125}
_GRAPH = 64
_SAMPLE, _MOST = 96, 512


@dataclass(frozen=True)
class Estimate:
    """``documents`` to encode, about how many ``seconds`` that takes, and ``bytes`` on disk of one copy of a shard."""

    documents: int
    seconds: float
    bytes: int


def estimate(
    pipeline: Pipeline, work: Iterator[tuple[Document, list[Task]]], fields: Sequence[VectorField], documents: int
) -> Estimate:
    """Encodes a sample of ``work`` and reckons for ``documents``. Writing goes on beside encoding and isn't counted."""
    vectors = dict.fromkeys((each.path for each in fields), 0)
    sizes: list[int] = []
    times = [time.perf_counter()]
    for chunk in pipeline.run(islice(work, _SAMPLE)):
        times.append(time.perf_counter())
        sizes.append(len(chunk))
        for prepared in chunk:
            for path in prepared.vectors:
                vectors[path] += len(prepared.inputs[path])
        if sum(vectors.values()) >= _MOST:
            # Long texts make hundreds of passages each.
            break
    seen = sum(sizes)
    if not seen:
        return Estimate(documents, 0.0, 0)
    # The first chunk also loads the model.
    skipped = 1 if len(sizes) > 1 else 0
    each_s = (times[-1] - times[skipped]) / sum(sizes[skipped:])
    size = sum(estimated_bytes(each, round(vectors[each.path] / seen * documents)) for each in fields)
    return Estimate(documents, each_s * documents, size)


def estimated_bytes(each: VectorField, vectors: int) -> int:
    """About how much disk ``vectors`` more vectors of a field will take, of one copy of each shard."""
    family, _, kind = each.index_type.partition("_")
    per_dim = _PER_DIM.get(family, 4.0)
    graph = _GRAPH if "hnsw" in (family, kind) else 0
    return round(vectors * (per_dim * each.dims + graph))
