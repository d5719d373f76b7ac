"""Finding the bytes that an image reference names."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crosslens.errors import ImageError
from crosslens.ingest.sources.access import ImageAccess, shown
from crosslens.ingest.sources.inline import is_inline
from crosslens.ingest.sources.memory import PICTURES, MemoryBudget, machine_memory
from tests.ingest.tiffs import tiff


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
        ("//cdn.example.org/x.jpg", r"//cdn\.example\.org/x\.jpg: a URL without its scheme; write https://cdn"),
        ("half \ud83d.png", r"half �\.png: (no such file|not a usable path)"),
        ("https://example.org/\ud83d.png", r"example\.org/�\.png: not a usable URL"),
        ("s3://shop/\udc80.png", r"s3://shop/�\.png: not a usable URL"),
        ("data:image/png,\ud83d", "not a usable data URI"),
        ("data:image/png;base64,\ud83d", "not valid base64|not a usable"),
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


PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.mark.parametrize("mark", [PNG[:8], b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP"])
def test_bare_base64_of_an_image_is_read_as_the_server_plugin_reads_it(tmp_path: Path, mark: bytes) -> None:
    data = mark + bytes(range(256))
    images = ImageAccess(root=tmp_path).reader()
    text = base64.b64encode(data).decode()
    assert images.read(text) == data
    assert images.read(text.rstrip("=")) == data
    assert images.read("\n".join(text[i : i + 76] for i in range(0, len(text), 76))) == data
    assert is_inline(text)
    assert shown(text) == f"{text[:24]}... ({len(text)} characters)"


def test_a_path_that_could_be_base64_is_a_path(tmp_path: Path) -> None:
    name = "a" * 40
    (tmp_path / name).write_bytes(b"x")
    assert ImageAccess(root=tmp_path).reader().read(name) == b"x"
    assert not is_inline(name)


def test_files_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(PNG)
    text = base64.b64encode(PNG).decode()
    for reference in ("x.png", text, f"data:;base64,{text}"):
        assert ImageAccess(root=tmp_path, max_bytes=len(PNG)).reader().read(reference) == PNG
        with pytest.raises(ImageError, match="allowed"):
            ImageAccess(root=tmp_path, max_bytes=200).reader().read(reference)


def test_the_memory_for_pictures_is_shared_and_waited_for() -> None:
    budget = MemoryBudget(100)
    most, lock = [0], threading.Lock()

    def decode(amount: int) -> int:
        with budget.taken(amount):
            with lock:
                most[0] = max(most[0], budget.used)
            time.sleep(0.002)
            return amount

    amounts = [30, 60, 10, 500, 40, 100] * 10
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(decode, amounts)) == amounts
    # A larger one than all of it goes alone.
    assert most[0] == 500
    assert budget.used == 0


def test_the_memory_for_pictures_can_be_set() -> None:
    before = PICTURES.limit
    assert machine_memory() > 0
    try:
        ImageAccess(memory=123 << 20).reader()
        assert PICTURES.limit == 123 << 20
        ImageAccess().reader()
        assert PICTURES.limit == 123 << 20
    finally:
        PICTURES.resize(before)


_PEAK = """
import io, sys
import numpy as np
from pathlib import Path
from crosslens.ingest.sources.images import open_image

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10

data = sys.stdin.buffer.read()
before = peak()
picture = open_image(data)
print((peak() - before) / (picture.width * picture.height))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("kind", "decoded"),
    [("I;16", 2), ("RGBA", 4), ("turned", 1), ("float TIFF", 4)],
)
def test_decoding_takes_at_most_six_bytes_a_pixel_beside_the_picture(kind: str, decoded: int) -> None:
    side = 3000
    grey = np.zeros((side, side), np.uint8)
    grey[: side // 2] = 200
    buffer = io.BytesIO()
    if kind == "float TIFF":
        buffer.write(tiff(grey.astype(np.float32) / 255, 1, packed=True))
    elif kind == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(buffer, "PNG")
    elif kind == "RGBA":
        Image.fromarray(np.dstack([grey] * 4)).save(buffer, "PNG")
    else:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(grey).save(buffer, "PNG", exif=exif)
    done = subprocess.run([sys.executable, "-c", _PEAK], input=buffer.getvalue(), capture_output=True, check=True)
    # With room for what doesn't grow with the picture.
    assert float(done.stdout) < decoded + 6 + (24 << 20) / side**2
