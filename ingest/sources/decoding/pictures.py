"""The pictures of a video at given times, decoding no more than needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.ingest.sources.decoding.container import Opened, Source, UnreadableError, decodable
from crosslens.ingest.sources.decoding.shapes import Moment
from crosslens.ingest.sources.decoding.upright import upright

# Where key frames are known, going to one pays when it saves this much decoding (s).
_SAVED_S = 0.5
# Where they aren't, a seek may land before what was decoded already; it is tried for steps as long as this (s).
_BLIND_S = 5.0
_BLIND_STEPS_S = (0.0, 4.0, 16.0)
# Clocks of containers are rounded to ms or coarser.
_TINY_S = 0.0015


def pictures(
    source: Source, times_ms: Sequence[int], side: int | None, within: Sequence[Moment] | None
) -> Iterator[NDArray[np.uint8]]:
    """Yield the picture at each time, as `Media.frames` says."""
    opened = source.open()
    try:
        if opened.video is None:
            raise UnreadableError("holds no moving picture")
        walk = _Walk(opened)
        given: tuple[Any, NDArray[np.uint8]] | None = None
        for number, time_ms in enumerate(times_ms):
            span = within[number] if within is not None else None
            frame = walk.at(time_ms / 1000, (span.start_ms / 1000, span.end_ms / 1000) if span else None)
            if frame is None:
                raise UnreadableError("holds no picture that can be decoded")
            if given is None or given[0] is not frame:
                given = (frame, upright(frame, opened.video, side))
            yield given[1]
    finally:
        opened.close()


def clocked(opened: Opened, *, skip: str = "DEFAULT") -> Iterator[tuple[float, Any]]:
    """Yield the frames that can be decoded from where the file stands, each with its time (s) from the file's first.

    ``skip`` says which frames to leave out, as FFmpeg's skip_frame. Frames without a time follow the one before.
    """
    stream = opened.video
    stream.codec_context.skip_frame = skip
    step = float(1 / stream.average_rate) if stream.average_rate else 0.04
    last = -step
    for frame in decodable(opened, stream):
        time = opened.seconds_of(stream, frame.pts)
        last = last + step if time is None else time
        yield last, frame


class _Walk:
    """A position in a video that moves forward: by decoding, or by going to a key frame."""

    def __init__(self, opened: Opened):
        self._opened = opened
        opened.only(opened.video)
        self._frames = clocked(opened)
        # The frame shown now with its time, and the one after it, as far as they are decoded.
        self._shown: tuple[float, Any] | None = None
        self._next: tuple[float, Any] | None = None
        self._over = False
        # Blind seeks are given up where they don't get past what was decoded.
        self._blind = True
        self._keys = _key_times(opened)

    def at(self, time: float, span: tuple[float, float] | None) -> Any | None:
        """Return the frame shown at ``time`` (s), or another inside ``span`` if that is cheaper; None if none can be.

        Before the first frame that is the first, after the last the last.
        """
        if span is not None and self._shown is not None and self._inside(self._shown[0], span):
            return self._shown[1]
        wanted = self._go(time, span)
        return self._decode_to(wanted)

    def _decode_to(self, time: float) -> Any | None:
        while True:
            if self._next is None and not self._over:
                self._next = next(self._frames, None)
                self._over = self._next is None
            if self._next is None or (self._shown is not None and self._next[0] > time + _TINY_S):
                break
            # Times that go back are damage; the frames are shown nevertheless.
            self._shown, self._next = self._next, None
        return self._shown[1] if self._shown is not None else None

    def _go(self, time: float, span: tuple[float, float] | None) -> float:
        """Go to a key frame where that saves decoding, and return the time to decode to from there."""
        here = self._shown[0] if self._shown is not None else 0.0
        if self._keys is not None:
            key = self._key_before(time)
            wanted = time
            if span is not None:
                late = self._key_before(span[1] - _TINY_S)
                if key is not None and key >= span[0] - _TINY_S:
                    wanted = key
                elif late is not None and late > time:
                    key = wanted = late
                else:
                    # No key frame inside: the first frame inside is the cheapest.
                    wanted = span[0]
                    key = self._key_before(wanted)
            if key is not None and key > here + _SAVED_S and self._seek(key):
                return wanted
            return wanted if wanted >= here else time
        if time - here < _BLIND_S or not self._blind:
            return time
        landed = self._blindly(here, time, span)
        return landed if landed is not None and span is not None and self._inside(landed, span) else time

    def _blindly(self, here: float, time: float, span: tuple[float, float] | None) -> float | None:
        """Go somewhere behind ``here`` and not behind ``time``, or else inside ``span``; return where, None if nowhere.

        Without an index FFmpeg lands anywhere, and pictures come from the next key frame on.
        """
        for back in _BLIND_STEPS_S:
            if time - back <= here or not self._seek(time - back):
                continue
            landed = self._next[0] if self._next is not None else None
            if landed is not None and landed > here and (landed <= time or (span and self._inside(landed, span))):
                return landed
        # It doesn't pay: back to the beginning, and on by decoding.
        self._blind = False
        self._seek(0.0)
        return None

    def _seek(self, time: float) -> bool:
        """Go to the key frame at or before ``time``, and decode its picture."""
        stream = self._opened.video
        before = self._shown
        if not self._opened.seek(stream, time + _TINY_S):
            return False
        self._frames.close()  # type: ignore[attr-defined]
        self._frames = clocked(self._opened)
        self._next = next(self._frames, None)
        self._over = self._next is None
        # What was shown before the jump stands in only if nothing can be decoded behind it.
        self._shown = before if self._next is None else None
        return True

    def _key_before(self, time: float) -> float | None:
        assert self._keys is not None
        place = int(np.searchsorted(self._keys, time + _TINY_S, side="right"))
        return float(self._keys[place - 1]) if place else None

    @staticmethod
    def _inside(time: float, span: tuple[float, float]) -> bool:
        return span[0] - _TINY_S <= time < span[1]


def _key_times(opened: Opened) -> NDArray[np.float64] | None:
    """Return the times (s) of the key frames by the file's own index, ascending; None where it has none to rely on."""
    stream = opened.video
    if stream.duration is None and opened.container.duration is None:
        return None
    entries = stream.index_entries
    if len(entries) < 2:
        return None
    times = [opened.seconds_of(stream, entry.timestamp) for entry in entries if entry.is_keyframe]
    found = np.array([time for time in times if time is not None])
    last = float((opened.container.duration or 0) / 1e6)
    # Some formats only index what was read so far.
    if len(found) < 2 or found[-1] < last * 0.5:
        return None
    return np.unique(found)
