"""Getting sounds and videos that documents refer to, by the access rules of pictures, without reading them whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO

from crosslens.errors import ImageError, MediaError
from crosslens.ingest.sources.access import ImageAccess, ImageRoot, check_size, located_by_fsspec, shown
from crosslens.ingest.sources.fetching import Fetcher
from crosslens.ingest.sources.hashing import content_hash
from crosslens.ingest.sources.inline import is_data_uri, read_data_uri
from crosslens.ingest.sources.media import captions
from crosslens.surrogates import well_formed

MAX_BYTES = 16 << 30
MAX_INLINE = 100 << 20
_LONGEST_FETCH_S = 3600.0
_CHUNK = 1 << 20
_ACCEPT = "video/*, audio/*, application/octet-stream;q=0.5"
_CAPTIONS = (".vtt", ".srt")


@dataclass(frozen=True)
class MediaFile:
    """A document's sound or video: an open local ``file`` at its beginning, closed with this context manager.

    ``content`` is the hash (32 hex digits of sha256) of its bytes and of ``captions``, the captions file beside it
    (same name, .vtt or .srt), None without one. ``name`` is the reference as messages show it.
    """

    file: BinaryIO
    content: str
    size: int
    captions: bytes | None
    name: str

    def __enter__(self) -> MediaFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()


class MediaReader:
    """Opens sounds and videos by reference: a path below the root, an http(s) or allowed fsspec URL, or a data URI.

    The rules are those of ``access`` for pictures, but for the size: files of at most ``max_bytes``. What isn't a local
    file is streamed into an unnamed temporary one. Captions are found beside local files and in fsspec's, not on
    servers. May be used from several threads.
    """

    def __init__(self, access: ImageAccess | None = None, *, max_bytes: int = MAX_BYTES):
        self._access, self._max_bytes = access or ImageAccess(), max_bytes
        self._root = ImageRoot.of(self._access.root)

    def open(self, reference: str) -> MediaFile:
        """Return the file that ``reference`` names. Raises `MediaError` where it can't be read, or isn't allowed."""
        with contextlib.ExitStack() as stack:
            try:
                file, beside = self._opened(reference, stack)
                content, size = self._hashed(file, reference)
            except ImageError as error:
                raise MediaError(error.message, hint=error.hint, verb=error.verb, parameter=error.parameter) from error
            if beside is not None:
                content = content_hash(f"{content} {content_hash(beside)}".encode())
            stack.pop_all()
            return MediaFile(file, content, size, beside, shown(reference))

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher(
            allow_private=self._access.allow_private_urls, max_bytes=self._max_bytes, max_seconds=_LONGEST_FETCH_S
        )

    def _opened(self, reference: str, stack: contextlib.ExitStack) -> tuple[BinaryIO, bytes | None]:
        if is_data_uri(reference):
            data = read_data_uri(reference, shown(reference), min(self._max_bytes, MAX_INLINE))
            return _spooled(stack, data), None
        scheme, mark, _ = reference.partition("://")
        scheme = scheme.lower() if mark else ""
        if not scheme or scheme == "file":
            if reference.startswith("//"):
                raise MediaError(f"{shown(reference)}: a URL without its scheme; write https:{shown(reference)}")
            return self._local(reference, stack)
        if well_formed(reference) != reference:
            raise MediaError(f"{shown(reference)}: not a usable URL (it holds half of a character)")
        if scheme not in ("http", "https"):
            return self._by_fsspec(reference, scheme, stack)
        file = _spooled(stack)
        self._fetcher.fetch_into(reference, file, accept=_ACCEPT)
        return file, None

    def _local(self, reference: str, stack: contextlib.ExitStack) -> tuple[BinaryIO, bytes | None]:
        path = self._root.locate(reference)
        file = _regular(path)
        if file is None:
            raise MediaError(f"{shown(reference)}: no such file in {self._root.folder}")
        stack.callback(file.close)
        for suffix in _CAPTIONS:
            # The name beside may be a link to elsewhere: it obeys the same rules.
            with contextlib.suppress(ImageError, ValueError):
                beside = _regular(self._root.locate(str(path.with_suffix(suffix))))
                if beside is not None:
                    with beside:
                        return file, _bounded(beside, path.with_suffix(suffix).name)
        return file, None

    def _by_fsspec(self, reference: str, scheme: str, stack: contextlib.ExitStack) -> tuple[BinaryIO, bytes | None]:
        with located_by_fsspec(reference, scheme, self._access) as (filesystem, path):
            file = _spooled(stack)
            size = 0
            with filesystem.open(path, "rb") as source:
                while chunk := source.read(_CHUNK):
                    size += len(chunk)
                    check_size(reference, size, self._max_bytes)
                    file.write(chunk)
            return file, _captions_in(filesystem, path)

    def _hashed(self, file: Any, reference: str) -> tuple[str, int]:
        """Return the hash and size of a file, and go back to its beginning."""
        try:
            file.flush()
            check_size(reference, os.fstat(file.fileno()).st_size, self._max_bytes)
            file.seek(0)
            hashed = hashlib.file_digest(file, "sha256").hexdigest()[:32]
            size = file.tell()
            file.seek(0)
        except OSError as error:
            raise MediaError(f"{shown(reference)}: can't be read ({error.strerror or error})") from error
        return hashed, size


def _spooled(stack: contextlib.ExitStack, data: bytes = b"") -> BinaryIO:
    file: Any = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    file.write(data)
    opened: BinaryIO = file
    return opened


def _regular(path: Path) -> BinaryIO | None:
    """Open a regular file; None where there is none. Raises `MediaError` where it can't be read."""
    try:
        # Opening a pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise MediaError(f"{shown(str(path))}: can't be read ({error.strerror or error})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    file: BinaryIO = os.fdopen(descriptor, "rb")
    return file


def _bounded(file: Any, name: str) -> bytes:
    data: bytes = file.read(captions.MAX_BYTES + 1)
    if len(data) > captions.MAX_BYTES:
        raise MediaError(f"{shown(name)}: captions of more than {captions.MAX_BYTES:,} bytes are not read")
    return data


def _captions_in(filesystem: Any, path: str) -> bytes | None:
    for suffix in _CAPTIONS:
        beside = str(PurePosixPath(path).with_suffix(suffix))
        if filesystem.exists(beside):
            with filesystem.open(beside, "rb") as file:
                return _bounded(file, beside)
    return None
