"""Getting the bytes of an image that a document refers to: by path, file://, data:, http(s):// or an fsspec URL."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from crosslens.errors import ImageError
from crosslens.ingest.sources.cache import ImageCache
from crosslens.ingest.sources.fetching import Fetcher

# An encoded picture of the most pixels that are decoded is smaller than this.
MAX_BYTES = 100 << 20
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
# Protocols of fsspec that would get around the checks of paths and addresses.
_NEVER = {"file", "local", "http", "https", "blockcache", "cached", "dir", "filecache", "reference", "simplecache"}


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


@dataclass(frozen=True)
class ImageAccess:
    """What documents may refer to, and where from.

    ``root`` as in `ImageRoot.of`; ``allow_private_urls`` lets http(s) URLs reach one's own network; ``schemes`` are
    fsspec protocols that are read, such as "s3" (none by default: they use this machine's credentials); ``cache``
    is the folder for downloaded images (None: the user's cache folder).
    """

    root: Path | str | None = None
    allow_private_urls: bool = False
    schemes: tuple[str, ...] = ()
    cache: Path | None = None

    def __post_init__(self) -> None:
        wrong = sorted(_NEVER.intersection(self.schemes))
        if wrong:
            raise ImageError(f"{', '.join(wrong)}: not a scheme to allow; paths and http(s) URLs are read without")

    def reader(self) -> ImageReader:
        """A reader with this access."""
        return ImageReader(self)


class ImageReader:
    """Reads the encoded bytes of images by reference. May be used from several threads."""

    def __init__(self, access: ImageAccess | None = None):
        self._access = access or ImageAccess()
        self._root = ImageRoot.of(self._access.root)

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher(allow_private=self._access.allow_private_urls, cache=ImageCache(self._access.cache))

    def read(self, reference: str, *, fresh_s: float = 3600.0) -> bytes:
        """The encoded bytes of the image that ``reference`` names; a URL's at most ``fresh_s`` seconds old.

        Raises `ImageError` when there is no such image, it is too large, or the reference isn't allowed.
        """
        if reference[:5].lower() == "data:":
            return _read_data_uri(reference)
        found = _SCHEME.match(reference)
        scheme = found[1].lower() if found else ""
        if scheme in ("http", "https"):
            return self._fetcher.fetch(reference, fresh_s=fresh_s)
        if scheme and scheme != "file":
            return self._read_fsspec(reference, scheme)
        return _read_file(reference, self._root)

    def _read_fsspec(self, reference: str, scheme: str) -> bytes:
        if scheme not in self._access.schemes:
            raise ImageError(f"{_shorten(reference)}: {scheme}:// is not read unless allowed", parameter="allow_scheme")
        if "::" in reference:
            raise ImageError(f"{_shorten(reference)}: chained URLs are not read")
        try:
            import fsspec
        except ImportError as error:
            raise ImageError(f"{_shorten(reference)}: needs fsspec", hint="install crosslens[fsspec]") from error
        try:
            filesystem, path = fsspec.core.url_to_fs(reference)
            size = filesystem.size(path)
            if size is not None and size > MAX_BYTES:
                raise ImageError(f"{_shorten(reference)}: {size >> 20} MB are more than the {MAX_BYTES >> 20} allowed")
            data: Any = filesystem.cat_file(path)
        except ImageError:
            raise
        except Exception as error:
            raise ImageError(f"{_shorten(reference)}: can't be read ({type(error).__name__}: {error})") from error
        return bytes(data)


def is_remote(reference: str) -> bool:
    """Whether an image has to be fetched from elsewhere, as far as its reference tells."""
    found = _SCHEME.match(reference)
    return found is not None and found[1].lower() != "file"


def _read_file(reference: str, root: ImageRoot) -> bytes:
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
    text = "".join(unquote(body).split())
    # Many writers leave the padding out.
    padding = "" if text.endswith("=") else "=" * (-len(text) % 4)
    try:
        return base64.b64decode(text + padding, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"{_shorten(uri)}: not valid base64 ({error})") from error


def _shorten(reference: str) -> str:
    return reference if len(reference) <= 120 else f"{reference[:117]}..."
