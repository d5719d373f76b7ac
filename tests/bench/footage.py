"""What decoding in a confined child costs: an HD film through `Media`, against a bare loop over PyAV's frames.

python -m tests.bench.footage [seconds]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from crosslens.ingest.sources.media import Cutting, Media, Moment, open_media

WIDTH, HEIGHT, FPS = 1920, 1080, 30
SIDE = 336


def make(path: Path, seconds: int) -> None:
    """Write a film in H.264 with a key frame every 250 pictures, as encoders do by default, and a cut every 7 s."""
    import av

    chance = np.random.default_rng(1)
    noise = chance.integers(0, 40, (HEIGHT + 256, WIDTH + 256), dtype=np.uint8)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt, video.gop_size = WIDTH, HEIGHT, "yuv420p", 250
        video.options = {"preset": "veryfast", "crf": "23"}
        audio: Any = container.add_stream("aac", rate=48_000, layout="mono")
        for number in range(seconds * FPS):
            scene = number // (FPS * 7)
            base = ((columns * (1 + scene % 3) + rows * (1 + scene % 2) + number * 4) >> 3) % 160
            at = (number * 3) % 256, (number * 5) % 256
            light = (base + noise[at[0] : at[0] + HEIGHT, at[1] : at[1] + WIDTH]).astype(np.uint8)
            frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
            frame.planes[0].update(np.pad(light, ((0, 0), (0, frame.planes[0].line_size - WIDTH))).tobytes())
            for place, plane in enumerate(frame.planes[1:]):
                plane.update(bytes([90 + 30 * ((scene + place) % 3)]) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = (0.3 * np.sin(np.arange(48_000 * seconds) / 20)).astype(np.float32)
        for start in range(0, len(samples), 1024):
            sound = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "fltp", "mono")
            sound.sample_rate, sound.pts, sound.time_base = 48_000, start, Fraction(1, 48_000)
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


def bare(path: Path, *, sound: bool = False) -> int:
    """Decode everything with PyAV in this process, and nothing else."""
    import av

    av.logging.set_level(None)
    with av.open(str(path)) as container:
        stream: Any = container.streams.audio[0] if sound else container.streams.video[0]
        stream.thread_type = "AUTO"
        return sum(1 for _ in container.decode(stream))


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds, and those of this process's processor time, that ``work`` takes."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - used


def middles(steps: list[Moment]) -> list[int]:
    """Return the middle of each moment in ms."""
    return [(step.start_ms + step.end_ms) // 2 for step in steps]


def ways(media: Media) -> dict[str, Callable[[], int]]:
    """Return what is measured, by name."""

    def frames(step_s: float, *, within: bool, side: int | None = SIDE) -> int:
        steps = media.moments(Cutting(shots=False, step_s=step_s, most=10_000))
        return sum(1 for _ in media.frames(middles(steps), side, within=steps if within else None))

    def sound() -> int:
        steps = media.moments(Cutting(shots=False, step_s=5.0, most=10_000))
        return sum(len(samples) for samples in media.sound(steps, 16_000))

    return {
        "a frame a second": lambda: frames(1.0, within=False),
        "a frame a second, whole pictures": lambda: frames(1.0, within=False, side=None),
        "a frame every 5 s": lambda: frames(5.0, within=False),
        "a frame of every 5 s": lambda: frames(5.0, within=True),
        "a frame of every 10 s": lambda: frames(10.0, within=True),
        "shots": lambda: len(media.moments(Cutting())),
        "sound at 16 kHz": sound,
    }


def main(seconds: int = 60) -> None:
    """Print what a minute of film takes, and the ratio of processor time to that of decoding all of it bare."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        make(path, seconds)
        print(f"1080p H.264, {seconds} s, {path.stat().st_size / 1e6:.0f} MB. A minute of film takes:")
        print(f"{'':34}{'seconds':>9}{'of CPU':>9}{'ratio':>8}{'child MB':>10}")
        whole = timed(lambda: bare(path))
        heard = timed(lambda: bare(path, sound=True))
        scale = 60 / seconds
        for name, (taken, used) in (("bare PyAV, every picture", whole), ("bare PyAV, sound", heard)):
            print(f"{name:34}{taken * scale:9.2f}{used * scale:9.2f}{used / whole[1]:8.2f}", flush=True)
        with open_media(path) as media:
            names = list(ways(media))
        for name in names:
            with open_media(path) as media:
                taken, used = timed(ways(media)[name])
            # The child is counted when it has ended.
            used += media.cpu_s
            shown = f"{taken * scale:9.2f}{used * scale:9.2f}{used / whole[1]:8.2f}{media.peak_bytes / 1e6:10.0f}"
            print(f"{name:34}{shown}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
