"""Samples of any width as 8-bit ones, with an estimate of black and white where a file doesn't define them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Bytes = NDArray[np.uint8]
Kind = Literal["unsigned", "signed", "float"]

# About as many samples are looked at.
_TAKEN = 1 << 20
# Resampling overshoots: samples of 0 to 1 may reach a little further.
_OVERSHOOT = 1.05


@dataclass(frozen=True)
class Span:
    """The sample values of black and white."""

    black: float
    white: float

    def eight(self, samples: Array) -> Bytes:
        """Return 8-bit samples; values beyond the span or infinite are clipped, and NaN is black."""
        scale = 255.0 / max(self.white - self.black, 1e-30)
        wide: NDArray[np.floating[Any]] = samples.astype(np.float64 if samples.dtype.itemsize > 2 else np.float32)
        values = (wide - self.black) * scale
        if samples.dtype.kind == "f":
            values = np.nan_to_num(values, nan=0.0, posinf=255.0, neginf=0.0)
        eight: Bytes = values.clip(0, 255).round().astype(np.uint8)
        return eight


def span(kind: Kind, bits: int, count: int, parts: Iterable[Array]) -> Span:
    """Return the span of a picture's ``count`` samples, which come in ``parts`` (read only where the format leaves it
    open).

    Unsigned samples of up to 16 bits fill their width. Wider ones and floats hold 0 to 1, 0 to 255, 0 to 65,535 or
    their whole width, whichever holds nearly all of them, so that a single outlier doesn't turn the picture black.
    """
    if kind == "unsigned" and bits <= 16:
        return Span(0.0, float((1 << bits) - 1))
    taken = _taken(count, parts)
    if taken.size == 0:
        return Span(0.0, 1.0)
    low, high = _ends(taken)
    if float(np.mean(taken < 0)) > 0.01:
        return _of_both_signs(kind, bits, low, high)
    if kind == "float":
        return Span(0.0, _white_of_floats(taken, high))
    if bits <= 16:
        return Span(0.0, float((1 << (bits - 1)) - 1))
    full = (1 << (bits - 1)) - 1 if kind == "signed" else (1 << bits) - 1
    possible = [255, 65_535, (1 << 24) - 1, *((1 << 31) - 1, (1 << 32) - 1) * (bits > 32), full]
    most = float(np.quantile(taken, 0.99))
    return Span(0.0, float(next((each for each in possible if most <= each * _OVERSHOOT), full)))


def _of_both_signs(kind: Kind, bits: int, low: float, high: float) -> Span:
    if kind == "float":
        return Span(-1.0, 1.0) if max(-low, high) <= _OVERSHOOT else Span(low, high)
    full = float(1 << (bits - 1))
    return Span(-full, full - 1) if max(-low, high) > full / 2 else Span(low, high)


def _white_of_floats(taken: Array, high: float) -> float:
    fractions = float(np.mean((taken < 1) & (taken != np.floor(taken))))
    if high <= _OVERSHOOT or (float(np.median(taken)) <= _OVERSHOOT and fractions > 0.01):
        return 1.0
    most = float(np.quantile(taken, 0.99))
    # Floats from 8-bit and 16-bit pictures; anything else is shown from black to its own white.
    return next((white for white in (255.0, 65_535.0) if white / 8 < most <= white * _OVERSHOOT), high)


def _taken(count: int, parts: Iterable[Array]) -> Array:
    """Return a part of the samples as float64, only finite ones other than zero."""
    taken, step = [], max(1, count // _TAKEN)
    for part in parts:
        some = part.reshape(-1)[::step].astype(np.float64)
        taken.append(some[np.isfinite(some) & (some != 0)])
    return np.concatenate(taken) if taken else np.empty(0)


def _ends(taken: Array) -> tuple[float, float]:
    """Return the least and the largest sample, leaving out a few far outliers, such as a survey's no-data mark."""
    low, high = float(taken.min()), float(taken.max())
    little, much = (float(q) for q in np.quantile(taken, (0.001, 0.999)))
    width = max(much - little, 1e-30)
    return (little if little - low > 16 * width else min(low, 0.0)), (much if high - much > 16 * width else high)


def lab_to_rgb(lab: Array) -> Bytes:
    """Convert CIELAB (L 0 to 100, a, b) under D50 to 8-bit sRGB (CIE 15:2004; IEC 61966-2-1; Bradford adaptation)."""
    y = (lab[..., 0] + 16) / 116
    parts = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    edge = 6 / 29
    xyz = np.where(parts > edge, parts**3, 3 * edge**2 * (parts - 4 / 29)) * np.array([0.96422, 1.0, 0.82521])
    matrix = np.array(
        [
            [3.1338561, -1.6168667, -0.4906146],
            [-0.9787684, 1.9161415, 0.0334540],
            [0.0719453, -0.2289914, 1.4052427],
        ]
    )
    linear = (xyz @ matrix.T).clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    eight: Bytes = (curved * 255).round().astype(np.uint8)
    return eight


def over_white(colours: Bytes, alpha: Bytes, *, premultiplied: bool = False) -> Bytes:
    """Return colours [..., channels] with opacity [...] laid on white."""
    opaque = alpha[..., None].astype(np.uint16)
    white = 255 * (255 - opaque.astype(np.uint32))
    shown = colours.astype(np.uint32) * (255 if premultiplied else opaque)
    flat: Bytes = ((shown + white + 127) // 255).clip(0, 255).astype(np.uint8)
    return flat
