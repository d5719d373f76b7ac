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
Pixels = NDArray[np.uint8]

# How far each filter reaches, in pixels of the smaller of the two pictures (Pillow's documentation, concepts, filters).
_SUPPORT = {
    Image.Resampling.NEAREST: 0.5,
    Image.Resampling.BOX: 0.5,
    Image.Resampling.BILINEAR: 1.0,
    Image.Resampling.HAMMING: 1.0,
    Image.Resampling.BICUBIC: 2.0,
    Image.Resampling.LANCZOS: 3.0,
}
# A long picture is resized as a whole, as transformers does it, up to so many times what the crop keeps of it. Beyond,
# only the part that is kept: a few pixels then differ by a level or two, since Pillow orders its passes by the sizes.
_MOST_CROPPED = 48
# Pillow resizes across first; a tall picture's intermediate result of more pixels is not worth the order.
_MOST_BETWEEN = 1 << 26


@dataclass(frozen=True)
class ImageTransform:
    """What a checkpoint does to a picture; sizes in pixels, (height, width).

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
        """(height, width) of the tensor."""
        if self.crop is not None:
            return self.crop
        assert self.size is not None  # parse_transform refuses a config that sets neither
        return self.size

    @property
    def resize_target(self) -> int:
        """The longer side, in pixels, that pictures are resized to; what a reduced decoding must not go below."""
        return self.shortest_edge or max(self.size or self.output_size)

    def __call__(self, image: Image.Image) -> Float32Array:
        """float32 [3, height, width] of an RGB picture: its `pixels`, `normalized`."""
        made: Float32Array = self.normalized(self.pixels(image)[np.newaxis])[0]
        return made

    def pixels(self, image: Image.Image) -> Pixels:
        """uint8 [height, width, 3] of an RGB picture, resized and cropped.

        Whatever the picture's shape, the work is bounded by its pixels and the output's.
        """
        width, height = self._resized(image.size)
        kept = (width, height) if self.crop is None else (min(width, self.crop[1]), min(height, self.crop[0]))
        corner = ((width - kept[0]) // 2, (height - kept[1]) // 2)
        pixels = np.asarray(_resize_part(image, (width, height), corner, kept, self.resample))
        return pixels if self.crop is None else _pad(pixels, self.crop)

    def normalized(self, pixels: Pixels) -> Float32Array:
        """float32 [n, 3, height, width], what a graph reads, of `pixels` [n, height, width, 3]."""
        multiplier, addend = (each[:, np.newaxis, np.newaxis] for each in self._affine())
        made = np.empty((len(pixels), 3, *pixels.shape[1:3]), dtype=np.float32)
        # One picture after the other, which the processor's cache holds.
        for picture, out in zip(pixels, made, strict=True):
            np.multiply(picture.transpose(2, 0, 1), multiplier, out=out)
            out += addend
        return made

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) that a picture of ``size`` is resized to, before cropping."""
        if self.shortest_edge is not None:
            width, height = size
            short, long = min(width, height), max(width, height)
            # int() as in transformers: the longer side is rounded down.
            other = int(self.shortest_edge * long / short)
            return (self.shortest_edge, other) if width <= height else (other, self.shortest_edge)
        return (self.size[1], self.size[0]) if self.size is not None else size

    def _affine(self) -> tuple[Float32Array, Float32Array]:
        """Rescaling and normalizing as one multiplication and one addition a channel."""
        mean, std = np.array(self.mean), np.array(self.std)
        multiplier, addend = self.scale / std, (-self.offset - mean) / std
        if self.second_std:
            multiplier, addend = multiplier / std, addend / std
        return multiplier.astype(np.float32), addend.astype(np.float32)


def parse_transform(config: dict[str, object]) -> ImageTransform:
    """Reads a preprocessor_config.json.

    Raises `ModelError` where it asks for something that crosslens doesn't do, rather than giving other pixels.
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
    """(shortest edge, None) or (None, (height, width)); a bare number means whichever the processor's kind means."""
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


def _resize_part(
    image: Image.Image,
    size: tuple[int, int],
    corner: tuple[int, int],
    kept: tuple[int, int],
    resample: Image.Resampling,
) -> Image.Image:
    """The part of ``kept`` pixels at ``corner`` of what ``image`` resized to ``size`` would be; all (width, height)."""
    if size == image.size:
        return image.crop((*corner, corner[0] + kept[0], corner[1] + kept[1]))
    if size[0] * size[1] <= _MOST_CROPPED * kept[0] * kept[1]:
        if image.height * size[0] > _MOST_BETWEEN:
            image = image.resize((image.width, size[1]), resample)
        resized = image.resize(size, resample)
        return resized.crop((*corner, corner[0] + kept[0], corner[1] + kept[1])) if kept != size else resized
    starts, ends, lows, highs = [], [], [], []
    for before, after, first, count in zip(image.size, size, corner, kept, strict=True):
        scale = before / after
        start, end = first * scale, (first + count) * scale
        # What the filter reads beyond the part's edges comes along. Pillow keeps a box in single precision, which is
        # exact enough only for the small numbers within a piece.
        reach = _SUPPORT[resample] * max(scale, 1.0) + 1.0
        low, high = max(math.floor(start - reach), 0), min(math.ceil(end + reach), before)
        starts.append(start - low)
        ends.append(min(end - low, high - low))
        lows.append(low)
        highs.append(high)
    piece = image.crop((lows[0], lows[1], highs[0], highs[1]))
    return piece.resize(kept, resample, box=(starts[0], starts[1], ends[0], ends[1]))


def _pad(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """[h, w, 3] of at least ``size``, a smaller picture in the middle of black, as in transformers."""
    pad_h, pad_w = max(size[0] - pixels.shape[0], 0), max(size[1] - pixels.shape[1], 0)
    if not (pad_h or pad_w):
        return pixels
    top, left = math.ceil(pad_h / 2), math.ceil(pad_w / 2)
    return np.pad(pixels, ((top, pad_h - top), (left, pad_w - left), (0, 0)))
