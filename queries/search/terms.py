"""What a query is made of: texts, images and indexed documents, each with a sign, as one vector for each field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.sources.images import ImageSource
from crosslens.queries.search.remembered import QueryVectors


@dataclass(frozen=True)
class Terms:
    """What to look for, and what to look away from. ``like`` are indexed documents, by index and id."""

    texts: tuple[str, ...] = ()
    images: tuple[ImageSource, ...] = ()
    less_texts: tuple[str, ...] = ()
    less_images: tuple[ImageSource, ...] = ()
    like: tuple[DocumentKey, ...] = ()

    @classmethod
    def of(
        cls,
        text: str | Sequence[str] | None,
        image: ImageSource | Sequence[ImageSource] | None,
        less_text: str | Sequence[str] | None,
        less_image: ImageSource | Sequence[ImageSource] | None,
        like: Sequence[DocumentKey],
    ) -> Terms:
        """Terms from one of each, several, or none. Raises `QueryError` when there is nothing to look for."""
        terms = cls(_texts(text), _several(image), _texts(less_text), _several(less_image), tuple(like))
        if not (terms.texts or terms.images or terms.like):
            raise QueryError(
                "nothing to search for: give a text that isn't blank, an image, or a document to find more of"
            )
        return terms

    @property
    def words(self) -> str:
        """All texts looked for, as keyword search reads them."""
        return " ".join(self.texts)


def _texts(value: str | Sequence[str] | None) -> tuple[str, ...]:
    values = [] if value is None else [value] if isinstance(value, str) else list(value)
    return tuple(text for text in values if text.strip())


def _several(value: Any) -> tuple[ImageSource, ...]:
    return () if value is None else tuple(value) if isinstance(value, list | tuple) else (value,)


def vectors(
    terms: Terms,
    fields: Sequence[VectorField],
    encoders: Encoders,
    remembered: QueryVectors,
    liked: Mapping[str, Sequence[Sequence[float]]],
) -> dict[str, list[float]]:
    """The query's vector for each field, by name: the sum of the terms' unit vectors with their signs, made unit again.

    ``liked`` are the vectors that documents to find more of have in each field. A field for which nothing is looked
    for has none: only such documents were given, and they have no vector there; or only images, and its model is a text
    model, which leaves images out of account.

    Raises `QueryError` where terms cancel each other out, or no field's model encodes the images that alone are looked
    for, and `ImageError` for an image that can't be read.
    """
    made: dict[str, NDArray[np.float32]] = {}
    found: dict[str, list[float]] = {}
    for each in fields:
        if each.fingerprint not in made:
            made[each.fingerprint] = _sum(terms, encoders.for_field(each, searching=True), remembered)
        total = made[each.fingerprint].astype(np.float64)
        for vector in liked.get(each.field, ()):
            total += _unit(np.asarray(vector, dtype=np.float64))
        seen = terms.images and encoders.for_field(each, searching=True).encodes_images
        if not (terms.texts or seen or liked.get(each.field)):
            continue
        if np.linalg.norm(total) < 1e-6:
            raise QueryError("the query's terms cancel each other out; nothing is left to look for")
        found[each.field] = _unit(total).tolist()
    if terms.images and not (found or terms.texts):
        models = sorted({each.model for each in fields})
        raise QueryError(f"an image is all that is looked for, and {', '.join(models)} encode(s) texts only")
    return found


def _sum(terms: Terms, encoder: VectorEncoder, remembered: QueryVectors) -> NDArray[np.float32]:
    total = np.zeros(encoder.dims, dtype=np.float32)
    for sign, texts, images in ((1, terms.texts, terms.images), (-1, terms.less_texts, terms.less_images)):
        if texts:
            total += sign * remembered.of_texts(encoder, texts).sum(axis=0)
        if images and encoder.encodes_images:
            total += sign * remembered.of_images(encoder, images).sum(axis=0)
    return total


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm > 0 else vector
