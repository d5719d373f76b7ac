"""The demo's audio encoder: its architecture, and what it reads of spoken clips."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crosslens.demo.voices import Samples
from crosslens.ingest.model.sounds import parse_sound

MELS, WIDTH, HEADS, BLOCKS = 64, 128, 4, 5
# The block after which phonemes are read, and those that attend to the whole clip.
SPELT, ATTEND = 2, (4,)
# Views of a clip that are weighed apart, and what they become before the vector: wide, since it costs once a clip.
VIEWS, TOP = 8, 1024
# How the feature extractor of transformers' ClapModel is told to prepare sounds of up to five seconds.
PREPROCESSOR: dict[str, object] = {
    "feature_extractor_type": "ClapFeatureExtractor",
    "sampling_rate": 16_000,
    "max_length_s": 5,
    "feature_size": MELS,
    "fft_window_size": 512,
    "hop_length": 160,
    "frequency_min": 60,
    "frequency_max": 7600,
    "truncation": "rand_trunc",
    "padding": "pad",
    "top_db": None,
    "padding_value": 0.0,
}
# Decibels below a clip's peak that count as silence.
SILENCE = 70.0
# Frames of 10 ms that become one of 40 ms, which speaks two labels.
STRIDE = 4
# What names are spelt with, beside the blank of the objective.
LETTERS = "abcdefghijklmnopqrstuvwxyz '-0123456789"
_transform = parse_sound(PREPROCESSOR)


def features(samples: Samples) -> np.ndarray:
    """Return float16 [frames, MELS], in decibels, of a clip without the silence that fills it up to five seconds.

    That silence isn't computed: most clips last one.
    """
    spectrogram = _transform.spectrogram
    sound = samples[: _transform.settings.most].astype(np.float64) / 32768
    half = spectrogram.window // 2
    sound = np.concatenate([sound[half:0:-1], sound, np.zeros(spectrogram.window)])
    energy = spectrogram(sound)[: (len(sound) - spectrogram.window - half) // spectrogram.hop + 1]
    return (10 * np.log10(np.maximum(energy, 1e-10))).astype(np.float16)


class Attention(nn.Module):
    """Attention of every frame to the whole clip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.qkv, self.mix = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[n, frames, width] and a mask [n, frames, 1] of 0 and 1."""
        n, frames, width = x.shape
        q, k, v = self.qkv(self.norm(x)).view(n, frames, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(2, 3) / math.sqrt(width // HEADS)
        weights = torch.softmax(scores.float() + (mask[:, None, None, :, 0] - 1) * 1e4, -1).to(v.dtype)
        made: Tensor = self.mix((weights @ v).transpose(1, 2).reshape(n, frames, width))
        return made


class Block(nn.Module):
    """A convolution over three frames to twice the width and back, added to what came in; before it, where ``attends``,
    `Attention`."""

    def __init__(self, width: int, attends: bool) -> None:
        super().__init__()
        self.look = Attention(width) if attends else None
        self.norm, self.into = nn.LayerNorm(width), nn.Linear(3 * width, 2 * width)
        self.back = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[n, frames, width] and a mask [n, frames, 1] of 0 and 1."""
        if self.look is not None:
            x = x + self.look(x, mask)
        y = self.norm(x) * mask.to(x.dtype)
        y = F.pad(y, (0, 0, 1, 1))
        y = torch.cat([y[:, :-2], y[:, 1:-1], y[:, 2:]], -1)
        made: Tensor = x + self.back(F.relu(self.into(y)))
        return made


class AudioTower(nn.Module):
    """Decibels [n, 1, frames, MELS] to unit vectors [n, dims] in the space of the demo's text encoder.

    ``sounds`` and ``letters`` are how many labels the two spellings have that it is taught beside (`spelt`): without
    them it learns nothing in the same time. What it reads of the sounds goes on into the blocks above
    (self-conditioning: Nozaki and Komatsu 2021, arXiv:2104.02724).
    """

    def __init__(self, sounds: int, letters: int, dims: int) -> None:
        super().__init__()
        self.enter = nn.Linear(2 * STRIDE * MELS, WIDTH)
        self.blocks = nn.ModuleList(Block(WIDTH, depth in ATTEND) for depth in range(BLOCKS))
        self.sounds, self.letters = nn.Linear(WIDTH, 2 * sounds), nn.Linear(WIDTH, 2 * letters)
        self.again = nn.Linear(2 * sounds, WIDTH)
        self.norm, self.attend = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VIEWS)
        self.out = nn.Sequential(nn.Linear(VIEWS * WIDTH, TOP), nn.ReLU(), nn.Linear(TOP, dims))

    def forward(self, input_features: Tensor) -> Tensor:
        return self.spelt(input_features)[0]

    def spelt(self, decibels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return vectors, logits of phonemes and of letters [n, frames of 20 ms, labels], and each clip's frames."""
        peak = decibels.amax(dim=(1, 2, 3), keepdim=True)
        x = torch.maximum(decibels - peak, torch.full_like(peak, -SILENCE))[:, 0]
        heard = (x.amax(dim=2, keepdim=True) > -SILENCE).to(x.dtype)
        x = (x / 20 + 2) * heard
        # Frames of 40 ms, each seen with 20 ms before and after it.
        n, half = x.shape[0], STRIDE // 2
        whole = F.pad(x, (0, 0, half, half + STRIDE))
        frames = (x.shape[1] + STRIDE - 1) // STRIDE
        early = whole[:, : frames * STRIDE].reshape(n, frames, STRIDE * MELS)
        late = whole[:, STRIDE : (frames + 1) * STRIDE].reshape(n, frames, STRIDE * MELS)
        mask = F.pad(heard, (0, 0, 0, STRIDE))[:, : frames * STRIDE].reshape(n, frames, STRIDE).amax(2, keepdim=True)
        x = self.enter(torch.cat([early, late], -1))
        sounds = x
        for depth, block in enumerate(self.blocks):
            x = block(x, mask)
            if depth == SPELT:
                sounds = self.sounds(x)
                soft = sounds.float().view(n, frames, 2, -1).softmax(-1).view(n, frames, -1)
                x = x + self.again(soft)
        x = self.norm(x)
        weights = torch.softmax(self.attend(x).float() + (mask - 1) * 1e4, 1)
        pooled = (weights.transpose(1, 2) @ x.float()).flatten(1)
        vectors = F.normalize(self.out(pooled).float(), dim=-1)
        last = (mask[:, :, 0] * torch.arange(1, frames + 1)).amax(1)
        return vectors, sounds.reshape(n, 2 * frames, -1), self.letters(x).view(n, 2 * frames, -1), (2 * last).long()
