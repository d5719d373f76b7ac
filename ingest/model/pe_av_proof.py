"""The proof that the parts of a PE-AV give the vectors that transformers' own model gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.gemma_proof import compared, golden_clips
from crosslens.ingest.model.hearing import golden_sounds
from crosslens.ingest.model.pe_av import PeAv, Texts
from crosslens.ingest.model.perception import HEADS
from crosslens.ingest.model.senses import Clip, Samples, Target
from crosslens.ingest.model.transform import Float32Array

_Cosines = NDArray[np.float64]


class Reference:
    """transformers' model, fed by its own feature extractor and video processor."""

    def __init__(self, pe_av: PeAv):
        self._pe_av, self._model = pe_av, pe_av.model

    def picture(self, picture: Image.Image) -> Float32Array:
        """Return the vector of a picture, as a clip of one frame."""
        tower = self._model.video_model
        return _unit(tower.video_head(tower.video_encoder(**self._seen(np.array(picture)[np.newaxis])).pooler_output))

    def sound(self, sound: Samples) -> Float32Array:
        """Return the vector of a sound."""
        tower = self._model.audio_model
        return _unit(tower.audio_head(tower.audio_encoder(**self._heard(sound)).pooler_output))

    def clip(self, clip: Clip) -> Float32Array:
        """Return the vector of a clip; one without sound is silent for as long as it is shown."""
        audio, video = self._pe_av.settings["audio"], self._pe_av.settings["video"]
        frames = clip.some_frames(video["frames"])
        silence = np.zeros(round(len(frames) / video["fps"] * audio["rate"]), np.float32)
        sound = silence if clip.samples is None else clip.samples
        # The masks are of ones, and transformers then aligns frames and sound without them.
        made = self._model.audio_video_encoder(**self._seen(frames), **self._heard(sound, masked=False))
        return _unit(self._model.audio_video_head(made.pooler_output))

    def _seen(self, frames: Any) -> dict[str, Any]:
        shown = [torch.from_numpy(frame).permute(2, 0, 1) for frame in frames]
        made = self._pe_av.video_processor([torch.stack(shown)], do_sample_frames=False, return_tensors="pt")
        return {"pixel_values_videos": made["pixel_values_videos"]}

    def _heard(self, sound: Samples, masked: bool = True) -> dict[str, Any]:
        extractor = self._pe_av.feature_extractor
        made = extractor(sound, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        return {name: made[name] for name in ("input_values", "padding_mask") if masked or name == "input_values"}


@torch.no_grad()
def perception_cosines(pe_av: PeAv, encoder: Encoder, pictures: Sequence[Any]) -> dict[str, _Cosines]:
    """Return the cosines to transformers of golden pictures, sounds and clips, alone and in batches."""
    reference, audio = Reference(pe_av), encoder.audio
    assert audio is not None
    shown = [picture.convert("RGB") for picture in pictures]
    sounds, clips = golden_sounds(audio), golden_clips(audio.rate)
    return {
        "image": compared([reference.picture(each) for each in shown], encoder.encode_images, shown),
        "audio": compared([reference.sound(each) for each in sounds], encoder.encode_sounds, sounds),
        "video": compared([reference.clip(each) for each in clips], encoder.encode_clips, clips),
    }


@torch.no_grad()
def head_cosines(pe_av: PeAv, encoder: Encoder, tokenizer: Any, texts: Sequence[str]) -> _Cosines:
    """Return the cosines to transformers of texts that look for each target."""
    tower, heads = Texts(pe_av.model).eval(), list(dict.fromkeys(HEADS.values()))
    read = [encoder.folder.prompts.before(text, "query") for text in texts]
    most = {"truncation": True, "max_length": encoder.folder.text.length}
    tokens = [tokenizer([text], return_tensors="pt", **most) for text in read]
    made = [tower(each["input_ids"], each["attention_mask"]) for each in tokens]
    cosines = []
    targets: dict[str, Target] = {head: target for target, head in HEADS.items()}
    for head, target in targets.items():
        expected = np.stack([_unit(vectors[heads.index(head)]) for vectors in made])
        cosines.append((expected.astype(np.float64) * encoder.encode_queries(texts, target)).sum(1))
    return np.concatenate(cosines)


def _unit(vectors: torch.Tensor) -> Float32Array:
    made: Float32Array = torch.nn.functional.normalize(vectors, dim=1).numpy()[0]
    return made
