"""Models whose encoders of pictures and sounds make tokens that one transformer reads, as EmbeddingGemma 2's do.

The graphs are run apart, and what they give is put together here, with the tokens that mark where it begins and ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crosslens.errors import ModelError
from crosslens.ingest.model.files import read_json
from crosslens.ingest.model.mel import Filters, Spectrogram
from crosslens.ingest.model.patches import PatchTransform
from crosslens.ingest.model.perception import PE_AV, Perception, parse_perception
from crosslens.ingest.model.running import Graphs, Part
from crosslens.ingest.model.senses import AudioSettings, Clip, Samples, Target, VideoSettings
from crosslens.ingest.model.transform import Float32Array, Pixels

JOINED = "joined.json"
BODY, PICTURES, SOUNDS = "onnx/body_model.onnx", "onnx/picture_tokens.onnx", "onnx/sound_tokens.onnx"
# Marks and text around what was seen and heard: before and after everything, around a picture and a sound, and between
# the pictures and the sound of a clip.
MARKS = ("first", "last", "picture_begins", "picture_ends", "sound_begins", "sound_ends", "between")


@dataclass(frozen=True)
class MelTransform:
    """What transformers' Gemma4AudioFeatureExtractor does to a sound, which it fills up to whole ``block``s of samples:
    log-mel frames, each sum of magnitudes raised by ``floor``."""

    settings: AudioSettings
    spectrogram: Spectrogram
    floor: float
    block: int

    def __call__(self, sound: Samples) -> tuple[Float32Array, NDArray[np.bool_]]:
        """Return float32 [frames, mels] of a sound float32 [n], and bool [frames]: which frames lie within it."""
        window, hop = self.spectrogram.window, self.spectrogram.hop
        # Less than half a window has no frame.
        sound = np.pad(sound, (0, max(window // 2 + 1 - len(sound), 0)))
        filled = -(-len(sound) // self.block) * self.block
        samples = np.pad(sound, (window // 2, filled - len(sound)))
        mel = np.log(self.spectrogram(samples, lead=1) + self.floor).astype(np.float32)
        within = np.arange(len(mel)) * hop + window < window // 2 + len(sound)
        return mel * within[:, np.newaxis], within


@dataclass(frozen=True)
class Joined:
    """How the parts of a folder are joined; ``marks`` are embedded tokens, float32 [tokens, hidden], by `MARKS`."""

    body: Part
    pictures: Part
    sounds: Part
    marks: dict[str, Float32Array]
    picture: PatchTransform
    frame: PatchTransform
    sound: MelTransform
    video: VideoSettings

    @property
    def heads(self) -> dict[Target, str]:
        """Return the outputs of the text graph, by what a query looks for: one for all."""
        return {}

    def towers(self, graphs: Graphs) -> JoinedTowers:
        """Return what encodes pictures, sounds and clips."""
        return JoinedTowers(self, graphs)


def read_joined(path: Path) -> Joined | Perception | None:
    """Return how the parts of a folder are joined; None where it has none. Raises `ModelError` for a damaged file."""
    if not (path / JOINED).exists():
        return None
    stated = read_json(path / JOINED)
    try:
        if stated["kind"] == PE_AV:
            return parse_perception(stated, path)
        audio, video = stated["audio"], stated["video"]
        marks = {name: np.array(stated["marks"][name], np.float32) for name in MARKS}
        hidden = marks["first"].shape[-1] if marks["first"].size else marks["picture_begins"].shape[-1]
        rate, window, fft = int(audio["rate"]), int(audio["window"]), int(audio["fft"])
        low, high, mels = float(audio["low"]), float(audio["high"]), int(audio["mels"])
        filters = Filters(fft // 2 + 1, mels, low, high, rate, "htk", normed=False)
        return Joined(
            body=Part(path / BODY, "embeds"),
            pictures=Part(path / PICTURES, "tokens"),
            sounds=Part(path / SOUNDS, "tokens"),
            marks={name: each.reshape(-1, hidden) for name, each in marks.items()},
            picture=_patches(stated["picture"]),
            frame=_patches(stated["frame"]),
            sound=MelTransform(
                AudioSettings(rate, float(audio["seconds"])),
                Spectrogram(window, int(audio["hop"]), fft, 1, filters),
                float(audio["floor"]),
                int(audio["block"]),
            ),
            video=VideoSettings(int(video["frames"]), float(video["fps"]), rate),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path / JOINED} can't be understood ({error})", hint="export the checkpoint again", verb="export"
        ) from error


class JoinedTowers:
    """Encodes pictures, sounds and clips with the parts of a model."""

    def __init__(self, joined: Joined, graphs: Graphs):
        self._joined, self._graphs = joined, graphs

    def pictures(self, pixels: Pixels) -> Float32Array:
        """Return float32 [n, dims], unit length, of pictures as `PatchTransform.pixels` gives them, stacked."""
        return self._vectors([self._around("picture", each) for each in self._seen(self._joined.picture, pixels)])

    def sounds(self, sounds: Sequence[Samples]) -> Float32Array:
        """Return float32 [n, dims], unit length, of sounds, as `Joined.sound` says."""
        return self._vectors([self._around("sound", each) for each in self._heard(sounds)])

    def clips(self, clips: Sequence[Clip]) -> Float32Array:
        """Return float32 [n, dims], unit length: of the frames, one after the other, and the sound after them.

        Frames beyond `VideoSettings.frames` are left out evenly, and sound beyond `AudioSettings.seconds` at its end.
        """
        return self._vectors([self._clip(clip) for clip in clips])

    def _clip(self, clip: Clip) -> Float32Array:
        joined = self._joined
        frames = clip.some_frames(joined.video.frames)
        pixels = np.stack([joined.frame.pixels(Image.fromarray(frame)) for frame in frames])
        parts = [self._around("picture", each) for each in self._seen(joined.frame, pixels)]
        if clip.samples is not None:
            sound = joined.sound.settings.checked(clip.samples[: joined.sound.settings.most])
            parts += [joined.marks["between"], self._around("sound", self._heard([sound])[0])]
        return np.concatenate(parts)

    def _around(self, kind: str, tokens: Float32Array) -> Float32Array:
        marks = self._joined.marks
        return np.concatenate([marks[f"{kind}_begins"], tokens, marks[f"{kind}_ends"]])

    def _seen(self, transform: PatchTransform, pixels: Pixels) -> list[Float32Array]:
        values, places = transform.normalized(pixels)
        made = self._graphs.run(self._joined.pictures, {"pixel_values": values, "position_ids": places})
        counts = (places[..., 0] >= 0).sum(axis=1) // transform.pool**2
        return [tokens[:count] for tokens, count in zip(made, counts, strict=True)]

    def _heard(self, sounds: Sequence[Samples]) -> list[Float32Array]:
        prepared = [self._joined.sound(sound) for sound in sounds]
        longest = max(len(within) for _, within in prepared)
        features = np.zeros((len(prepared), longest, prepared[0][0].shape[1]), dtype=np.float32)
        mask = np.zeros((len(prepared), longest), dtype=np.bool_)
        for row, (mel, within) in enumerate(prepared):
            features[row, : len(mel)], mask[row, : len(mel)] = mel, within
        made = self._graphs.run(self._joined.sounds, {"input_features": features, "input_features_mask": mask})
        # Of four frames, the encoder makes one token.
        return [tokens[valid] for tokens, valid in zip(made, mask[:, ::2][:, ::2], strict=True)]

    def _vectors(self, sequences: Sequence[Float32Array]) -> Float32Array:
        marks = self._joined.marks
        rows = [np.concatenate([marks["first"], each, marks["last"]]) for each in sequences]
        longest = max(map(len, rows))
        embeds = np.zeros((len(rows), longest, self._hidden), dtype=np.float32)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for number, row in enumerate(rows):
            embeds[number, : len(row)], mask[number, : len(row)] = row, 1
        return self._graphs.vectors(self._joined.body, {"inputs_embeds": embeds, "attention_mask": mask})

    @cached_property
    def _hidden(self) -> int:
        return int(self._joined.marks["picture_begins"].shape[1])


def _patches(stated: dict[str, Any]) -> PatchTransform:
    sizes = (int(stated["side"]), int(stated["pool"]), int(stated["tokens"]))
    return PatchTransform(*sizes, Image.Resampling(int(stated["resample"])), float(stated["scale"]))
