"""From a picture to the pixel tensor that a checkpoint was trained on, as its preprocessor_config.json says.

The steps and their order are those of transformers' PIL image processors (resize, centre crop, rescale, normalize),
so the numbers equal theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crosslens.errors import ModelError

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class ImageTransform:
    """A checkpoint's preprocessing of a picture; sizes in pixels, (height, width).

    ``shortest_edge`` keeps the aspect ratio and needs a crop, ``size`` stretches; one of the two is set, or neither
    where pictures are not resized. ``offset`` is subtracted after scaling; ``second_std`` divides once more
    (EfficientNet's ``include_top``).
    """

    shortest_edge: int | None
    size: tuple[int, int] | None
    resample: Image.Resampling
    crop: tuple[int, int] | None
    scale: float
    offset: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    second_std: bool

    @property
    def output_size(self) -> tuple[int, int]:
        """Return the tensor's (height, width)."""
        if self.crop is not None:
            return self.crop
        assert self.size is not None  # parse_transform refuses a config that sets neither
        return self.size

    @property
    def resize_target(self) -> int:
        """Return the longer side, in pixels, of resized pictures; reduced decoding must not go below it."""
        return self.shortest_edge or max(self.size or self.output_size)

    def __call__(self, image: Image.Image) -> Float32Array:
        """Return float32 [3, height, width] for an RGB picture."""
        resized = self._resize(image)
        pixels = np.asarray(resized, dtype=np.float32)
        if self.crop is not None:
            pixels = _centre_crop(pixels, self.crop)
        multiplier, addend = self._affine()
        return np.ascontiguousarray((pixels * multiplier + addend).transpose(2, 0, 1))

    def _resize(self, image: Image.Image) -> Image.Image:
        if self.shortest_edge is not None:
            width, height = image.size
            short, long = min(width, height), max(width, height)
            # int() as in transformers: the longer side is rounded down.
            other = int(self.shortest_edge * long / short)
            target = (self.shortest_edge, other) if width <= height else (other, self.shortest_edge)
        elif self.size is not None:
            target = (self.size[1], self.size[0])
        else:
            return image
        return image.resize(target, self.resample)

    def _affine(self) -> tuple[Float32Array, Float32Array]:
        """Return rescaling and normalizing as one multiplication and one addition per channel."""
        mean, std = np.array(self.mean), np.array(self.std)
        multiplier, addend = self.scale / std, (-self.offset - mean) / std
        if self.second_std:
            multiplier, addend = multiplier / std, addend / std
        return multiplier.astype(np.float32), addend.astype(np.float32)


def parse_transform(config: dict[str, object]) -> ImageTransform:
    """Read a preprocessor_config.json.

    Raises `ModelError` where it asks for an unsupported step, rather than producing different pixels.
    """
    try:
        transform = _parse(config)
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(f"preprocessor_config.json can't be understood ({error})") from error
    sides = [transform.shortest_edge or 1, *transform.output_size]
    if min(sides) < 1 or not all(value > 0 for value in transform.std):
        raise ModelError("preprocessor_config.json: sizes and image_std must be more than zero")
    return transform


def _parse(config: dict[str, object]) -> ImageTransform:
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "CLIPImageProcessor")
    if "Siglip2" in kind:
        raise ModelError(f"{kind} gives patches of varying number", hint="export the checkpoint", verb="export")
    efficient = "EfficientNet" in kind or "Align" in kind
    size = _parse_size(config.get("size"), shortest="CLIP" in kind)
    crops = bool(config.get("do_center_crop", False))
    crop = _parse_size(config.get("crop_size"), shortest=False) if crops else None
    if config.get("do_resize", True) is False:
        size = (None, None)
    if crop is None and size[1] is None:
        raise ModelError("preprocessor_config.json gives pictures no fixed size (neither a crop nor height and width)")
    rescales, normalizes = bool(config.get("do_rescale", True)), bool(config.get("do_normalize", True))
    mean = _floats(config.get("image_mean")) if normalizes else (0.0, 0.0, 0.0)
    std = _floats(config.get("image_std")) if normalizes else (1.0, 1.0, 1.0)
    factor = config.get("rescale_factor", 1 / 255)
    resample = config.get("resample", 3 if "CLIP" in kind else 2)
    return ImageTransform(
        shortest_edge=size[0],
        size=size[1],
        resample=Image.Resampling(int(str(resample))),
        crop=crop[1] if crop else None,
        scale=float(str(factor)) if rescales else 1.0,
        offset=1.0 if efficient and rescales and config.get("rescale_offset", False) else 0.0,
        mean=mean,
        std=std,
        second_std=bool(efficient and normalizes and config.get("include_top", True)),
    )


def _parse_size(value: object, *, shortest: bool) -> tuple[int | None, tuple[int, int] | None]:
    """Return (shortest edge, None) or (None, (height, width)); ``shortest`` decides what a bare number means."""
    if isinstance(value, int):
        return (value, None) if shortest else (None, (value, value))
    if isinstance(value, dict):
        if "shortest_edge" in value and "longest_edge" not in value:
            return int(value["shortest_edge"]), None
        if "height" in value and "width" in value:
            return None, (int(value["height"]), int(value["width"]))
    raise ModelError(f"preprocessor_config.json: size {value!r} is not one that crosslens knows")


def _floats(value: object) -> tuple[float, ...]:
    if isinstance(value, list | tuple) and len(value) == 3:
        return tuple(float(v) for v in value)
    raise ModelError(f"preprocessor_config.json: image_mean and image_std must be three numbers, not {value!r}")


def _centre_crop(pixels: Float32Array, crop: tuple[int, int]) -> Float32Array:
    """Return the middle [height, width] of [h, w, 3]; a smaller picture is padded with black, as in transformers."""
    height, width = pixels.shape[:2]
    pad_h, pad_w = max(crop[0] - height, 0), max(crop[1] - width, 0)
    if pad_h or pad_w:
        top, left = math.ceil(pad_h / 2), math.ceil(pad_w / 2)
        pixels = np.pad(pixels, ((top, pad_h - top), (left, pad_w - left), (0, 0)))
        height, width = pixels.shape[:2]
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    return pixels[top : top + crop[0], left : left + crop[1]]
