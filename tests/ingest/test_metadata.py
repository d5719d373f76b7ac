"""Of a picture's metadata only the orientation counts, and nothing odd in the rest stands in the way."""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from crosslens.errors import ImageError
from crosslens.ingest.sources.formats.remarks import remarks
from crosslens.ingest.sources.images import PictureRules, open_image

SIZE, TURNED = (80, 48), (48, 80)
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"%s>%s</rdf:Description></rdf:RDF></x:xmpmeta>'
)
AS_ELEMENT = XMP % (b"", b"<tiff:Orientation>6</tiff:Orientation>")
AS_ATTRIBUTE = XMP % (b' tiff:Orientation="6"', b"")
XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"


def picture() -> Image.Image:
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    return Image.fromarray(np.stack([x * 3, y * 5, (x + y) * 2], -1).clip(0, 255).astype(np.uint8))


def encoded(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int, *further: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """An EXIF block of an orientation and of further (tag, type, count, four bytes of value or offset)."""
    entries = [(0x0112, 3, 1, struct.pack(f"{order}HH", orientation, 0)), *further]
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(f"{order}IH", 8, len(entries))
    return head + b"".join(struct.pack(f"{order}HHI", *e[:3]) + e[3] for e in sorted(entries)) + b"\0\0\0\0"


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def with_chunk(png: bytes, kind: bytes, content: bytes, at: int = 33) -> bytes:
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return png[:at] + chunk + png[at:]


def raw_profile(name: bytes, block: bytes) -> bytes:
    """A block as ImageMagick writes it into a text."""
    digits = block.hex().encode()
    lines = b"\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
    return b"\n" + name + b"\n" + str(len(block)).rjust(8).encode() + b"\n" + lines + b"\n"


def test_xmp_and_raw_profiles_say_how_a_picture_was_held() -> None:
    jpeg, png = encoded("JPEG"), encoded("PNG")
    block = b"Exif\0\0" + exif(6)
    for data in (
        with_segment(jpeg, 0xE1, XMP_MARK + AS_ELEMENT),
        with_segment(jpeg, 0xE1, XMP_MARK + AS_ATTRIBUTE),
        encoded("WEBP", xmp=AS_ELEMENT),
        with_chunk(png, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + AS_ELEMENT),
        with_chunk(png, b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0key\0" + zlib.compress(AS_ATTRIBUTE)),
        with_chunk(png, b"eXIf", exif(6)),
        with_chunk(png, b"eXIf", exif(6, order=">"), at=len(png) - 12),
        with_chunk(png, b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(b"exif", block))),
        with_chunk(png, b"tEXt", b"Raw profile type exif\0" + raw_profile(b"exif", block)),
        with_chunk(png, b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(raw_profile(b"APP1", block))),
        with_chunk(png, b"tEXt", b"Raw profile type APP1\0" + raw_profile(b"APP1", XMP_MARK + AS_ELEMENT)),
        with_chunk(png, b"tEXt", b"Raw profile type xmp\0" + raw_profile(b"xmp", AS_ATTRIBUTE)),
    ):
        assert open_image(data).size == TURNED


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


@pytest.mark.parametrize(
    ("data", "is_"),
    [
        (b"%PDF-1.7\n", "a PDF document"),
        (b"<!DOCTYPE html><html><head><title>Sign in</title>", "an HTML page titled 'Sign in'"),
        (b"\n <html lang=de>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a Git LFS pointer"),
        (b'{"error": "not found"}', "a JSON document"),
        (b'<?xml version="1.0"?><feed/>', "an XML document"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "an MP4 video"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a QuickTime video"),
        (b"\0" * 64, "nothing but zero bytes"),
        (b"PK\3\4", "a ZIP archive"),
        ("schöne Grüße".encode(), "text \\('schöne Grüße'\\)"),
        (bytes(range(128, 160)), "a file that begins with 80 81"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, is_: str) -> None:
    with pytest.raises(ImageError, match=f"^shoe.jpg: not an image in a supported format but {is_}"):
        open_image(data, rules=PictureRules(name="shoe.jpg"))


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
