"""Pictures of every kind of samples, colours, arrangement and metadata, as files; and files that are none."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from tests.ingest.pictures import (
    AS_ATTRIBUTE,
    AS_ELEMENT,
    CLEAR,
    FLOAT,
    FLOAT_GREY,
    GREY,
    INKS,
    OPACITY,
    RGB,
    WIDE,
    WIDE_GREY,
    XMP_MARK,
    Array,
    bmp,
    changed,
    encoded,
    exif,
    gif,
    masked,
    packed,
    png,
    raw_profile,
    runs,
    with_chunk,
    with_segment,
    without_segment,
    x,
    y,
)
from tests.ingest.tiffs import tiff

GREYS: dict[str, tuple[Array, dict[str, Any]]] = {
    "10 bits": ((GREY.astype(np.uint32) * 1023 // 255).astype(np.uint16), {"bits": 10}),
    "12 bits": (GREY.astype(np.uint16) * 16, {"bits": 12}),
    "14 bits": ((GREY.astype(np.uint32) * 16383 // 255).astype(np.uint16), {"bits": 14}),
    "16 bits": (WIDE_GREY, {}),
    "16 bits, big-endian, in strips": (WIDE_GREY, {"order": ">", "rows": 7}),
    "16 bits, deflated": (WIDE_GREY, {"packed": True, "predictor": 2, "rows": 5}),
    "24 bits": (GREY.astype(np.uint32) * 65793, {"bits": 24}),
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
# Of others nothing says what white is.
FULL = [k for k, (samples, _) in GREYS.items() if samples.dtype.kind == "u" and " of " not in k and "called" not in k]
ARRANGED: dict[str, dict[str, Any]] = {
    "one strip": {},
    "strips": {"rows": 9},
    "tiles": {"tile": 32},
    "deflated": {"packed": True, "rows": 9},
    "predicted": {"packed": True, "predictor": 2},
    "predicted in tiles": {"packed": True, "predictor": 2, "tile": 32},
}
MASKS: dict[str, tuple[tuple[int, int, int, int], str]] = {
    "565": ((0xF800, 0x7E0, 0x1F, 0), "<u2"),
    "555": ((0x7C00, 0x3E0, 0x1F, 0), "<u2"),
    "1555": ((0x7C00, 0x3E0, 0x1F, 0x8000), "<u2"),
    "4444": ((0xF00, 0xF0, 0xF, 0xF000), "<u2"),
    "565 reversed": ((0x1F, 0x7E0, 0xF800, 0), "<u2"),
    "10 bits": ((0x3FF00000, 0xFFC00, 0x3FF, 0), "<u4"),
    "opacity": ((0xFF, 0xFF00, 0xFF0000, 0xFF000000), "<u4"),
}


def inverted(kind: str) -> bytes:
    """A TIFF of the grey ``kind``, one of `FULL`, whose white is zero."""
    samples, how = GREYS[kind]
    most = (1 << how.get("bits", samples.dtype.itemsize * 8)) - 1
    return tiff((np.uint64(most) - samples.astype(np.uint64)).astype(samples.dtype), 0, **how)


def turned(picture: Image.Image) -> dict[str, bytes]:
    """``picture`` in files that say otherwise than by a JPEG's EXIF that it was held as orientation 6."""
    jpeg, plain = encoded(picture, "JPEG", quality=95), encoded(picture, "PNG")
    block = b"Exif\0\0" + exif(6)
    return {
        "jpeg, xmp element": with_segment(jpeg, 0xE1, XMP_MARK + AS_ELEMENT),
        "jpeg, xmp attribute": with_segment(jpeg, 0xE1, XMP_MARK + AS_ATTRIBUTE),
        "webp, xmp": encoded(picture, "WEBP", xmp=AS_ELEMENT, quality=95),
        "webp, garbage for exif, xmp": encoded(picture, "WEBP", exif=b"MM" * 9, xmp=AS_ELEMENT, quality=95),
        "png, xmp": with_chunk(plain, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + AS_ELEMENT),
        "png, packed xmp": with_chunk(
            plain, b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0key\0" + zlib.compress(AS_ATTRIBUTE)
        ),
        "png, exif": with_chunk(plain, b"eXIf", exif(6)),
        "png, exif at the end": with_chunk(plain, b"eXIf", exif(6, order=">"), at=len(plain) - 12),
        "png, packed exif profile": with_chunk(
            plain, b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(b"exif", block))
        ),
        "png, exif profile": with_chunk(plain, b"tEXt", b"Raw profile type exif\0" + raw_profile(b"exif", block)),
        "png, packed app1 profile": with_chunk(
            plain, b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(raw_profile(b"APP1", block))
        ),
        "png, xmp in app1 profile": with_chunk(
            plain, b"tEXt", b"Raw profile type APP1\0" + raw_profile(b"APP1", XMP_MARK + AS_ELEMENT)
        ),
        "png, xmp profile": with_chunk(plain, b"tEXt", b"Raw profile type xmp\0" + raw_profile(b"xmp", AS_ATTRIBUTE)),
    }


