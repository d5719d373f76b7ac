"""EmbeddingGemma 2, whose one transformer reads tokens of texts, pictures and sounds, cut into what ONNX can hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.gemma4.modeling_gemma4 import Gemma4AudioAttention

from crosslens.errors import ExportError
from crosslens.ingest.model.hearing import load_extractor
from crosslens.ingest.model.joined import MARKS
from crosslens.ingest.model.weights import first_line, load_weights

# What Google's own settings say of the longest text and sound, and of the frames of a clip.
LONGEST_TEXT = 8192
_SECONDS, _BLOCK, _FRAMES, _FPS, _FRAME_TOKENS = 30.0, 128, 32, 1.0, 70


class Texts(nn.Module):
    """Texts to vectors: the mean of their tokens, cut to ``dims``."""

    def __init__(self, model: Any, dims: int):
        super().__init__()
        self.model, self.dims = model, dims

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed texts."""
        hidden = self.model.language_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return _mean(hidden, attention_mask)[:, : self.dims]


class Body(Texts):
    """Tokens that are embedded already to vectors, as `Texts`."""

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed sequences."""
        hidden = self.model.language_model(inputs_embeds=inputs_embeds, attention_mask=attention_mask).last_hidden_state
        return _mean(hidden, attention_mask)[:, : self.dims]


class Pictures(nn.Module):
    """Patches and their places to tokens; those that fill up come last."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor, position_ids: Tensor) -> Tensor:
        """Embed patches [pictures, patches, numbers]; places [pictures, patches, 2] are -1 where there is none."""
        # As Gemma4VisionModel.forward, which strips what fills up, into a shape that depends on values.
        tower = self.model.vision_tower
        nowhere = (position_ids == -1).all(-1)
        hidden = tower.patch_embedder(pixel_values, position_ids, nowhere)
        hidden = tower.encoder(
            inputs_embeds=hidden, attention_mask=~nowhere, pixel_position_ids=position_ids
        ).last_hidden_state
        hidden, _ = tower.pooler(
            hidden_states=hidden,
            pixel_position_ids=position_ids,
            padding_positions=nowhere,
            output_length=pixel_values.shape[1] // tower.config.pooling_kernel_size**2,
        )
        if tower.config.standardize:
            hidden = (hidden - tower.std_bias.float()) * tower.std_scale.float()
        made: Tensor = self.model.embed_vision(inputs_embeds=hidden.to(pixel_values.dtype))
        return made


class Sounds(nn.Module):
    """Frames of a spectrogram to tokens."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, input_features: Tensor, input_features_mask: Tensor) -> Tensor:
        """Embed frames [sounds, frames, mels]; the mask [sounds, frames] says which lie within a sound."""
        # As Gemma4AudioModel.forward, with the mask of each block made at once, not cut from one of all frames by all.
        tower = self.model.audio_tower
        hidden, valid = tower.subsample_conv_projection(input_features, input_features_mask)
        places = tower.rel_pos_enc(hidden)
        chunk, past = tower.config.attention_chunk_size, tower.config.attention_context_left - 1
        future, length = tower.config.attention_context_right, hidden.shape[1]
        blocks = (length + chunk - 1) // chunk
        starts = torch.arange(blocks)[:, None, None] * chunk
        asking = starts + torch.arange(chunk)[None, :, None]
        asked = starts + torch.arange(chunk + past + future)[None, None, :] - past
        distance = asking - asked
        near = ((distance >= 0) & (distance < past)) | ((distance < 0) & (-distance < future))
        there = functional.pad(valid.to(torch.long), (past, future + chunk - 1))[:, (asked + past)[:, 0, :]]
        seen = near[None] & (there[:, :, None, :] > 0) & (asking[None] < length)
        for layer in tower.layers:
            hidden = layer(hidden, attention_mask=(~seen)[:, None].float(), position_embeddings=places)
        made: Tensor = self.model.embed_audio(inputs_embeds=tower.output_proj(hidden))
        return made


@dataclass(frozen=True)
class Gemma:
    """What an EmbeddingGemma 2 has beside texts: the model, how pictures and sounds are prepared, ids by `MARKS`."""

    model: Any
    dims: int
    image_processor: Any
    feature_extractor: Any
    ids: dict[str, list[int]]

    def settings(self) -> dict[str, Any]:
        """Return what joined.json says. Raises `ExportError` for preparation that crosslens doesn't do."""
        picture, sound = self.image_processor, self.feature_extractor
        patches = {"side": picture.patch_size, "pool": picture.pooling_kernel_size, "tokens": picture.max_soft_tokens}
        patches |= {"resample": int(picture.resample), "scale": float(picture.rescale_factor)}
        unknown = {"preemphasis": sound.preemphasis, "dither": sound.dither, "per_bin_mean": sound.per_bin_mean}
        unknown |= {"per_bin_stddev": sound.per_bin_stddev, "input_scale_factor": sound.input_scale_factor - 1.0}
        wrong = [name for name, value in unknown.items() if value is not None and value != 0]
        if wrong or not picture.do_resize or not picture.do_rescale or picture.do_normalize:
            raise ExportError(f"the checkpoint prepares pictures or sounds in a way that isn't exported: {wrong}")
        audio = {"rate": sound.sampling_rate, "seconds": _SECONDS, "window": sound.frame_length}
        audio |= {"hop": sound.hop_length, "fft": sound.fft_length, "mels": int(sound.feature_size), "block": _BLOCK}
        audio |= {"low": sound.min_frequency, "high": sound.max_frequency, "floor": float(sound.mel_floor)}
        with torch.no_grad():
            embed = self.model.language_model.embed_tokens
            marks = {name: embed(torch.tensor(ids, dtype=torch.long)).tolist() for name, ids in self.ids.items()}
        return {
            "kind": "embedding_gemma2",
            "picture": patches,
            "frame": {**patches, "tokens": _FRAME_TOKENS},
            "video": {"frames": _FRAMES, "fps": _FPS},
            "audio": audio,
            "marks": marks,
        }


