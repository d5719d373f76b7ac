"""What a query is made of: texts, images, sounds, footage and indexed documents, as one vector for each field."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.model.senses import Target
from crosslens.ingest.sources.images import ImageSource
from crosslens.queries.search.media import MediaSource, encoded, readable
from crosslens.queries.search.options import SearchOptions
from crosslens.queries.search.remembered import QueryVectors

_Kind = Literal["text", "image", "audio", "video"]
_Media = Literal["audio", "video"]
_NOUNS: Mapping[_Media, tuple[str, str]] = {"audio": ("a sound", "sounds"), "video": ("a video", "footage")}


@dataclass(frozen=True)
class Terms:
    """What to look for, and what to look away from. ``like`` are indexed documents, by index and id."""

    texts: tuple[str, ...] = ()
    images: tuple[ImageSource, ...] = ()
    less_texts: tuple[str, ...] = ()
    less_images: tuple[ImageSource, ...] = ()
    like: tuple[DocumentKey, ...] = ()
    sounds: tuple[MediaSource, ...] = ()
    footage: tuple[MediaSource, ...] = ()

    @classmethod
    def of(cls, options: SearchOptions, like: Sequence[DocumentKey] = ()) -> Terms:
        """Terms from one of each, several, or none. Raises `QueryError` when there is nothing to look for."""
        terms = cls(
            _texts(options.text),
            _several(options.image),
            _texts(options.less_text),
            _several(options.less_image),
            tuple(like),
            _several(options.audio),
            _several(options.video),
        )
        if not (terms.texts or terms.images or terms.sounds or terms.footage or terms.like):
            raise QueryError(
                "nothing to search for: give a text that isn't blank, an image, a sound, a video, or a document to "
                "find more of"
            )
        return terms

    @property
    def media(self) -> dict[_Media, tuple[MediaSource, ...]]:
        """The sounds and the footage looked for."""
        return {"audio": self.sounds, "video": self.footage}

    @property
    def briefly(self) -> Terms:
        """The same with digests in the place of files that were given as bytes, which may be large."""

        def brief(sources: tuple[MediaSource, ...]) -> tuple[MediaSource, ...]:
            return tuple(hashlib.sha256(each).digest() if isinstance(each, bytes) else each for each in sources)

        return replace(self, sounds=brief(self.sounds), footage=brief(self.footage))

    @property
    def words(self) -> str:
        """All texts looked for, as keyword search reads them."""
        return " ".join(self.texts)


def _texts(value: str | Sequence[str] | None) -> tuple[str, ...]:
    values = [] if value is None else [value] if isinstance(value, str) else list(value)
    return tuple(text for text in values if text.strip())


def _several(value: Any) -> tuple[Any, ...]:
    return () if value is None else tuple(value) if isinstance(value, list | tuple) else (value,)


@dataclass(frozen=True)
class _Sum:
    """The sum of the terms' signed unit vectors, float32 [dims], and the ``kinds`` of them that were looked for."""

    vector: NDArray[np.float32]
    kinds: frozenset[_Kind]


def vectors(
    terms: Terms,
    fields: Sequence[VectorField],
    encoders: Encoders,
    remembered: QueryVectors,
    liked: Mapping[str, Sequence[Sequence[float]]],
) -> dict[str, list[float]]:
    """The query's vector for each field, by name: the sum of the terms' unit vectors with their signs, made unit again.

    ``liked`` are the vectors that documents to find more of have in each field. A field for which nothing is looked
    for has none: only such documents were given, and they have no vector there; or only images, sounds or footage that
    its model doesn't encode, which it leaves out of account.

    Raises `QueryError` where terms cancel each other out, or no field's model encodes a sound or video that is looked
    for, or the images that alone are looked for; `ImageError` for an image that can't be read, and `MediaError` for a
    sound or video.
    """
    made: dict[tuple[str, str], _Sum] = {}
    found: dict[str, list[float]] = {}
    used: set[_Kind] = set()
    for each in fields:
        encoder, target = encoders.for_field(each, searching=True), each.compared_as
        # No model looks for pictures otherwise than for texts.
        key = each.fingerprint, "text" if target == "image" else target
        if key not in made:
            made[key] = _sum(terms, encoder, target, remembered)
        used |= made[key].kinds
        total = made[key].vector.astype(np.float64)
        for vector in liked.get(each.field, ()):
            total += _unit(np.asarray(vector, dtype=np.float64))
        if not (made[key].kinds or liked.get(each.field)):
            continue
        if np.linalg.norm(total) < 1e-6:
            raise QueryError("the query's terms cancel each other out; nothing is left to look for")
        found[each.field] = _unit(total).tolist()
    models = ", ".join(sorted({each.model for each in fields}))
    if terms.images and not (found or terms.texts):
        raise QueryError(f"an image is all that is looked for, and {models} encode(s) texts only")
    for kind, given in terms.media.items():
        if given and kind not in used:
            one, many = _NOUNS[kind]
            raise QueryError(
                f"{one} is looked for, and no model of the vector fields that are searched encodes {many}: {models}",
                hint="search fields whose model does, or leave it out",
            )
    return found


def _sum(terms: Terms, encoder: VectorEncoder, target: Target, remembered: QueryVectors) -> _Sum:
    total = np.zeros(encoder.dims, dtype=np.float32)
    kinds: set[_Kind] = set()
    for sign, texts, images in ((1, terms.texts, terms.images), (-1, terms.less_texts, terms.less_images)):
        if texts:
            total += sign * remembered.of_texts(encoder, texts, target).sum(axis=0)
            kinds |= {"text"} if sign > 0 else set()
        if images and encoder.encodes_images:
            total += sign * remembered.of_images(encoder, images).sum(axis=0)
            kinds |= {"image"} if sign > 0 else set()
    for kind, sources in terms.media.items():
        reads = readable(encoder, kind, target) if sources else []
        if reads:
            encode = partial(encoded, encoder, reads=reads)
            total += remembered.of_media(encoder, f"{kind} as {', '.join(reads)}", sources, encode).sum(axis=0)
            kinds.add(kind)
    return _Sum(total, frozenset(kinds))


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm > 0 else vector
