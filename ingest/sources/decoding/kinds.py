"""What a file is, by its first bytes: FFmpeg is told which demuxer to use, so that none of the others can be chosen."""

from __future__ import annotations

import re

# Formats that hold their own streams. No playlists, manifests or scripts, which name other files.
FORMATS = (
    "MP4, QuickTime, Matroska, WebM, AVI, MPEG, MPEG-TS, Ogg, FLV, ASF, MXF, WAV, FLAC, MP3, AAC, AIFF, CAF, AU, AMR"
)
# The bytes that `kind_of` needs.
HEAD = 64 << 10

_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot", b"moof")
_STARTS = (
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"FLV\x01", "flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "mxf"),
    (b"caff", "caf"),
    (b".snd", "au"),
    (b"#!AMR", "amr"),
)
_NAMING_OTHERS = re.compile(
    rb"#EXTM3U|#EXT-X-|ffconcat|\[playlist\]|\[reference\]|<(asx|smil|mpd|\?wpl|xspf|playlist|CompositionPlaylist)\b|"
    rb"v=0\s+o=|;?ffmetadata|rtsp://|rtsptext|rtp://",
    re.IGNORECASE,
)
_PACKETS = ((188, 0), (192, 4), (204, 0))


def kind_of(head: bytes) -> str | None:
    """Return FFmpeg's name of the demuxer for a file that begins so; None where it isn't one of `FORMATS`."""
    if head[4:8] in _BOXES:
        return "mov"
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[:4] in (b"RIFF", b"RF64"):
        return {b"AVI ": "avi", b"WAVE": "wav"}.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    for size, at in _PACKETS:
        if len(head) > at + 2 * size and all(head[at + n * size] == 0x47 for n in range(3)):
            return "mpegts"
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # A layer of 0 is ADTS.
        return "mp3" if head[1] & 0x06 else "aac" if head[1] & 0xF0 == 0xF0 else None
    return None


def behind_id3(head: bytes) -> int | None:
    """Return the byte behind the ID3v2 tag that a file begins with; None without one."""
    if len(head) < 10 or head[:3] != b"ID3":
        return None
    # ID3v2, 3.1: 4 x 7 bits.
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def names_others(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` looks like a playlist or description, which names other files."""
    return _NAMING_OTHERS.search(head[:4096]) is not None
