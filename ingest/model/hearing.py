"""How a checkpoint prepares sounds, and the proof that its exported audio encoder reproduces PyTorch's vectors."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from crosslens.errors import ExportError, ModelError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.senses import AudioSettings, Samples
from crosslens.ingest.model.sounds import parse_sound
from crosslens.ingest.model.weights import first_line

if TYPE_CHECKING:
    from crosslens.ingest.model.checkpoints import Checkpoint

# Vectors closer than this count as equal: rounding alone makes a difference of 1e-7.
_SAME = 1e-6
# Of the longest sound that the encoder reads: whole ones, odd lengths, and hardly any.
_LENGTHS = (1.0, 0.5, 0.27, 0.031, 0.9999, 1 / 3, 0.005)


def load_extractor(folder: Path, *, known: bool = True) -> tuple[Any, dict[str, Any]]:
    """Return a checkpoint's feature extractor, and its settings as an exported folder keeps them.

    Raises `ExportError` where they are missing or, with ``known``, ask for something that `parse_sound` doesn't do.
    """
    from transformers import AutoFeatureExtractor

    try:
        extractor = AutoFeatureExtractor.from_pretrained(folder)
        settings = {k: v for k, v in json.loads(extractor.to_json_string()).items() if not k.startswith("_")}
        settings.pop("processor_class", None)
    except Exception as error:
        raise ExportError(
            f"how {folder} prepares sounds can't be loaded: {first_line(error)}",
            hint="it takes a preprocessor_config.json or processor_config.json: take it from where the checkpoint was "
            "published",
        ) from error
    try:
        if known:
            parse_sound(settings)
    except ModelError as error:
        raise ExportError(error.message, hint=error.hint) from error
    return extractor, settings


def golden_sounds(settings: AudioSettings) -> list[Samples]:
    """Return reproducible sounds, float32 [n], that differ from each other: tones that rise and fade, with noise and
    clicks, of all lengths that an encoder may get."""
    rng = np.random.default_rng(30)
    sounds = []
    for number, share in enumerate(_LENGTHS):
        n = max(round(settings.most * share), 1)
        t = np.arange(n) / settings.rate
        tone = np.sin(2 * np.pi * (170.0 + 110 * number) * t * (1 + 0.3 * t / settings.seconds)) * np.exp(-(t % 0.7))
        noise = rng.standard_normal(n) * (0.02 + 0.05 * (number % 3))
        clicks = (np.arange(n) % max(round(settings.rate * 0.21), 1) < 8) * (0.5 if number % 2 else 0.0)
        sounds.append(((0.4 * tone + noise + clicks).clip(-1, 1)).astype(np.float32))
    # Rooms are hardly ever as quiet as the second half of this.
    sounds.append(np.concatenate([sounds[1], np.zeros(settings.most - len(sounds[1]), np.float32)]))
    return sounds


@torch.no_grad()
def audio_cosines(loaded: Checkpoint, encoder: Encoder) -> NDArray[np.float64] | None:
    """Return the cosines to PyTorch of each golden sound, encoded alone and among the others; None where the checkpoint
    has no audio encoder. transformers prepares PyTorch's sounds, one by one."""
    if loaded.audio is None or encoder.audio is None:
        return None
    sounds, rate = golden_sounds(encoder.audio), encoder.audio.rate
    expected = []
    for sound in sounds:
        inputs = loaded.feature_extractor(sound, sampling_rate=rate, return_tensors="pt")
        expected.append(loaded.audio.reference(dict(inputs)).double().numpy())
    exact = np.concatenate(expected)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    alone = np.concatenate([encoder.encode_sounds([sound]) for sound in sounds])
    return np.concatenate([(exact * alone).sum(1), (exact * encoder.encode_sounds(sounds)).sum(1)])


def require_different_sounds(encoder: Encoder) -> None:
    """Raise `ExportError` where two golden sounds have one vector."""
    assert encoder.audio is not None
    vectors = encoder.encode_sounds(golden_sounds(encoder.audio))
    for a, b in combinations(range(len(vectors)), 2):
        if np.abs(vectors[a].astype(np.float64) - vectors[b]).max() < _SAME:
            raise ExportError(
                f"the golden sounds {a} and {b} have one vector: the audio encoder doesn't hear its sounds (weights of "
                "zero, or a preprocessing that makes all alike); nothing was written"
            )
