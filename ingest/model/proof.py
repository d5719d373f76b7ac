"""The proof that an export reproduces the checkpoint's vectors, and that these are meaningful.

Golden texts, pictures and sounds go through transformers and PyTorch on one side and through `crosslens.Encoder` on the
other. Both could still agree on nothing (an invented vocabulary, a vector read at the wrong token), so different inputs
must also have different vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from crosslens.errors import CrosslensError, ExportError
from crosslens.ingest.model.checkpoints import Checkpoint
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.gemma_proof import joined_cosines
from crosslens.ingest.model.hearing import audio_cosines, require_different_sounds
from crosslens.ingest.model.pe_av_proof import head_cosines, perception_cosines
from crosslens.ingest.model.prompts import Prompts, Role
from crosslens.ingest.model.weights import first_line
from crosslens.ingest.sources.images import to_rgb

_Item = TypeVar("_Item")
_BATCHES = (1, 16)
# The least cosine, over the golden inputs, that an export of each precision must reach.
_LEAST_COSINE = {"fp32": 0.9999, "fp16": 0.9999, "int8": 0.9}
# Vectors closer than this count as equal: rounding alone makes a difference of 1e-7.
_SAME = 1e-6
_GOLDEN_TEXTS = (
    "a",
    "shoe",
    "a photo of a cat",
    "Blue running shoes, size 42!",
    "two   spaces\tand a\nnew line",
    "Überraschung: naïve café, 東京の写真, красный ботинок",
    "🙂 a smiling face",
    "it's 3.50 (per litre) & they're sold-out #sale @shop",
    "",
    "ALL CAPITALS AND numbers 1234567890",
    "a photo of " + "a very long description of a thing that goes on " * 4,
    "word " * 400,
    # Every kind of beginning.
    " cat",
    "\ncat",
    "! cat",
    "- a cat",
    "... and a cat",
    '"cat" and dog',
    "'cat'",
    "(cat) dog",
    "7 cats",
    "1,000 shoes",
    "🙂cat",
    "東京 cat",
    "Cat",
    "É cat",
    "«cat»",
    "\u3000cat",
    "_cat",
    "   ",
    "!",
)
# All differ in meaning. Each pair of words also shares its end, and its beginning, with another.
_TELLING_TEXTS = (
    "cat",
    "dog",
    "shoe",
    "a photo of a cat",
    "a photo of a dog",
    "cat and a photo",
    "dog and a photo",
    "blue running shoes in a shop",
    "two numbers and a very long description of a thing",
)
_GOLDEN_PICTURES = (
    ("RGB", (640, 480)),
    ("RGB", (37, 91)),
    ("RGB", (500, 20)),
    ("L", (224, 224)),
    ("RGBA", (65, 64)),
    ("P", (300, 301)),
    ("CMYK", (128, 97)),
    ("RGB", (3, 2)),
)


@dataclass(frozen=True)
class Proof:
    """The cosine to PyTorch of each golden text, picture and sound (None: of a model without an encoder for them), in
    each batch size."""

    text: NDArray[np.float64]
    image: NDArray[np.float64] | None
    audio: NDArray[np.float64] | None = None
    video: NDArray[np.float64] | None = None

    def kinds(self) -> dict[str, NDArray[np.float64]]:
        """Return the cosines of each encoder that there is."""
        every = {"text": self.text, "image": self.image, "audio": self.audio, "video": self.video}
        return {kind: cosines for kind, cosines in every.items() if cosines is not None}


def prove(loaded: Checkpoint, encoder: Encoder, precision: str) -> Proof:
    """Compare ``encoder`` with the checkpoint that it was exported from.

    Raises `ExportError` where a vector differs from PyTorch's by more than ``precision`` allows, where different
    inputs have the same vector, and where either side can't be run.
    """
    try:
        text = _text_cosines(loaded, encoder)
        if loaded.gemma is not None:
            proof = Proof(text, **joined_cosines(loaded.gemma, encoder, golden_pictures()))
        elif loaded.pe_av is not None:
            text = np.concatenate([text, head_cosines(loaded.pe_av, encoder, loaded.tokenizer, _GOLDEN_TEXTS)])
            proof = Proof(text, **perception_cosines(loaded.pe_av, encoder, golden_pictures()))
        else:
            proof = Proof(text, _image_cosines(loaded, encoder), audio_cosines(loaded, encoder))
    except CrosslensError:
        raise
    except Exception as error:
        raise ExportError(
            f"{loaded.name} can't be run: {first_line(error)}; nothing was written",
            hint="its config.json, tokenizer and preprocessing must be of one checkpoint",
        ) from error
    for kind, cosines in proof.kinds().items():
        least = _LEAST_COSINE["fp32" if kind == "audio" else precision]
        if not cosines.min() >= least:
            raise ExportError(
                f"the exported {kind} encoder differs from PyTorch: cosine {cosines.min():.6f} on golden input "
                f"{int(cosines.argmin())}, {least} needed; nothing was written"
            )
    _require_different_texts(encoder)
    if proof.image is not None:
        _require_different_pictures(encoder)
    if proof.audio is not None:
        require_different_sounds(encoder)
    return proof


def _require_different_texts(encoder: Encoder) -> None:
    ids, vectors = encoder.tokens(_TELLING_TEXTS), encoder.encode_texts(_TELLING_TEXTS)
    for a, b in combinations(range(len(_TELLING_TEXTS)), 2):
        if _alike(vectors[a], vectors[b]):
            said = f"the texts {_TELLING_TEXTS[a]!r} and {_TELLING_TEXTS[b]!r} have one vector"
            if ids[a] == ids[b]:
                why = "the tokenizer knows their words as one and the same; it is not the checkpoint's own"
            else:
                why = "their tokens differ, but the vector is read where none of them is seen (eos_token_id, pooling)"
            raise ExportError(f"{said}: {why}; nothing was written")


def _require_different_pictures(encoder: Encoder) -> None:
    vectors = encoder.encode_images(golden_pictures())
    for a, b in combinations(range(len(vectors)), 2):
        if _alike(vectors[a], vectors[b]):
            raise ExportError(
                f"the golden pictures {a} and {b} have one vector: the image encoder doesn't see its pictures (weights "
                "of zero, or a preprocessing that makes all pixels alike); nothing was written"
            )


def _alike(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    return bool(np.abs(a.astype(np.float64) - b).max() < _SAME)


def golden_pictures() -> list[Image.Image]:
    """Return reproducible pictures of odd sizes and modes: smooth colours with some noise, like photographs."""
    rng = np.random.default_rng(20)
    pictures = []
    for mode, (width, height) in _GOLDEN_PICTURES:
        y, x = np.mgrid[0:height, 0:width] / max(width, height)
        waves = [np.sin(x * a + y * b + c) for a, b, c in rng.uniform(1, 12, (3, 3))]
        pixels = np.stack(waves, -1) * 90 + 128 + rng.normal(0, 12, (height, width, 3))
        picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)
        if mode == "RGBA":
            picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        pictures.append(picture)
    return pictures


@torch.no_grad()
def _text_cosines(loaded: Checkpoint, encoder: Encoder) -> NDArray[np.float64]:
    """Return the cosines of each golden text, as a passage and as a query, for each batch size."""
    cosines = []
    texts, padding = list(_GOLDEN_TEXTS), "max_length" if loaded.settings.fixed else True
    roles: tuple[Role, ...] = ("passage",) if loaded.prompts == Prompts() else get_args(Role)
    for role, size in product(roles, _BATCHES):
        for batch in _batches(texts, size):
            read = [loaded.prompts.before(text, role) for text in batch]
            read = [text.lower() for text in read] if loaded.lower_case else read
            tokens = loaded.tokenizer(
                read, padding=padding, truncation=True, max_length=loaded.settings.length, return_tensors="pt"
            )
            inputs = [tokens["input_ids"]]
            if loaded.masked:
                inputs.append(tokens["attention_mask"])
            cosines.append(_cosine(loaded.text(*inputs).numpy(), encoder.encode_texts(batch, role=role)))
    return np.concatenate(cosines)


@torch.no_grad()
def _image_cosines(loaded: Checkpoint, encoder: Encoder) -> NDArray[np.float64] | None:
    """Return the cosines of each golden picture, for each batch size; transformers prepares PyTorch's pixels."""
    if loaded.vision is None:
        return None
    cosines = []
    for size in _BATCHES:
        for batch in _batches(golden_pictures(), size):
            opened = [to_rgb(picture) for picture in batch]
            if hasattr(loaded.vision, "side"):
                # NaFlex's processor keeps the aspect ratio; the exported square grid is compared on its own pixels.
                shown = np.stack([encoder.prepare_image(p) for p in opened])
                pixels = torch.from_numpy(next(iter(encoder.image_inputs(shown).values())))
            else:
                pixels = loaded.image_processor(opened, return_tensors="pt")["pixel_values"]
            cosines.append(_cosine(loaded.vision(pixels).numpy(), encoder.encode_images(batch)))
    return np.concatenate(cosines)


def _batches(items: list[_Item], size: int) -> list[list[_Item]]:
    """Return all items in batches of ``size``, the last one filled up from the start."""
    filled = [*items, *(items * size)[: -len(items) % size]]
    return [filled[i : i + size] for i in range(0, len(filled), size)]


def _cosine(expected: NDArray[np.float32], got: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = expected.astype(np.float64), got.astype(np.float64)
    return np.asarray((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))
