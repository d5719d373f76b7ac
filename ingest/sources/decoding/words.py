"""The captions in a file: plain text with times."""

from __future__ import annotations

import re
from typing import Any

from crosslens.ingest.sources.decoding.container import Source, decoded
from crosslens.ingest.sources.decoding.shapes import Cue

_MOST_CUES, _MOST_CHARACTERS, _LONGEST = 100_000, 10_000_000, 10_000
# ASS: overrides in braces, drawings (whose text is coordinates), breaks, and hard spaces.
_DRAWING = re.compile(r"\{[^}]*\\p[1-9][^}]*\}.*?(\{[^}]*\\p0[^}]*\}|$)", re.DOTALL)
_OVERRIDE, _BREAK = re.compile(r"\{[^}]*\}"), re.compile(r"\\[Nnh]")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,100}>")


def cues_of(source: Source) -> list[Cue]:
    """Return the captions of the default text stream, ordered by start; empty without one."""
    opened = source.open()
    try:
        stream = opened.text
        if stream is None:
            return []
        opened.only(stream)
        found: list[Cue] = []
        characters = 0
        for packet in opened.packets(stream):
            start = opened.seconds_of(stream, packet.pts)
            if start is None or not 0 <= start <= source.limits.seconds:
                continue
            lasting = float((packet.duration or 0) * (stream.time_base or 1))
            end = min(start + max(0.0, lasting), source.limits.seconds)
            for text in filter(None, map(_plain, decoded(packet) or ())):
                found.append(Cue(round(start * 1000), round(end * 1000), text))
                characters += len(text)
            if len(found) >= _MOST_CUES or characters >= _MOST_CHARACTERS:
                break
        return sorted(found, key=lambda cue: (cue.start_ms, cue.end_ms))
    finally:
        opened.close()


def _plain(subtitle: Any) -> str:
    """Return a subtitle's words in one line, without markup."""
    data = getattr(subtitle, "ass", b"") or getattr(subtitle, "text", b"") or b""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
    if getattr(subtitle, "ass", b""):
        # ReadOrder, Layer, Style, Name, MarginL, MarginR, MarginV, Effect, Text
        text = text.split(",", 8)[-1]
        text = _BREAK.sub(" ", _OVERRIDE.sub("", _DRAWING.sub("", text)))
    return " ".join(_TAG.sub("", text).split())[:_LONGEST]
