"""Nothing wrong in silence: pictures of uncommon samples are the right ones, or refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from crosslens.errors import ImageError
from crosslens.ingest.sources.images import open_image
from tests.ingest.tiffs import tiff

DATA = Path(__file__).parents[1] / "data" / "pictures"
Array = NDArray[Any]

y, x = np.mgrid[0:48, 0:80]
RGB: Array = np.stack([127 + 120 * np.sin(x / 9), 40 + 2.0 * x, 220 - 3.0 * y], -1).clip(0, 255).astype(np.uint8)
RGB[16:32, 30:60] = (210, 30, 40)
GREY: Array = np.asarray(Image.fromarray(RGB).convert("L"))
CLEAR = np.zeros(GREY.shape, bool)
CLEAR[:, :30] = True
OPACITY = np.where(CLEAR, 0, 255).astype(np.uint8)
ON_WHITE = np.where(CLEAR[..., None], 255, RGB).astype(np.uint8)
INKS = np.dstack([255 - RGB, np.zeros_like(GREY)])
WIDE, WIDE_GREY = RGB.astype(np.uint16) * 257, GREY.astype(np.uint16) * 257
FLOAT, FLOAT_GREY = RGB.astype(np.float32) / 255, GREY.astype(np.float32) / 255


def resembles(opened: Image.Image, wanted: Array) -> bool:
    """Whether a picture is ``wanted`` (grey or RGB), but for rounding."""
    pixels = np.asarray(opened, dtype=int)
    wanted = np.repeat(wanted[..., None], 3, -1) if wanted.ndim == 2 else wanted
    return pixels.shape == wanted.shape and float(np.abs(pixels - wanted).mean()) < 3


def changed(samples: Array, at: tuple[int | slice, ...], value: float) -> Array:
    other = samples.copy()
    other[at] = value
    return other


GREYS: dict[str, tuple[Array, dict[str, Any]]] = {
    "10 bits": ((GREY.astype(np.uint32) * 1023 // 255).astype(np.uint16), {"bits": 10}),
    "12 bits": (GREY.astype(np.uint16) * 16, {"bits": 12}),
    "14 bits": ((GREY.astype(np.uint32) * 16383 // 255).astype(np.uint16), {"bits": 14}),
    "16 bits": (WIDE_GREY, {}),
    "16 bits, big-endian, in strips": (WIDE_GREY, {"order": ">", "rows": 7}),
    "16 bits, deflated": (WIDE_GREY, {"packed": True, "predictor": 2, "rows": 5}),
    "32 bits": (GREY.astype(np.uint32) * 16843009, {}),
    "32 bits of 16": (GREY.astype(np.uint32) * 257, {}),
    "32 bits of 8": (GREY.astype(np.uint32), {}),
    "64 bits": (GREY.astype(np.uint64) * 72340172838076673, {}),
    "signed 8 bits": ((GREY.astype(int) - 128).astype(np.int8), {}),
    "signed 16 bits": ((GREY.astype(int) * 257 - 32768).astype(np.int16), {}),
    "signed 16 bits, positive": ((GREY.astype(int) * 257 // 2).astype(np.int16), {}),
    "signed 32 bits": ((GREY.astype(np.int64) * 16843009 - (1 << 31)).astype(np.int32), {}),
    "signed 32 bits, positive": (GREY.astype(np.int32) * 8421504, {}),
    "called signed": (GREY, {"tags": {339: (2,)}}),
    "half floats": (FLOAT_GREY.astype(np.float16), {}),
    "half floats, predicted": (FLOAT_GREY.astype(np.float16), {"packed": True, "predictor": 3}),
    "floats": (FLOAT_GREY, {"order": ">"}),
    "doubles": (FLOAT_GREY.astype(np.float64), {"tile": 32}),
    "floats to 255": (GREY.astype(np.float32), {}),
    "floats to 65,535": (WIDE_GREY.astype(np.float32), {}),
    "floats of both signs": (FLOAT_GREY * 2 - 1, {}),
    "one float above 1": (changed(FLOAT_GREY, (0, 0), 1.02), {}),
    "a few floats above 1": (changed(FLOAT_GREY, (3, slice(0, 7)), 3.5), {}),
    "a float for no data": (changed(FLOAT_GREY, (5, 5), -3.4e38), {}),
    "no number, and infinity": (changed(changed(FLOAT_GREY, (0, 0), np.nan), (1, 1), np.inf), {}),
}


@pytest.mark.parametrize("kind", list(GREYS))
def test_grey_samples_of_any_width_fill_the_range(kind: str) -> None:
    samples, how = GREYS[kind]
    assert resembles(open_image(tiff(samples, 1, **how)), GREY)


# Of others nothing says what white is.
FULL = [k for k, (samples, _) in GREYS.items() if samples.dtype.kind == "u" and " of " not in k and "called" not in k]


@pytest.mark.parametrize("kind", FULL)
def test_white_may_be_zero(kind: str) -> None:
    samples, how = GREYS[kind]
    most = (1 << how.get("bits", samples.dtype.itemsize * 8)) - 1
    inverted = (np.uint64(most) - samples.astype(np.uint64)).astype(samples.dtype)
    assert resembles(open_image(tiff(inverted, 0, **how)), GREY)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"rows": 9},
        {"tile": 32},
        {"packed": True, "rows": 9},
        {"packed": True, "predictor": 2},
        {"packed": True, "predictor": 2, "tile": 32},
    ],
    ids=["one strip", "strips", "tiles", "deflated", "predicted", "predicted in tiles"],
)
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


def png(samples: Array, colour: int, depth: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of samples [h, w] or [h, w, 3], or of packed bytes for fewer bits; ``chunks`` stand before its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height = samples.shape[0]
    width = samples.shape[1] * (8 // depth if depth < 8 else 1)
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in samples)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    between = b"".join(chunk(kind, data) for kind, data in chunks)
    pixels = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + between + pixels


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
    per = 8 // depth
    parts = grey.reshape(48, -1, per)
    rows = sum(parts[..., i] << (8 - depth * (i + 1)) for i in range(per))
    opened = open_image(png(np.asarray(rows), 0, depth, (b"tRNS", b"\0\1")))
    assert resembles(opened, np.where(grey == 1, 255, grey * 255 // most))


def test_a_partly_transparent_palette_lies_on_white() -> None:
    picture = Image.fromarray(RGB).quantize(16)
    opacity = bytes([0] * 4 + [128] * 4 + [255] * 8)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=opacity)
    share = np.frombuffer(opacity, np.uint8)[np.asarray(picture)][..., None] / 255
    wanted = np.asarray(picture.convert("RGB")) * share + 255 * (1 - share)
    assert resembles(open_image(buffer.getvalue()), wanted)


def bmp(numbers: Array, masks: tuple[int, int, int, int]) -> bytes:
    """A BMP of 16- or 32-bit numbers, whose colours are the bits of the masks."""
    height, width = numbers.shape
    pixels = numbers[::-1].tobytes()
    head = struct.pack("<IiiHHIIiiII", 56, width, height, 1, numbers.dtype.itemsize * 8, 3, len(pixels), 0, 0, 0, 0)
    head += struct.pack("<IIII", *masks)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels


@pytest.mark.parametrize(
    ("masks", "kind"),
    [
        ((0xF800, 0x7E0, 0x1F, 0), "<u2"),
        ((0x7C00, 0x3E0, 0x1F, 0), "<u2"),
        ((0x7C00, 0x3E0, 0x1F, 0x8000), "<u2"),
        ((0x1F, 0x7E0, 0xF800, 0), "<u2"),
        ((0x3FF00000, 0xFFC00, 0x3FF, 0), "<u4"),
        ((0xFF, 0xFF00, 0xFF0000, 0xFF000000), "<u4"),
    ],
    ids=["565", "555", "1555", "565 reversed", "10 bits", "opacity"],
)
def test_bitmaps_have_bit_fields_of_any_masks(masks: tuple[int, int, int, int], kind: str) -> None:
    numbers = np.zeros(GREY.shape, np.uint32)
    for mask, samples in zip(masks, (*RGB.transpose(2, 0, 1), OPACITY), strict=True):
        if mask:
            low = (mask & -mask).bit_length() - 1
            numbers |= ((samples.astype(np.uint32) * (mask >> low) + 127) // 255) << np.uint32(low)
    assert resembles(open_image(bmp(numbers.astype(kind), masks)), ON_WHITE if masks[3] else RGB)
    if masks[3]:
        # Bits that are never set aren't in use.
        assert resembles(open_image(bmp((numbers & ~np.uint32(masks[3])).astype(kind), masks)), RGB)


def test_adobe_jpegs_of_inks_are_inverted() -> None:
    data = (DATA / "cmyk_adobe_ycck.jpg").read_bytes()
    assert resembles(open_image(data), np.asarray(Image.open(DATA / "cmyk_adobe_ycck.jpg.ref.png").convert("RGB")))


def test_a_jpeg_of_inks_that_may_be_inverted_or_not_is_refused() -> None:
    buffer = io.BytesIO()
    Image.fromarray(INKS, "CMYK").save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()
    assert resembles(open_image(data), RGB)
    at = data.index(b"\xff\xee")
    unmarked = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    with pytest.raises(ImageError, match="inverted"):
        open_image(unmarked)
