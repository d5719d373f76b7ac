"""The moments of a document's sounds and footage: what it keeps of each, and which of them still lack their vector."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.ingest.contract.documents import state_of, value_at
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.sources.decoding.shapes import Cue, Moment
from crosslens.surrogates import well_formed

Vector = NDArray[np.float32]


@dataclass
class StoredMoment:
    """A moment as a document keeps it: ``span`` of the file at ``position`` among the source's values, whose content
    has that ``hash``; the words spoken in it, and its ``vector``, float32 [dims], None as long as it has none."""

    position: int
    span: Moment
    hash: str
    text: str | None = None
    vector: Vector | None = None

    def body(self, pack: Callable[[Vector], Any]) -> dict[str, Any]:
        """Return the nested object; ``pack`` turns a vector into what is sent."""
        body: dict[str, Any] = {} if self.vector is None else {"vector": pack(self.vector)}
        body |= {"position": self.position, "start": self.span.start_ms, "end": self.span.end_ms, "hash": self.hash}
        return body if self.text is None else {**body, "text": self.text}


def stored_moments(document: Mapping[str, Any], field: VectorField) -> list[StoredMoment]:
    """The moments that a document's source has of ``field``, made by the field's model; none where another made them.

    Objects that anyone else wrote otherwise are left out. Vectors that the server sent in base64 count as none.
    """
    if (state_of(document, field.path) or {}).get("model") != field.fingerprint:
        return []
    node = value_at(document, field.path)
    found = (_read(entry, field) for entry in (node if isinstance(node, list) else [node]))
    return [moment for moment in found if moment is not None]


def _read(entry: Any, field: VectorField) -> StoredMoment | None:
    if not isinstance(entry, Mapping):
        return None
    numbers = [entry.get(name) for name in ("position", "start", "end")]
    if not all(isinstance(each, int) for each in numbers) or not isinstance(entry.get("hash"), str):
        return None
    position, start, end = (int(each or 0) for each in numbers)
    vector = entry.get("vector")
    fits = isinstance(vector, list) and len(vector) == field.dims
    text = entry.get("text")
    return StoredMoment(
        position,
        Moment(start, end),
        entry["hash"],
        text if isinstance(text, str) else None,
        np.asarray(vector, dtype=np.float32) if fits else None,
    )


def windows(moments: Iterable[Moment], seconds: float) -> list[Moment]:
    """The same moments, those longer than ``seconds`` divided evenly into as few as aren't."""
    most = max(1, int(seconds * 1000))
    found = []
    for each in moments:
        length = each.end_ms - each.start_ms
        parts = max(1, -(-length // most))
        edges = [each.start_ms + round(i * length / parts) for i in range(parts + 1)]
        found += [Moment(start, end) for start, end in itertools.pairwise(edges)]
    return found


def words_by_moment(moments: Sequence[Moment], cues: Iterable[Cue]) -> list[str | None]:
    """The words spoken in each of ``moments`` (ascending): each caption is in the one that most of it lies in."""
    words: list[list[str]] = [[] for _ in moments]
    first = 0
    for cue in sorted(cues, key=lambda each: each.start_ms):
        while first < len(moments) and moments[first].end_ms <= cue.start_ms:
            first += 1
        best, most = -1, -1
        for i in range(first, len(moments)):
            if moments[i].start_ms > cue.start_ms and moments[i].start_ms >= cue.end_ms:
                break
            shared = min(moments[i].end_ms, cue.end_ms) - max(moments[i].start_ms, cue.start_ms)
            if shared > most:
                best, most = i, shared
        if best >= 0 and cue.text.strip():
            words[best].append(well_formed(cue.text.strip()))
    return [" ".join(each) or None for each in words]
