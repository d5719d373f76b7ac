"""Encoding inside the cluster, by the server plugin, so that this machine needs neither a model nor ONNX Runtime."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import ApiError, Elasticsearch
from PIL import Image

from crosslens.client import JSON_HEADERS
from crosslens.errors import ImageError, ModelError
from crosslens.ingest.model.passages import Passage
from crosslens.ingest.model.prompts import Role
from crosslens.ingest.model.senses import AudioSettings, Clip, Samples, Target, VideoSettings
from crosslens.ingest.model.transform import Float32Array, Pixels
from crosslens.ingest.sources.images import ImageSource, PictureRules, open_image
from crosslens.refusals import reason
from crosslens.retrying import patient

# Texts per request; the plugin sorts and batches them itself.
_TEXTS = 256
_BATCH = 32


@dataclass(frozen=True)
class ClusterModel:
    """A model in the cluster: ``nodes`` names the nodes that have it, ``lacking`` those that don't, and ``directories``
    its folder's names on them. Of those that lack it, all but the ``silent`` have it encode by one of ``nodes``.
    ``images`` is whether it encodes pictures; ``searches`` are the fingerprints of other vectors that its queries may
    be compared with; ``passages`` is whether the ingest processor cuts texts into passages for it on all of ``nodes``,
    which older plugins don't."""

    name: str
    fingerprint: str
    dims: int
    nodes: tuple[str, ...]
    lacking: tuple[str, ...]
    directories: tuple[str, ...] = ()
    images: bool = True
    silent: tuple[str, ...] = ()
    searches: frozenset[str] = frozenset()
    passages: bool = True

    def is_called(self, name: str) -> bool:
        """Return whether ``name`` refers to this model, by its own name, its fingerprint or its folder's name."""
        return name in (self.name, self.fingerprint, *self.directories)


def cluster_models(client: Elasticsearch) -> list[ClusterModel] | None:
    """Return the models that the server plugin finds on the cluster's nodes, or None where it isn't installed."""
    try:
        answer: dict[str, Any] = client.perform_request("GET", "/_crosslens/models", headers=JSON_HEADERS).body
    except ApiError as error:
        # Without the plugin the address doesn't exist: 400, or elsewhere 404, 410, or 405 where it has another method.
        if error.status_code in (400, 404, 405, 410):
            return None
        raise
    nodes = answer["nodes"].values()
    silent = {failure["node"] for failure in answer["failures"]}
    names = {node["name"] for node in nodes} | silent
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for node in nodes:
        for model in node["models"]:
            if "fingerprint" in model:
                found.setdefault(model["fingerprint"], []).append((node["name"], model))
    models = []
    for fingerprint, places in found.items():
        having = {name for name, _ in places}
        model = places[0][1]
        directories = {each["directory"] for _, each in places}
        models.append(
            ClusterModel(
                model["name"],
                fingerprint,
                model["dims"],
                nodes=tuple(sorted(having)),
                lacking=tuple(sorted(names - having)),
                directories=tuple(sorted(directories)),
                images=model.get("image_size") is not None,
                silent=tuple(sorted(silent)),
                searches=frozenset(model.get("searches", ())),
                passages=all(each.get("passages", False) for _, each in places),
            )
        )
    return models


