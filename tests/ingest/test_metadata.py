"""Of a picture's metadata only the orientation counts, and nothing odd in the rest stands in the way."""

from __future__ import annotations

import io
import logging
import struct
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from crosslens.errors import ImageError
from crosslens.ingest.sources.formats.remarks import remarks
from crosslens.ingest.sources.images import PictureRules, open_image
from tests.ingest import kinds, pictures
from tests.ingest.pictures import AS_ELEMENT, XMP_MARK, exif, with_chunk, with_segment

SIZE, TURNED = (80, 48), (48, 80)


def picture() -> Image.Image:
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    return Image.fromarray(np.stack([x * 3, y * 5, (x + y) * 2], -1).clip(0, 255).astype(np.uint8))


def encoded(kind: str, **options: object) -> bytes:
    return pictures.encoded(picture(), kind, **options)


@pytest.mark.parametrize("kind", sorted(kinds.turned(picture())))
def test_xmp_and_raw_profiles_say_how_a_picture_was_held(kind: str) -> None:
    assert open_image(kinds.turned(picture())[kind]).size == TURNED


@pytest.mark.parametrize("size", [60_000, 1_000_000])
def test_a_packet_of_one_long_word_is_searched_once(size: int) -> None:
    start = time.monotonic()
    assert open_image(encoded("WEBP", xmp=b"a" * size + b":Orientation" * 1000)).size == SIZE
    assert time.monotonic() - start < 5


def test_only_so_many_texts_are_unpacked() -> None:
    start, data = time.monotonic(), encoded("PNG")
    text = with_chunk(b"", b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"a" * (1 << 20), 9), at=0)
    assert open_image(data[:33] + text * 2_000 + data[33:]).size == SIZE
    assert time.monotonic() - start < 5


def test_exif_comes_before_xmp() -> None:
    data = with_segment(with_segment(encoded("JPEG"), 0xE1, XMP_MARK + AS_ELEMENT), 0xE1, b"Exif\0\0" + exif(1))
    assert open_image(data).size == SIZE


@pytest.mark.parametrize(
    "odd",
    [
        (0x011A, 5, 1, b"\xff\xff\xff\x7f"),
        (0x8769, 4, 1, b"\xff\xff\xff\xff"),
        (0x0131, 2, 1 << 30, b"abcd"),
        (0x010E, 99, 1, b"abcd"),
        (0x0132, 3, 1, b"\1\2\3\4"),
    ],
    ids=["rational beyond the end", "directory beyond the end", "endless text", "unknown type", "number for a date"],
)
def test_an_odd_tag_stops_no_turned_picture(odd: tuple[int, int, int, bytes]) -> None:
    block = exif(6, odd)
    for data in (
        with_segment(encoded("JPEG"), 0xE1, b"Exif\0\0" + block),
        with_chunk(encoded("PNG"), b"eXIf", block),
        encoded("WEBP", exif=block),
    ):
        assert open_image(data).size == TURNED


def test_garbage_for_metadata_is_passed_over() -> None:
    garbage = bytes(range(256)) * 8
    assert open_image(encoded("WEBP", exif=garbage)).size == SIZE
    assert open_image(with_segment(encoded("JPEG"), 0xE1, b"Exif\0\0" + garbage)).size == SIZE
    assert open_image(with_segment(encoded("JPEG"), 0xE2, b"MPF\0" + garbage)).size == SIZE
    assert open_image(with_chunk(encoded("PNG"), b"eXIf", garbage)).size == SIZE
    assert open_image(with_chunk(encoded("PNG"), b"iCCP", garbage)).size == SIZE
    assert open_image(with_chunk(encoded("PNG"), b"zTXt", b"Raw profile type exif\0\0" + garbage)).size == SIZE
    assert open_image(with_chunk(encoded("PNG"), b"acTL", struct.pack(">II", 1 << 30, 0))).size == SIZE


