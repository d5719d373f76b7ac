"""The encoder: texts, pictures and sounds to unit vectors, with ONNX Runtime, tokenizers and Pillow only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from crosslens.errors import ImageError, ModelError
from crosslens.ingest.model.batching import Inputs
from crosslens.ingest.model.folder import ModelFolder, open_model
from crosslens.ingest.model.passages import Passage, passages
from crosslens.ingest.model.patches import PatchTransform
from crosslens.ingest.model.ports import TextPorts, VisionPorts, audio_inputs
from crosslens.ingest.model.prompts import Role
from crosslens.ingest.model.running import Graphs
from crosslens.ingest.model.senses import AudioSettings, Clip, Samples, Target, VideoSettings
from crosslens.ingest.model.tokens import TextTokenizer
from crosslens.ingest.model.transform import Float32Array, ImageTransform, Pixels
from crosslens.ingest.sources.images import ImageSource, PictureRules, opened

# More tokens than any tokenizer puts around a text.
_SPECIAL = 8
_Input = TypeVar("_Input")


class Encoder:
    """Runs the encoders of a model folder: for texts and, as it has them, for pictures and sounds.

        encoder = Encoder("models/clip-vit-base-patch32")
        encoder.encode_texts(["blue running shoes"])        # float32 [1, dims], unit length
        encoder.encode_images([Path("shoe.jpg"), image])    # float32 [2, dims], unit length

    Every method may be called from several threads at once. Each encoder is loaded when it is first needed.
    """

    # `crosslens.ingest.model.cluster.ClusterEncoder` is remote.
    remote = False

    def __init__(
        self,
        folder: Path | str,
        *,
        threads: int = 0,
        batch_size: int | None = None,
        variant: str | None = None,
        verify: bool = True,
        device: str = "auto",
    ):
        """``threads`` for one run of a graph (0: ONNX Runtime's choice, all cores); ``batch_size`` inputs a run, or
        fewer where that takes more memory than there is. None: at most 32, or 256 on a device with memory of its own,
        and of pictures as many as prove fastest. ``device`` is auto, cpu or one of `devices.DEVICES`; auto is the first
        of cuda, rocm and directml that works here, else cpu.

        Raises `ModelError` as `open_model` does, and where the device isn't there.
        """
        self._graphs = Graphs(threads, batch_size, device)
        self.batch_size = self._graphs.batch_size
        self.folder: ModelFolder = open_model(Path(folder), variant=variant, verify=verify)
        self._joined = self.folder.joined.towers(self._graphs) if self.folder.joined is not None else None
        self._tokenizer = TextTokenizer(
            self.folder.tokenizer, self.folder.text.length, canonical=self.folder.text.canonical
        )

    @property
    def name(self) -> str:
        """The checkpoint's name, as recorded in an index."""
        return self.folder.name

    @property
    def fingerprint(self) -> str:
        """Names the exact encoders: equal fingerprints mean comparable vectors."""
        return self.folder.fingerprint

    @property
    def searches(self) -> frozenset[str]:
        """The fingerprints of other vectors that this encoder's queries may be compared with."""
        return self.folder.searches

    @property
    def encodes_images(self) -> bool:
        """Whether it has an encoder for pictures, as a text model hasn't."""
        return self.folder.vision_ports is not None or self._joined is not None

    @property
    def encodes_audio(self) -> bool:
        """Whether it has an encoder for sounds."""
        return self.audio is not None

    @property
    def encodes_video(self) -> bool:
        """Whether it has an encoder for footage, beyond one for its frames as pictures."""
        return self.video is not None

    @property
    def audio(self) -> AudioSettings | None:
        """What its encoder for sounds reads, if it has one."""
        transform = self.folder.joined.sound if self.folder.joined is not None else self.folder.sound
        return transform.settings if transform is not None else None

    @property
    def video(self) -> VideoSettings | None:
        """What its encoder for footage reads, if it has one."""
        return self.folder.joined.video if self.folder.joined is not None else None

    @property
    def transform(self) -> ImageTransform | PatchTransform:
        """What becomes of a picture before it is encoded. Raises `ModelError` for a text model."""
        if self.folder.joined is not None:
            return self.folder.joined.picture
        if self.folder.transform is None:
            raise self._blind()
        return self.folder.transform

    @property
    def _vision(self) -> VisionPorts:
        if self.folder.vision_ports is None:
            raise self._blind()
        return self.folder.vision_ports

    def _blind(self) -> ModelError:
        return ModelError(
            f"{self.name} ({self.fingerprint}) is a text model, which encodes no pictures",
            hint="use it for text fields, and a model with an image encoder for pictures",
        )

    def _without(self, kind: str) -> ModelError:
        return ModelError(
            f"{self.name} ({self.fingerprint}) has no encoder for {kind}", hint="name a model folder that has one"
        )

    @cached_property
    def dims(self) -> int:
        """The length of every vector."""
        vision = self.folder.vision_ports
        said = self.folder.dims or self.folder.text_ports.dims or (vision.dims if vision else None)
        if said is not None:
            return said
        inputs = self._text_inputs(self._tokenizer.ids(["a"]))
        return int(self._graphs.vectors(self.folder.text_ports, inputs).shape[1])

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text takes, cut to the model's limit; what a run costs grows with it."""
        return [len(ids) for ids in self._tokenizer.ids(texts)]

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, cut to the model's limit. Half a surrogate pair is U+FFFD."""
        return self._tokenizer.ids(texts)

    def passages(self, text: str) -> list[Passage]:
        """The passages that ``text`` makes for this model, each of which it reads whole; see
        `crosslens.ingest.model.passages`. Raises `TextError` for too many."""
        return passages(text, self._tokenizer.counts, self._room)

    @cached_property
    def _room(self) -> int:
        """How many tokens of a passage are read, beside the prompt and what the tokenizer adds."""
        taken = self._tokenizer.counts([""], special=True)[0] + self._tokenizer.counts([self.folder.prompts.passage])[0]
        if taken >= self.folder.text.length:
            raise ModelError(f"{self.name} reads {self.folder.text.length} tokens, which its prompt takes up")
        return self.folder.text.length - taken

    def lost(self, texts: Sequence[str]) -> list[float]:
        """How much of each text (a share of its tokens, 0 to 1) the model doesn't read, as a passage."""
        length = self.folder.text.length
        read = [self.folder.prompts.before(text, "passage") for text in texts]
        # A token has a byte at least, so that most texts needn't be looked at.
        long = [i for i, text in enumerate(read) if 4 * len(text) + _SPECIAL > length]
        shares = [0.0] * len(texts)
        for i, tokens in zip(long, self._tokenizer.counts([read[i] for i in long], special=True), strict=True):
            shares[i] = max(0.0, 1.0 - length / tokens)
        return shares

    def encode_texts(self, texts: Sequence[str], *, role: Role = "passage") -> Float32Array:
        """float32 [len(texts), dims], unit length, in the order given. Longer texts than the model reads are cut.

        ``role`` says which of the model's prompts, if it has any, goes before each text: that of a passage of a
        document, or that of a query. Texts run in batches of like length, and a causal encoder's batch only as long as
        its longest text.
        """
        return self._of_texts(texts, role, self.folder.text_ports)

    def encode_queries(self, texts: Sequence[str], target: Target) -> Float32Array:
        """float32 [len(texts), dims], unit length: queries for vectors made of ``target``; see `encode_texts`."""
        heads = self.folder.joined.heads if self.folder.joined is not None else {}
        ports = self.folder.text_ports
        return self._of_texts(texts, "query", replace(ports, output=heads.get(target, ports.output)))

    def _of_texts(self, texts: Sequence[str], role: Role, ports: TextPorts) -> Float32Array:
        out = np.empty((len(texts), self.dims), dtype=np.float32)
        for rows, inputs in self.text_batches(texts, role=role):
            # Texts are of many lengths, whose times don't compare.
            out[rows] = self._graphs.vectors(ports, inputs)
        return out

    def encode_sounds(self, sounds: Sequence[Samples]) -> Float32Array:
        """float32 [len(sounds), dims], unit length, of sounds float32 [n] as `audio` says. Raises `ModelError` for one
        that is empty, too long, or not finite, and from a model without an encoder for sounds."""
        if self._joined is not None and self.audio is not None:
            heard = [self.audio.checked(each) for each in sounds]
            return self._in_batches(self._joined.sounds, heard)
        ports, transform = self.folder.audio_ports, self.folder.sound
        if ports is None or transform is None:
            raise self._without("sounds")
        out = np.empty((len(sounds), self.dims), dtype=np.float32)
        for start in range(0, len(sounds), self.batch_size):
            part = [transform.settings.checked(each) for each in sounds[start : start + self.batch_size]]
            inputs = audio_inputs(ports, np.stack([transform(each) for each in part]))
            out[start : start + len(part)] = self._graphs.vectors(ports, inputs, alike=True)
        return out

    def encode_clips(self, clips: Sequence[Clip]) -> Float32Array:
        """float32 [len(clips), dims], unit length, of footage as `video` says. Raises `ModelError` for a clip that
        can't be read, and from a model without an encoder for footage."""
        if self._joined is None:
            raise self._without("footage")
        return self._in_batches(self._joined.clips, clips)

    def _in_batches(self, encode: Callable[[Sequence[_Input]], Float32Array], inputs: Sequence[_Input]) -> Float32Array:
        parts = [encode(inputs[i : i + self.batch_size]) for i in range(0, len(inputs), self.batch_size)]
        return np.concatenate(parts) if parts else np.empty((0, self.dims), dtype=np.float32)

    def text_batches(self, texts: Sequence[str], *, role: Role = "passage") -> Iterator[tuple[list[int], Inputs]]:
        """Yield the inputs of each run of the text graph, with the numbers of the texts in it."""
        encodings = self._tokenizer.ids([self.folder.prompts.before(text, role) for text in texts])
        order = sorted(range(len(encodings)), key=lambda i: len(encodings[i]))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            yield rows, self._text_inputs([encodings[i] for i in rows])

    def encode_images(self, images: Iterable[ImageSource]) -> Float32Array:
        """float32 [n, dims], unit length, in the order given; for what an image may be, see `opened`.

        Raises `ImageError` for the first image that can't be read.
        """
        parts: list[Float32Array] = []
        batch: list[Pixels] = []
        for image in images:
            batch.append(self.prepare_image(image))
            if len(batch) == self.batch_size:
                parts.append(self.encode_pixels(np.stack(batch)))
                batch = []
        if batch:
            parts.append(self.encode_pixels(np.stack(batch)))
        return np.concatenate(parts) if parts else np.empty((0, self.dims), dtype=np.float32)

    def prepare_image(self, image: ImageSource, rules: PictureRules | None = None) -> Pixels:
        """uint8 [height, width, 3], the pixels of an image that `encode_pixels` takes.

        Raises `ImageError` as `opened` does, and for a picture that can't be prepared for any other reason, such as too
        little memory, and `ModelError` from a text model.
        """
        transform = self.transform
        try:
            with opened(image, target=transform.resize_target, rules=rules) as picture:
                return transform.pixels(picture)
        except ImageError:
            raise
        except Exception as error:
            raise ImageError(f"the picture can't be prepared ({type(error).__name__}: {error})") from error

    def prepare_frame(self, frame: Pixels) -> Pixels:
        """What `prepare_image` gives of a frame, uint8 [height, width, 3]."""
        return self.transform.pixels(Image.fromarray(frame))

    def encode_pixels(self, pixels: Pixels | Float32Array) -> Float32Array:
        """float32 [n, dims], unit length, of prepared images, stacked: uint8 [n, height, width, 3], or float32
        [n, 3, height, width] as the graph reads them."""
        if self._joined is not None:
            return self._joined.pictures(pixels.astype(np.uint8, copy=False))
        return self._graphs.vectors(self._vision, self.image_inputs(pixels), alike=True)

    def image_inputs(self, pixels: Pixels | Float32Array) -> Inputs:
        """Return the inputs of a run of the image graph; ``pixels`` as `encode_pixels` takes them."""
        port, transform = self._vision.pixels, self.folder.transform
        if pixels.dtype == np.uint8 and transform is not None:
            pixels = transform.normalized(pixels.astype(np.uint8, copy=False))
        return {port.name: pixels.astype(port.dtype, copy=False)}

    def _text_inputs(self, ids: list[list[int]]) -> Inputs:
        ports, settings = self.folder.text_ports, self.folder.text
        length = settings.length if settings.fixed else max(map(len, ids))
        # Padding that nothing masks, before a text, would make its vector depend on the longest text beside it.
        left = settings.side == "left" and (settings.fixed or ports.masked)
        tokens = np.full((len(ids), length), settings.pad_id, dtype=np.int64)
        mask = np.zeros((len(ids), length), dtype=np.int64)
        for row, sequence in enumerate(ids):
            start = length - len(sequence) if left else 0
            tokens[row, start : start + len(sequence)] = sequence
            mask[row, start : start + len(sequence)] = 1
        known = {"attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        inputs = {port.name: known[port.name].astype(port.dtype, copy=False) for port in ports.others}
        inputs[ports.ids.name] = tokens.astype(ports.ids.dtype, copy=False)
        return inputs
