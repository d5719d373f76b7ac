"""The local file behind what is to be decoded, and which of FFmpeg's demuxers reads it."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from crosslens.errors import MediaError
from crosslens.ingest.sources.decoding import kinds
from crosslens.ingest.sources.decoding.shapes import MediaLimits
from crosslens.ingest.sources.formats.naming import description, format_of

_CHUNK = 1 << 20


@contextlib.contextmanager
def descriptor_of(file: Path | BinaryIO | bytes, limits: MediaLimits, name: str) -> Iterator[int]:
    """Open a descriptor of a regular file with the bytes of ``file``; it is closed after the block.

    Raises `MediaError` where there is none, it is empty, or it has more bytes than allowed.
    """
    with contextlib.ExitStack() as stack:
        descriptor = _opened(file, limits, name, stack)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise MediaError(f"{name}: not a file")
        _check(found.st_size, limits, name)
        if not found.st_size:
            raise MediaError(f"{name}: the file is empty")
        yield descriptor


def kind_of(descriptor: int, name: str) -> str:
    """Return the demuxer for a file. Raises `MediaError` for every format but those that hold their own streams."""
    head = os.pread(descriptor, kinds.HEAD, 0)
    kind = kinds.kind_of(head)
    behind = kinds.behind_id3(head)
    if behind is not None:
        # Whatever follows such a tag, most such files are MP3.
        kind = kinds.kind_of(os.pread(descriptor, kinds.HEAD, behind)) or "mp3"
    picture = format_of(head)
    if kind is not None and picture is None:
        return kind
    if kinds.names_others(head):
        raise MediaError(f"{name}: names other files, as a playlist does; those aren't read")
    described = f"a picture ({picture})" if picture else description(head)
    raise MediaError(f"{name}: not sound or footage in a supported format but {described} (read are {kinds.FORMATS})")


def _opened(file: Path | BinaryIO | bytes, limits: MediaLimits, name: str, stack: contextlib.ExitStack) -> int:
    if isinstance(file, Path):
        try:
            # Opening a pipe would wait for its other end.
            descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError as error:
            raise MediaError(f"{name}: no such file") from error
        except OSError as error:
            raise MediaError(f"{name}: can't be read ({error.strerror or error})") from error
        stack.callback(os.close, descriptor)
        return descriptor
    if not isinstance(file, bytes):
        with contextlib.suppress(OSError, AttributeError, io.UnsupportedOperation):
            return file.fileno()
    copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    source: BinaryIO = io.BytesIO(file) if isinstance(file, bytes) else file
    size = 0
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        _check(size, limits, name)
        copy.write(chunk)
    copy.flush()
    return copy.fileno()


def _check(size: int, limits: MediaLimits, name: str) -> None:
    if size > limits.bytes:
        raise MediaError(f"{name}: {size:,} bytes are more than the {limits.bytes:,} allowed", parameter="max_bytes")
