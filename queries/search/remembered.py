"""Query vectors that were made lately, and those that are being made: what is asked for again isn't made again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np

from crosslens.errors import QueryError
from crosslens.ingest.contract.encoders import VectorEncoder
from crosslens.ingest.model.senses import Target
from crosslens.ingest.model.transform import Float32Array
from crosslens.ingest.sources.images import ImageSource
from crosslens.queries.search.media import MediaSource

# About 1,800 vectors of 512 dims.
QUERY_CACHE_BYTES = 4 << 20
# What an entry takes besides its vector: its key, and the objects around both.
_ENTRY_BYTES = 400
# A model's fingerprint, a modality, and the digest of an input.
_Key = tuple[str, str, bytes]


class QueryVectors:
    """Unit vectors of queries by model and input, ``max_bytes`` of them at most. May be used from several threads.

    An input that several searches ask for at the same time is encoded once; if that fails, each tries by itself.
    Images, sounds and footage are remembered that are given as bytes; what a path leads to may change. A changed model
    has another fingerprint, under which nothing is found. With 0 bytes nothing is remembered or shared.

    Raises `QueryError` for fewer than 0 bytes.
    """

    def __init__(self, max_bytes: int = QUERY_CACHE_BYTES):
        if max_bytes < 0:
            raise QueryError(f"a cache of query vectors has 0 bytes or more, not {max_bytes}")
        self._max_bytes = max_bytes
        self._bytes = 0
        self._made: OrderedDict[_Key, Float32Array] = OrderedDict()
        self._being_made: dict[_Key, Future[Float32Array | None]] = {}
        self._lock = threading.Lock()

    def of_texts(self, encoder: VectorEncoder, texts: Sequence[str], target: Target = "text") -> Float32Array:
        """Return float32 [len(texts), dims], as `crosslens.Encoder.encode_queries`, and raise as it does."""
        if target in ("text", "image"):
            # No model asks for pictures otherwise than for texts.
            keys = [self._key(encoder, "text", each) for each in texts]
            return self._of(keys, texts, partial(encoder.encode_texts, role="query"))
        keys = [self._key(encoder, f"text for {target}", each) for each in texts]
        return self._of(keys, texts, partial(encoder.encode_queries, target=target))

    def of_images(self, encoder: VectorEncoder, images: Sequence[ImageSource]) -> Float32Array:
        """Return float32 [len(images), dims], as `crosslens.Encoder.encode_images`, also for what is raised."""
        keys = [self._key(encoder, "image", each) for each in images]
        return self._of(keys, images, encoder.encode_images)

    def of_media(
        self,
        encoder: VectorEncoder,
        kind: str,
        sources: Sequence[MediaSource],
        encode: Callable[[MediaSource], Float32Array],
    ) -> Float32Array:
        """Return float32 [len(sources), dims]: what ``encode`` makes of each file. ``kind`` is what it reads of it."""
        keys = [self._key(encoder, kind, each) for each in sources]
        return self._of(keys, sources, lambda several: np.stack([encode(each) for each in several]))

    def _key(self, encoder: VectorEncoder, modality: str, given: Any) -> _Key | None:
        if not self._max_bytes:
            return None
        if isinstance(given, str) and modality.startswith("text"):
            given = given.encode("utf-8", "surrogatepass")
        return (encoder.fingerprint, modality, hashlib.sha256(given).digest()) if isinstance(given, bytes) else None

    def _of(
        self, keys: Sequence[_Key | None], inputs: Sequence[Any], encode: Callable[[list[Any]], Float32Array]
    ) -> Float32Array:
        vectors: dict[int, Float32Array] = {}
        awaited: dict[int, Future[Float32Array | None]] = {}
        mine: list[int] = []
        with self._lock:
            for i, key in enumerate(keys):
                if key is None:
                    mine.append(i)
                elif key in self._made:
                    self._made.move_to_end(key)
                    vectors[i] = self._made[key]
                elif key in self._being_made:
                    awaited[i] = self._being_made[key]
                else:
                    self._being_made[key] = Future()
                    mine.append(i)
        if mine:
            vectors.update(self._encoded(keys, inputs, mine, encode))
        for i, future in awaited.items():
            made = future.result()
            vectors[i] = encode([inputs[i]])[0] if made is None else made
        return np.stack([vectors[i] for i in range(len(inputs))])

    def _encoded(
        self,
        keys: Sequence[_Key | None],
        inputs: Sequence[Any],
        mine: Sequence[int],
        encode: Callable[[list[Any]], Float32Array],
    ) -> dict[int, Float32Array]:
        """Make the vectors of these inputs, and hand them to whoever waits for them."""
        vectors: dict[int, Float32Array] = {}
        try:
            vectors = dict(zip(mine, encode([inputs[i] for i in mine]), strict=True))
        finally:
            # Whatever went wrong, an interruption included, nobody waits for ever.
            with self._lock:
                for i in mine:
                    key = keys[i]
                    if key is not None:
                        self._remember(key, vectors.get(i))
        return vectors

    def _remember(self, key: _Key, vector: Float32Array | None) -> None:
        future = self._being_made.pop(key)
        if vector is not None:
            # A copy, since the vector may be a row of a large batch.
            vector = vector.copy()
            vector.flags.writeable = False
            self._made[key] = vector
            self._bytes += vector.nbytes + _ENTRY_BYTES
            while self._bytes > self._max_bytes:
                _, oldest = self._made.popitem(last=False)
                self._bytes -= oldest.nbytes + _ENTRY_BYTES
        future.set_result(vector)
