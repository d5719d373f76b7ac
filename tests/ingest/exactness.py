"""What every run has to end with: each document has exactly the vector of its present source."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from crosslens.client import parse_version
from crosslens.ingest.contract.documents import inputs, standing
from crosslens.ingest.contract.record import read_record
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from tests.conftest import Server

TITLE = Target("title_vector", "text", ("title",))
PHOTO = Target("photo_vector", "image", ("photo",))
MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "title": {"type": "text"},
        "photo": {"type": "keyword", "ignore_above": 256},
        "price": {"type": "float"},
    },
}


def shop(count: int = 60) -> list[dict[str, Any]]:
    return [{"title": f"blue running shoe number {i}", "photo": f"{i % 60}.png", "price": i} for i in range(count)]


def all_documents(server: Server, index: str) -> dict[str, dict[str, Any]]:
    """Every document of up to 10,000, by id, with its vectors."""
    server.client.indices.refresh(index=index)
    whole: Any = {"exclude_vectors": False} if parse_version(server.version) >= (9, 2) else True
    found: dict[str, dict[str, Any]] = {}
    after: list[Any] | None = None
    pit = server.client.open_point_in_time(index=index, keep_alive="1m")["id"]
    while True:
        body: dict[str, Any] = {"pit": {"id": pit}, "size": 1_000, "sort": ["_shard_doc"], "_source": whole}
        hits = server.client.search(body={**body, **({"search_after": after} if after else {})})["hits"]["hits"]
        if not hits:
            server.client.close_point_in_time(id=pit)
            return found
        found |= {hit["_id"]: hit["_source"] for hit in hits}
        after = hits[-1]["sort"]


def expect_exact(server: Server, index: str, encoder: Encoder, root: Path) -> dict[str, dict[str, Any]]:
    """Compares every vector of every document with one made now of its present source; returns the documents."""

    @cache
    def image(reference: str) -> Any:
        return encoder.encode_images([root / reference])[0]

    fields = read_record(server.client.indices.get_mapping(index=index)[index]["mappings"]).fields.values()
    documents = all_documents(server, index)
    for each in fields:
        texts = [text for document in documents.values() for text in inputs(document, each)]
        made = iter(encoder.encode_texts(texts) if each.modality == "text" and texts else ())
        for id, document in documents.items():
            values = inputs(document, each)
            expected = [next(made) if each.modality == "text" else image(value) for value in values]
            stored = document.get(each.path)
            if not values:
                assert stored is None, (id, each.field)
                continue
            assert standing(document, each) == "done", (id, each.field, document)
            vectors = [entry["vector"] for entry in stored] if each.each else [stored]
            assert len(vectors) == len(expected), (id, each.field)
            for vector, want in zip(vectors, expected, strict=True):
                assert np.allclose(vector, want, atol=1e-5), (id, each.field)
    return documents
