"""Sounds and footage as queries: what a model reads of a file, and the one vector that stands for it.

A few parts, evenly over the file, stand for all of it: the mean of their unit vectors, made unit again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from crosslens.errors import MediaError
from crosslens.ingest.contract.encoders import VectorEncoder
from crosslens.ingest.model.senses import Clip, Target
from crosslens.ingest.model.transform import Float32Array
from crosslens.ingest.run.media_vectors import clip_times, frame_side
from crosslens.ingest.sources.media import Media, MediaInfo, Moment, open_media

MediaSource = Path | str | bytes
"""A sound or video to search with: a path, or the bytes of a file."""
Read = Literal["frames", "sound", "clips"]
"""What is read of a query's file, as an encoder for pictures, sounds or clips takes it."""

# Pictures, windows of sound, and clips of a query that are encoded at most: an hour as well as ten seconds.
_MOST_FRAMES, _MOST_WINDOWS, _MOST_CLIPS = 8, 8, 4
_EVERY_MS = 500


def readable(encoder: VectorEncoder, of: Literal["audio", "video"], target: Target) -> list[Read]:
    """Return what a model can read of a query's sound or video to look for what is made of ``target``, the best first.

    A video looks for sounds by its sound, for pictures and texts by its frames, and for what was made of both by both;
    where that can't be, or the file hasn't got it, by what is left. Empty where the model reads nothing of it.
    """
    able = {"frames": encoder.encodes_images, "sound": encoder.encodes_audio, "clips": encoder.encodes_video}
    wanted: tuple[Read, ...]
    if of == "audio":
        wanted = ("sound",)
    elif target == "video":
        wanted = ("clips", "frames", "sound")
    elif target == "audio":
        wanted = ("sound", "clips", "frames")
    else:
        wanted = ("frames", "clips", "sound")
    return [each for each in wanted if able[each]]


def encoded(encoder: VectorEncoder, source: MediaSource, reads: Sequence[Read]) -> Float32Array:
    """Return the unit vector, float32 [dims], of a file by the first of ``reads`` that it has.

    Raises `MediaError` for a file that can't be read, or has nothing of that.
    """
    name = f"{len(source):,} bytes" if isinstance(source, bytes) else str(source)
    with open_media(source if isinstance(source, bytes) else Path(source), name=name) as media:
        for read in reads:
            if _HAS[read](media.info):
                vectors = _VECTORS[read](encoder, media)
                if len(vectors):
                    total = vectors.sum(axis=0)
                    norm = float(np.linalg.norm(total))
                    return np.asarray(total / norm if norm > 1e-6 else vectors[0], dtype=np.float32)
    what = " and ".join("sound" if each == "sound" else "picture" for each in reads[:1])
    raise MediaError(f"{name}: there is no {what} in it, which is what {encoder.name} reads of it")


def spread(seconds: float, length_s: float, most: int) -> list[Moment]:
    """Return at most ``most`` parts of a file of ``seconds``, each of ``length_s`` or less, evenly over it; together
    the whole of it where they reach."""
    total, length = max(1, round(seconds * 1e3)), max(1, round(length_s * 1e3))
    count = min(most, math.ceil(total / length))
    if count * length >= total:
        return [Moment(i * total // count, (i + 1) * total // count) for i in range(count)]
    starts = np.linspace(0, total - length, count + 2)[1:-1] if count == 1 else np.linspace(0, total - length, count)
    return [Moment(int(start), int(start) + length) for start in starts]


def _frames(encoder: VectorEncoder, media: Media) -> Float32Array:
    total = max(1, round(media.info.seconds * 1e3))
    count = min(_MOST_FRAMES, math.ceil(total / _EVERY_MS))
    times = [(2 * i + 1) * total // (2 * count) for i in range(count)]
    pixels = [encoder.prepare_frame(frame) for frame in media.frames(times, frame_side(encoder))]
    return encoder.encode_pixels(np.stack(pixels)) if pixels else np.empty((0, encoder.dims), dtype=np.float32)


def _sound(encoder: VectorEncoder, media: Media) -> Float32Array:
    settings = encoder.audio
    assert settings is not None, "an encoder of sounds says what it reads"
    spans = spread(media.info.seconds, settings.seconds, _MOST_WINDOWS)
    sounds = [each[: settings.most] for each in media.sound(spans, settings.rate) if len(each)]
    return encoder.encode_sounds(sounds) if sounds else np.empty((0, encoder.dims), dtype=np.float32)


def _clips(encoder: VectorEncoder, media: Media) -> Float32Array:
    settings = encoder.video
    assert settings is not None, "an encoder of footage says what it reads"
    spans = spread(media.info.seconds, settings.seconds, _MOST_CLIPS)
    heard = settings.rate is not None and media.info.audio
    sounds = list(media.sound(spans, settings.rate)) if heard and settings.rate is not None else []
    clips = []
    for i, each in enumerate(spans):
        frames = list(media.frames(clip_times(each, settings), frame_side(encoder)))
        if frames:
            clips.append(Clip(np.stack(frames), sounds[i] if i < len(sounds) and len(sounds[i]) else None))
    return encoder.encode_clips(clips) if clips else np.empty((0, encoder.dims), dtype=np.float32)


_HAS: dict[Read, Callable[[MediaInfo], bool]] = {
    "frames": lambda info: info.video,
    "sound": lambda info: info.audio,
    "clips": lambda info: info.video,
}
_VECTORS: dict[Read, Callable[[VectorEncoder, Media], Float32Array]] = {
    "frames": _frames,
    "sound": _sound,
    "clips": _clips,
}
