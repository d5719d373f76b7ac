"""Detecting, without judgements, that a vector leg looks useless on an index.

A sample of the index's own vectors is checked for two signs. A leg is flat where its best documents don't stand out
from its own noise: the cosines of a query and the window's first documents equal those of the last. A leg is at odds
with the words where the texts of documents don't find the same documents' pictures better than chance does. Only
judged queries show a leg's worth for users' queries (`crosslens.queries.evaluate.measures`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from crosslens.ingest.contract.fields import read_mappings, recorded_fields
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.selection import done_query
from crosslens.ingest.contract.statistics import vectors_of
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Reader
from crosslens.queries.fusion.evidence import TAIL_RANK, by_tail
from crosslens.retrying import patient
from crosslens.stopping import stoppable

SAMPLE = 200
# With fewer documents chance can't be distinguished from a weak but useful leg.
LEAST = 50
# One-sided, 5 %: chance alone rarely finds the right pictures this often.
_Z = 1.645
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Warned:
    """A vector field that looks useless: why, and what to do about it, in sentences."""

    field: str
    why: str
    advice: str


@stoppable
def looks_useless(client: Elasticsearch, index: str, *, sample: int = SAMPLE) -> list[Warned]:
    """Return the index's vector fields that look useless by a ``sample`` of documents; small indices are not judged.

    Raises `MappingError` when the index doesn't exist or has no vectors.
    """
    client = patient(client)
    fields = list(recorded_fields(index, read_mappings(client, index)).values())
    warned: dict[str, Warned] = {}
    for each in fields:
        (own,) = _sample(client, index, [each], sample)
        if len(own) >= LEAST and is_flat(own, own, same=True):
            warned[each.field] = Warned(
                each.field,
                f"its best documents never stand out: all {len(own)} sampled vectors are as near to each other",
                f"see what its source ({each.made_from}) holds, and export the model anew with this version",
            )
    for words in fields:
        for pictures in fields:
            pair = (words.modality, pictures.modality) == ("text", "image")
            if not pair or words.fingerprint != pictures.fingerprint or {words.field, pictures.field} & warned.keys():
                continue
            texts, images = _sample(client, index, [words, pictures], sample)
            if len(texts) < LEAST:
                continue
            place, z = own_place(texts, images)
            if z < _Z:
                warned[pictures.field] = Warned(
                    pictures.field,
                    f"the texts of {len(texts)} documents ({words.field}) don't find their own pictures: these come at "
                    f"place {place:.0f} in the middle, by chance at {(len(texts) + 1) / 2:.0f}",
                    f"see whether {pictures.sources[0]} names the right pictures and {', '.join(words.sources)} says "
                    "what they show; migrate to another model; or leave the leg out by giving "
                    f"{pictures.field} the weight 0. To be certain, evaluate with judged queries",
                )
    return list(warned.values())


def is_flat(queries: Floats, vectors: Floats, *, same: bool = False) -> bool:
    """Return whether the best of ``vectors`` never stands out for any of ``queries`` (both (n, dims), unit length).

    That is, whether for most of them E (`crosslens.queries.fusion.evidence.by_tail`) of the best is that of the fifth,
    or more. ``same`` leaves each vector's cosine with itself out.
    """
    cosines = queries @ vectors.T
    # Rounding in float32 is not a difference.
    cosines = np.round(cosines, 6)
    best = []
    for i, row in enumerate(cosines):
        others = np.delete(row, i) if same else row
        best.append(min(by_tail({d: float(cosine) for d, cosine in enumerate(others)}).values()))
    return float(np.median(best)) >= math.log(TAIL_RANK)


def own_place(texts: Floats, images: Floats) -> tuple[float, float]:
    """Return the median place of each text's own image, and its average advantage over chance in deviations.

    Both are (n, dims), unit length, each row from one document. By chance a place is uniform on 1..n, with the mean
    (n + 1) / 2 and the variance (n^2 - 1) / 12. Equal cosines share their mean place.
    """
    cosines = np.round(texts @ images.T, 6)
    own = np.diag(cosines)[:, None]
    n = len(cosines)
    places = (cosines > own).sum(axis=1) + ((cosines == own).sum(axis=1) + 1) / 2
    deviation = math.sqrt((n * n - 1) / 12 / n)
    return float(np.median(places)), float(((n + 1) / 2 - places.mean()) / deviation)


def _sample(client: Elasticsearch, index: str, fields: Sequence[VectorField], count: int) -> list[Floats]:
    """Return the first vector of every field, of unit length, for ``count`` documents that have all fields."""
    reader = Reader(client, index, [each.path for each in fields], vectors=True)
    query = {"bool": {"filter": [done_query(each) for each in fields]}}
    documents = (document for page in prefetched(reader.pages(query)) for document in page)
    rows = ([vectors_of(document.source, each)[:1] for each in fields] for document in documents)
    found = list(islice((row for row in rows if all(row)), count))
    sampled = []
    for i in range(len(fields)):
        vectors = np.array([row[i][0] for row in found], dtype=np.float64).reshape(len(found), -1)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        sampled.append(vectors / np.where(norms > 0, norms, 1.0))
    return sampled
