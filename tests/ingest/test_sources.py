"""Finding the bytes that an image reference names."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from crosslens.errors import ImageError
from crosslens.ingest.sources.access import ImageAccess


def test_relative_paths_start_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b c.png").write_bytes(b"x")
    images = ImageAccess(root=tmp_path).reader()
    assert images.read("a/b c.png") == b"x"
    assert images.read(f"file://{tmp_path}/a/b%20c.png") == b"x"
    assert images.read(str(tmp_path / "a/b c.png")) == b"x"


@pytest.mark.parametrize("reference", ["../secret.png", "/etc/hostname", "a/../../secret.png", "file:///etc/hostname"])
def test_no_path_leads_out_of_a_given_root(tmp_path: Path, reference: str) -> None:
    (tmp_path / "root/a").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"secret")
    with pytest.raises(ImageError, match="outside the image folder"):
        ImageAccess(root=tmp_path / "root").reader().read(reference)


def test_a_link_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "root/link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ImageError, match="outside the image folder"):
        ImageAccess(root=tmp_path / "root").reader().read("link.png")


def test_without_a_root_absolute_paths_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"x")
    assert ImageAccess().reader().read(str(tmp_path / "x.png")) == b"x"


def test_data_uris_are_decoded() -> None:
    data = bytes(range(256))
    images = ImageAccess().reader()
    assert images.read("data:image/png;base64," + base64.b64encode(data).decode()) == data
    assert images.read("data:,a%20b") == b"a b"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("nowhere.png", "no such file"),
        ("data:image/png;base64", "without a comma"),
        ("data:image/png;base64,@@@", "not valid base64"),
        ("s3://shop/x.png", "s3:// is not read unless allowed$"),
        ("memory://x.png", "memory:// is not read unless allowed$"),
        ("a\0b", "NUL"),
        (".", "no such file"),
    ],
)
def test_bad_references_say_what_is_wrong(tmp_path: Path, reference: str, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        ImageAccess(root=tmp_path).reader().read(reference)


def test_an_allowed_fsspec_scheme_is_read_and_others_are_not(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="the extra 'fsspec' is not installed")
    with fsspec.open("memory://shop/x.png", "wb") as file:
        file.write(b"x")
    images = ImageAccess(root=tmp_path, schemes=("memory",)).reader()
    assert images.read("memory://shop/x.png") == b"x"
    with pytest.raises(ImageError, match=r"memory://shop/y\.png: can't be read \(FileNotFoundError"):
        images.read("memory://shop/y.png")
    with pytest.raises(ImageError, match=r"ftp:// is not read unless allowed$") as refused:
        images.read("ftp://shop/y.png")
    assert refused.value.parameter == "allow_scheme"


@pytest.mark.parametrize("reference", ["memory://x::file:///etc/hostname", "memory://a::http://127.0.0.1/"])
def test_chained_urls_lead_around_no_check(reference: str) -> None:
    pytest.importorskip("fsspec", reason="the extra 'fsspec' is not installed")
    with pytest.raises(ImageError, match="chained"):
        ImageAccess(schemes=("memory",)).reader().read(reference)


@pytest.mark.parametrize("scheme", ["file", "http", "simplecache"])
def test_schemes_that_would_get_around_the_checks_cannot_be_allowed(scheme: str) -> None:
    with pytest.raises(ImageError, match="not a scheme to allow"):
        ImageAccess(schemes=(scheme,))
