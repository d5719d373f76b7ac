"""Captions in files of their own: WebVTT and SRT."""

from __future__ import annotations

import codecs
import re

from crosslens.errors import MediaError
from crosslens.ingest.sources.decoding.shapes import Cue, MediaLimits
from crosslens.ingest.sources.media.files import descriptor_of
from crosslens.ingest.sources.media.opened import open_as

MAX_BYTES = 32 << 20
_LIMITS = MediaLimits(bytes=MAX_BYTES, seconds=1e6, memory=1 << 30, cpu_s=60)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# 00:01:02,500 --> ..., with the variants that are met.
_TIMES = re.compile(r"^\s*(\d+:)?\d+:\d+[,.:]\d+\s*-->\s*(\d+:)?\d+:\d+[,.:]\d+", re.MULTILINE)


def read_captions(data: bytes, *, name: str = "") -> list[Cue]:
    """Return the captions in a WebVTT or SRT file, in order of their start.

    The text is UTF-8, UTF-16 with its mark, or else Windows-1252. Raises `MediaError` where ``data`` is of neither
    format, or PyAV isn't installed. Errors call it ``name``.
    """
    name = name or "the captions"
    if len(data) > MAX_BYTES:
        raise MediaError(f"{name}: {len(data):,} bytes are more than the {MAX_BYTES:,} allowed")
    text = _text(data).replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    webvtt = text.startswith("WEBVTT")
    if not _TIMES.search(text):
        if webvtt or not text.strip():
            return []
        raise MediaError(f"{name}: neither WebVTT nor SRT (no line of times)")
    with descriptor_of(text.encode(), _LIMITS, name) as descriptor:  # noqa: SIM117 - the one is needed to open the other
        with open_as("webvtt" if webvtt else "srt", descriptor, _LIMITS, name) as media:
            return media.cues()


def _text(data: bytes) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        # As browsers read what isn't UTF-8.
        return data.decode("cp1252", "replace")
