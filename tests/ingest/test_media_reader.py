"""Sounds and videos that documents refer to: found by the rules of pictures, streamed, and hashed."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from crosslens.errors import MediaError
from crosslens.ingest.sources.access import ImageAccess
from crosslens.ingest.sources.hashing import content_hash
from crosslens.ingest.sources.media import MediaReader
from tests.ingest.test_fetching import Site, say

DATA = b"RIFF" + bytes(range(256)) * 100
CAPTIONS = b"WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "a.wav").write_bytes(DATA)
    (tmp_path / "outside.wav").write_bytes(DATA)
    return folder


def read(reader: MediaReader, reference: str) -> tuple[bytes, str, bytes | None]:
    with reader.open(reference) as found:
        assert found.size == len(DATA)
        return found.file.read(), found.content, found.captions


def test_a_path_below_the_root_is_opened_and_hashed(root: Path) -> None:
    reader = MediaReader(ImageAccess(root=root))
    for reference in ("a.wav", str(root / "a.wav"), f"file://{root}/a.wav"):
        assert read(reader, reference) == (DATA, content_hash(DATA), None)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("../outside.wav", "lies outside the image folder"),
        ("b.wav", "no such file"),
        ("a.wav/b", "no such file"),
        (".", "no such file"),
        ("pipe.wav", "no such file"),
        ("a\0.wav", "NUL"),
        ("//example.org/a.wav", "a URL without its scheme"),
        ("s3://bucket/a.wav", "s3:// is not read unless allowed"),
        ("concat:a.wav|b.wav", "no such file"),
        ("http://127.0.0.1:1/a.wav", "not a public address"),
        ("data:audio/wav;base64,!", "not valid base64"),
    ],
)
def test_what_is_not_there_or_not_allowed_is_said(root: Path, reference: str, said: str) -> None:
    os.mkfifo(root / "pipe.wav")
    with pytest.raises(MediaError, match=said):
        MediaReader(ImageAccess(root=root)).open(reference)


def test_captions_beside_a_file_are_part_of_its_content(root: Path) -> None:
    reader = MediaReader(ImageAccess(root=root))
    _, alone, _ = read(reader, "a.wav")
    (root / "a.srt").write_bytes(b"1\n00:00:01,000 --> 00:00:02,000\nHi\n")
    _, with_srt, found = read(reader, "a.wav")
    assert found == (root / "a.srt").read_bytes()
    (root / "a.vtt").write_bytes(CAPTIONS)
    _, with_vtt, found = read(reader, "a.wav")
    assert found == CAPTIONS
    assert len({alone, with_srt, with_vtt}) == 3


def test_captions_that_lead_out_of_the_root_are_not_read(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(CAPTIONS)
    (root / "a.vtt").symlink_to(tmp_path / "secret")
    assert read(MediaReader(ImageAccess(root=root)), "a.wav")[2] is None


def test_a_url_is_streamed_into_a_file_without_a_name(site: Site, root: Path) -> None:
    site.answers["/a.wav"] = say(200, DATA)
    site.answers["/moved.wav"] = say(302, location="/a.wav")
    reader = MediaReader(ImageAccess(root=root, allow_private_urls=True))
    assert read(reader, f"{site.url}/moved.wav") == (DATA, content_hash(DATA), None)
    assert "audio/*" in site.asked[0][1]["accept"]
    with pytest.raises(MediaError, match="the server answered 404"):
        reader.open(f"{site.url}/none.wav")


def test_no_more_bytes_are_read_than_allowed(site: Site, root: Path) -> None:
    site.answers["/a.wav"] = say(200, DATA)
    data_uri = "data:audio/wav;base64," + base64.b64encode(DATA).decode()
    reader = MediaReader(ImageAccess(root=root, allow_private_urls=True), max_bytes=1000)
    for reference in ("a.wav", f"{site.url}/a.wav", data_uri):
        with pytest.raises(MediaError, match="more than the 1,000"):
            reader.open(reference)
    assert read(MediaReader(), data_uri) == (DATA, content_hash(DATA), None)


def test_an_allowed_fsspec_scheme_is_streamed_with_its_captions(root: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="the extra 'fsspec' is not installed")
    for name, data in (("a.wav", DATA), ("a.vtt", CAPTIONS)):
        with fsspec.open(f"memory://clips/{name}", "wb") as file:
            file.write(data)
    reader = MediaReader(ImageAccess(root=root, schemes=("memory",)))
    assert read(reader, "memory://clips/a.wav")[::2] == (DATA, CAPTIONS)
    with pytest.raises(MediaError, match="can't be read"):
        reader.open("memory://clips/b.wav")
    with pytest.raises(MediaError, match="chained"):
        reader.open("memory://clips/a.wav::memory://x")
    with pytest.raises(MediaError, match="more than the 10 allowed"):
        MediaReader(ImageAccess(schemes=("memory",)), max_bytes=10).open("memory://clips/a.wav")
