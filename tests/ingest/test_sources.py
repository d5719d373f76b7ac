"""Finding the bytes that an image reference names."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from crosslens.errors import ImageError
from crosslens.ingest.sources import ImageRoot, read_image


def test_relative_paths_start_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b c.png").write_bytes(b"x")
    root = ImageRoot.of(tmp_path)
    assert read_image("a/b c.png", root) == b"x"
    assert read_image(f"file://{tmp_path}/a/b%20c.png", root) == b"x"
    assert read_image(str(tmp_path / "a/b c.png"), root) == b"x"


@pytest.mark.parametrize("reference", ["../secret.png", "/etc/hostname", "a/../../secret.png", "file:///etc/hostname"])
def test_no_path_leads_out_of_a_given_root(tmp_path: Path, reference: str) -> None:
    (tmp_path / "root/a").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"secret")
    with pytest.raises(ImageError, match="outside the image folder"):
        read_image(reference, ImageRoot.of(tmp_path / "root"))


def test_a_link_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "root/link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ImageError, match="outside the image folder"):
        read_image("link.png", ImageRoot.of(tmp_path / "root"))


def test_without_a_root_absolute_paths_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"x")
    assert read_image(str(tmp_path / "x.png"), ImageRoot.of(None)) == b"x"


def test_data_uris_are_decoded() -> None:
    data = bytes(range(256))
    root = ImageRoot.of(None)
    assert read_image("data:image/png;base64," + base64.b64encode(data).decode(), root) == data
    assert read_image("data:,a%20b", root) == b"a b"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("nowhere.png", "no such file"),
        ("data:image/png;base64", "without a comma"),
        ("data:image/png;base64,@@@", "not valid base64"),
        ("https://example.org/x.png", "https:// images are not read"),
        ("a\0b", "NUL"),
        (".", "no such file"),
    ],
)
def test_bad_references_say_what_is_wrong(tmp_path: Path, reference: str, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        read_image(reference, ImageRoot.of(tmp_path))
