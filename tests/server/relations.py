"""A model that may search the vectors of another, which no node has, and an index of such vectors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from elasticsearch import Elasticsearch

from crosslens.ingest.contract.fields import put_fields
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.model.transform import Float32Array

TWIN, STRANGER = "f00df00df00df00d", "0123456789abcdef"


@contextmanager
def related(model: Path, home: Path) -> Iterator[str]:
    """The name of a copy of ``model`` in a node's folder, whose queries may be compared with vectors of `TWIN`."""
    folder = home / "config" / "crosslens" / "related"
    shutil.copytree(model, folder)
    try:
        manifest = json.loads((folder / "crosslens.json").read_text())
        manifest["relations"] = {TWIN: {"search": True}, STRANGER: {"search": False}}
        (folder / "crosslens.json").write_text(json.dumps(manifest))
        yield folder.name
    finally:
        shutil.rmtree(folder)


def index_of(client: Elasticsearch, index: str, vectors: Float32Array, fields: Sequence[tuple[str, str]]) -> None:
    """Creates an index whose ``fields``, by name, are recorded as of these fingerprints, with the same vectors."""
    client.indices.create(index=index, settings={"number_of_replicas": 0}, wait_for_active_shards="all")
    made = [VectorField(name, "text", ("title",), "gone", by, vectors.shape[1], "hnsw") for name, by in fields]
    put_fields(client, index, made)
    for i, vector in enumerate(np.asarray(vectors, dtype=np.float64)):
        client.index(index=index, id=str(i), document={name: vector.tolist() for name, _ in fields})
    client.indices.refresh(index=index)
