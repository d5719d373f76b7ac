"""From a sound to what a checkpoint's audio encoder was trained on, as its feature extractor's settings say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from crosslens.errors import ModelError
from crosslens.ingest.model.mel import Filters, Spectrogram
from crosslens.ingest.model.senses import AudioSettings, Samples
from crosslens.ingest.model.transform import Float32Array

CLAP = "ClapFeatureExtractor"
# The quietest that decibels count from, as in transformers.
_FLOOR = 1e-10


@dataclass(frozen=True)
class SoundTransform:
    """What transformers' ClapFeatureExtractor does to a sound that isn't longer than the encoder reads.

    Shorter ones are repeated while they fit (``repeats``), and filled up with silence (``fills``) or with what fits of
    one more repetition. ``channels`` is 4 of fused checkpoints, which of longer sounds read an outline and three parts;
    of one that isn't longer all four are the same.
    """

    settings: AudioSettings
    spectrogram: Spectrogram
    repeats: bool
    fills: bool
    channels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (channels, frames, mels) of what the encoder reads of each sound."""
        return self.channels, self.settings.most // self.spectrogram.hop + 1, self.spectrogram.filters.mels

    def __call__(self, sound: Samples) -> Float32Array:
        """Return float32 [channels, frames, mels] of a sound float32 [n], in decibels."""
        most, window = self.settings.most, self.spectrogram.window
        if len(sound) < most:
            if self.repeats:
                times = most // len(sound)
                sound = np.tile(sound, times) if self.fills else np.tile(sound, times + 1)[:most]
            sound = np.pad(sound, (0, most - len(sound)))
        energy = self.spectrogram(np.pad(sound.astype(np.float64), window // 2, mode="reflect"))
        decibels = (10.0 * np.log10(np.maximum(energy, _FLOOR))).astype(np.float32)
        return np.repeat(decibels[np.newaxis], self.channels, axis=0)


def parse_sound(config: dict[str, Any]) -> SoundTransform:
    """Read the settings of a feature extractor, as transformers writes them.

    Raises `ModelError` where they ask for something that crosslens doesn't do, rather than giving other numbers.
    """
    kind = config.get("feature_extractor_type")
    if kind != CLAP:
        raise ModelError(f"how {kind!r} prepares sounds isn't known to crosslens", hint="it reads those of CLAP")
    try:
        made = _clap(config)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the settings of {kind} can't be understood ({error})") from error
    spectrogram, filters = made.spectrogram, made.spectrogram.filters
    sizes = (made.settings.rate, made.settings.most, spectrogram.hop, filters.mels)
    # The reflection at either end takes half a window.
    if min(sizes) < 1 or not 2 <= spectrogram.window <= made.settings.most or not 0 <= filters.low < filters.high:
        raise ModelError(f"the settings of {kind} don't fit together: {made}")
    return made


def _clap(config: dict[str, Any]) -> SoundTransform:
    truncation, padding = config.get("truncation", "fusion"), config.get("padding", "repeatpad")
    if truncation not in ("fusion", "rand_trunc") or padding not in ("repeatpad", "repeat", "pad"):
        raise ValueError(f"truncation {truncation!r} and padding {padding!r}")
    if config.get("top_db") is not None:
        raise ValueError(f"top_db {config['top_db']!r}")
    rate, window = int(config["sampling_rate"]), int(config["fft_window_size"])
    fused = truncation == "fusion"
    filters = Filters(
        bins=window // 2 + 1,
        mels=int(config["feature_size"]),
        low=float(config["frequency_min"]),
        high=float(config["frequency_max"]),
        rate=rate,
        scale="htk" if fused else "slaney",
        normed=not fused,
    )
    return SoundTransform(
        AudioSettings(rate, float(config["max_length_s"])),
        Spectrogram(window, int(config["hop_length"]), window, 2, filters),
        repeats=padding != "pad",
        fills=padding != "repeat",
        channels=4 if fused else 1,
    )
