"""What a model reads of sounds and clips: rates and lengths that whoever decodes them must give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crosslens.errors import ModelError

# What a query looks for. Some models have another text vector for each.
Target = Literal["text", "image", "audio", "video"]
Samples = NDArray[np.float32]


@dataclass(frozen=True)
class AudioSettings:
    """An audio encoder reads one channel of ``rate`` samples a second (Hz), and no sound longer than ``seconds``."""

    rate: int
    seconds: float

    @property
    def most(self) -> int:
        """Return how many samples the longest sound has."""
        return round(self.rate * self.seconds)

    def checked(self, sound: Samples) -> Samples:
        """Return a sound, float32 [n]. Raises `ModelError` for one that the encoder can't read as it is."""
        sound = np.asarray(sound)
        if sound.ndim != 1 or not 0 < len(sound) <= self.most or sound.dtype.kind != "f":
            raise ModelError(
                f"a sound must be one channel of 1 to {self.most} samples as float32 ({self.rate} a second), not "
                f"{sound.dtype} {list(sound.shape)}",
                hint="resample it, and cut longer ones into windows",
            )
        if not np.isfinite(sound).all():
            raise ModelError("a sound has samples that aren't finite")
        return sound.astype(np.float32, copy=False)


@dataclass(frozen=True)
class VideoSettings:
    """A video encoder reads up to ``frames`` frames of a clip, ``fps`` of them a second, and with them sound of
    ``rate`` samples a second (Hz); None where it reads no sound."""

    frames: int
    fps: float
    rate: int | None

    @property
    def seconds(self) -> float:
        """Return how long the longest clip is."""
        return self.frames / self.fps


@dataclass(frozen=True)
class Clip:
    """A piece of footage: ``frames`` are uint8 [frames, height, width, 3], evenly over it; ``samples`` its sound, one
    channel of float32 [n] at `VideoSettings.rate`, or None."""

    frames: NDArray[np.uint8]
    samples: Samples | None = None

    def some_frames(self, most: int) -> NDArray[np.uint8]:
        """Return at most so many of the frames, evenly. Raises `ModelError` where they aren't such pixels, or none."""
        frames = self.frames
        if frames.ndim != 4 or frames.shape[3] != 3 or not len(frames) or frames.dtype != np.uint8:
            raise ModelError(f"the frames of a clip must be uint8 [frames, height, width, 3], not {list(frames.shape)}")
        return frames if len(frames) <= most else frames[np.linspace(0, len(frames) - 1, most, dtype=int)]