def of_tiff() -> dict[str, bytes]:
    """TIFFs of every kind of samples, by what they are."""
    found = {f"grey of {kind}": tiff(samples, 1, **how) for kind, (samples, how) in GREYS.items()}
    found |= {f"white is zero, {kind}": inverted(kind) for kind in FULL}
    for arranged, how in ARRANGED.items():
        for name, samples in (("8", RGB), ("16", WIDE), ("32", RGB.astype(np.uint32) * 16843009)):
            found[f"{name} bits, {arranged}"] = tiff(samples, 2, **how)
            found[f"{name} bits, big-endian, planar, {arranged}"] = tiff(samples, 2, order=">", planar=True, **how)
    for name, how in (("strips", {"rows": 9}), ("tiles", {"tile": 32}), ("planes", {"planar": True})):
        found[f"predicted floats in {name}"] = tiff(FLOAT, 2, packed=True, predictor=3, **how)
    for scale, kind in ((1, np.uint8), (257, np.uint16)):
        colours, grey, opacity = (each.astype(kind) * kind(scale) for each in (RGB, GREY, OPACITY))
        four, two = np.dstack([colours, opacity]), np.dstack([grey, opacity])
        premultiplied = changed(four, (CLEAR,), 0)  # type: ignore[arg-type]
        found |= {
            f"unspecified sample after colours, {scale}": tiff(four, 2, tags={338: (0,)}),
            f"unspecified sample after grey, {scale}": tiff(two, 1, tags={338: (0,)}),
            f"opacity after colours, {scale}": tiff(four, 2, tags={338: (2,)}),
            f"opacity after grey, {scale}": tiff(two, 1, tags={338: (2,)}),
            f"opacity after another, {scale}": tiff(np.dstack([four, opacity]), 2, tags={338: (0, 2)}),
            f"premultiplied, {scale}": tiff(premultiplied, 2, tags={338: (1,)}),
            f"fourth sample without a word, {scale}": tiff(four, 2),
            f"fourth sample of zeros, {scale}": tiff(np.dstack([colours, opacity * kind(0)]), 2),
            f"inks, {scale}": tiff(INKS.astype(kind) * kind(scale), 5),
            f"planar inks, {scale}": tiff(INKS.astype(kind) * kind(scale), 5, planar=True),
            f"palette, {scale}": tiff(
                GREY // 16, 3, tags={320: tuple(int(c) for c in np.tile(np.arange(256) * 16 % 256 * scale, 3))}
            ),
        }
    lab = np.dstack([GREY, (x * 2 - 80).astype(np.int8).view(np.uint8), (y - 24).astype(np.int8).view(np.uint8)])
    found["lab"] = tiff(lab, 8)
    found["icc lab"] = tiff(lab ^ np.array([0, 128, 128], np.uint8), 9)
    found["lab, 16 bits"] = tiff(lab.astype(np.uint16) << 8, 8)
    found["lab, floats"] = tiff(np.dstack([GREY / 2.55, x * 2.0 - 80, y - 24.0]).astype(np.float32), 8)
    found["turned"] = tiff(RGB, 2, tags={274: (6,)})
    picture = Image.fromarray(RGB)
    for packing in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg", "zstd", "lzma"):
        found[packing] = encoded(picture, "TIFF", compression=packing)
        found[f"grey, {packing}"] = encoded(picture.convert("L"), "TIFF", compression=packing)
    found["inks, jpeg"] = encoded(Image.fromarray(INKS, "CMYK"), "TIFF", compression="jpeg")
    for packing in ("group3", "group4", "tiff_ccitt", "packbits"):
        found[f"black and white, {packing}"] = encoded(picture.convert("1"), "TIFF", compression=packing)
    found["big"] = encoded(picture, "TIFF", big_tiff=True)
    return found


