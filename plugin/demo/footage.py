"""Makes the demo's footage and spoken queries: drawings of the vendor that the model never saw, each shown for a few
seconds while its name is spoken; names by voices that the audio encoder never heard; and the tests' spoken names.

    python -m crosslens.demo.footage [--out plugin/demo/data] [--test-out tests/data]

Needs flite and festival, as `crosslens.demo.speech` does, and PyAV. Footage is VP9 and Opus in WebM; all speech in it
is synthetic, of voices whose licence lets recordings be passed on.
"""

from __future__ import annotations

import argparse
import colorsys
import json
import math
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crosslens.demo.build import DATA
from crosslens.demo.speech import NAMES, SEED, read_script
from crosslens.demo.voices import HELD_OUT, RATE, VOICES, Manner, Samples, Voice, say, spoken

SECONDS, FPS, WIDTH, HEIGHT = 3, 12, 256, 192
# Opus knows no 16 kHz.
OPUS_RATE = 48_000
# What is asked for aloud, and by which of the voices.
QUERIES = {"penguin": 0, "guitar": 1, "mushroom": 0, "bicycle": 1}
FILMS = {
    "zoo": ("penguin", "tiger", "elephant", "giraffe"),
    "concert": ("guitar", "trumpet", "violin", "drum"),
    "kitchen": ("mushroom", "hamburger", "banana", "birthday cake"),
    "traffic": ("bicycle", "locomotive", "fire engine", "sailboat"),
}
_QUIETEST = 0.003
# Names in the tests' sample: some that training voices say, and some that they never say.
SAMPLE_KNOWN, SAMPLE_HELD_OUT = 90, 30


@dataclass(frozen=True)
class Scene:
    """A drawing, and what is said while it is shown; None: nothing."""

    drawing: Image.Image
    words: Samples | None


def film(path: Path, scenes: Sequence[Scene], seed: int) -> None:
    """Write a film of ``scenes``, `SECONDS` each, in which each drawing moves before a ground of its own colour."""
    import av

    rng = np.random.default_rng(seed)
    with av.open(path, "w", format="webm") as container:
        video: Any = container.add_stream("libvpx-vp9", rate=FPS)
        video.width, video.height, video.pix_fmt, video.gop_size = WIDTH, HEIGHT, "yuv420p", SECONDS * FPS
        video.thread_count = 1
        video.options = {"crf": "38", "b": "0", "cpu-used": "4"}
        audio: Any = container.add_stream("libopus", rate=OPUS_RATE, layout="mono")
        audio.bit_rate = 24_000
        for place, scene in enumerate(scenes):
            for number, picture in enumerate(_moving(scene.drawing, place / len(scenes), rng)):
                frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
                frame.pts, frame.time_base = place * SECONDS * FPS + number, Fraction(1, FPS)
                container.mux(video.encode(frame))
        container.mux(video.encode(None))
        _encode(container, audio, np.concatenate([_heard(scene.words, rng) for scene in scenes]))


def _encode(container: Any, audio: Any, sound: NDArray[np.float32]) -> None:
    """Write float32 samples at `RATE` to an Opus stream."""
    import av

    frame = av.AudioFrame.from_ndarray(sound[None], "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
    resampler = av.AudioResampler("fltp", "mono", OPUS_RATE, frame_size=960)
    for each in (*resampler.resample(frame), *resampler.resample(None)):
        container.mux(audio.encode(each))
    container.mux(audio.encode(None))


def _moving(drawing: Image.Image, hue: float, rng: np.random.Generator) -> list[Image.Image]:
    # Grounds that differ as shots do.
    colour = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.5, 0.9))
    side = int(rng.integers(90, 150))
    drawing = drawing.convert("RGBA").resize((side, side))
    room = np.array([WIDTH - side, HEIGHT - side])
    start, end = rng.uniform(0, 1, 2) * room, rng.uniform(0, 1, 2) * room
    pictures = []
    for number in range(SECONDS * FPS):
        share = number / (SECONDS * FPS)
        turned = drawing.rotate(12 * math.sin(6 * share), resample=Image.Resampling.BILINEAR)
        picture = Image.new("RGB", (WIDTH, HEIGHT), colour)
        left, top = (start + (end - start) * share).astype(int).tolist()
        picture.paste(turned, (left, top), turned)
        pictures.append(picture)
    return pictures


