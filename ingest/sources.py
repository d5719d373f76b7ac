"""Getting the bytes of an image that a document refers to."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from crosslens.errors import ImageError

# An encoded picture of the most pixels that are decoded is smaller than this.
MAX_BYTES = 100 << 20


@dataclass(frozen=True)
class ImageRoot:
    """Where relative image paths start. With ``confined``, no path may lead out of ``folder``."""

    folder: Path
    confined: bool

    @classmethod
    def of(cls, folder: Path | str | None) -> ImageRoot:
        """The folder given, and only it; or, for None, the working directory, with absolute paths allowed."""
        if folder is None:
            return cls(Path.cwd(), confined=False)
        return cls(Path(folder).expanduser().resolve(), confined=True)

    def locate(self, reference: str) -> Path:
        """The file that ``reference`` (a path or file:// URL) names.

        Raises `ImageError` when it leads out of the root, or names something else than a file.
        """
        path = unquote(urlsplit(reference).path) if reference.startswith("file://") else reference
        if "\0" in path:
            raise ImageError("the image path holds a NUL character")
        try:
            found = (self.folder / Path(path)).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise ImageError(f"{_shorten(reference)}: not a usable path ({error})") from error
        if self.confined and not found.is_relative_to(self.folder):
            raise ImageError(f"{_shorten(reference)}: lies outside the image folder {self.folder}")
        return found


def read_image(reference: str, root: ImageRoot) -> bytes:
    """The encoded bytes of an image referred to by path, file:// URL or data URI.

    Raises `ImageError` when there is no such file, it is larger than `MAX_BYTES`, or the reference is of another kind.
    """
    if reference[:5].lower() == "data:":
        return _read_data_uri(reference)
    scheme = reference.split("://", 1)[0].lower() if "://" in reference else ""
    if scheme and scheme != "file":
        raise ImageError(f"{_shorten(reference)}: {scheme}:// images are not read; store a path or a data URI")
    path = root.locate(reference)
    try:
        if not path.is_file():
            raise ImageError(f"{_shorten(reference)}: no such file in {root.folder}")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ImageError(f"{_shorten(reference)}: {size >> 20} MB are more than the {MAX_BYTES >> 20} allowed")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{_shorten(reference)}: can't be read ({error.strerror or error})") from error


def _read_data_uri(uri: str) -> bytes:
    """RFC 2397: ``data:[type][;base64],data``."""
    head, comma, body = uri.partition(",")
    if not comma:
        raise ImageError(f"{_shorten(uri)}: a data URI without a comma")
    if len(body) > MAX_BYTES * 4 // 3:
        raise ImageError(f"{_shorten(uri)}: more than the {MAX_BYTES >> 20} MB allowed")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode("".join(unquote(body).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"{_shorten(uri)}: not valid base64 ({error})") from error


def _shorten(reference: str) -> str:
    return reference if len(reference) <= 120 else f"{reference[:117]}..."