def load_gemma(folder: Path, tokenizer: Any, dims: int | None) -> Gemma:
    """Load a checkpoint's model and preparation. Raises `ExportError` for missing weights, settings or special tokens,
    and for ``dims`` that its vectors can't be cut to."""
    from transformers import AutoImageProcessor, AutoModel

    model = load_weights(AutoModel, folder)
    longest = int(model.config.text_config.embedding_dim)
    if model.vision_tower is None or model.audio_tower is None:
        raise ExportError(f"{folder} lacks the encoder of pictures or that of sounds, and both are exported")
    if dims is not None and not 0 < dims <= longest:
        raise ExportError(f"its vectors of {longest} numbers can't be cut to {dims}", parameter="dims")
    try:
        image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    except Exception as error:
        raise ExportError(f"how {folder} prepares pictures can't be loaded: {first_line(error)}") from error
    extractor = load_extractor(folder, known=False)[0]
    return Gemma(model, dims or longest, image_processor, extractor, _ids(tokenizer, model.config))


def _ids(tokenizer: Any, config: Any) -> dict[str, list[int]]:
    """Return the ids of the tokens that `MARKS` names, as the tokenizer would put them."""
    whole, bare = tokenizer("a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
    starts = [i for i in range(len(whole) - len(bare) + 1) if whole[i : i + len(bare)] == bare]
    if not bare or not starts:
        raise ExportError("the tokenizer gives a text other tokens with and without those around it")
    marks = {
        "first": whole[: starts[0]],
        "last": whole[starts[0] + len(bare) :],
        "picture_begins": [config.boi_token_id],
        "picture_ends": [config.eoi_token_id],
        "sound_begins": [config.boa_token_id],
        "sound_ends": [config.eoa_token_index],
    }
    # transformers puts a space between a clip's frames and its sound.
    ends, begins = (tokenizer.convert_ids_to_tokens(marks[name][0]) for name in ("picture_ends", "sound_begins"))
    made = tokenizer(f"{ends} {begins}", add_special_tokens=False)["input_ids"]
    if made[:1] != marks["picture_ends"] or made[-1:] != marks["sound_begins"]:
        raise ExportError("the tokenizer doesn't know the tokens around pictures and sounds that config.json names")
    return {name: {**marks, "between": made[1:-1]}[name] for name in MARKS}


@contextmanager
def traceable() -> Iterator[None]:
    """Have the audio encoder cut its blocks by indices while it is traced, since `Tensor.unfold` can't be exported."""

    def context(self: Any, hidden: Tensor) -> Tensor:
        blocks = (hidden.shape[1] + self.chunk_size - 1) // self.chunk_size
        after = self.max_future_horizon + self.chunk_size - 1
        padded = functional.pad(hidden, (0, 0, 0, 0, self.max_past_horizon, after))
        return padded[:, torch.arange(blocks)[:, None] * self.chunk_size + torch.arange(self.context_size)[None]]

    theirs = Gemma4AudioAttention._extract_block_context
    # mypy would have a method assigned to nowhere.
    setattr(Gemma4AudioAttention, "_extract_block_context", context)  # noqa: B010
    try:
        yield
    finally:
        setattr(Gemma4AudioAttention, "_extract_block_context", theirs)  # noqa: B010


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)
