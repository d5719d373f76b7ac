"""Nothing wrong in silence: pictures of uncommon samples are the right ones, or refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crosslens.errors import ImageError
from crosslens.ingest.sources.images import open_image
from tests.ingest.kinds import ARRANGED, FULL, GREYS, MASKS, inverted
from tests.ingest.pictures import (
    CLEAR,
    FLOAT,
    GREY,
    INKS,
    ON_WHITE,
    OPACITY,
    RGB,
    WIDE,
    WIDE_GREY,
    Array,
    bmp,
    encoded,
    gif,
    masked,
    packed,
    png,
    runs,
    without_segment,
)
from tests.ingest.tiffs import tiff

DATA = Path(__file__).parents[1] / "data" / "pictures"


def resembles(opened: Image.Image, wanted: Array, within: float = 3) -> bool:
    """Whether a picture is ``wanted`` (grey or RGB), but for rounding."""
    pixels = np.asarray(opened, dtype=int)
    wanted = np.repeat(wanted[..., None], 3, -1) if wanted.ndim == 2 else wanted
    return pixels.shape == wanted.shape and float(np.abs(pixels - wanted).mean()) < within


@pytest.mark.parametrize("kind", list(GREYS))
def test_grey_samples_of_any_width_fill_the_range(kind: str) -> None:
    samples, how = GREYS[kind]
    assert resembles(open_image(tiff(samples, 1, **how)), GREY)


@pytest.mark.parametrize("kind", FULL)
def test_white_may_be_zero(kind: str) -> None:
    assert resembles(open_image(inverted(kind)), GREY)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("how", ARRANGED.values(), ids=list(ARRANGED))
def test_colours_may_lie_in_planes_strips_and_tiles(how: dict[str, Any], order: Any) -> None:
    for samples in (RGB, WIDE, RGB.astype(np.uint32) * 16843009):
        for planar in (False, True):
            assert resembles(open_image(tiff(samples, 2, order=order, planar=planar, **how)), RGB)


def test_floats_may_be_predicted() -> None:
    for how in ({"rows": 9}, {"tile": 32}, {"planar": True}):
        assert resembles(open_image(tiff(FLOAT, 2, packed=True, predictor=3, **how)), RGB)


@pytest.mark.parametrize("scale", [1, 257])
def test_only_what_is_called_opacity_is_opacity(scale: int) -> None:
    kind = np.uint8 if scale == 1 else np.uint16
    colours, grey, opacity = (each.astype(kind) * scale for each in (RGB, GREY, OPACITY))
    four, two = np.dstack([colours, opacity]), np.dstack([grey, opacity])
    assert resembles(open_image(tiff(four, 2, tags={338: (0,)})), RGB)
    assert resembles(open_image(tiff(four, 2, planar=True, tags={338: (0,)})), RGB)
    assert resembles(open_image(tiff(four, 2, tags={338: (2,)})), ON_WHITE)
    assert resembles(open_image(tiff(two, 1, tags={338: (0,)})), GREY)
    assert resembles(open_image(tiff(two, 1, tags={338: (2,)})), np.where(CLEAR, 255, GREY))
    assert resembles(open_image(tiff(np.dstack([four, opacity]), 2, tags={338: (0, 2)})), ON_WHITE)
    premultiplied = four.copy()
    premultiplied[CLEAR] = 0
    assert resembles(open_image(tiff(premultiplied, 2, tags={338: (1,)})), ON_WHITE)
    assert resembles(open_image(tiff(four, 2)), ON_WHITE)
    assert resembles(open_image(tiff(np.dstack([colours, opacity * 0]), 2)), RGB)


def test_inks_are_not_inverted_in_tiff() -> None:
    for samples in (INKS, INKS.astype(np.uint16) * 257):
        assert resembles(open_image(tiff(samples, 5)), RGB)
        assert resembles(open_image(tiff(samples, 5, planar=True)), RGB)
    with pytest.raises(ImageError, match="inks other than"):
        open_image(tiff(INKS, 5, tags={332: (2,)}))


def test_cielab_becomes_srgb() -> None:
    # Red, green, blue, white, grey and black, as CIE L*a*b* under D50.
    lab = np.array(
        [[54.3, 80.8, 69.9], [87.8, -79.3, 81.0], [29.6, 68.3, -112.0], [100, 0, 0], [53.4, 0, 0], [0, 0, 0]]
    )
    wanted = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [127, 127, 127], [0, 0, 0]])
    for photometric, offset in ((8, 0), (9, 128)):
        eight = np.stack([lab[:, 0] * 2.55, lab[:, 1] + offset, lab[:, 2] + offset], -1).round().astype(int) & 255
        assert resembles(open_image(tiff(eight.astype(np.uint8)[None], photometric)), wanted[None])
    wide = np.stack([lab[:, 0] * 655.35, lab[:, 1] * 256, lab[:, 2] * 256], -1).round().astype(int) & 65535
    assert resembles(open_image(tiff(wide.astype(np.uint16)[None], 8)), wanted[None])


def test_a_palette_of_eight_bits_is_not_black() -> None:
    indices = (GREY // 16).astype(np.uint8)
    colours = np.arange(256) * 16 % 256
    for scale in (1, 257):
        palette = tuple(int(c) for c in np.concatenate([colours * scale] * 3))
        assert resembles(open_image(tiff(indices, 3, tags={320: palette})), indices * 16)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_of_any_samples_is_turned_once(orientation: int) -> None:
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    picture = Image.fromarray(RGB)
    if orientation > 1:
        picture = picture.transpose(Image.Transpose(turns[orientation]))
    for samples in (RGB, WIDE, FLOAT):
        opened = open_image(tiff(samples, 2, tags={274: (orientation,)}))
        assert resembles(opened, np.asarray(picture))


@pytest.mark.parametrize(
    ("photometric", "how", "says"),
    [
        (32803, {}, "colour filter array"),
        (4, {}, "transparency mask"),
        (1, {"tags": {339: (5,)}}, "complex"),
        (1, {"tags": {258: (13, 5)}, "planar": True}, "13, 5 bits|strips or tiles|cut off"),
        (3, {}, "palette is missing"),
        (6, {"tags": {530: (2, 2), 277: (3,), 258: (8, 8, 8)}}, "subsampled"),
        (1, {"tags": {259: (34712,)}}, "can't be decoded|is not read"),
        (2, {}, "samples a pixel"),
    ],
)
def test_what_cannot_be_understood_is_refused(photometric: int, how: dict[str, Any], says: str) -> None:
    with pytest.raises(ImageError, match=says):
        open_image(tiff(GREY, photometric, **how))


def test_a_tiff_with_odd_tags_is_read_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    odd = {34665: (1, 2, 3), 700: (9,), 33432: (0,) * 9, 65000: (1,), 37500: (7,) * 50}
    assert resembles(open_image(tiff(RGB, 2, tags=odd)), RGB)
    assert capfd.readouterr() == ("", "")


def test_a_transparent_grey_of_sixteen_bits_lies_on_white() -> None:
    samples = np.where(CLEAR, 0, np.maximum(WIDE_GREY, 257))
    wanted = np.where(CLEAR, 255, samples // 257)
    assert resembles(open_image(png(samples, 0, 16, (b"tRNS", b"\0\0"))), wanted)


def test_a_transparent_colour_of_sixteen_bits_is_that_very_colour() -> None:
    samples = WIDE // 257 * 256 + 5
    samples[CLEAR] = (0, 1, 2)
    clear = struct.pack(">HHH", 0, 1, 2)
    assert resembles(open_image(png(samples, 2, 16, (b"tRNS", clear))), ON_WHITE)
    # Black in its upper bytes, but not the transparent colour.
    samples[CLEAR] = (3, 3, 3)
    assert resembles(open_image(png(samples, 2, 16, (b"tRNS", clear))), np.where(CLEAR[..., None], 0, RGB))


@pytest.mark.parametrize("depth", [2, 4, 8])
def test_a_transparent_grey_of_few_bits_lies_on_white(depth: int) -> None:
    most = (1 << depth) - 1
    grey = GREY.astype(int) * most // 255
    opened = open_image(png(packed(grey, depth), 0, depth, (b"tRNS", b"\0\1")))
    assert resembles(opened, np.where(grey == 1, 255, grey * 255 // most))


def test_a_partly_transparent_palette_lies_on_white() -> None:
    picture = Image.fromarray(RGB).quantize(16)
    opacity = bytes([0] * 4 + [128] * 4 + [255] * 8)
    share = np.frombuffer(opacity, np.uint8)[np.asarray(picture)][..., None] / 255
    wanted = np.asarray(picture.convert("RGB")) * share + 255 * (1 - share)
    assert resembles(open_image(encoded(picture, "PNG", transparency=opacity)), wanted)


@pytest.mark.parametrize(("masks", "kind"), MASKS.values(), ids=list(MASKS))
def test_bitmaps_have_bit_fields_of_any_masks(masks: tuple[int, int, int, int], kind: str) -> None:
    numbers = masked(masks)
    # Of 4 bits, a step is 17.
    within = 5 if min(mask.bit_count() for mask in masks[:3]) == 4 else 3
    assert resembles(open_image(bmp(numbers.astype(kind), masks)), ON_WHITE if masks[3] else RGB, within)
    if masks[3]:
        # Bits that are never set aren't in use.
        assert resembles(open_image(bmp((numbers & ~np.uint32(masks[3])).astype(kind), masks)), RGB, within)


def test_adobe_jpegs_of_inks_are_inverted() -> None:
    data = (DATA / "cmyk_adobe_ycck.jpg").read_bytes()
    assert resembles(open_image(data), np.asarray(Image.open(DATA / "cmyk_adobe_ycck.jpg.ref.png").convert("RGB")))


def test_a_jpeg_of_inks_that_may_be_inverted_or_not_is_refused() -> None:
    data = encoded(Image.fromarray(INKS, "CMYK"), "JPEG", quality=95)
    assert resembles(open_image(data), RGB)
    with pytest.raises(ImageError, match="inverted"):
        open_image(without_segment(data, 0xEE))


def test_a_tiff_that_names_no_photometric_is_what_libtiff_assumes() -> None:
    for samples, photometric, wanted in ((GREY, 1, GREY), (WIDE_GREY, 1, GREY), (RGB, 2, RGB), (WIDE, 2, RGB)):
        named = tiff(samples, photometric)
        # An entry of tag 262 becomes one of a private tag.
        unnamed = named.replace(struct.pack("<HHI", 262, 3, 1), struct.pack("<HHI", 65000, 3, 1))
        assert named != unnamed
        assert resembles(open_image(unnamed), wanted)


def test_what_a_gif_leaves_free_of_its_canvas_is_white() -> None:
    frame = GREY[:20] // 16
    wanted = np.full((60, 100, 3), 255, np.uint8)
    wanted[9:29, 7:87] = np.stack([frame * 16, 255 - frame * 16, np.full_like(frame, 90)], -1)
    assert resembles(open_image(gif(frame, 7, 9, 100, 60)), wanted)


@pytest.mark.parametrize("four", [False, True])
def test_bitmaps_may_be_encoded_in_runs(four: bool) -> None:
    greys = GREY // 16
    wanted = np.stack([255 - greys * 16, greys * 8, greys * 16], -1)
    assert resembles(open_image(runs(four=four)), wanted)
