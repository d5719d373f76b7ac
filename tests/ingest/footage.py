"""Small sounds and videos, made by PyAV, of which every picture and sample is known."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE = 48_000
# Colours that no two of which share a bin of the histograms.
SCENES = ((230, 40, 40), (30, 60, 220), (40, 200, 60), (240, 220, 40), (150, 40, 200), (20, 20, 20), (240, 240, 240))


@dataclass(frozen=True)
class Film:
    """How to make a file. ``times_ms`` are the pictures' (default: ``fps`` a second for ``seconds``); each scene lasts
    ``scene_s`` and has its own colour, and every picture a white square in its upper left corner."""

    seconds: float = 6.0
    fps: int = 10
    width: int = 64
    height: int = 48
    format: str = "mp4"
    codec: str | None = "libx264"
    sound: str | None = "aac"
    gop: int = 10
    scene_s: float = 2.0
    times_ms: tuple[int, ...] | None = None
    offset_ms: int = 0
    sound_offset_ms: int = 0
    rotation: float | None = None
    hflip: bool = False
    aspect: Fraction | None = None
    tone_hz: float = 440.0
    options: tuple[tuple[str, str], ...] = ()
    scenecut: bool = False


def colour_at(film: Film, time_ms: float) -> tuple[int, int, int]:
    """Return the colour of the scene at a time."""
    return SCENES[int(time_ms / 1000 / film.scene_s) % len(SCENES)]


def scene_of(picture: NDArray[np.uint8]) -> int:
    """Return the number of the scene whose colour a picture's lower right part has."""
    h, w = picture.shape[:2]
    colour = picture[h * 3 // 4 :, w * 3 // 4 :].reshape(-1, 3).mean(axis=0)
    return int(np.abs(np.array(SCENES, float) - colour).sum(axis=1).argmin())


def film(made: Film) -> bytes:
    """Return the file."""
    import av

    # Moving the index to the front needs a file with a name.
    with tempfile.NamedTemporaryFile() as out:
        _write(av.open(out.name, "w", format=made.format, options=dict(made.options)), made)
        return Path(out.name).read_bytes()


def _write(opened: Any, made: Film) -> None:
    with opened as container:
        video: Any = None
        if made.codec is not None:
            video = container.add_stream(made.codec, rate=made.fps)
            video.width, video.height, video.pix_fmt, video.gop_size = made.width, made.height, "yuv420p", made.gop
            video.time_base = video.codec_context.time_base = Fraction(1, 1000)
            video.thread_count = 1
            if made.codec == "libx264":
                cut = "40" if made.scenecut else "0"
                video.options = {"preset": "ultrafast", "sc_threshold": cut, "x264-params": f"scenecut={cut}"}
            if made.aspect is not None:
                video.sample_aspect_ratio = video.codec_context.sample_aspect_ratio = made.aspect
            if made.rotation is not None:
                video.set_display_rotation(made.rotation, hflip=made.hflip)
        audio: Any = None
        if made.sound is not None:
            audio = container.add_stream(made.sound, rate=RATE, layout="mono")
        if video is not None:
            _pictures(container, video, made)
        if audio is not None:
            _sound(container, audio, made)


def tone(hz: float, seconds: float, rate: int = RATE) -> NDArray[np.float32]:
    """Return a sine of half the full range."""
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def _times(made: Film) -> Sequence[int]:
    return made.times_ms or [n * 1000 // made.fps for n in range(round(made.seconds * made.fps))]


def _pictures(container: Any, stream: Any, made: Film) -> None:
    import av

    for time in _times(made):
        picture = np.empty((made.height, made.width, 3), np.uint8)
        picture[:] = colour_at(made, time)
        picture[: made.height // 4, : made.width // 4] = 255
        frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = time + made.offset_ms, Fraction(1, 1000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _sound(container: Any, stream: Any, made: Film) -> None:
    import av

    samples = tone(made.tone_hz, made.seconds)
    size = stream.codec_context.frame_size or 1024
    for at in range(0, len(samples), size):
        piece = samples[at : at + size]
        frame = av.AudioFrame.from_ndarray(piece[None], "fltp", "mono")
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        frame.pts = at + made.sound_offset_ms * RATE // 1000
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def covered() -> bytes:
    """Return an MP3 with a cover picture."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="mp3") as container:
        audio = container.add_stream("libmp3lame", rate=RATE, layout="mono")
        cover: Any = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), "rgb24").reformat(format="yuvj420p")
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        container.mux(cover.encode(frame))
        container.mux(cover.encode(None))
        _sound(container, audio, Film(seconds=3))
    return out.getvalue()


def two_streams() -> bytes:
    """Return a video whose first stream is smaller than its second."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as container:
        streams: list[Any] = []
        for width, height in ((32, 24), (64, 48)):
            stream: Any = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            stream.disposition = 0
            streams.append(stream)
        for stream, (width, height) in zip(streams, ((32, 24), (64, 48)), strict=True):
            _pictures(container, stream, Film(seconds=1, width=width, height=height))
    return out.getvalue()


def subtitled(format: str, codec: str) -> bytes:
    """Return a video with two captions."""
    import av
    from av.subtitles.subtitle import SubtitleSet

    made = Film(sound=None)
    out = io.BytesIO()
    with av.open(out, "w", format=format) as container:
        video: Any = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = made.width, made.height, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        text: Any = container.add_stream(codec)
        text.time_base = text.codec_context.time_base = Fraction(1, 1000)
        text.codec_context.subtitle_header = _ASS
        _pictures(container, video, made)
        for start, end, words in (
            (1000, 2500, r"{\i1}The penguin{\i0} walks\Ninto the sea."),
            (3000, 4000, "A train leaves."),
        ):
            line = f"0,0,Default,,0,0,0,,{words}".encode()
            packet = text.codec_context.encode_subtitle(SubtitleSet.create(line, 0, end - start, start * 1000))
            packet.stream, packet.time_base = text, Fraction(1, 1000)
            packet.pts = packet.dts = start
            packet.duration = end - start
            container.mux(packet)
    return out.getvalue()


_ASS = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
