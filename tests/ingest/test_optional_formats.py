"""HEIC and SVG: read where an extra is installed, and an SVG reads nothing but itself."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from crosslens.errors import ImageError
from crosslens.ingest.sources.images import PictureRules, open_image

SQUARE = '<rect width="50" height="50" fill="red"/>'


def svg(body: str, attributes: str = 'viewBox="0 0 100 50"') -> bytes:
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"<svg {names} {attributes}>{body}</svg>".encode()


@pytest.fixture
def resvg() -> None:
    pytest.importorskip("resvg_py", reason="the extra 'svg' is not installed")


@pytest.mark.usefixtures("resvg")
@pytest.mark.parametrize(
    "data",
    [
        svg(SQUARE),
        svg(SQUARE).decode().encode("utf-16"),
        b'<?xml version="1.0"?><!-- <svg> --><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd">' + svg(SQUARE),
        svg(f'<a xlink:href="https://example.org/">{SQUARE}</a>'),
        svg('<defs><rect id="r" width="50" height="50" fill="red"/></defs><use xlink:href="#r"/>'),
    ],
    ids=["plain", "UTF-16", "with a prologue", "with a link", "with a reference"],
)
def test_an_svg_is_drawn_on_white(data: bytes) -> None:
    opened = open_image(data, target=100)
    assert opened.size == (512, 256)
    assert (opened.getpixel((100, 100)), opened.getpixel((500, 20))) == ((255, 0, 0), (255, 255, 255))


@pytest.mark.usefixtures("resvg")
def test_an_svg_is_drawn_no_larger_than_is_needed() -> None:
    vast = svg(SQUARE, 'width="1000000" height="500000" viewBox="0 0 100 50"')
    assert open_image(vast).size == (2048, 1024)
    assert open_image(vast, target=224).size == (896, 448)


@pytest.mark.usefixtures("resvg")
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (svg('<image href="file:///etc/passwd"/>'), "outside the file"),
        (svg("<image xlink:href='/etc/hostname'/>"), "outside the file"),
        (svg('<image href="&#47;etc/hostname"/>'), "outside the file"),
        (svg('<use href="http://127.0.0.1/x.svg#a"/>'), "outside the file"),
        (svg('<image href="data:image/svg+xml;base64,PHN2Zy8+"/>'), "another SVG"),
        (svg('<rect style="fill: url( http://x/y#a )"/>'), "outside the file"),
        (svg("<style>@import 'x.css';</style>"), "style sheet"),
        (b'<?xml-stylesheet href="x.css"?>' + svg(SQUARE), "outside the file"),
        (b'<!DOCTYPE svg [<!ENTITY a "b">]>' + svg(SQUARE), "entities"),
        (svg(SQUARE, 'width="100000" height="1"'), "longer than wide"),
        (svg(SQUARE)[:-20], "can't be drawn"),
    ],
)
def test_an_svg_that_asks_for_more_than_itself_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=f"^logo.svg: .*{says}"):
        open_image(data, rules=PictureRules(name="logo.svg"))


@pytest.mark.usefixtures("resvg")
def test_an_svg_that_takes_forever_is_given_up() -> None:
    groups = "".join(f'<g id="g{i}">' + f'<use xlink:href="#g{i - 1}"/>' * 10 + "</g>" for i in range(1, 9))
    with pytest.raises(ImageError, match=r"is not read|can't be drawn"):
        open_image(svg(f'<defs><g id="g0">{SQUARE}</g>{groups}</defs><use xlink:href="#g8"/>'))


def test_what_an_extra_would_read_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"^a\.svg: an SVG .*crosslens\[svg\]"):
        open_image(svg(SQUARE), rules=PictureRules(name="a.svg"))
    with pytest.raises(ImageError, match=r"^a\.heic: a HEIC picture .*crosslens\[heif\]"):
        open_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", rules=PictureRules(name="a.heic"))


def test_a_heic_picture_is_read_upright() -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra 'heif' is not installed")
    y, x = np.mgrid[0:64, 0:96]
    picture = Image.fromarray(np.stack([x * 2, y * 3, x + y], -1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    for orientation, size in ((1, (96, 64)), (6, (64, 96))):
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        heif.from_pillow(picture).save(buffer, quality=95, exif=exif.tobytes())
        opened = open_image(buffer.getvalue())
        assert opened.size == size
    with pytest.raises(ImageError, match="damaged HEIF"):
        open_image(buffer.getvalue()[:500])
