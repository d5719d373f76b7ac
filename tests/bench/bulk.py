"""The write part alone: vectors that are made already into an index, against ``helpers.streaming_bulk`` with JSON."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch, helpers

from crosslens.client import Connection, connect
from crosslens.ingest.contract.documents import State, document_update
from crosslens.ingest.contract.fields import put_fields
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.settings import vector_packer
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Reader
from crosslens.ingest.run.sending import Outcome, Write, Writer
from crosslens.node import Node
from tests.bench.common import show

_INDEX = "bench-bulk"
_DOCUMENTS = 10_000
_DIMS = 512
_ROUNDS = 2


def main() -> None:
    """Prints documents a second, and processor seconds of the client, for each index type; the better of two rounds."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(_DOCUMENTS, _DIMS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = []
    with tempfile.TemporaryDirectory() as tmp, Node(Path(tmp) / "node", heap="2g") as node:
        client = connect(Connection(url=node.url))
        for kind in ("flat", "int8_hnsw"):
            ours: list[tuple[float, float]] = []
            theirs: list[tuple[float, float]] = []
            # The server's code is warm for both.
            _theirs(client, kind, vectors[:2_000])
            for _ in range(_ROUNDS):
                ours.append(_ours(client, kind, vectors))
                theirs.append(_theirs(client, kind, vectors))
            best, peer = min(ours), min(theirs)
            for what, i in (("documents/s", 0), ("documents/s of client CPU", 1)):
                a, b = _DOCUMENTS / best[i], _DOCUMENTS / peer[i]
                rows.append([f"{kind}, {what}", f"{a:,.0f}", f"{b:,.0f}", f"{a / b:.2f}x"])
    show(f"Writing {_DOCUMENTS:,} vectors of {_DIMS} dims", ["", "crosslens", "streaming_bulk, JSON", "ratio"], rows)


def _prepare(client: Elasticsearch, kind: str, count: int) -> VectorField:
    client.options(ignore_status=404).indices.delete(index=_INDEX)
    client.indices.create(index=_INDEX, settings={"number_of_replicas": 0, "number_of_shards": 1})
    helpers.bulk(client, ({"_index": _INDEX, "_id": str(i), "title": f"item {i}"} for i in range(count)), refresh=True)
    target = Target("v", "text", ("title",), kind)
    field = VectorField(target.field, "text", target.sources, "bench", "f00d", _DIMS, kind)
    put_fields(client, _INDEX, [field])
    return field


def _ours(client: Elasticsearch, kind: str, vectors: Any) -> tuple[float, float]:
    """Seconds, and seconds of the client's processor, of the reader and the guarded writer together."""
    field = _prepare(client, kind, len(vectors))
    pack = vector_packer(client, _INDEX)
    wrong: list[Outcome] = []
    reader = Reader(client, _INDEX, ["title"])
    writer = Writer(client, lambda outcomes: wrong.extend(o for o in outcomes if o.status >= 300))
    started, cpu = time.perf_counter(), time.process_time()
    for page in prefetched(reader.pages({"match_all": {}})):
        writes = []
        for document in page:
            state = State("0" * 32, field.fingerprint)
            body = document_update({"v": state}, {"v": pack(vectors[int(document.id)])}, document.source)
            writes.append(Write("update", document.index, document.id, None, body, guard=document.guard))
        writer.put(writes)
    writer.flush()
    took = time.perf_counter() - started, time.process_time() - cpu
    writer.close()
    if wrong:
        raise RuntimeError(f"{len(wrong)} writes failed: {wrong[0]}")
    return took


def _theirs(client: Elasticsearch, kind: str, vectors: Any) -> tuple[float, float]:
    """The same of the helper with the same partial documents, vectors as lists of numbers, and no guard."""
    field = _prepare(client, kind, len(vectors))

    def actions() -> Iterator[dict[str, Any]]:
        for i, vector in enumerate(vectors):
            state = State("0" * 32, field.fingerprint)
            doc = document_update({"v": state}, {"v": vector.tolist()}, {})
            yield {"_op_type": "update", "_index": _INDEX, "_id": str(i), "doc": doc}

    started, cpu = time.perf_counter(), time.process_time()
    for _ in helpers.streaming_bulk(client, actions()):
        pass
    return time.perf_counter() - started, time.process_time() - cpu


if __name__ == "__main__":
    main()
