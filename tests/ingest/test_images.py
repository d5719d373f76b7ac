"""Opening images: every kind of file that strangers' catalogues hold."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crosslens.errors import ImageError
from crosslens.ingest.sources.images import MAX_PIXELS, open_image


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    pixels = np.stack([x * 6, y * 8, (x + y) * 3], -1).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims ``width`` x ``height`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_common_formats_open_as_rgb_of_their_size(kind: str) -> None:
    opened = open_image(encoded(gradient(), kind))
    assert (opened.mode, opened.size) == ("RGB", (40, 30))


def test_a_jpeg_of_thousands_of_scans_is_refused_and_a_progressive_one_is_not() -> None:
    whole = encoded(gradient(), "JPEG", progressive=True)
    assert open_image(whole).size == (40, 30)
    last = whole.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match="scans"):
        open_image(whole[:last] + whole[last:-2] * 4_000 + b"\xff\xd9")


def test_paths_bytes_pictures_and_arrays_give_the_same(tmp_path: Path) -> None:
    picture = gradient()
    picture.save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    for source in (tmp_path / "p.png", str(tmp_path / "p.png"), data, picture, np.asarray(picture)):
        assert np.array_equal(np.asarray(open_image(source)), np.asarray(picture))


def test_a_wrong_file_name_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "really-a-jpeg.png").write_bytes(encoded(gradient(), "JPEG"))
    assert open_image(tmp_path / "really-a-jpeg.png").size == (40, 30)


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert open_image(encoded(clear, "PNG")).getpixel((0, 0)) == (255, 255, 255)
    assert open_image(encoded(half, "PNG")).getpixel((0, 0)) == pytest.approx((127, 127, 127), abs=1)


def test_a_transparent_palette_colour_lies_on_white() -> None:
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    opened = open_image(encoded(picture, "PNG", transparency=0))
    assert opened.getpixel((0, 0)) == (255, 255, 255)


def test_grey_with_alpha_lies_on_white() -> None:
    picture = Image.merge("LA", [Image.new("L", (4, 4), 0), Image.new("L", (4, 4), 0)])
    assert open_image(encoded(picture, "PNG")).getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_samples_are_scaled_not_clipped(kind: str) -> None:
    samples = np.array([[0, 16448, 32896, 65535]] * 4, dtype=np.uint16)
    opened = np.asarray(open_image(encoded(Image.fromarray(samples), kind)))
    assert opened[0, :, 0].tolist() == [0, 64, 128, 255]


def test_floating_point_tiff_is_scaled() -> None:
    samples = np.array([[0.0, 0.5, 1.0]] * 3, dtype=np.float32)
    opened = np.asarray(open_image(encoded(Image.fromarray(samples), "TIFF")))
    assert opened[0, :, 0].tolist() == pytest.approx([0, 127, 255], abs=1)


def test_cmyk_becomes_rgb() -> None:
    opened = open_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = opened.getpixel((4, 4))
    assert red > 200
    assert max(green, blue) < 60


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
        red, green, blue = open_image(data).getpixel((4, 4))
        assert red > 200 > max(green, blue), kind


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(encoded(gradient(), "JPEG", exif=exif)).size == (30, 40)


def test_a_large_jpeg_is_decoded_small_but_never_below_twice_the_target() -> None:
    data = encoded(gradient(size=(1600, 1200)), "JPEG")
    reduced = open_image(data, target=100)
    assert reduced.size == (400, 300)
    assert open_image(data).size == (1600, 1200)
    small, full = (np.asarray(p.resize((100, 75)), dtype=int) for p in (reduced, open_image(data)))
    assert np.abs(small - full).mean() < 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"not an image at all", "not an image in a supported format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image in a supported format"),
        (encoded(gradient(), "PNG")[:-60], "can't be decoded"),
        (encoded(gradient(), "JPEG")[:-200], "can't be decoded"),
        (encoded(gradient(), "WEBP")[:-40], "can't be decoded|not an image"),
        (encoded(gradient(), "PNG").replace(b"IDAT", b"IDAX"), "can't be decoded|not an image"),
    ],
    ids=["zero-byte", "text", "eps", "truncated png", "truncated jpeg", "truncated webp", "corrupt png"],
)
def test_unreadable_files_say_what_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        open_image(data)


def test_every_corruption_of_a_file_is_an_image_error_or_a_picture() -> None:
    rng = np.random.default_rng(0)
    whole = {kind: encoded(gradient(), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")}
    outcomes = {"opened": 0, "refused": 0}
    for data in whole.values():
        for _ in range(60):
            damaged = bytearray(data)
            for position in rng.integers(0, len(damaged), 6):
                damaged[position] = rng.integers(0, 256)
            try:
                assert open_image(bytes(damaged)).mode == "RGB"
                outcomes["opened"] += 1
            except ImageError:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 0


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (10_000, 10_000)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    assert width * height > MAX_PIXELS
    with pytest.raises(ImageError, match="pixels"):
        open_image(bomb(width, height))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        open_image(tmp_path / "gone.png")


def test_arrays_that_are_no_image_are_refused() -> None:
    for array in (np.zeros((4, 4), np.float32), np.zeros((2, 3, 4, 5), np.uint8), np.zeros((4, 4, 2), np.uint8)):
        with pytest.raises(ImageError, match="is not an image"):
            open_image(array)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="no pixels"):
        open_image(np.zeros((0, 4, 3), np.uint8))
