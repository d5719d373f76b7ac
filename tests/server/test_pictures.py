"""Every kind of picture through both sides: the same picture, or a refusal that says why; never a wrong one."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crosslens.errors import ImageError
from crosslens.ingest.model.encoder import Encoder
from tests.ingest import kinds
from tests.ingest.pictures import RGB, encoded
from tests.server.conftest import Plugged

pytestmark = pytest.mark.node

DATA = Path(__file__).parents[1] / "data" / "pictures"
# What Python reads and the plugin refuses, and how it says so.
ONLY_PYTHON = {"tiff, zstd": "Zstandard", "tiff, grey, zstd": "Zstandard"}
ONLY_PYTHON |= {"tiff, lzma": "LZMA", "tiff, grey, lzma": "LZMA"}
NEITHER = {"jpeg, inks without a word": "inks are inverted", "jpeg, cut off": "cut off", "gif, cut off": "cut off"}


@cache
def files() -> dict[str, bytes]:
    cases = {path.name: path.read_bytes() for path in sorted(DATA.glob("*.jpg"))}
    return kinds.every() | cases


def by_plugin(plugged: Plugged, data: bytes) -> np.ndarray[Any, Any] | str:
    """The vector, or why there is none."""
    body = {"model": "model", "images": [base64.b64encode(data).decode()]}
    status, answer = plugged.http("POST", "_crosslens/encode", body)
    if status == 200:
        return np.array(answer["vectors"][0])
    assert status == 400, answer
    return str(answer["error"]["reason"])


def by_python(encoder: Encoder, data: bytes) -> np.ndarray[Any, Any] | str:
    try:
        return encoder.encode_images([data])[0]
    except ImageError as error:
        return error.message


def test_both_sides_make_the_same_of_every_picture(plugged: Plugged, demo_encoder: Encoder) -> None:
    wrong, refused = {}, {}
    for kind, data in files().items():
        python, plugin = by_python(demo_encoder, data), by_plugin(plugged, data)
        if isinstance(plugin, str):
            refused[kind] = plugin
        elif isinstance(python, str):
            wrong[kind] = python
        elif float(python @ plugin) < 0.999:
            wrong[kind] = f"cosine {float(python @ plugin):.4f}"
    assert not wrong
    expected = ONLY_PYTHON | NEITHER
    assert refused.keys() == expected.keys()
    assert {kind: reason for kind, reason in refused.items() if expected[kind] not in reason} == {}


def test_pictures_differ_in_more_than_rounding(demo_encoder: Encoder) -> None:
    """Otherwise the table above would prove nothing: inverted, in other colours, or turned, the vector is another."""
    picture = np.asarray(Image.open(DATA / "cmyk_adobe_ycck.jpg.ref.png").convert("RGB"))
    others = [255 - picture, picture[..., ::-1], np.rot90(picture), np.full_like(picture, 255)]
    vectors = demo_encoder.encode_images([picture, *map(np.ascontiguousarray, others)])
    assert (vectors[1:] @ vectors[0]).max() < 0.99


@pytest.mark.parametrize("kind", sorted(kinds.OTHERS))
def test_what_is_no_picture_is_named_as_in_python(plugged: Plugged, demo_encoder: Encoder, kind: str) -> None:
    data, named = kinds.OTHERS[kind]
    python, plugin = by_python(demo_encoder, data), by_plugin(plugged, data or b"")
    assert isinstance(python, str)
    assert isinstance(plugin, str)
    assert named in python
    assert named in plugin


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture, which is not read in the cluster"),
        (b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", "an AVIF picture, which is not read in the cluster"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG, which is not read in the cluster"),
    ],
    ids=["heic", "avif", "svg"],
)
def test_what_only_python_reads_is_named(plugged: Plugged, data: bytes, named: str) -> None:
    assert named in by_plugin(plugged, data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_half_a_download_is_named(plugged: Plugged, kind: str) -> None:
    data = encoded(Image.fromarray(RGB), kind)
    said = by_plugin(plugged, data[: len(data) // 2])
    assert "cut off" in said or "truncated" in said


def test_a_file_that_is_no_picture_is_named_with_its_reference(plugged: Plugged) -> None:
    (plugged.images / "page.jpg").write_bytes(kinds.OTHERS["login page"][0])
    step = {"model": "model", "field": "v", "source": "photo", "modality": "image", "record_errors": True}
    plugged.http.ok("PUT", "_ingest/pipeline/pictures", {"processors": [{"crosslens": step}]})
    references = {
        "page.jpg": ("page.jpg", "an HTML page titled 'Sign in'"),
        "//host/x.jpg": ("//host/x.jpg", "without its scheme"),
    }
    body = {"docs": [{"_source": {"photo": reference}} for reference in references]}
    for made, wanted in zip(
        plugged.http.ok("POST", "_ingest/pipeline/pictures/_simulate", body)["docs"], references.values(), strict=True
    ):
        error = made["doc"]["_source"]["crosslens"]["v"]["error"]
        assert all(part in error for part in wanted), error
