"""The two sides of a checkpoint as modules that return plain tensors, ready for export."""

from __future__ import annotations

from functools import partial
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from crosslens.errors import ExportError
from crosslens.ingest.model.prompts import Pooling


class TextTower(nn.Module):
    """The text side of a model with both; ``masked`` where it needs an attention mask."""

    def __init__(self, model: Any, masked: bool):
        super().__init__()
        self.model, self.masked = model, masked

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Embed texts."""
        # Without a mask, causal encoders never read padding before the token they pool at.
        if self.masked:
            return _pooled(self.model.get_text_features(input_ids=input_ids, attention_mask=attention_mask))
        return _pooled(self.model.get_text_features(input_ids=input_ids))


class ImageTower(nn.Module):
    """The image side of a model with both."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Embed pictures."""
        return _pooled(self.model.get_image_features(pixel_values=pixel_values))


class AudioTower(nn.Module):
    """CLAP's audio side.

    A fused one joins an outline of a long sound with three parts of it. transformers has at least one sound of a batch
    fused, so the only one of a batch of one; here every sound is, whatever is beside it.
    """

    def __init__(self, model: Any):
        super().__init__()
        self.model, self.fused = model, bool(model.config.audio_config.enable_fusion)

    def forward(self, input_features: Tensor) -> Tensor:
        """Embed sounds."""
        if not self.fused:
            return _pooled(self.model.get_audio_features(input_features=input_features))
        embedder = self.model.audio_model.audio_encoder.patch_embed
        theirs, embedder.forward = embedder.forward, partial(_fused_patches, embedder)
        try:
            longer = torch.ones(input_features.shape[0], 1, dtype=torch.bool)
            return _pooled(self.model.get_audio_features(input_features=input_features, is_longer=longer))
        finally:
            embedder.forward = theirs

    def reference(self, inputs: dict[str, Tensor]) -> Tensor:
        """Embed what transformers' feature extractor gives, as transformers does."""
        return _pooled(self.model.get_audio_features(**inputs))


def _fused_patches(embedder: Any, spectrograms: Tensor, _: Tensor) -> Tensor:
    """Do what transformers' ClapAudioPatchEmbed does if all sounds are fused, in shapes that don't depend on values."""
    outline = embedder.proj(spectrograms[:, 0:1])
    parts = spectrograms[:, 1:]
    count = parts.shape[1]
    embedded = embedder.mel_conv2d(parts.reshape(-1, 1, *parts.shape[2:]))
    side_by_side = embedded.unflatten(0, (-1, count)).permute(0, 2, 3, 1, 4).flatten(3)
    padded = nn.functional.pad(side_by_side, (0, outline.shape[-1] - side_by_side.shape[-1]))
    fused = embedder.fusion_model(outline, padded)
    made: Tensor = embedder.norm(fused.flatten(2).transpose(1, 2) if embedder.flatten else fused)
    return made


class SquarePatches(nn.Module):
    """SigLIP 2's NaFlex image tower at its native square grid.

    It was trained on many aspect ratios by resizing its position embeddings for each picture, which a static
    graph can't do; at the learned grid nothing is resized, so one graph serves all pictures, stretched to a square.
    """

    def __init__(self, model: Any):
        super().__init__()
        self.vision, self.config = model.vision_model, model.config.vision_config
        self.patch = int(self.config.patch_size)
        self.grid = isqrt(int(self.config.num_patches))
        if self.grid**2 != self.config.num_patches:
            raise ExportError(
                f"the image encoder learned {self.config.num_patches} positions, which don't form a square of patches",
                hint="only a square grid can be exported as one graph",
            )
        self.side = self.patch * self.grid

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Embed pictures."""
        n = pixel_values.shape[0]
        grid, patch = self.grid, self.patch
        patches = pixel_values.reshape(n, 3, grid, patch, grid, patch).permute(0, 2, 4, 3, 5, 1)
        patches = patches.reshape(n, grid * grid, patch * patch * 3)
        embeddings = self.vision.embeddings
        hidden = embeddings.patch_embedding(patches) + embeddings.position_embedding.weight
        hidden = self.vision.encoder(inputs_embeds=hidden, attention_mask=None).last_hidden_state
        pooled: Tensor = self.vision.head(self.vision.post_layernorm(hidden), None)
        return pooled


class SentenceTower(nn.Module):
    """A transformer whose tokens are pooled, and layers ``after``: sentence-transformers' Transformer, Pooling, Dense
    and Normalize modules.

    ``pooling`` is the mean of all tokens, the first one ("cls") or the last one; padding doesn't count, on either side.
    """

    def __init__(self, transformer: Any, pooling: Pooling, after: list[nn.Module]):
        super().__init__()
        self.transformer, self.pooling, self.after = transformer, pooling, nn.Sequential(*after)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed texts."""
        hidden = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "mean":
            weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(1) / weights.sum(1)
        else:
            # ONNX Runtime's ArgMax takes no int64; of equal numbers it names the first.
            mask = attention_mask.to(torch.int32)
            counted = mask if self.pooling == "cls" else mask * torch.arange(mask.shape[1], dtype=torch.int32)
            place = counted.argmax(1).unsqueeze(-1).unsqueeze(-1).expand(-1, 1, hidden.shape[-1])
            pooled = hidden.gather(1, place).squeeze(1)
        made: Tensor = self.after(pooled)
        return made


class Unit(nn.Module):
    """Makes vectors unit, as sentence-transformers' Normalize does."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Divide each by its length."""
        return nn.functional.normalize(vectors, p=2, dim=1)


def _pooled(output: Any) -> Tensor:
    """Return the pooled tensor: transformers 5 wraps it in an output object, version 4 returned it bare."""
    return output if isinstance(output, Tensor) else output.pooler_output
