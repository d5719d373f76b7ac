"""PE-AV, whose encoders of pictures and sounds give a vector each, and tokens that a third makes one vector of.

The graphs are run apart: so the weights of each encoder are there once, and frames are aligned with sound here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crosslens.ingest.model.running import Graphs, Part
from crosslens.ingest.model.senses import AudioSettings, Clip, Samples, Target, VideoSettings
from crosslens.ingest.model.transform import Float32Array, ImageTransform, Pixels, parse_transform

PE_AV = "pe_audio_video"
PICTURES, SOUNDS, BOTH = "onnx/picture_frames.onnx", "onnx/sound_frames.onnx", "onnx/clip_model.onnx"
VECTORS, TOKENS = "vectors", "tokens"
# The outputs of the text graph, by what a query looks for; the first is that of texts that are looked for as well.
HEADS: dict[Target, str] = {
    "text": "text_video_embeds",
    "image": "text_video_embeds",
    "audio": "text_audio_embeds",
    "video": "text_audio_video_embeds",
}


@dataclass(frozen=True)
class WaveTransform:
    """What transformers' PeAudioFeatureExtractor does to a sound: it is filled up to whole ``hop``s of samples, each of
    which becomes a token, with its own end mirrored."""

    settings: AudioSettings
    hop: int

    def __call__(self, sound: Samples) -> Samples:
        """Return float32 [samples] of a sound float32 [n]."""
        return np.pad(sound, (0, -len(sound) % self.hop), mode="reflect")


@dataclass(frozen=True)
class Perception:
    """The parts of a PE-AV, and what they read; ``clip_sound`` says so of a clip's sound."""

    sound: WaveTransform
    clip_sound: AudioSettings
    video: VideoSettings
    picture: ImageTransform
    folder: Path

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return the files of its graphs, beside that of texts."""
        return tuple(self.folder / name for name in (PICTURES, SOUNDS, BOTH))

    @property
    def heads(self) -> dict[Target, str]:
        """Return the outputs of the text graph, by what a query looks for."""
        return HEADS

    def towers(self, graphs: Graphs) -> PerceptionTowers:
        """Return what encodes pictures, sounds and clips."""
        return PerceptionTowers(self, graphs)


def parse_perception(stated: dict[str, Any], folder: Path) -> Perception:
    """Read the settings of an export. Raises `KeyError`, `TypeError` and `ValueError` for damaged ones."""
    audio, video = stated["audio"], stated["video"]
    rate, seconds, hop = int(audio["rate"]), float(audio["seconds"]), int(audio["hop"])
    shown = VideoSettings(int(video["frames"]), float(video["fps"]), rate)
    if min(rate, seconds, hop, shown.frames, shown.fps) <= 0:
        raise ValueError("sizes must be more than zero")
    return Perception(
        sound=WaveTransform(AudioSettings(rate, seconds), hop),
        clip_sound=AudioSettings(rate, shown.seconds),
        video=shown,
        picture=parse_transform(dict(stated["picture"])),
        folder=folder,
    )


class PerceptionTowers:
    """Encodes pictures, sounds and clips with the parts of a PE-AV."""

    def __init__(self, perception: Perception, graphs: Graphs):
        self._perception, self._graphs = perception, graphs
        pictures, sounds, both = perception.paths
        self._picture_vectors, self._picture_tokens = Part(pictures, VECTORS), Part(pictures, TOKENS)
        self._sound_vectors, self._sound_tokens = Part(sounds, VECTORS), Part(sounds, TOKENS)
        self._both = Part(both, VECTORS)

    def pictures(self, pixels: Pixels) -> Float32Array:
        """Return float32 [n, dims], unit length, of pictures uint8 [n, height, width, 3]: clips of one frame."""
        values = self._perception.picture.normalized(pixels)[:, np.newaxis]
        return self._graphs.vectors(self._picture_vectors, {"pixel_values_videos": values}, alike=True)

    def sounds(self, sounds: Sequence[Samples]) -> Float32Array:
        """Return float32 [n, dims], unit length, of sounds, as `Perception.sound` says."""
        prepared = [self._perception.sound(sound) for sound in sounds]
        lengths = [len(sound) for sound in prepared]
        rows: dict[int, Float32Array] = {}
        # Convolutions would carry what fills up a shorter one into its last tokens, which no mask undoes.
        for length in sorted(set(lengths)):
            alike = [i for i, each in enumerate(lengths) if each == length]
            waves = np.stack([prepared[i] for i in alike])[:, np.newaxis]
            rows.update(zip(alike, self._graphs.vectors(self._sound_vectors, {"input_values": waves}), strict=True))
        return np.stack([rows[i] for i in range(len(prepared))])

    def clips(self, clips: Sequence[Clip]) -> Float32Array:
        """Return float32 [n, dims], unit length, of frames and the sound beside them; a clip without any is silent.

        Frames beyond `VideoSettings.frames` are left out evenly, and sound beyond `VideoSettings.seconds` at its end.
        """
        return np.concatenate([self._clip(clip) for clip in clips])

    def _clip(self, clip: Clip) -> Float32Array:
        known, frames = self._perception, clip.some_frames(self._perception.video.frames)
        pixels = np.stack([known.picture.pixels(Image.fromarray(frame)) for frame in frames])
        values = {"pixel_values_videos": known.picture.normalized(pixels)[np.newaxis]}
        seen = self._graphs.run(self._picture_tokens, values)
        waves = known.sound(self._heard(clip, len(frames)))
        heard = self._graphs.run(self._sound_tokens, {"input_values": waves[np.newaxis, np.newaxis]})
        beside = seen[:, nearest(len(frames), heard.shape[1])]
        return self._graphs.vectors(self._both, {"sound_tokens": heard, "picture_tokens": beside})

    def _heard(self, clip: Clip, frames: int) -> Samples:
        settings, video = self._perception.clip_sound, self._perception.video
        if clip.samples is None:
            # Texts that look for footage have one vector, which was learned beside those of both together.
            return np.zeros(round(frames / video.fps * settings.rate), np.float32)
        return settings.checked(clip.samples[: settings.most])


def nearest(given: int, wanted: int) -> NDArray[np.int64]:
    """Return which of ``given`` frames lies beside each of ``wanted`` tokens, as PyTorch's interpolate has it."""
    scale = np.float32(given) / np.float32(wanted)
    places: NDArray[np.int64] = np.floor(np.arange(wanted, dtype=np.float32) * scale).astype(np.int64)
    return places.clip(max=given - 1)
