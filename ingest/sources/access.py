"""Getting the bytes of an image that a document refers to: by path, URL (file, data, http(s), fsspec), or as base64.

References have the same meaning in the server plugin (`References.java`), which doesn't read URLs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from crosslens.errors import CrosslensError, ImageError, QueryError
from crosslens.ingest.sources.cache import ImageCache
from crosslens.ingest.sources.fetching import MAX_FETCHED, Fetcher, shown_url
from crosslens.ingest.sources.formats.common import MAX_PIXELS, PictureRules
from crosslens.ingest.sources.inline import MAX_BYTES, base64_of_image, is_data_uri, is_inline, read_data_uri
from crosslens.ingest.sources.memory import PICTURES
from crosslens.surrogates import well_formed

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
# fsspec protocols that would bypass the checks of paths and addresses.
_NEVER = {"file", "local", "http", "https", "blockcache", "cached", "dir", "filecache", "reference", "simplecache"}


@dataclass(frozen=True)
class ImageRoot:
    """Where relative image paths start. With ``confined``, no path may lead out of ``folder``."""

    folder: Path
    confined: bool

    @classmethod
    def of(cls, folder: Path | str | None) -> ImageRoot:
        """Return a root confined to ``folder`` or, for None, the working directory with absolute paths allowed."""
        if folder is None:
            return cls(Path.cwd(), confined=False)
        return cls(Path(folder).expanduser().resolve(), confined=True)

    def locate(self, reference: str) -> Path:
        """Return the file that ``reference`` (a path or file:// URL) names.

        Raises `ImageError` when it leads out of the root, or names anything other than a file.
        """
        path = unquote(urlsplit(reference).path) if reference.startswith("file://") else reference
        if "\0" in path:
            raise ImageError("the path holds a NUL character")
        try:
            found = (self.folder / Path(path)).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise ImageError(f"{shown(reference)}: not a usable path ({well_formed(str(error))})") from error
        if self.confined and not found.is_relative_to(self.folder):
            raise ImageError(f"{shown(reference)}: lies outside the image folder {self.folder}")
        return found


@dataclass(frozen=True)
class ImageAccess:
    """The images that documents may refer to, and the limits on reading them.

    ``root`` as in `ImageRoot.of`; ``allow_private_urls`` lets http(s) URLs reach the private network; ``schemes`` are
    the allowed fsspec protocols, such as "s3" (none by default: they use this machine's credentials); ``cache``
    is the folder for downloaded images (None: the user's cache folder).

    Files of more than ``max_bytes`` (None: 100 MB, and 32 MB where they are fetched by http) and pictures of more than
    ``max_pixels`` are refused. ``tolerate_truncated`` takes JPEGs that lack their last rows, and counts them.
    All pictures that this process decodes at once may take ``memory`` bytes (None: a quarter of the machine's); a
    larger picture is decoded alone.
    """

    root: Path | str | None = None
    allow_private_urls: bool = False
    schemes: tuple[str, ...] = ()
    cache: Path | None = None
    max_bytes: int | None = None
    max_pixels: int = MAX_PIXELS
    tolerate_truncated: bool = False
    memory: int | None = None

    def __post_init__(self) -> None:
        wrong = sorted(_NEVER.intersection(self.schemes))
        if wrong:
            raise ImageError(f"{', '.join(wrong)}: not a scheme to allow; paths and http(s) URLs are read without")

    @classmethod
    def of(cls, images: ImageAccess | None, root: Path | str | None) -> ImageAccess:
        """Return ``images`` or, without it, plain access to ``root``. Raises `QueryError` where both are given."""
        if images is not None and root is not None:
            raise QueryError("give image_root or images, which has a root of its own, not both")
        return images or cls(root=root)

    def reader(self) -> ImageReader:
        """Return a reader with this access. Sets the process's memory budget for pictures, if ``memory`` is given."""
        if self.memory is not None:
            PICTURES.resize(self.memory)
        return ImageReader(self)


class ImageReader:
    """Reads the encoded bytes of images by reference. May be used from several threads."""

    def __init__(self, access: ImageAccess | None = None):
        self._access = access or ImageAccess()
        self._root = ImageRoot.of(self._access.root)
        self._max_bytes = MAX_BYTES if self._access.max_bytes is None else self._access.max_bytes

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher(
            allow_private=self._access.allow_private_urls,
            max_bytes=self._access.max_bytes or MAX_FETCHED,
            cache=ImageCache(self._access.cache),
        )

    def rules(self, reference: str, truncated: Callable[[], None]) -> PictureRules:
        """Return the rules for opening the picture that ``reference`` names; ``truncated`` as in `PictureRules`."""
        return PictureRules(self._access.max_pixels, self._access.tolerate_truncated, truncated, shown(reference))

    def read(self, reference: str, *, fresh_s: float = 3600.0) -> bytes:
        """Return the encoded bytes of the image that ``reference`` names; a URL's at most ``fresh_s`` seconds old.

        Raises `ImageError` when the image doesn't exist or is too large, or the reference isn't allowed.
        """
        if is_data_uri(reference):
            return read_data_uri(reference, shown(reference), self._max_bytes)
        found = _SCHEME.match(reference)
        scheme = found[1].lower() if found else ""
        if scheme and scheme != "file":
            if well_formed(reference) != reference:
                raise ImageError(f"{shown(reference)}: not a usable URL (it holds half of a character)")
            if scheme in ("http", "https"):
                return self._fetcher.fetch(reference, fresh_s=fresh_s)
            return self._read_fsspec(reference, scheme)
        if reference.startswith("//"):
            raise ImageError(f"{shown(reference)}: a URL without its scheme; write https:{shown(reference)}")
        bare = base64_of_image(reference, self._max_bytes)
        return bare if bare is not None else self._read_file(reference)

    def file(self, reference: str) -> Path | None:
        """Return the file that a path or file:// URL names; None for another reference, and for one that leads out of
        the root or to no file."""
        if is_inline(reference) or is_remote(reference) or reference.startswith("//"):
            return None
        try:
            found = self._root.locate(reference)
            return found if found.is_file() else None
        except (ImageError, OSError, UnicodeError):
            return None

    def _read_fsspec(self, reference: str, scheme: str) -> bytes:
        with located_by_fsspec(reference, scheme, self._access) as (filesystem, path):
            check_size(reference, filesystem.size(path), self._max_bytes)
            data: Any = filesystem.cat_file(path)
            return bytes(data)

    def _read_file(self, reference: str) -> bytes:
        path = self._root.locate(reference)
        try:
            if not path.is_file():
                raise ImageError(f"{shown(reference)}: no such file in {self._root.folder}")
            check_size(reference, path.stat().st_size, self._max_bytes)
            return path.read_bytes()
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ImageError(f"{shown(reference)}: can't be read ({reason})") from error


@contextmanager
def located_by_fsspec(reference: str, scheme: str, access: ImageAccess) -> Iterator[tuple[Any, str]]:
    """The fsspec filesystem that a URL of ``scheme`` leads to, and the path in it.

    Raises `ImageError` where that isn't allowed, and in place of whatever reading from the filesystem raises.
    """
    if scheme not in access.schemes:
        raise ImageError(f"{shown(reference)}: {scheme}:// is not read unless allowed", parameter="allow_scheme")
    if "::" in reference:
        raise ImageError(f"{shown(reference)}: chained URLs are not read")
    try:
        import fsspec
    except ImportError as error:
        raise ImageError(f"{shown(reference)}: needs fsspec", hint="install crosslens[fsspec]") from error
    try:
        yield fsspec.core.url_to_fs(reference)
    except CrosslensError:
        raise
    except Exception as error:
        raise ImageError(f"{shown(reference)}: can't be read ({type(error).__name__}: {error})") from error


def check_size(reference: str, size: int | None, most: int) -> None:
    """Raises `ImageError` where what a reference leads to has more than ``most`` bytes (None: it isn't known)."""
    if size is not None and size > most:
        raise ImageError(
            f"{shown(reference)}: {size:,} bytes are more than the {most:,} allowed", parameter="max_bytes"
        )


def is_remote(reference: str) -> bool:
    """Return whether an image has to be fetched from elsewhere, judging by its reference."""
    found = _SCHEME.match(reference)
    return found is not None and found[1].lower() != "file"


def shown(reference: str) -> str:
    """Return the reference as messages show it: one line of text, without possible secrets or inline image data."""
    text = well_formed(reference)
    if is_inline(text):
        head = text[: text.find(",") + 1] if is_data_uri(text) else ""
        return f"{head[:60]}{text[len(head) : len(head) + 24]}... ({len(text):,} characters)"
    if _SCHEME.match(text) and text[:4].lower() == "http":
        return shown_url(text)
    return text if len(text) <= 120 else f"{text[:117]}..."
