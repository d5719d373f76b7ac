"""Vectors in clusters, as real ones lie, by an encoder that takes no time: uniform ones have no neighbourhoods for a
graph to follow."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch, helpers
from numpy.typing import NDArray

from crosslens.demo.run import load_items
from crosslens.ingest.contract.documents import State, inputs, source_hash
from crosslens.ingest.contract.encoders import Encoders, Float32Array
from crosslens.ingest.contract.fields import agree, put_fields, read_mappings
from crosslens.ingest.contract.settings import vector_packer
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.passages import Passage
from crosslens.ingest.model.prompts import Role

FIELD = "title_vector"
_TARGET = Target(FIELD, "text", ("title",))
# So much noise around a centre that clusters overlap.
_SPREAD = 0.7
_BULK = 500


@dataclass
class ClusteredEncoder:
    """Gives equal texts equal unit vectors of ``dims`` numbers, around one of ``clusters`` centres."""

    dims: int
    clusters: int = 500
    name: str = "clustered"
    fingerprint: str = "clustered"
    batch_size: int = 256
    remote: bool = False
    encodes_images: bool = False
    encodes_audio: bool = False
    encodes_video: bool = False
    audio: None = None
    video: None = None
    _centres: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._centres = np.random.default_rng(6).normal(size=(self.clusters, self.dims)).astype(np.float32)

    def passages(self, text: str) -> list[Passage]:
        """All of a text is one."""
        return [Passage(0, len(text))]

    def lost(self, texts: Sequence[str]) -> list[float]:
        """Nothing of any text."""
        return [0.0] * len(texts)

    def encode_texts(self, texts: Sequence[str], *, role: Role = "passage") -> Float32Array:
        """Unit vectors of texts."""
        return np.stack([self._vector(text) for text in texts])

    def encode_queries(self, texts: Sequence[str], target: Any) -> Float32Array:
        """Unit vectors of texts, whatever they look for."""
        return self.encode_texts(texts, role="query")

    def _vector(self, text: str) -> NDArray[np.float32]:
        rng = np.random.default_rng(zlib.crc32(text.encode()))
        vector = self._centres[rng.integers(self.clusters)] + _SPREAD * rng.standard_normal(self.dims, np.float32)
        unit: NDArray[np.float32] = vector / np.linalg.norm(vector)
        return unit

    def encode_images(self, images: Iterable[Any]) -> Float32Array:
        """Not asked for: the field is made from texts."""
        raise NotImplementedError

    def prepare_image(self, image: Any, rules: Any = None) -> Float32Array:
        """Not asked for: the field is made from texts."""
        raise NotImplementedError

    def encode_pixels(self, pixels: Float32Array) -> Float32Array:
        """Not asked for: the field is made from texts."""
        raise NotImplementedError


def vocabulary() -> list[str]:
    """Words to make titles and queries from."""
    return sorted({word for item in load_items() for word in item.get("keywords", "").split(", ") if word})


def fill(
    client: Elasticsearch,
    index: str,
    encoder: ClusteredEncoder,
    documents: int,
    *,
    shards: int = 1,
    body: int = 0,
    said: Callable[[int], None] = lambda _: None,
) -> None:
    """Make ``index`` of so many documents: a title of 3 to 12 words, its vector and state, and ``body`` bytes of text
    that isn't indexed. ``said`` takes how many are written."""
    settings = {"number_of_shards": shards, "number_of_replicas": 0, "refresh_interval": "-1"}
    mappings = {"properties": {"title": {"type": "text"}, "body": {"type": "text", "index": False}}}
    client.indices.create(index=index, mappings=mappings, settings=settings)
    # What the mapping of a source field is, the first document shows.
    client.index(index=index, id="0", document={"title": "first"}, refresh=True)
    (made,) = agree(client, index, read_mappings(client, index), [_TARGET], Encoders.of(encoder))
    put_fields(client, index, [made])
    pack, words, rng = vector_packer(client, index), vocabulary(), np.random.default_rng(7)

    def actions() -> Iterator[dict[str, Any]]:
        for start in range(0, documents, _BULK):
            some = min(_BULK, documents - start)
            # Of different lengths, or every document with one of the words would score the same.
            lengths = rng.integers(3, 13, size=some)
            titles = [" ".join(words[i] for i in rng.integers(len(words), size=length)) for length in lengths]
            for i, (title, vector) in enumerate(zip(titles, encoder.encode_texts(titles), strict=True), start):
                state = State(source_hash(inputs({"title": title}, made), made), made.fingerprint)
                states = {FIELD: {"source": state.source, "model": state.model}}
                document = {"title": title, FIELD: pack(vector), "crosslens": states}
                if body:
                    long = " ".join(words[i] for i in rng.integers(len(words), size=body // 4))
                    document["body"] = long[:body]
                yield {"_index": index, "_id": str(i), **document}
            said(start + some)

    for _ in helpers.streaming_bulk(client, actions(), chunk_size=_BULK, request_timeout=300):
        pass
    client.options(request_timeout=600).indices.refresh(index=index)
