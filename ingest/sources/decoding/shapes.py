"""What is known of a sound or video, and the limits on decoding it. All times are in ms from the file's first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MediaInfo:
    """What a file holds.

    ``seconds`` is how long it can be read, which for a truncated file is less than it says of itself. ``video`` says
    whether there is a moving picture (a cover isn't), ``audio`` whether there is sound, and ``captions`` counts the
    text subtitle streams. ``width`` and ``height`` are the upright picture's, in square pixels, and 0 without one.
    """

    seconds: float
    video: bool
    audio: bool
    captions: int
    width: int
    height: int


@dataclass(frozen=True, order=True)
class Moment:
    """A part of a file: from ``start_ms`` up to, not including, ``end_ms``."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Cue:
    """A caption: ``text`` is plain, one line, shown from ``start_ms`` to ``end_ms``."""

    start_ms: int
    end_ms: int
    text: str


@dataclass(frozen=True)
class MediaLimits:
    """What decoding one file may take.

    A file of more than ``bytes``, more than ``seconds`` of play, or more than ``pixels`` a picture is refused. The
    process that decodes may hold ``memory`` bytes and use ``cpu_s`` seconds of processor time; one that gets nowhere
    for ``patience_s`` seconds is ended. No file has more than ``moments`` moments.
    """

    bytes: int = 16 << 30
    seconds: float = 4 * 3600.0
    pixels: int = 8192 * 4352
    memory: int = 2 << 30
    cpu_s: int = 4 * 3600
    patience_s: float = 60.0
    moments: int = 10_000


@dataclass(frozen=True)
class Cutting:
    """How a file is cut into moments: at most ``most``, in order, without gaps.

    With ``shots`` a video is cut where its content changes; shots of less than ``shortest_s`` join the one before, and
    those of more than ``longest_s`` are divided evenly. Without, and where there is no picture, moments are steps of
    ``step_s`` seconds. Where there would be more than ``most``, steps are longer, and the faintest cuts are left out.
    """

    shots: bool = True
    step_s: float = 5.0
    most: int = 1000
    shortest_s: float = 1.0
    longest_s: float = 30.0
