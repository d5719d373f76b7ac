"""The sound of given parts of a file: one channel, at the rate that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from crosslens.ingest.sources.decoding.container import Opened, Source, UnreadableError, decodable
from crosslens.ingest.sources.decoding.shapes import Moment

Samples = NDArray[np.float32]

# Sound that comes later or earlier than the one before it ended, by more than this (s), has a gap or is damaged.
_JUMP_S = 0.05
# A span so far ahead (s) is gone to; the decoder then needs some sound (s) before it to be in step.
_SEEK_S, _RUN_UP_S = 10.0, 0.5


def sounds(source: Source, spans: Sequence[Moment], rate: int) -> Iterator[Samples]:
    """Yield the sound of each span, as `Media.sound` says."""
    opened = source.open()
    try:
        if opened.audio is None:
            raise UnreadableError("holds no sound")
        reel = _Reel(opened, rate)
        for span in spans:
            yield reel.cut(span.start_ms * rate // 1000, span.end_ms * rate // 1000)
    finally:
        opened.close()


class _Reel:
    """Decoded sound as pieces at places (in samples from the file's first), from the last span's start on."""

    def __init__(self, opened: Opened, rate: int):
        self._opened, self._rate = opened, rate
        opened.only(opened.audio)
        self._pieces: list[tuple[int, Samples]] = []
        self._coming = self._placed()
        self._reached = 0
        self._over = False

    def cut(self, start: int, end: int) -> Samples:
        """Return the samples from ``start`` to ``end``, silent where there are none in between."""
        if start - self._reached > _SEEK_S * self._rate:
            self._seek(start / self._rate - _RUN_UP_S)
        self._pieces = [piece for piece in self._pieces if piece[0] + len(piece[1]) > start]
        while self._reached < end and not self._over:
            piece = next(self._coming, None)
            if piece is None:
                self._over = True
                break
            self._reached = piece[0] + len(piece[1])
            if self._reached > start:
                self._pieces.append(piece)
        last = max((at + len(samples) for at, samples in self._pieces), default=start)
        found = np.zeros(max(0, min(end, last) - start), np.float32)
        for at, samples in self._pieces:
            a, b = max(at, start), min(at + len(samples), start + len(found))
            if a < b:
                found[a - start : b - start] = samples[a - at : b - at]
        return found

    def _seek(self, seconds: float) -> None:
        if self._opened.seek(self._opened.audio, max(0.0, seconds)):
            self._coming = self._placed()
            self._pieces, self._over = [], False

    def _placed(self) -> Iterator[tuple[int, Samples]]:
        """Yield what is decoded from here on, each piece with its place."""
        run: _Run | None = None
        for start, frame in _frames(self._opened):
            if run is not None and not run.fits(start, frame):
                yield from run.rest()
                run = None
            if run is None:
                run = _Run(start if start is not None else self._reached / self._rate, frame, self._rate)
            yield from run.add(frame)
        if run is not None:
            yield from run.rest()


class _Run:
    """Frames of one kind that follow each other without a gap, resampled."""

    def __init__(self, start: float, frame: Any, rate: int):
        self._kind = _kind(frame)
        self._start, self._in = start, 0
        self._at = round(start * rate)
        self._resampler = AudioResampler(format="flt", layout="mono", rate=rate)

    def fits(self, start: float | None, frame: Any) -> bool:
        """Return whether a frame that starts at ``start`` (s; None if unknown) goes on with this run."""
        expected = self._start + self._in / self._kind[2]
        return _kind(frame) == self._kind and (start is None or abs(start - expected) <= _JUMP_S)

    def add(self, frame: Any) -> Iterator[tuple[int, Samples]]:
        """Yield what is resampled with this frame."""
        self._in += frame.samples
        # The places are counted here.
        frame.pts = None
        yield from self._out(frame)

    def rest(self) -> Iterator[tuple[int, Samples]]:
        """Yield what the resampler holds back."""
        yield from self._out(None)

    def _out(self, frame: Any) -> Iterator[tuple[int, Samples]]:
        try:
            made = self._resampler.resample(frame)
        except MemoryError:
            raise
        except (av.FFmpegError, ValueError):
            return
        for each in made:
            samples = np.nan_to_num(each.to_ndarray()[0], nan=0.0, posinf=1.0, neginf=-1.0).clip(-1.0, 1.0)
            at, self._at = self._at, self._at + len(samples)
            yield at, samples.astype(np.float32, copy=False)


def _frames(opened: Opened) -> Iterator[tuple[float | None, Any]]:
    """Yield the frames that can be decoded, each with its start (s)."""
    for frame in decodable(opened, opened.audio):
        if not frame.samples or not frame.sample_rate:
            continue
        start = None if frame.pts is None else float(frame.pts * frame.time_base) - opened.origin
        # Beyond the limit a time is damage; the sound follows what came before.
        yield (start if start is not None and abs(start) <= opened.source.limits.seconds else None), frame


def _kind(frame: Any) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate
