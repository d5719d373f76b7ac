"""The proof that the joined parts of an EmbeddingGemma 2 give the vectors that transformers' own model gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.gemma import Gemma
from crosslens.ingest.model.hearing import golden_sounds
from crosslens.ingest.model.joined import Joined
from crosslens.ingest.model.senses import Clip, Samples
from crosslens.ingest.model.transform import Float32Array

_Input = TypeVar("_Input")
_Cosines = NDArray[np.float64]
# Golden pictures that are frames as well, and how many of each make a clip.
_FRAMES = (1, 3, 5)


class Reference:
    """transformers' model, fed by its own feature extractor and image processor."""

    def __init__(self, gemma: Gemma):
        self._gemma = gemma

    def picture(self, picture: Any) -> Float32Array:
        """Return the vector of a picture."""
        ids, inputs = self._seen([picture], self._gemma.image_processor.max_soft_tokens)
        given = {"pixel_values": inputs["pixel_values"], "image_position_ids": inputs["image_position_ids"]}
        return self._vector(self._places(ids, self._gemma.model.config.image_token_id), given)

    def sound(self, sound: Samples) -> Float32Array:
        """Return the vector of a sound."""
        ids, inputs = self._heard(sound)
        return self._vector(ids, inputs)

    def clip(self, clip: Clip, frame_tokens: int) -> Float32Array:
        """Return the vector of a clip."""
        from PIL import Image

        counts, inputs = self._seen([Image.fromarray(frame) for frame in clip.frames], frame_tokens)
        ids = self._places(counts, self._gemma.model.config.video_token_id)
        given = {"pixel_values_videos": inputs["pixel_values"], "video_position_ids": inputs["image_position_ids"]}
        given["num_frames_per_video"] = torch.tensor([len(clip.frames)])
        if clip.samples is not None:
            more, heard = self._heard(clip.samples)
            ids, given = [*ids, *self._gemma.ids["between"], *more], {**given, **heard}
        return self._vector(ids, given)

    def _seen(self, pictures: Sequence[Any], tokens: int) -> tuple[list[int], Any]:
        made = self._gemma.image_processor(list(pictures), max_soft_tokens=tokens, return_tensors="pt")
        return [int(count) for count in made["num_soft_tokens_per_image"]], made

    def _places(self, counts: list[int], token: int) -> list[int]:
        begins, ends = self._gemma.ids["picture_begins"], self._gemma.ids["picture_ends"]
        return [number for count in counts for number in (*begins, *[token] * count, *ends)]

    def _heard(self, sound: Samples) -> tuple[list[int], dict[str, Any]]:
        made = self._gemma.feature_extractor([sound], return_tensors="pt")
        mask = made["input_features_mask"]
        count, marks = int(mask[:, ::2][:, ::2].sum()), self._gemma.ids
        ids = [*marks["sound_begins"], *[self._gemma.model.config.audio_token_id] * count, *marks["sound_ends"]]
        return ids, {"input_features": made["input_features"], "input_features_mask": mask}

    def _vector(self, ids: list[int], given: dict[str, Any]) -> Float32Array:
        marks = self._gemma.ids
        whole = torch.tensor([[*marks["first"], *ids, *marks["last"]]])
        hidden = self._gemma.model(input_ids=whole, attention_mask=torch.ones_like(whole), **given).last_hidden_state
        vector = hidden.mean(1)[:, : self._gemma.dims]
        made: Float32Array = torch.nn.functional.normalize(vector, dim=1).numpy()[0]
        return made


@torch.no_grad()
def joined_cosines(gemma: Gemma, encoder: Encoder, pictures: Sequence[Any]) -> dict[str, _Cosines]:
    """Return the cosines to transformers of golden pictures, sounds and clips, alone and in batches."""
    joined, reference = encoder.folder.joined, Reference(gemma)
    assert isinstance(joined, Joined)
    sounds = golden_sounds(joined.sound.settings)
    clips = golden_clips(joined.sound.settings.rate)
    shown = [picture.convert("RGB") for picture in pictures]
    frames = [reference.clip(clip, joined.frame.tokens) for clip in clips]
    return {
        "image": compared([reference.picture(each) for each in shown], encoder.encode_images, shown),
        "audio": compared([reference.sound(each) for each in sounds], encoder.encode_sounds, sounds),
        "video": compared(frames, encoder.encode_clips, clips),
    }


def golden_clips(rate: int) -> list[Clip]:
    """Return reproducible clips that differ from each other: of one frame and of several, with sound and without."""
    rng = np.random.default_rng(40)
    clips = []
    for number, count in enumerate(_FRAMES):
        across, down = np.meshgrid(np.linspace(0, 9, 61 + 40 * number), np.linspace(0, 5, 45))
        moved = [np.stack([np.sin(across + i), np.cos(down * (number + 1) - i), across / 9], -1) for i in range(count)]
        frames = (np.stack(moved) * 100 + 128 + rng.normal(0, 9, (count, *across.shape, 3))).clip(0, 255)
        time = np.arange(round(rate * (0.4 + number))) / rate
        sound = (0.3 * np.sin(2 * np.pi * 330 * (number + 1) * time)).astype(np.float32)
        clips.append(Clip(frames.astype(np.uint8), sound if number != 1 else None))
    return clips


def compared(
    expected: Sequence[Float32Array], encode: Callable[[list[_Input]], Float32Array], inputs: Sequence[_Input]
) -> _Cosines:
    """Return the cosines of ``expected`` vectors and those that ``inputs`` get together, and then alone."""
    exact, alone = np.stack(expected).astype(np.float64), [encode([each]) for each in inputs]
    return np.concatenate([(exact * encode(list(inputs))).sum(1), (exact * np.concatenate(alone)).sum(1)])
