"""The passages of a document's texts: which of them have a vector already, and what the document keeps of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crosslens.errors import TextError
from crosslens.ingest.contract.documents import state_of, value_at
from crosslens.ingest.contract.encoders import VectorEncoder
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.model.passages import MOST_PASSAGES, Passage
from crosslens.ingest.model.transform import Float32Array
from crosslens.ingest.sources.hashing import content_hash


@dataclass
class Passages:
    """The passages of several ``texts``: each with the text's position, its place in it, and the hash of its words.

    ``kept`` are the vectors that the document has of some, by hash.
    """

    texts: Sequence[str]
    places: list[tuple[int, Passage, str]]
    kept: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Sequence[str], encoder: VectorEncoder) -> Passages:
        """The passages that ``texts`` make for the encoder's model. Raises `TextError` for too many."""
        places = []
        for i, text in enumerate(texts):
            for each in encoder.passages(text):
                words = text[each.start : each.end].encode("utf-8", "surrogatepass")
                places.append((i, each, content_hash(words)))
            if len(places) > MOST_PASSAGES:
                raise TextError(f"the texts make more than {MOST_PASSAGES} passages", hint="split the document")
        return cls(texts, places)

    def keep(self, document: Mapping[str, Any], each: VectorField) -> None:
        """Takes over the vectors that ``document`` has of the same words by the same model."""
        state = state_of(document, each.path) or {}
        if state.get("model") != each.fingerprint:
            return
        node = value_at(document, each.path)
        wanted = {hash for _, _, hash in self.places}
        for entry in node if isinstance(node, list) else ():
            vector = entry.get("vector") if isinstance(entry, Mapping) else None
            if isinstance(vector, list) and len(vector) == each.dims and entry.get("hash") in wanted:
                self.kept[entry["hash"]] = vector

    @property
    def lacking(self) -> list[str]:
        """The words of the passages that have no vector yet, in order, each once."""
        lacking = {hash: self.texts[i][each.start : each.end] for i, each, hash in self.places if hash not in self.kept}
        return list(lacking.values())

    def stored(self, made: Iterator[Float32Array], pack: Callable[[Float32Array], Any]) -> list[dict[str, Any]]:
        """What the document keeps: an object for every passage. ``made`` gives the vectors of `lacking`."""
        vectors: dict[str, Any] = dict(self.kept)
        for _, _, hash in self.places:
            if hash not in vectors:
                vectors[hash] = pack(next(made))
        return [
            {"vector": vectors[hash], "position": i, "start": each.start, "end": each.end, "hash": hash}
            for i, each, hash in self.places
        ]
