"""Which encoder makes the vectors of a field: one that was given, the cluster's, or one that this machine remembers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from elasticsearch import AuthorizationException, Elasticsearch
from numpy.typing import NDArray

from crosslens.errors import ModelError
from crosslens.ingest.contract.record import Modality, Part, VectorField
from crosslens.ingest.model import known as models
from crosslens.ingest.model.cluster import ClusterEncoder
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.passages import Passage
from crosslens.ingest.model.prompts import Role
from crosslens.ingest.model.senses import AudioSettings, Clip, Samples, Target, VideoSettings
from crosslens.ingest.model.transform import Float32Array, Pixels
from crosslens.ingest.sources.images import ImageSource, PictureRules

_LOG = logging.getLogger("crosslens")


class VectorEncoder(Protocol):
    """What makes vectors, here (`Encoder`) or in the cluster (`ClusterEncoder`); what each member does, they say."""

    @property
    def name(self) -> str:
        """The checkpoint's name."""

    @property
    def fingerprint(self) -> str:
        """Names the exact encoders."""

    @property
    def dims(self) -> int:
        """The length of every vector."""

    @property
    def batch_size(self) -> int:
        """How many inputs are encoded at a time."""

    @property
    def remote(self) -> bool:
        """Whether preparing an image waits for another machine."""

    @property
    def encodes_images(self) -> bool:
        """Whether it encodes pictures besides texts."""

    @property
    def encodes_audio(self) -> bool:
        """Whether it encodes sounds."""

    @property
    def encodes_video(self) -> bool:
        """Whether it encodes footage, beyond its frames as pictures."""

    @property
    def audio(self) -> AudioSettings | None:
        """What it reads of a sound, if it encodes any."""

    @property
    def video(self) -> VideoSettings | None:
        """What it reads of footage, if it encodes any."""

    def passages(self, text: str) -> list[Passage]:
        """The passages that a text makes for this model, each of which it reads whole."""

    def lost(self, texts: Sequence[str]) -> list[float]:
        """How much of each text isn't read, as a share of its tokens."""

    def encode_texts(self, texts: Sequence[str], *, role: Role = "passage") -> Float32Array:
        """Unit vectors of texts, with the prompt that the model wants before a passage or a query."""

    def encode_images(self, images: Iterable[ImageSource]) -> Float32Array:
        """Unit vectors of images."""

    def prepare_image(self, image: ImageSource, rules: PictureRules | None = None) -> NDArray[Any]:
        """What `encode_pixels` takes of an image."""

    def prepare_frame(self, frame: Pixels) -> NDArray[Any]:
        """What `encode_pixels` takes of a frame, uint8 [height, width, 3]."""

    def encode_pixels(self, pixels: NDArray[Any]) -> Float32Array:
        """Unit vectors of prepared images, stacked."""

    def encode_queries(self, texts: Sequence[str], target: Target) -> Float32Array:
        """Unit vectors of texts that look for what is made of ``target``."""

    def encode_sounds(self, sounds: Sequence[Samples]) -> Float32Array:
        """Unit vectors of sounds."""

    def encode_clips(self, clips: Sequence[Clip]) -> Float32Array:
        """Unit vectors of footage."""


_HINTS = {
    "texts": "name a model with a text encoder for them",
    "pictures": "name a model with an image encoder for them",
    "sounds": "name a model with an audio encoder for them",
    "footage": "name a model with a video encoder for it, or encode its frames or its sound",
}


def makes(encoder: VectorEncoder, modality: Modality, part: Part | None = None) -> bool:
    """Whether an encoder can make a field's vectors; of footage whose ``part`` is None, of any part with pictures."""
    if modality == "video" and part is None:
        return encoder.encodes_video or encoder.encodes_images
    able = {
        "texts": True,
        "pictures": encoder.encodes_images,
        "sounds": encoder.encodes_audio,
        "footage": encoder.encodes_video,
    }
    return able[_read_of(modality, part)]


def usual_part(encoder: VectorEncoder) -> Part:
    """What is made of footage where nobody says: the most that the model reads of it."""
    return "both" if encoder.encodes_video else "frames"


def _read_of(modality: Modality, part: Part | None) -> str:
    """What an encoder reads for such a field, in words."""
    if modality in ("audio", "video"):
        of: dict[Part | None, str] = {"frames": "pictures", "sound": "sounds", "captions": "texts", "both": "footage"}
        return of.get(part, "pictures" if modality == "video" else "sounds")
    return "texts" if modality == "text" else "pictures"


def _reads_texts_only(encoder: VectorEncoder) -> bool:
    return not (encoder.encodes_images or encoder.encodes_audio or encoder.encodes_video)


