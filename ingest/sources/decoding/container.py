"""A file opened by FFmpeg, and the streams of it that are read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import av
import av.container
import av.stream
from av.stream import Discard, Disposition, Stream

from crosslens.ingest.sources.decoding.shapes import MediaLimits

# PyAV's own callback can deadlock with FFmpeg's threads when a damaged file is closed.
av.logging.set_level(None)

_THREADS = max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))
# Starting threads costs more than decoding pictures of fewer pixels.
_WORTH_THREADS = 320 * 240
_COVERS = Disposition.attached_pic | Disposition.timed_thumbnails
TEXT = frozenset({"ass", "ssa", "mov_text", "subrip", "srt", "text", "webvtt"})
# Packets that can't be decoded, one after the other, before the rest is given up.
MOST_BAD = 1000
_BUFFER = 64 << 10
# A thread that can't be started for want of memory is EAGAIN.
_NO_MEMORY = (errno.ENOMEM, errno.EAGAIN)

Beat = Callable[[], None]


class UnreadableError(Exception):
    """The file can't be read; the message goes to the other process."""


class OpenFile:
    """A file by its descriptor, with a position of its own (descriptors that were passed on share theirs)."""

    name = "media"

    def __init__(self, descriptor: int, beat: Beat):
        self._descriptor, self._beat = descriptor, beat
        self._at, self.size = 0, os.fstat(descriptor).st_size

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most ``size``."""
        self._beat()
        data = os.pread(self._descriptor, size, self._at)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, as `io.IOBase.seek`."""
        at = offset + (0, self._at, self.size)[whence]
        if not 0 <= at < 1 << 62:
            raise OSError(22, "no such position")
        self._at = at
        return at

    def tell(self) -> int:
        """Return the position."""
        return self._at


@dataclass(frozen=True)
class Source:
    """How to open the file, as often as needed."""

    descriptor: int
    kind: str
    limits: MediaLimits
    beat: Beat

    def open(self) -> Opened:
        """Return the file, opened from its beginning."""
        try:
            container = av.open(
                OpenFile(self.descriptor, self.beat),
                "r",
                format=self.kind,
                options={
                    "protocol_whitelist": "pipe",
                    "max_streams": "64",
                    "max_pixels": str(self.limits.pixels),
                },
                metadata_errors="replace",
                buffer_size=_BUFFER,
                io_open=_refused,
            )
        except MemoryError:
            raise
        except Exception as error:
            raise UnreadableError(f"can't be opened: damaged {self.kind} ({said(error)})") from error
        return Opened(container, self)


def _refused(url: str, flags: int, options: dict[str, Any]) -> NoReturn:  # noqa: ARG001
    """Open nothing that a file names."""
    raise PermissionError(1, "a media file may not name others")


class Opened:
    """An open file: the picture, sound and text streams that a player would choose."""

    def __init__(self, container: av.container.InputContainer, source: Source):
        self.container, self.source = container, source
        readable = [stream for stream in container.streams if stream.codec_context is not None]
        self.video: Any = _chosen(
            [s for s in readable if s.type == "video" and not s.disposition & _COVERS and _sized(s.codec_context)],
            lambda s: s.codec_context.width * s.codec_context.height,
        )
        self.audio: Any = _chosen([s for s in readable if s.type == "audio"], lambda _: 0)
        self.captions = [s for s in readable if s.type == "subtitle" and s.codec_context.name in TEXT]
        self.text: Any = _chosen(self.captions, lambda _: 0)
        started = container.start_time
        # Damaged headers can say anything.
        self.origin = started / av.time_base if started is not None and abs(started) < 1 << 50 else 0.0

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def only(self, stream: Stream) -> None:
        """Have the packets of every other stream skipped, and set ``stream`` up for decoding."""
        for other in self.container.streams:
            other.discard = Discard.default if other.index == stream.index else Discard.all
        context: Any = stream.codec_context
        if context is None or context.is_open:
            return
        if stream.type == "video":
            context.options = {**context.options, "max_pixels": str(self.source.limits.pixels)}
            context.thread_type = "AUTO"
            context.thread_count = _THREADS if context.width * context.height >= _WORTH_THREADS else 1

    def packets(self, stream: Stream) -> Iterator[Any]:
        """Yield the packets of ``stream`` from where the file stands; damage ends them."""
        reading = iter(self.container.demux(stream))
        bad = 0
        while bad < MOST_BAD:
            self.source.beat()
            try:
                packet = next(reading)
            except StopIteration:
                return
            except MemoryError:
                raise
            except av.FFmpegError:
                # A generator that raised is over; what follows the damage may be readable.
                bad += 1
                reading = iter(self.container.demux(stream))
            else:
                yield packet

    def seek(self, stream: Stream, seconds: float) -> bool:
        """Go to the last key frame at or before ``seconds`` from the file's first, and return whether that worked."""
        try:
            self.container.seek(int((seconds + self.origin) / (stream.time_base or 1)), stream=stream, backward=True)
        except (av.FFmpegError, OverflowError):
            return False
        return True

    def seconds_of(self, stream: Stream, at: int | None) -> float | None:
        """Return a time stamp of ``stream`` in seconds from the file's first."""
        return None if at is None or not stream.time_base else float(at * stream.time_base) - self.origin


def decoded(packet: Any) -> list[Any] | None:
    """Return the frames that ``packet`` completes; None where it is damaged."""
    try:
        return list(packet.decode())
    except MemoryError:
        raise
    except (av.FFmpegError, ValueError, OverflowError) as error:
        if getattr(error, "errno", None) in _NO_MEMORY:
            raise MemoryError from error
        return None


def decodable(opened: Opened, stream: Any) -> Iterator[Any]:
    """Yield the frames of ``stream`` from where the file stands, until `MOST_BAD` packets in a row can't be decoded."""
    bad = 0
    for packet in opened.packets(stream):
        frames = decoded(packet)
        if frames is None:
            bad += 1
            if bad > MOST_BAD:
                return
        elif frames:
            bad = 0
            yield from frames


def said(error: BaseException) -> str:
    """Return an error of FFmpeg's in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200]


def _sized(context: Any) -> bool:
    return bool(context.width > 0 and context.height > 0)


def _chosen(streams: list[Any], size: Callable[[Any], int]) -> Any:
    """Return the default stream, the largest of several, or None."""
    return max(streams, key=lambda s: (bool(s.disposition & Disposition.default), size(s), -s.index), default=None)