def test_much_text_in_a_png_is_passed_over() -> None:
    large = zlib.compress(b"x" * (2 << 20))
    data = with_chunk(encoded("PNG"), b"zTXt", b"Comment\0\0" + large)
    assert open_image(with_chunk(data, b"iTXt", b"Title\0\1\0\0\0" + large)).size == SIZE
    many = encoded("PNG")
    for _ in range(40):
        many = with_chunk(many, b"tEXt", b"Comment\0" + b"y" * 50_000)
    assert open_image(many).size == SIZE


def noisy(**options: object) -> bytes:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:300, 0:400]
    pixels = np.stack([127 + 120 * np.sin(x / 30), x / 2, y / 2], -1) + rng.normal(0, 8, (300, 400, 1))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("target", [0, 50])
def test_a_jpeg_that_lacks_its_last_bytes_is_read_on_request(progressive: bool, target: int) -> None:
    data = noisy(progressive=progressive)
    let_pass = []
    rules = PictureRules(tolerate_truncated=True, truncated=lambda: let_pass.append(1), name="p.jpg")
    cut = data[: -len(data) // 50]
    with pytest.raises(
        ImageError, match=r"p\.jpg: .*cut off after [\d,]+ bytes, without the last . % .*; fetch it again"
    ):
        open_image(cut, target=target, rules=PictureRules(name="p.jpg"))
    opened, whole = (np.asarray(open_image(each, target=target, rules=rules), int) for each in (cut, data))
    assert np.abs(opened - whole).mean() < 4
    assert let_pass == [1]
    for part in (0.1, 0.5, 0.8):
        with pytest.raises(ImageError, match="cut off"):
            open_image(data[: int(len(data) * part)], target=target, rules=rules)
    assert let_pass == [1]


def test_a_jpeg_without_its_end_mark_lacks_nothing() -> None:
    data = noisy()
    assert np.array_equal(np.asarray(open_image(data[:-2])), np.asarray(open_image(data)))


def test_remarks_of_decoders_are_one_line_in_the_log_for_each_picture(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    buffer = io.BytesIO()
    picture().save(buffer, "TIFF", compression="tiff_lzw")
    data = bytearray(buffer.getvalue())
    for at in range(100, len(data) // 2, 7):
        data[at] ^= 0x55
    with caplog.at_level(logging.WARNING, "crosslens"), pytest.raises(ImageError, match="damaged TIFF"):
        open_image(bytes(data), rules=PictureRules(name="broken.tif"))
    assert [record.getMessage()[:11] for record in caplog.records] in ([], ["broken.tif:"])
    assert capfd.readouterr() == ("", "")


def test_remarks_belong_to_the_thread_that_decodes(caplog: pytest.LogCaptureFixture) -> None:
    def decode(name: str) -> list[str]:
        with remarks(name) as said:
            for i in range(20):
                warnings.warn(f"{name} {i}", stacklevel=1)
            return list(said)

    with ThreadPoolExecutor(4) as pool, warnings.catch_warnings():
        warnings.simplefilter("always")
        names = [f"p{i}" for i in range(40)]
        for name, said in zip(names, pool.map(decode, names), strict=True):
            assert said == [f"{name} {i}" for i in range(20)]
    assert sorted(record.getMessage() for record in caplog.records) == sorted(
        f"{name}: {name} 0 (and 19 more remarks)" for name in names
    )


@pytest.mark.parametrize("kind", sorted(kinds.OTHERS))
def test_what_is_no_picture_is_named(kind: str) -> None:
    data, is_ = kinds.OTHERS[kind]
    with pytest.raises(ImageError) as refused:
        open_image(data, rules=PictureRules(name="shoe.jpg"))
    assert refused.value.message.startswith("shoe.jpg: ")
    assert is_ in refused.value.message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_half_a_download_is_named(kind: str) -> None:
    data = encoded(kind)
    with pytest.raises(ImageError, match=f"the {kind} is cut off after [\\d,]+ bytes"):
        open_image(data[: len(data) // 2])


def test_limits_can_be_set() -> None:
    data = encoded("PNG")
    assert open_image(data, rules=PictureRules(max_pixels=80 * 48)).size == SIZE
    with pytest.raises(ImageError, match="80 x 48 pixels are more than the 3,839 allowed"):
        open_image(data, rules=PictureRules(max_pixels=80 * 48 - 1))
