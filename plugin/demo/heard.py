"""Spoken clips as the audio encoder is taught by them: their features, random versions of them, and batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crosslens.demo.hearing import MELS, SILENCE, features
from crosslens.demo.speech import Clips

FLOOR = -100.0
# Clips of fewer frames say nothing.
SHORTEST = 15


@dataclass(frozen=True)
class Heard:
    """``features`` of clips, each float16 [frames, MELS], and ``text``, the row in the script of what each says."""

    features: list[np.ndarray]
    text: np.ndarray

    def without(self, texts: np.ndarray) -> Heard:
        """The clips that say none of the rows ``texts``."""
        kept = np.flatnonzero(~np.isin(self.text, texts))
        return Heard([self.features[row] for row in kept], self.text[kept])

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(f) for f in self.features])


def load(paths: list[Path], cache: dict[Path, Heard]) -> Heard:
    """Return the features of all clips in ``paths`` that say something; files in ``cache`` aren't read again."""
    for path in paths:
        if path not in cache:
            clips = Clips.load(path)
            made = [features(clips[row]) for row in range(len(clips))]
            kept = [row for row, f in enumerate(made) if len(f) >= SHORTEST or "held-out" in path.name]
            cache[path] = Heard([made[row] for row in kept], clips.text[kept].astype(np.int64))
    parts = [cache[path] for path in paths]
    return Heard([f for part in parts for f in part.features], np.concatenate([part.text for part in parts]))


def stacked(rows: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Return float32 [n, frames, MELS] of clips filled up with silence, and how many frames each has."""
    lengths = torch.tensor([len(row) for row in rows])
    out = torch.full((len(rows), int(lengths.max()), MELS), FLOOR)
    for place, row in enumerate(rows):
        out[place, : len(row)] = torch.from_numpy(row.astype(np.float32))
    return out, lengths


def augment(clips: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
    """Return random versions of clips [n, frames, MELS]: speed, size of the speaker, colour and noise of the channel,
    silence around, and gaps (SpecAugment: Park et al. 2019, arXiv:1904.08779)."""
    n, frames, _ = clips.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator) * (high - low) + low

    def normal(*shape: int) -> Tensor:
        return torch.randn(n, *shape, generator=generator)

    def chance(p: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator) < p

    speed, size = uniform(0.85, 1.2), 1 + (normal() * 0.06).clamp(-0.14, 0.14)
    front, back = uniform(0, 12) * chance(0.4), uniform(0, 12) * chance(0.4)
    long = lengths * speed
    total = long + front + back
    most = int(torch.ceil(total.max()))
    most += -most % 4
    time_ = torch.arange(most)[None].expand(n, most)
    source = (time_ - front[:, None]) / speed[:, None]
    inside = (source >= 0) & (source <= lengths[:, None] - 1)
    mel = torch.arange(MELS)[None] * size[:, None]
    grid = torch.stack(
        [
            (mel / (MELS - 1) * 2 - 1)[:, None, :].expand(n, most, MELS),
            (source / max(frames - 1, 1) * 2 - 1)[:, :, None].expand(n, most, MELS),
        ],
        -1,
    )
    moved = F.grid_sample(clips[:, None], grid, mode="bilinear", padding_mode="border", align_corners=True)[:, 0]
    moved = torch.where(inside[..., None], moved, torch.tensor(FLOOR))
    peak = moved.amax(dim=(1, 2), keepdim=True)
    colour = F.interpolate(normal(1, 6) * 4, MELS, mode="linear", align_corners=True)
    moved = moved + torch.where(moved > FLOOR, colour, torch.tensor(0.0))
    # Power of noise in a band is exponentially distributed about its mean.
    hum = F.interpolate(normal(1, 4) * 5, MELS, mode="linear", align_corners=True) + peak - uniform(12, 60, 1, 1)
    hum = hum + 10 * torch.log10(-torch.log(torch.rand(n, most, MELS, generator=generator).clamp(1e-6, 1 - 1e-6)))
    noisy = chance(0.7, 1, 1) & (time_ < total[:, None])[..., None]
    power = torch.pow(10.0, moved / 10) + torch.pow(10.0, hum / 10)
    moved = torch.where(noisy, 10 * torch.log10(power), moved)
    for _ in range(2):
        width, start = uniform(0, 10, 1), uniform(0, MELS - 10, 1)
        band = (torch.arange(MELS)[None] >= start) & (torch.arange(MELS)[None] < start + width)
        span, begin = (
            uniform(0, 1, 1) * (0.1 * long[:, None]).clamp(max=12),
            front[:, None] + uniform(0, 1, 1) * long[:, None],
        )
        gap = (time_ >= begin) & (time_ < begin + span)
        hole = (band[:, None, :] | gap[:, :, None]) & (moved > FLOOR)
        moved = torch.where(hole & chance(0.6, 1, 1), peak - SILENCE + 15, moved)
    return moved


def batches(lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the rows of each batch of one pass, clips of like length together."""
    mixed, made = rng.permutation(len(lengths)), []
    for start in range(0, len(mixed), size * 20):
        chunk = mixed[start : start + size * 20]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        made += [chunk[i : i + size] for i in range(0, len(chunk) - size + 1, size)]
    return [made[i] for i in rng.permutation(len(made))]
