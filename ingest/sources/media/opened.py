"""A sound or video, opened: its pictures, sound and captions, which a child process decodes within limits."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crosslens.errors import MediaError
from crosslens.ingest.sources.decoding import wire
from crosslens.ingest.sources.decoding.shapes import Cue, Cutting, MediaInfo, MediaLimits, Moment
from crosslens.ingest.sources.media.files import descriptor_of, kind_of
from crosslens.ingest.sources.media.process import Child

_Number = TypeVar("_Number", np.uint8, np.float32)

# The most sound that is asked for at once (s): 115 MB at 48 kHz.
LONGEST_SPAN_S = 600
_RATES = range(1_000, 192_001)


class Media:
    """One file, open for decoding; a context manager, for one thread at a time.

    Every method raises `MediaError` where the file is damaged beyond reading, or hits a limit. Asking for something
    ends an iterator that isn't exhausted.
    """

    def __init__(self, child: Child, limits: MediaLimits, name: str):
        """Use `open_media`."""
        self._child, self._limits, self.name = child, limits, name
        # Pictures or sounds that are under way: a number that changes with every request.
        self._under_way: int | None = None
        self._asked = 0
        self.info = self._info()

    def moments(self, cutting: Cutting | None = None) -> list[Moment]:
        """Return the moments of the file, cut as `Cutting` says, without gaps from 0 to its end."""
        cutting = cutting or Cutting()
        rows = self._list({"do": "moments", "cutting": asdict(cutting)}, self._limits.moments, 2)
        found = [Moment(start, end) for start, end in rows]
        before = 0
        for moment in found:
            if moment.start_ms != before or moment.end_ms <= before:
                raise self._child.distrusted()
            before = moment.end_ms
        return found

    def frames(
        self, times_ms: Sequence[int], side: int | None = None, *, within: Sequence[Moment] | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the picture shown at each of ``times_ms`` (ascending), as uint8 [h, w, 3].

        Pictures are upright, of square pixels, and reduced, not enlarged, to ``side`` pixels on the shorter side.
        With ``within``, a moment for each time, another picture of the moment serves as well where that saves decoding:
        a key frame, or the first. Before the first picture that is shown, and after the last the last.
        """
        if within is not None and len(within) != len(times_ms):
            raise ValueError(f"{len(times_ms)} times within {len(within)} moments")
        request = {
            "do": "frames",
            "times": [int(time) for time in times_ms],
            "side": side,
            "within": None if within is None else [(moment.start_ms, moment.end_ms) for moment in within],
        }
        return self._stream(request, wire.FRAME, len(times_ms), lambda _, h, w, n: self._frame(h, w, n, side))

    def sound(self, spans: Sequence[Moment], rate: int) -> Iterator[NDArray[np.float32]]:
        """Yield the sound of each of ``spans`` (by ascending start) as float32 [n] in -1..1: mono, ``rate`` Hz.

        A span beyond the end of the sound is shorter, or empty; a gap inside is silent. A span may last 600 s.
        """
        if rate not in _RATES:
            raise ValueError(f"{rate} Hz is not a rate of sound")
        if any(not 0 <= span.start_ms <= span.end_ms <= span.start_ms + LONGEST_SPAN_S * 1000 for span in spans):
            raise ValueError(f"spans last from 0 to {LONGEST_SPAN_S} s")
        most = [(span.end_ms - span.start_ms) * rate // 1000 + 1 for span in spans]
        request = {"do": "sound", "spans": [(span.start_ms, span.end_ms) for span in spans], "rate": rate}
        return self._stream(request, wire.SOUND, len(spans), lambda at, n, _, size: self._samples(n, size, most[at]))

    def cues(self) -> list[Cue]:
        """Return the captions of the file's default text subtitle stream, in order; empty without one."""
        rows = self._list({"do": "cues"}, 1 << 20, 3)
        if not all(isinstance(text, str) for _, _, text in rows):
            raise self._child.distrusted()
        return [Cue(start, end, text) for start, end, text in rows]

    @property
    def peak_bytes(self) -> int:
        """Return the most memory that the child held; 0 until the file is closed."""
        return int((self._child.ended or {}).get("peak", 0))

    @property
    def cpu_s(self) -> float:
        """Return the processor time (s) that the child took; 0 until the file is closed."""
        return float((self._child.ended or {}).get("cpu", 0.0))

    def close(self) -> None:
        """End the child process."""
        self._child.end()

    def __enter__(self) -> Media:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _info(self) -> MediaInfo:
        said = self._json({"do": "info"})
        try:
            info = MediaInfo(**said)
        except TypeError as error:
            raise self._child.distrusted() from error
        numbers = (info.captions, info.width, info.height)
        sound = (
            isinstance(info.seconds, int | float)
            and 0 <= info.seconds <= self._limits.seconds
            and all(type(number) is int and number >= 0 for number in numbers)
            and type(info.video) is bool
            and type(info.audio) is bool
            and info.width * info.height <= self._limits.pixels
        )
        if not sound:
            raise self._child.distrusted()
        return info

    def _ask(self, request: dict[str, Any]) -> int:
        """Send a request, after ending what is under way; return its number."""
        if self._under_way is not None:
            self._under_way = None
            self._child.ask({"do": "stop"})
            self._drain()
        self._child.ask(request)
        self._asked += 1
        return self._asked

    def _drain(self) -> None:
        try:
            for kind, _, _, length in self._child.answers():
                if kind == wire.END:
                    return
                self._child.skip(self._bounded(length))
        except MediaError:
            # What went wrong with what nobody waits for matters only if it ended the child.
            if self._child.ended is not None:
                raise

    def _json(self, request: dict[str, Any]) -> Any:
        self._ask(request)
        kind, _, _, length = next(self._child.answers())
        if kind != wire.JSON:
            raise self._child.distrusted()
        return self._child.json(length)

    def _list(self, request: dict[str, Any], most: int, width: int) -> list[Any]:
        """Return rows of ``width``, of which the first two are times."""
        rows = self._json(request)
        latest = round(self._limits.seconds * 1000) + 1000
        if not isinstance(rows, list) or len(rows) > most:
            raise self._child.distrusted()
        for row in rows:
            times = row[:2] if isinstance(row, list) and len(row) == width else [None]
            if any(type(time) is not int or not 0 <= time <= latest for time in times):
                raise self._child.distrusted()
        return rows

    def _stream(
        self, request: dict[str, Any], wanted: bytes, count: int, read: Callable[[int, int, int, int], NDArray[_Number]]
    ) -> Iterator[NDArray[_Number]]:
        """Yield ``count`` answers of the kind ``wanted``, each read by ``read`` from its place, numbers and length."""
        if not count:
            return
        number = self._under_way = self._ask(request)
        answers = self._child.answers()
        for place in range(count):
            if self._under_way != number:
                raise MediaError(f"{self.name}: something else was asked of the file meanwhile")
            try:
                kind, a, b, length = next(answers)
            except MediaError:
                self._under_way = None
                raise
            if kind != wanted:
                raise self._child.distrusted()
            yield read(place, a, b, length)
        if self._under_way == number:
            self._under_way = None
            if next(answers)[0] != wire.END:
                raise self._child.distrusted()

    def _frame(self, height: int, width: int, length: int, side: int | None) -> NDArray[np.uint8]:
        reduced = side is None or 0 < min(height, width) <= side
        if not reduced or not 0 < height * width <= self._limits.pixels or length != height * width * 3:
            raise self._child.distrusted()
        picture = np.empty((height, width, 3), np.uint8)
        self._child.fill(picture.data.cast("B"))
        return picture

    def _samples(self, count: int, length: int, most: int) -> NDArray[np.float32]:
        if count > most or length != 4 * count:
            raise self._child.distrusted()
        samples = np.empty(count, np.float32)
        if count:
            self._child.fill(samples.data.cast("B"))
        if not np.isfinite(samples).all():
            raise self._child.distrusted()
        return samples

    def _bounded(self, length: int) -> int:
        if length > max(3 * self._limits.pixels, 4 * LONGEST_SPAN_S * _RATES[-1]):
            raise self._child.distrusted()
        return length


def open_media(file: Path | BinaryIO | bytes, limits: MediaLimits | None = None, *, name: str = "") -> Media:
    """Open a sound or video for decoding. Errors call it ``name`` (by default the path).

    ``file`` is read by its own descriptor where it has one, which may be closed meanwhile, and is copied otherwise.

    Raises `MediaError` for what isn't a sound or video in a format that holds its own streams (a playlist isn't), for
    a file that can't be opened or exceeds ``limits``, and where PyAV isn't installed.
    """
    limits = limits or MediaLimits()
    name = name or (str(file) if isinstance(file, Path) else "the media file")
    with descriptor_of(file, limits, name) as descriptor:
        return open_as(kind_of(descriptor, name), descriptor, limits, name)


def open_as(kind: str, descriptor: int, limits: MediaLimits, name: str) -> Media:
    """Open the file at ``descriptor`` with FFmpeg's demuxer ``kind``."""
    child = Child(descriptor, kind, limits, name)
    try:
        return Media(child, limits, name)
    except BaseException:
        child.end()
        raise


def poster(frame: NDArray[np.uint8], quality: int = 80) -> bytes:
    """Return a picture, uint8 [h, w, 3], as JPEG."""
    out = io.BytesIO()
    Image.fromarray(frame).save(out, "JPEG", quality=quality)
    return out.getvalue()
