"""Pictures that people give, and thumbnails of documents' pictures."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from crosslens.errors import ImageError, QueryError
from crosslens.ingest.sources.access import ImageAccess
from crosslens.serving.given import MOST_BYTES, GivenPictures
from crosslens.serving.kept import Kept
from crosslens.serving.referred import Referred, Signer
from crosslens.serving.thumbnails import SIDE, Thumbnails


def _picture(size: tuple[int, int], colour: str = "red", kind: str = "PNG", **how: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind, **how)
    return buffer.getvalue()


def test_a_given_picture_is_kept_decoded_without_the_sender_s_bytes(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    exif[0x0112] = 6
    sent = _picture((1600, 1700), kind="JPEG", exif=exif) + b"<script>alert(1)</script>"
    pictures = GivenPictures(tmp_path / "given")
    id = pictures.keep(sent)
    kept = pictures.read(id)
    assert b"where I live" not in kept
    assert b"script" not in kept
    with Image.open(io.BytesIO(kept)) as shown:
        assert shown.format == "WEBP"
        assert shown.width > shown.height, "it is upright"
        assert 768 <= min(shown.size) < 2 * 768
    assert pictures.keep(sent) == id
    assert [each.name for each in (tmp_path / "given").iterdir()] == [f"{id}.webp"]


@pytest.mark.parametrize("sent", [b"", b"GIF89a", b"<svg onload=alert(1)>", b"%PDF-1.7", _picture((9, 9))[:40]])
def test_what_cannot_be_decoded_is_refused_and_not_kept(tmp_path: Path, sent: bytes) -> None:
    with pytest.raises(ImageError):
        GivenPictures(tmp_path).keep(sent)
    assert not list(tmp_path.iterdir())


def test_too_many_bytes_are_refused_before_decoding(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="32,000,000 bytes"):
        GivenPictures(tmp_path).keep(bytes(MOST_BYTES + 1))


def test_a_strip_is_kept_within_the_format_s_limits(tmp_path: Path) -> None:
    pictures = GivenPictures(tmp_path)
    with Image.open(io.BytesIO(pictures.read(pictures.keep(_picture((40_000, 3)))))) as shown:
        assert shown.width <= 16_383


def test_the_folder_stays_within_its_bytes_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    pictures = GivenPictures(tmp_path)
    ids = [pictures.keep(_picture((64, 64), colour)) for colour in ("red", "green", "blue")]
    for age, id in enumerate((ids[1], ids[2], ids[0])):
        os.utime(tmp_path / f"{id}.webp", (age, age))
    size = sum(each.stat().st_size for each in tmp_path.iterdir())
    last = GivenPictures(tmp_path, size).keep(_picture((64, 64), "white"))
    assert {each.stem for each in tmp_path.iterdir()} <= {ids[0], ids[2], last}
    with pytest.raises(QueryError, match="give it again"):
        pictures.read(ids[1])


@pytest.mark.parametrize("id", ["../../etc/passwd", "", "A" * 64, "0" * 63, "0" * 64])
def test_an_id_is_no_path(tmp_path: Path, id: str) -> None:
    with pytest.raises(QueryError):
        GivenPictures(tmp_path).read(id)


def test_an_address_means_what_it_was_made_for_and_only_to_its_maker() -> None:
    signer = Signer()
    for reference in ("a/b.png", "https://shop.example/ü.jpg?x=1", "\ud800.png", ""):
        referred = Referred("picture", reference)
        address = signer.address(referred)
        assert address is not None
        assert signer.read(address) == referred
        assert Signer().read(address) is None
        for i in range(0, len(address) - 1):
            changed = address[:i] + ("A" if address[i] != "A" else "B") + address[i + 1 :]
            assert signer.read(changed) is None
    for foreign in ("", "A", "ä", "../../etc/passwd", "=" * 8):
        assert signer.read(foreign) is None
    assert Signer(b"shared").read(str(Signer(b"shared").address(referred))) == referred


def test_an_inline_picture_has_no_address() -> None:
    assert Signer().address(Referred("picture", "data:image/png;base64," + "A" * 5_000)) is None


def test_thumbnails_are_small_and_kept_and_never_of_files_outside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "wide.png").write_bytes(_picture((1000, 10)))
    (tmp_path / "secret.png").write_bytes(_picture((8, 8)))
    thumbnails = Thumbnails(ImageAccess(root=root).reader())
    with Image.open(io.BytesIO(thumbnails.of("wide.png"))) as shown:
        assert shown.size == (SIDE, 3)
    (root / "wide.png").unlink()
    assert thumbnails.of("wide.png")
    for reference in ("../secret.png", str(tmp_path / "secret.png"), "file:///etc/passwd", "s3://bucket/a.png"):
        with pytest.raises(ImageError):
            thumbnails.of(reference)


def test_what_was_used_last_is_kept() -> None:
    kept = Kept(6)
    kept.put("a", b"aaa")
    kept.put("b", b"bbb")
    assert kept.get("a") == b"aaa"
    kept.put("c", b"c")
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (b"aaa", None, b"c")
    kept.put("a", b"a")
    kept.put("large", bytes(7))
    assert kept.get("large") is None
    kept.put("d", b"dddd")
    assert (kept.get("a"), kept.get("c"), kept.get("d")) == (b"a", b"c", b"dddd")