class ClusterEncoder:
    """Encodes in the cluster, with the interface of `crosslens.Encoder`.

        encoder = ClusterEncoder(client)
        add_vectors(client, "products", encoder, targets)
        HybridSearcher(client, "products", encoder)

    May be used from several threads; their concurrent requests are encoded together.
    """

    # Each call only waits for an answer, so many threads may call.
    remote = True

    def __init__(self, client: Elasticsearch, model: str | None = None, *, batch_size: int | None = None):
        """``model`` is a name or fingerprint; None means the cluster's only model. ``batch_size`` inputs are written at
        a time; None: 32.

        Raises `ModelError` when the plugin isn't installed, doesn't know the model, or doesn't answer on some nodes.
        """
        self._client, self.batch_size = patient(client), batch_size or _BATCH
        models = cluster_models(client)
        if models is None:
            raise ModelError(
                "the cluster has no crosslens plugin to encode with",
                hint="install it on every node, or name a model folder of this machine",
                verb="plugin",
            )
        chosen = [each for each in models if model is None or each.is_called(model)]
        if len(chosen) != 1:
            there = ", ".join(f"{each.name} ({each.fingerprint})" for each in models) or "none"
            wanted = "several models" if model is None and models else f"no model {model!r}" if model else "no model"
            raise ModelError(
                f"the cluster has {wanted}", hint=f"name one of those that it has: {there}", parameter="model"
            )
        self._model = chosen[0]
        if self._model.silent:
            raise ModelError(
                f"the nodes {', '.join(self._model.silent)} don't answer for the crosslens plugin",
                hint="install it on every node that requests are sent to",
            )

    @property
    def name(self) -> str:
        """Return the checkpoint's name, as recorded in an index."""
        return self._model.name

    @property
    def fingerprint(self) -> str:
        """Return the identity of the exact encoders: equal fingerprints mean comparable vectors."""
        return self._model.fingerprint

    @property
    def searches(self) -> frozenset[str]:
        """Return the fingerprints of other vectors that this encoder's queries may be compared with."""
        return self._model.searches

    @property
    def dims(self) -> int:
        """Return the length of every vector."""
        return self._model.dims

    @property
    def encodes_images(self) -> bool:
        """Return whether the model has an encoder for pictures, as a text model hasn't."""
        return self._model.images

    @property
    def encodes_audio(self) -> bool:
        """Return False: the server plugin encodes no sounds."""
        return False

    @property
    def encodes_video(self) -> bool:
        """Return False: the server plugin encodes no footage."""
        return False

    @property
    def audio(self) -> AudioSettings | None:
        """Return None, as `encodes_audio` says."""
        return None

    @property
    def video(self) -> VideoSettings | None:
        """Return None, as `encodes_video` says."""
        return None

    def passages(self, text: str) -> list[Passage]:
        """Raise `ModelError`: only where the model is can its tokenizer say what fits it."""
        raise ModelError(
            "passages are made by the model's own tokenizer, which is on the cluster's nodes",
            hint="name a model folder of this machine",
            parameter="model",
        )

    def lost(self, texts: Sequence[str]) -> list[float]:
        """Return 0 for each text: what the cluster cuts isn't known here."""
        return [0.0] * len(texts)

    def encode_texts(self, texts: Sequence[str], *, role: Role = "passage") -> Float32Array:
        """Return float32 [len(texts), dims], unit length, in the given order. Texts over the model's limit are cut.

        ``role`` as in `Encoder.encode_texts`.
        """
        parts = [self._encode(texts=list(texts[i : i + _TEXTS]), role=role) for i in range(0, len(texts), _TEXTS)]
        return np.concatenate(parts) if parts else np.empty((0, self.dims), dtype=np.float32)

    def encode_queries(self, texts: Sequence[str], target: Target) -> Float32Array:
        """Return float32 [len(texts), dims], unit length: queries for vectors made of ``target``."""
        return self.encode_texts(texts, role="query")

    def encode_sounds(self, sounds: Sequence[Samples]) -> Float32Array:
        """Raise `ModelError`: the server plugin encodes no sounds."""
        raise self._here("sounds")

    def encode_clips(self, clips: Sequence[Clip]) -> Float32Array:
        """Raise `ModelError`: the server plugin encodes no footage."""
        raise self._here("footage")

    def encode_images(self, images: Iterable[ImageSource]) -> Float32Array:
        """Return float32 [n, dims], unit length, in the given order.

        Raises `ImageError` for the first image that can't be read.
        """
        vectors = [self.prepare_image(image) for image in images]
        return np.stack(vectors) if vectors else np.empty((0, self.dims), dtype=np.float32)

    def prepare_image(self, image: ImageSource, rules: PictureRules | None = None) -> Float32Array:
        """Return the unit vector of an image, float32 [dims]: the cluster prepares and encodes in one step.

        The cluster applies its own limits; only the name in ``rules`` is used. Raises `ImageError` when the image can't
        be read.
        """
        data = _encoded(image)
        name = f"{rules.name}: " if rules and rules.name else ""
        if not data:
            raise ImageError(f"{name}the file is empty")
        try:
            vector: Float32Array = self._encode(images=[base64.b64encode(data).decode()])[0]
            return vector
        except ApiError as error:
            if error.status_code not in (400, 413):
                raise
            raise ImageError(f"{name}the cluster can't encode the image: {_reason(error)}") from error

    def prepare_frame(self, frame: Pixels) -> Float32Array:
        """Return the unit vector, float32 [dims], of a frame, uint8 [height, width, 3], as `prepare_image` does."""
        return self.prepare_image(Image.fromarray(frame))

    def encode_pixels(self, pixels: Float32Array) -> Float32Array:
        """Return the stacked results of `prepare_image`, [n, dims], unchanged."""
        return pixels

    def _here(self, kind: str) -> ModelError:
        return ModelError(
            f"the server plugin encodes no {kind}", hint="name a model folder of this machine", parameter="model"
        )

    def _encode(self, *, role: Role = "passage", **inputs: list[str]) -> Float32Array:
        body = {"model": self.fingerprint, "packed": True, "bulk": True, "role": role, **inputs}
        answer = self._client.perform_request("POST", "/_crosslens/encode", headers=JSON_HEADERS, body=body).body
        if answer["model"]["fingerprint"] != self.fingerprint:
            raise ModelError(
                f"the cluster encoded with {answer['model']['name']} ({answer['model']['fingerprint']}), not with "
                f"{self.name} ({self.fingerprint}); its model was replaced meanwhile"
            )
        return np.stack([np.frombuffer(base64.b64decode(each), dtype="<f4") for each in answer["vectors"]])


def _encoded(image: ImageSource) -> bytes:
    """Return an image as a file's bytes, losslessly; anything that isn't a file yet is encoded as one."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise ImageError(f"{image}: can't be read ({error.strerror or error})") from error
    out = io.BytesIO()
    picture: Image.Image = open_image(image)
    picture.save(out, "PNG")
    return out.getvalue()


def _reason(error: ApiError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return reason(body.get("error") or error)
