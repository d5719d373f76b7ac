"""Getting sounds and videos that documents refer to, by the access rules of pictures, without reading them whole."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO

from crosslens.ingest.sources.access import ImageAccess


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
    file is streamed into an unnamed temporary one. May be used from several threads.
    """

    def __init__(self, access: ImageAccess | None = None, *, max_bytes: int = 16 << 30):
        self._access, self._max_bytes = access or ImageAccess(), max_bytes

    def open(self, reference: str) -> MediaFile:
        """Return the file that ``reference`` names. Raises `MediaError` where it can't be read, or isn't allowed."""
        raise NotImplementedError(reference)