def _heard(words: Samples | None, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return float32 of a scene's length: the words, somewhere in its first half, over faint noise."""
    sound = rng.standard_normal(SECONDS * RATE).astype(np.float32) * _QUIETEST
    if words is not None:
        begin = int(rng.uniform(0.1, 0.5) * RATE)
        words = words[: len(sound) - begin]
        sound[begin : begin + len(words)] += words.astype(np.float32) / 32768
    return sound.clip(-1, 1)


def write_wave(path: Path, samples: Samples) -> None:
    """Write int16 samples at `RATE` as WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())


def sample(out: Path) -> None:
    """Write ``speech/VOICE.ogg`` of each held-out voice, which says a sample of names one after the other, and
    ``speech.jsonl`` of when it says which: {voice, id, start_ms, end_ms, held_out}."""
    import av

    said = read_script(SEED)
    rows = [json.loads(line) for line in NAMES.read_text(encoding="utf-8").splitlines()]
    rng = np.random.default_rng(SEED)
    known = np.setdiff1d(np.arange(said.names), said.held_out)
    chosen = [
        *rng.choice(known, SAMPLE_KNOWN, replace=False),
        *rng.choice(said.held_out, SAMPLE_HELD_OUT, replace=False),
    ]
    (out / "speech").mkdir(parents=True, exist_ok=True)
    lines = []
    for number in HELD_OUT:
        voice, gap, at = VOICES[number], RATE // 5, 0
        parts = []
        for row, clip in zip(chosen, say(voice, [(spoken(said.texts[r]), Manner()) for r in chosen]), strict=True):
            # Whole milliseconds.
            clip = np.pad(clip, (0, -len(clip) % (RATE // 1000)))
            start, end = at * 1000 // RATE, (at + len(clip)) * 1000 // RATE
            where = {"start_ms": start, "end_ms": end, "held_out": bool(row in said.held_out)}
            lines.append({"voice": str(voice), "id": rows[row]["id"], **where})
            parts += [clip, np.zeros(gap, np.int16)]
            at += len(clip) + gap
        with av.open(out / "speech" / f"{_file_name(voice)}.ogg", "w", format="ogg") as container:
            audio: Any = container.add_stream("libopus", rate=OPUS_RATE, layout="mono")
            audio.bit_rate = 20_000
            _encode(container, audio, (np.concatenate(parts) / 32768).astype(np.float32))
    (out / "speech.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _file_name(voice: Voice) -> str:
    return str(voice).replace(" ", "-").replace("_", "-")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--test-out", type=Path)
    arguments = parser.parse_args()
    if arguments.test_out:
        sample(arguments.test_out)
    out = arguments.out
    names = {}
    for line in NAMES.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        names[row["name"]] = DATA / "pictures" / f"{row['id']}.webp"
    for folder in ("spoken", "footage"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name, voice in QUERIES.items():
        (said,) = say(VOICES[HELD_OUT[voice]], [(spoken(name), Manner())])
        write_wave(out / "spoken" / f"{name}.wav", said)
    for number, (title, shown) in enumerate(FILMS.items()):
        words = say(VOICES[HELD_OUT[number % len(HELD_OUT)]], [(spoken(name), Manner()) for name in shown])
        scenes = [Scene(Image.open(names[name]), said) for name, said in zip(shown, words, strict=True)]
        film(out / "footage" / f"{title}.webm", scenes, number)


if __name__ == "__main__":
    main()