def of_other_formats() -> dict[str, bytes]:
    """PNG, BMP, JPEG, GIF and WebP of every kind, by what they are."""
    picture = Image.fromarray(RGB)
    found = {f"bmp, {name}": bmp(masked(masks).astype(kind), masks) for name, (masks, kind) in MASKS.items()}
    for name, (masks, kind) in MASKS.items():
        if masks[3]:
            found[f"bmp, {name}, all clear"] = bmp((masked(masks) & ~np.uint32(masks[3])).astype(kind), masks)
    plain = (0xFF0000, 0xFF00, 0xFF, 0)
    found |= {
        "bmp, 16 bits": bmp(masked((0x7C00, 0x3E0, 0x1F, 0)).astype("<u2"), (0, 0, 0, 0)),
        "bmp, 32 bits": bmp(masked(plain), (0, 0, 0, 0)),
        "bmp, 32 bits of all ones above": bmp(masked(plain) | np.uint32(0xFF000000), (0, 0, 0, 0)),
        "bmp, palette": encoded(picture.quantize(200), "BMP"),
        "bmp, grey": encoded(picture.convert("L"), "BMP"),
        "bmp, black and white": encoded(picture.convert("1"), "BMP"),
        "bmp, runs of 8 bits": runs(four=False),
        "bmp, runs of 4 bits": runs(four=True),
        "png, 16-bit grey with a clear one": png(
            np.where(CLEAR, 0, np.maximum(WIDE_GREY, 257)), 0, 16, (b"tRNS", b"\0\0")
        ),
        "png, 16-bit colours": png(WIDE, 2, 16),
        "png, 16-bit colours with a clear one": png(
            np.where(CLEAR[..., None], (0, 1, 2), WIDE // 257 * 256 + 5), 2, 16, (b"tRNS", struct.pack(">HHH", 0, 1, 2))
        ),
        "png, 16-bit colours, none clear": png(
            np.where(CLEAR[..., None], (3, 3, 3), WIDE // 257 * 256 + 5), 2, 16, (b"tRNS", struct.pack(">HHH", 0, 1, 2))
        ),
        "png, colours with a clear one": png(RGB, 2, 8, (b"tRNS", struct.pack(">HHH", 210, 30, 40))),
        "png, partly clear palette": encoded(
            picture.quantize(16), "PNG", transparency=bytes([0] * 4 + [128] * 4 + [255] * 8)
        ),
        "png, grey and opacity": encoded(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(OPACITY)]), "PNG"),
        "jpeg, inks": encoded(Image.fromarray(INKS, "CMYK"), "JPEG", quality=95),
        "jpeg, inks without a word": without_segment(encoded(Image.fromarray(INKS, "CMYK"), "JPEG"), 0xEE),
        "jpeg, progressive": encoded(picture, "JPEG", quality=95, progressive=True),
        "jpeg, grey": encoded(picture.convert("L"), "JPEG", quality=95),
        "jpeg, rgb": encoded(picture, "JPEG", quality=95, keep_rgb=True),
        "jpeg without its end": encoded(picture, "JPEG", quality=95)[:-2],
        "jpeg, cut off": encoded(picture, "JPEG", quality=95)[:-300],
        "gif, palette": encoded(picture.quantize(32), "GIF"),
        "gif, clear": encoded(picture.quantize(32), "GIF", transparency=5),
        "gif, interlaced": gif(GREY // 16, 0, 0, 80, 48, interlaced=True),
        "gif, smaller than its canvas": gif(GREY[:20] // 16, 7, 9, 100, 60),
        "gif, larger than its canvas": gif(GREY // 16, 10, 5, 70, 30),
        "gif, cut off": encoded(picture.quantize(32), "GIF")[:-300],
        "webp, lossy": encoded(picture, "WEBP", quality=90),
        "webp, opacity": encoded(Image.fromarray(np.dstack([RGB, OPACITY])), "WEBP", lossless=True, exact=True),
    }
    for depth in (1, 2, 4, 8):
        most = (1 << depth) - 1
        grey = GREY.astype(int) * most // 255
        found[f"png, grey of {depth} bits"] = png(packed(grey, depth), 0, depth)
        found[f"png, grey of {depth} bits, one clear"] = png(packed(grey, depth), 0, depth, (b"tRNS", b"\0\1"))
    return found


OTHERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "pdf": (b"%PDF-1.7\n", "a PDF document"),
    "login page": (
        b"<!DOCTYPE html><html><head><title>Sign in</title>",
        "an HTML page titled 'Sign in', perhaps a login or an error page",
    ),
    "page": (b"\n <html lang=de>", "an HTML page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a Git LFS pointer"),
    "json": (b'{"error": "not found"}', "a JSON document"),
    "xml": (b'<?xml version="1.0"?><feed/>', "an XML document"),
    "mp4": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "an MP4 video"),
    "mov": (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a QuickTime video"),
    "zeros": (b"\0" * 64, "nothing but zero bytes"),
    "zip": (b"PK\3\4", "a ZIP archive"),
    "wav": (b"RIFF\0\0\0\0WAVEfmt ", "a WAV recording"),
    "psd": (b"8BPS\0\1", "a Photoshop document"),
    "jxl": (b"\xff\x0a\0\0", "a JPEG XL picture"),
    "text": ("schöne Grüße".encode(), "text ('schöne Grüße')"),
    "noise": (bytes(range(128, 160)), "a file that begins with 80 81 82 83 84 85 86 87"),
}


def every() -> dict[str, bytes]:
    """All pictures of this module, by what they are."""
    tiffs = {f"tiff, {kind}": data for kind, data in of_tiff().items()}
    return tiffs | of_other_formats() | turned(Image.fromarray(RGB))
