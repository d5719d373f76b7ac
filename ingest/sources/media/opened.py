"""A sound or video, opened: its pictures, sound and captions, which a child process decodes within limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from crosslens.ingest.sources.decoding.shapes import Cue, Cutting, MediaInfo, MediaLimits, Moment


class Media:
    """One file, open for decoding; a context manager, for one thread at a time.

    Every method raises `MediaError` where the file is damaged beyond reading, or hits a limit; the child process is
    gone then. Asking for something ends an iterator that isn't exhausted.
    """

    info: MediaInfo

    def moments(self, cutting: Cutting | None = None) -> list[Moment]:
        """Return the moments of the file, cut as `Cutting` says, without gaps from 0 to its end."""
        raise NotImplementedError(cutting)

    def frames(
        self, times_ms: Sequence[int], side: int | None = None, *, within: Sequence[Moment] | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the picture shown at each of ``times_ms`` (ascending), as uint8 [h, w, 3].

        Pictures are upright, of square pixels, and reduced, not enlarged, to ``side`` pixels on the shorter side.
        With ``within``, a moment for each time, a key frame inside the moment serves as well where that saves decoding.
        """
        raise NotImplementedError(times_ms, side, within)

    def sound(self, spans: Sequence[Moment], rate: int) -> Iterator[NDArray[np.float32]]:
        """Yield the sound of each of ``spans`` (by ascending start) as float32 [n] in -1..1: mono, ``rate`` Hz.

        A span beyond the end of the sound is shorter, or empty; a gap inside is silent.
        """
        raise NotImplementedError(spans, rate)

    def cues(self) -> list[Cue]:
        """Return the captions of the file's default text subtitle stream, in order; empty without one."""
        raise NotImplementedError

    def close(self) -> None:
        """End the child process."""
        raise NotImplementedError

    def __enter__(self) -> Media:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_media(file: Path | BinaryIO | bytes, limits: MediaLimits | None = None, *, name: str = "") -> Media:
    """Open a sound or video for decoding. Errors call it ``name`` (by default the path).

    Raises `MediaError` for what isn't a sound or video in a format that holds its own streams (a playlist isn't), for
    a file that can't be opened or exceeds ``limits``, and where PyAV isn't installed.
    """
    raise NotImplementedError(file, limits, name)


def poster(frame: NDArray[np.uint8], quality: int = 80) -> bytes:
    """Return a picture, uint8 [h, w, 3], as JPEG."""
    raise NotImplementedError(frame, quality)
