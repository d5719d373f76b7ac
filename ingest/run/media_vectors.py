"""The vectors of moments: of their frames, their sound, both, or the words spoken in them, made in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import TypeVar

import numpy as np

from crosslens.ingest.contract.encoders import VectorEncoder
from crosslens.ingest.contract.moments import StoredMoment
from crosslens.ingest.contract.record import Part, VectorField
from crosslens.ingest.model.senses import Clip, VideoSettings
from crosslens.ingest.model.transform import Float32Array
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.sources.decoding.shapes import Moment
from crosslens.ingest.sources.media import Media

# Frames come at this many times the side that the model reads, so that it resizes them as it does pictures.
_SIDES = 2
# A cluster's encoder doesn't say how large the pictures are that it reads.
_UNKNOWN_SIDE = 512
_CLIPS = 4
_T = TypeVar("_T")

Batch = tuple[list[StoredMoment], Float32Array]
_Maker = Callable[[VectorEncoder, Media, Sequence[StoredMoment]], Iterator[Batch]]


def moment_vectors(
    each: VectorField, encoder: VectorEncoder, media: Media | None, moments: Sequence[StoredMoment]
) -> Iterator[Batch]:
    """Yield the unit vectors of ``moments`` (ascending, of one file), [n, dims], batch by batch, with their moments.

    Moments of which the file turns out to hold nothing, such as those after its sound's end, are left out. Raises
    `MediaError` where it can't be read on.
    """
    if each.part == "captions":
        yield from _words(encoder, moments)
    elif media is not None:
        yield from _MAKERS[each.part](encoder, media, moments)


def _words(encoder: VectorEncoder, moments: Sequence[StoredMoment]) -> Iterator[Batch]:
    for batch in _batches(moments, encoder.batch_size):
        yield batch, encoder.encode_texts([each.text or "" for each in batch])


def _frames(encoder: VectorEncoder, media: Media, moments: Sequence[StoredMoment]) -> Iterator[Batch]:
    spans = [each.span for each in moments]
    frames = media.frames([_middle(each) for each in spans], frame_side(encoder), within=spans)
    # The next frames are decoded while these are encoded.
    prepared = (encoder.prepare_frame(frame) for frame in frames)
    for batch, pixels in _paired(moments, prefetched(prepared, encoder.batch_size), encoder.batch_size):
        yield batch, encoder.encode_pixels(np.stack(pixels))


def _sounds(encoder: VectorEncoder, media: Media, moments: Sequence[StoredMoment]) -> Iterator[Batch]:
    settings = encoder.audio
    if settings is None:
        return
    sounds = (sound[: settings.most] for sound in media.sound([each.span for each in moments], settings.rate))
    for batch, samples in _paired(moments, prefetched(sounds, encoder.batch_size), encoder.batch_size):
        heard = [(each, sound) for each, sound in zip(batch, samples, strict=True) if len(sound)]
        if heard:
            yield [each for each, _ in heard], encoder.encode_sounds([sound for _, sound in heard])


def _clips(encoder: VectorEncoder, media: Media, moments: Sequence[StoredMoment]) -> Iterator[Batch]:
    settings = encoder.video
    if settings is None:
        return
    rate = settings.rate if media.info.audio else None
    for batch in _batches(moments, min(_CLIPS, encoder.batch_size)):
        spans = [each.span for each in batch]
        times = [clip_times(span, settings) for span in spans]
        frames = list(media.frames([time for each in times for time in each], frame_side(encoder)))
        sounds = list(media.sound(spans, rate)) if rate is not None else []
        clips, seen = [], []
        start = 0
        for i, (moment, each) in enumerate(zip(batch, times, strict=True)):
            shown = frames[start : start + len(each)]
            start += len(each)
            if shown:
                heard = sounds[i] if i < len(sounds) and len(sounds[i]) else None
                clips.append(Clip(np.stack(shown), heard))
                seen.append(moment)
        if clips:
            yield seen, encoder.encode_clips(clips)


_MAKERS: dict[Part | None, _Maker] = {"frames": _frames, "sound": _sounds, "both": _clips}


def clip_times(span: Moment, settings: VideoSettings) -> list[int]:
    """Return the times in ms at which a video encoder sees a moment: as many as it takes, each in the middle of its
    share."""
    length = span.end_ms - span.start_ms
    count = max(1, min(settings.frames, round(length / 1000 * settings.fps)))
    return [span.start_ms + int((2 * i + 1) * length / (2 * count)) for i in range(count)]


def frame_side(encoder: VectorEncoder) -> int:
    """Return how many pixels the shorter side of a frame needs at most."""
    target: int = getattr(getattr(encoder, "transform", None), "resize_target", 0)
    return _SIDES * target if target else _UNKNOWN_SIDE


def _middle(span: Moment) -> int:
    return (span.start_ms + span.end_ms) // 2


def _batches(moments: Sequence[StoredMoment], size: int) -> Iterator[list[StoredMoment]]:
    for start in range(0, len(moments), size):
        yield list(moments[start : start + size])


def _paired(
    moments: Sequence[StoredMoment], items: Iterator[_T], size: int
) -> Iterator[tuple[list[StoredMoment], list[_T]]]:
    """Moments with what there is of each, ``size`` at a time; the items end with what uses them."""
    with closing(items):  # type: ignore[type-var]
        for batch in _batches(moments, size):
            found = list(islice(items, len(batch)))
            if found:
                yield batch[: len(found)], found
            if len(found) < len(batch):
                return
