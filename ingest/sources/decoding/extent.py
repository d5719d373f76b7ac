"""What a file holds, and how long it can really be read."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import av
from av.stream import Stream

from crosslens.ingest.sources.decoding.container import Opened, Source, UnreadableError, decoded
from crosslens.ingest.sources.decoding.shapes import MediaInfo
from crosslens.ingest.sources.decoding.upright import shown_size

# Formats that have no length written down: what FFmpeg says is a guess from the bit rate.
_GUESSED = {"mp3", "aac", "amr"}
# What may be missing at the end (s) of a file that is whole: streams needn't end together.
_SLACK_S, _SLACK_SHARE = 3.0, 0.05
# Packets read near the claimed end to find the last.
_PACKETS = 5000
# Packets within which the first picture must come.
_FIRST = 300


def info_of(source: Source) -> MediaInfo:
    """Return what the file holds. Raises `UnreadableError` where that is nothing, or more than the limits."""
    opened = source.open()
    try:
        video, audio = opened.video, opened.audio
        if video is None and audio is None and not opened.captions:
            held = sorted({s.codec_context.name if s.codec_context else s.type for s in opened.container.streams})
            shown = ", ".join(held) or "nothing"
            raise UnreadableError(f"holds no moving picture or sound that can be decoded (but {shown})")
        width, height = shown_size(video, _first(opened)) if video is not None else (0, 0)
        if video is not None and video.codec_context.width * video.codec_context.height > source.limits.pixels:
            raise UnreadableError(f"{width} x {height} pixels are more than the {source.limits.pixels:,} allowed")
        claimed = _claimed(opened)
        main: Stream = next(s for s in (video, audio, opened.text) if s is not None)
        whole = claimed is not None and source.kind not in _GUESSED and _reaches(opened, main, claimed)
    finally:
        opened.close()
    seconds = claimed if whole and claimed is not None else _scanned(source)
    if seconds > source.limits.seconds:
        raise UnreadableError(f"lasts {seconds:,.0f} s, more than the {source.limits.seconds:,.0f} s allowed")
    return MediaInfo(round(seconds, 3), video is not None, audio is not None, len(opened.captions), width, height)


def _first(opened: Opened) -> Any | None:
    """Return the first picture; None where none of the first packets can be decoded."""
    opened.only(opened.video)
    for packet in itertools.islice(opened.packets(opened.video), _FIRST):
        for frame in decoded(packet) or ():
            return frame
    return None


def _claimed(opened: Opened) -> float | None:
    """Return the seconds that the header says, if that is possible at all."""
    duration = opened.container.duration
    return duration / av.time_base if duration is not None and 0 < duration < 1 << 55 else None


def _reaches(opened: Opened, stream: Stream, claimed: float) -> bool:
    """Return whether ``stream`` has packets near the claimed end, as a truncated file doesn't."""
    near = max(0.0, claimed - min(_SLACK_S, 0.3 + claimed * _SLACK_SHARE))
    if not opened.seek(stream, near):
        return False
    opened.only(stream)
    for count, packet in enumerate(opened.packets(stream)):
        end = _end(opened, stream, packet)
        if end is not None and end >= near:
            return True
        if count > _PACKETS:
            return False
    return False


def _scanned(source: Source) -> float:
    """Return where the last packet ends, of all that can be read."""
    opened = source.open()
    try:
        streams = [s for s in (opened.video, opened.audio) if s is not None] or [opened.text]
        last, beyond, read = 0.0, 0.0, 0
        # Damage makes single times absurd; a file that is too long has most of them beyond the limit.
        outside = 0
        for stream in streams:
            opened.only(stream)
            opened.seek(stream, 0.0)
            for packet in opened.packets(stream):
                end = _end(opened, stream, packet)
                if end is None or not math.isfinite(end):
                    continue
                read += 1
                if end > source.limits.seconds:
                    beyond, outside = max(beyond, end), outside + 1
                else:
                    last = max(last, end)
        return beyond if outside > read / 2 else last
    finally:
        opened.close()


def _end(opened: Opened, stream: Stream, packet: Any) -> float | None:
    at = packet.pts if packet.pts is not None else packet.dts
    start = opened.seconds_of(stream, at)
    return None if start is None else start + float((packet.duration or 0) * (stream.time_base or Fraction(0)))
