"""PE-AV (transformers' PeAudioVideoModel): its encoders as modules that return plain tensors, ready for export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crosslens.errors import ExportError, ModelError
from crosslens.ingest.model.hearing import load_extractor
from crosslens.ingest.model.perception import parse_perception
from crosslens.ingest.model.weights import first_line, load_weights

# No settings say how long a sound or a clip is at most. Moments of more can't be told apart.
_SECONDS = 10.0


class Texts(nn.Module):
    """Texts to vectors: those that look for pictures and texts, for sounds, and for both together."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embed texts."""
        # As transformers' get_text_audio_embeds and its like would, which raise.
        model = self.model
        made = model.text_model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        first = made.hidden_states[-1][:, 0]
        heads = (model.video_model.text_video_head, model.audio_model.text_audio_head, model.text_audio_video_head)
        pictures, sounds, both = (head(first) for head in heads)
        return pictures, sounds, both


class FirstText(Texts):
    """Texts to the first of their vectors."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:  # type: ignore[override]
        """Embed texts."""
        return super().forward(input_ids, attention_mask)[0]


class Pictures(nn.Module):
    """Frames of clips to a vector of each clip, and a token of each frame."""

    def __init__(self, model: Any):
        super().__init__()
        self.tower = model.video_model

    def forward(self, pixel_values_videos: Tensor) -> tuple[Tensor, Tensor]:
        """Embed frames [clips, frames, 3, height, width]."""
        made = self.tower.video_encoder(pixel_values_videos=pixel_values_videos)
        return self.tower.video_head(made.pooler_output), made.last_hidden_state


class Sounds(nn.Module):
    """Sounds to a vector of each, and a token of each hop."""

    def __init__(self, model: Any):
        super().__init__()
        self.tower = model.audio_model

    def forward(self, input_values: Tensor) -> tuple[Tensor, Tensor]:
        """Embed samples [sounds, 1, samples]."""
        made = self.tower.audio_encoder(input_values=input_values)
        return self.tower.audio_head(made.pooler_output), made.last_hidden_state


class Both(nn.Module):
    """Tokens of a sound, and of the frame beside each, to a vector."""

    def __init__(self, model: Any):
        super().__init__()
        self.encoder, self.head = model.audio_video_encoder, model.audio_video_head

    def forward(self, sound_tokens: Tensor, picture_tokens: Tensor) -> Tensor:
        """Embed tokens [clips, tokens, hidden] of either."""
        # As PeAudioVideoEncoder.forward, whose frames are projected before they are aligned, one by one as well.
        encoder = self.encoder
        embedder = encoder.embedder
        seen = embedder.video_norm(embedder.video_proj(picture_tokens.transpose(1, 2)).transpose(1, 2))
        hidden = embedder.data_proj(embedder.concat_modality_proj(torch.cat([sound_tokens, seen], dim=-1)))
        hidden, _ = encoder.patch_embedder(hidden)
        places = encoder.rotary_emb(hidden, torch.arange(hidden.shape[1])[None])
        for layer in encoder.layers[: encoder.config.num_hidden_layers]:
            hidden = layer(hidden, attention_mask=None, position_embeddings=places)
        made: Tensor = self.head(encoder.output(encoder.norm(hidden))[:, 0])
        return made


@dataclass(frozen=True)
class PeAv:
    """A PE-AV: the model, and how clips and sounds are prepared for it."""

    model: Any
    video_processor: Any
    feature_extractor: Any
    settings: dict[str, Any]


def load_pe_av(folder: Path) -> PeAv:
    """Load a checkpoint's model and preparation. Raises `ExportError` for missing weights or settings, and for those
    that crosslens doesn't follow."""
    from transformers import AutoModel, AutoVideoProcessor
    from transformers.utils import is_timm_available

    if not is_timm_available():
        raise ExportError("exporting PE-AV needs the extra 'pe-av'", hint="pip install 'crosslens[pe-av]'")
    model = load_weights(AutoModel, folder)
    try:
        processor = AutoVideoProcessor.from_pretrained(folder)
        stated = processor.to_dict()
        # Without its file, transformers makes one up that has neither.
        if stated.get("size") is None or stated.get("image_mean") is None:
            raise ValueError("no size and no mean of pictures is stated")
    except Exception as error:
        raise ExportError(
            f"how {folder} prepares footage can't be loaded: {first_line(error)}",
            hint="it takes a video_preprocessor_config.json or processor_config.json: take it from where the "
            "checkpoint was published",
        ) from error
    extractor = load_extractor(folder, known=False)[0]
    return PeAv(model, processor, extractor, _settings(stated, extractor, model.config))


def _settings(stated: dict[str, Any], extractor: Any, config: Any) -> dict[str, Any]:
    """Return what joined.json says."""
    frames = stated.get("num_frames")
    if not isinstance(frames, int) or not stated.get("do_sample_frames"):
        raise ExportError(
            "the checkpoint reads every frame of a clip, and crosslens picks a fixed number of them",
            hint="take the one of its size whose name ends in 16-frame, which reads 16",
        )
    hop = config.audio_video_config.audio_config.dac_config.hop_length
    if extractor.feature_size != 1 or extractor.hop_length != hop:
        raise ExportError(
            f"the preprocessing fills up {extractor.feature_size} channels of sound to {extractor.hop_length} samples, "
            f"the audio encoder reads {hop} of one channel at once",
            hint="the preprocessing is of another checkpoint, or config.json is",
        )
    known = ("size", "crop_size", "rescale_factor", "image_mean", "image_std")
    picture = {name: stated[name] for name in known if stated.get(name) is not None}
    picture |= {name: bool(stated.get(name)) for name in ("do_resize", "do_center_crop", "do_rescale", "do_normalize")}
    made = {
        "kind": str(config.model_type),
        "picture": {"image_processor_type": "PeVideoVideoProcessor", **picture, "resample": int(stated["resample"])},
        "audio": {"rate": extractor.sampling_rate, "seconds": _SECONDS, "hop": hop},
        "video": {"frames": frames, "fps": frames / _SECONDS},
    }
    try:
        parse_perception(made, Path())
    except (ModelError, KeyError, TypeError, ValueError) as error:
        raise ExportError(f"the checkpoint prepares footage or sounds in a way that isn't exported: {error}") from error
    return made