class Encoders:
    """Encoders by fingerprint; ``given`` are those that callers gave. May be used from several threads."""

    def __init__(
        self,
        given: Iterable[VectorEncoder] = (),
        *,
        batch_size: int | None = None,
        threads: int = 0,
        device: str = "auto",
        cluster: Elasticsearch | None = None,
    ):
        """``batch_size``, ``threads`` and ``device`` are for encoders that are looked up, see `Encoder`; ``cluster`` is
        asked first, if its plugin has the model."""
        self._cluster = cluster
        self._known = {encoder.fingerprint: encoder for encoder in given}
        self.given = tuple(self._known.values())
        # By the fingerprint of the vectors that are searched.
        self._twins: dict[str, VectorEncoder] = {}
        self._batch_size, self._threads, self._device = batch_size, threads, device
        self._lock = threading.Lock()

    @classmethod
    def of(
        cls, given: VectorEncoder | Encoders | Iterable[VectorEncoder] | None, cluster: Elasticsearch | None = None
    ) -> Encoders:
        """Encoders from what callers give: one, several, or None for the ``cluster``'s and the machine's own."""
        if isinstance(given, Encoders):
            return given
        if given is None:
            return cls(cluster=cluster)
        return cls(given if isinstance(given, Iterable) else [given])

    def for_new(self, modality: Modality, part: Part | None = None) -> VectorEncoder:
        """The encoder for a new field: the one that was given, or of two, a text model and one that encodes pictures,
        the one for this ``modality``, of sound and footage for their ``part``.

        Raises `ModelError` when none was given, several that are equally good, or only such as don't encode it.
        """
        what = _read_of(modality, part)
        fit = [each for each in self.given if makes(each, modality, part)]
        texts = [each for each in fit if not each.encodes_images]
        chosen = texts if what == "texts" and texts else fit
        if modality == "video" and part is None:
            chosen = [each for each in fit if each.encodes_video] or fit
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            said = f"new vector fields of {what} need one model, not {' and '.join(each.name for each in chosen)}"
            raise ModelError(said, hint="give one", parameter="model")
        if self.given:
            given = self.given[0]
            kind = "is a text model, which encodes" if _reads_texts_only(given) else "encodes"
            raise ModelError(f"{given.name} {kind} no {what}", hint=_HINTS[what], parameter="model")
        raise ModelError("new vector fields need a model", hint="name it", parameter="model")

    def serve(self, fields: Iterable[VectorField]) -> bool:
        """Whether any of the encoders that were given is of a model that ``fields`` have."""
        return any(each.fingerprint == given.fingerprint for each in fields for given in self.given)

    def check(self, fields: Iterable[VectorField], index: str, *, searching: bool = False) -> None:
        """Raises `ModelError`, naming both, where an encoder that was given is of no model that ``fields`` have, nor,
        for ``searching``, one whose queries may be compared with their vectors."""
        fields = list(fields)
        for given in self.given:
            fitting = any(_fits(given, each.fingerprint, searching) for each in fields)
            if fields and not fitting:
                each = fields[0]
                raise ModelError(
                    f"the vectors in {each.field!r} of index {index!r} are of {each.model} ({each.fingerprint}), "
                    f"not of {given.name} ({given.fingerprint})",
                    hint="use the index's model, or change the index to the other one",
                    verb="migrate",
                    parameter="model",
                )

    def for_field(self, field: VectorField, *, searching: bool = False) -> VectorEncoder:
        """The encoder of ``field``; for ``searching`` also one whose queries may be compared with its vectors, such as
        the quantised twin of the model that made them, where it was given or nothing else is there.

        Raises `ModelError` when it wasn't given and neither cluster nor machine has it.
        """
        with self._lock:
            known = self._known.get(field.fingerprint)
            if known is None and searching:
                known = self._twins.get(field.fingerprint) or next(
                    (each for each in self.given if _fits(each, field.fingerprint, searching)), None
                )
            if known is not None:
                return known
            there = self._in_cluster(field.fingerprint)
            if there is None:
                folder, variant = models.find(field.fingerprint, field.model, searching=searching)
                there = Encoder(
                    folder,
                    batch_size=self._batch_size,
                    threads=self._threads,
                    variant=variant,
                    device=self._device,
                )
            kept = self._known if there.fingerprint == field.fingerprint else self._twins
            kept[field.fingerprint] = there
            return there

    def _in_cluster(self, fingerprint: str) -> VectorEncoder | None:
        """The cluster's encoder, where every node has the model; else None, for the machine's own to serve."""
        if self._cluster is None:
            return None
        try:
            return ClusterEncoder(self._cluster, fingerprint)
        except AuthorizationException as error:
            _LOG.info("this user may not ask which models the cluster has (privilege: monitor): %s", error)
        except ModelError as error:
            _LOG.debug("the cluster doesn't encode for %s: %s", fingerprint, error)
        return None


def _fits(encoder: VectorEncoder, fingerprint: str, searching: bool) -> bool:
    """Return whether an encoder makes vectors of that fingerprint, or for ``searching`` may be compared with them."""
    return encoder.fingerprint == fingerprint or (searching and fingerprint in getattr(encoder, "searches", ()))
