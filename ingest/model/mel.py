"""Log-mel spectrograms with NumPy alone, equal to those of transformers' audio_utils.

Sources: the mel scales and filters of Slaney's Auditory Toolbox (1998) and of HTK (Young et al., The HTK Book), as
librosa and transformers compute them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
Scale = Literal["slaney", "htk"]
# Spectra that are held at once: 4 MB of each of a few arrays.
_BLOCK = 1024


@dataclass(frozen=True)
class Filters:
    """A bank of ``mels`` triangular filters between ``low`` and ``high`` Hz, over ``bins`` frequencies of a spectrum of
    sound at ``rate`` Hz. ``normed`` gives each the same area, as Slaney's are."""

    bins: int
    mels: int
    low: float
    high: float
    rate: int
    scale: Scale
    normed: bool

    def matrix(self) -> Float64Array:
        """Return the filters, [bins, mels]."""
        ends = _to_mel(np.array([self.low, self.high]), self.scale)
        edges = _to_hertz(np.linspace(ends[0], ends[1], self.mels + 2), self.scale)
        slopes = edges[np.newaxis] - np.linspace(0, self.rate // 2, self.bins)[:, np.newaxis]
        widths = np.diff(edges)
        filters: Float64Array = np.maximum(0, np.minimum(-slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]))
        return filters * (2.0 / (edges[2:] - edges[:-2])) if self.normed else filters


@dataclass(frozen=True)
class Spectrogram:
    """Spectra of ``window`` samples every ``hop``, padded with zeros to ``fft`` samples, raised to ``power``
    (2: energy, 1: magnitude) and summed by ``filters``."""

    window: int
    hop: int
    fft: int
    power: int
    filters: Filters

    def __call__(self, samples: NDArray[Any], lead: int = 0) -> Float64Array:
        """Return [frames, mels] of ``samples`` [n]: a frame at each whole number of hops that has ``window`` samples,
        and ``lead`` more, which aren't looked at."""
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.window + lead)[:: self.hop]
        made = np.empty((len(frames), self.filters.mels), dtype=np.float64)
        for start in range(0, len(frames), _BLOCK):
            block = frames[start : start + _BLOCK, : self.window] * self._hann
            spectra = np.abs(np.fft.rfft(block, n=self.fft, axis=-1))
            made[start : start + _BLOCK] = (spectra**self.power if self.power != 1 else spectra) @ self._matrix
        return made

    @cached_property
    def _hann(self) -> Float64Array:
        return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window))

    @cached_property
    def _matrix(self) -> Float64Array:
        return self.filters.matrix()


def _to_mel(hertz: Float64Array, scale: Scale) -> Float64Array:
    if scale == "htk":
        return np.asarray(2595.0 * np.log10(1.0 + hertz / 700.0))
    above = 15.0 + np.log(np.maximum(hertz, 1e-12) / 1000.0) * (27.0 / np.log(6.4))
    return np.where(hertz >= 1000.0, above, 3.0 * hertz / 200.0)


def _to_hertz(mels: Float64Array, scale: Scale) -> Float64Array:
    if scale == "htk":
        return np.asarray(700.0 * (10.0 ** (mels / 2595.0) - 1.0))
    above = 1000.0 * np.exp((np.log(6.4) / 27.0) * (mels - 15.0))
    return np.where(mels >= 15.0, above, 200.0 * mels / 3.0)
