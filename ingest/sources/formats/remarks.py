"""Warnings from Pillow and libtiff while decoding: one line per picture in the log, nothing on the terminal.

Pillow warns through `warnings`, libtiff writes to the process's standard error. Neither can be caught for one thread
only, so both get a handler that keeps the warnings of a thread that is within `remarks`, and passes on all others.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import PIL

_LOG = logging.getLogger("crosslens")
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_MOST = 100


class _Here(threading.local):
    lines: list[str] | None = None


_here = _Here()
_lock = threading.Lock()


@contextlib.contextmanager
def remarks(name: str) -> Iterator[list[str]]:
    """Collect the warnings from decoding in this thread, and log the first of them at the end, with ``name``."""
    _install()
    outer = _here.lines
    lines: list[str] = []
    _here.lines = lines
    try:
        yield lines
    finally:
        _here.lines = outer
        if lines:
            more = f" (and {len(lines) - 1} more remarks)" if len(lines) > 1 else ""
            _LOG.warning("%s: %s%s", name, lines[0], more)


def _note(line: str) -> bool:
    """Keep a warning if this thread is decoding, and return whether it was kept."""
    if _here.lines is None:
        return False
    if len(_here.lines) < _MOST:
        _here.lines.append(" ".join(line.split()))
    return True


def _install() -> None:
    _silence_libtiff()
    shown = warnings.showwarning
    if getattr(shown, "crosslens", False):
        return

    def showwarning(message: Warning | str, *arguments: Any, **named: Any) -> None:
        if not _note(str(message)):
            shown(message, *arguments, **named)

    showwarning.crosslens = True  # type: ignore[attr-defined]
    with _lock:
        warnings.showwarning = showwarning


@cache
def _silence_libtiff() -> Any:
    """Give libtiff an error handler and return it, since it must live as long as the library. None where libtiff is
    built into Pillow, out of reach."""
    library = _libtiff()
    if library is None:
        return None

    def handle(module: bytes | None, form: bytes | None, values: int | None) -> None:
        try:
            text = ctypes.create_string_buffer(512)
            ctypes.CDLL(None).vsnprintf(text, ctypes.c_size_t(512), form, ctypes.c_void_p(values))
            said = f"libtiff: {(module or b'').decode(errors='replace')}: {text.value.decode(errors='replace')}"
        except (OSError, AttributeError, TypeError):
            said = f"libtiff: {(form or b'').decode(errors='replace')}"
        if not _note(said):
            print(said, file=sys.stderr)

    handler = _Handler(handle)
    library.TIFFSetErrorHandler.argtypes = [_Handler]
    library.TIFFSetErrorHandler.restype = ctypes.c_void_p
    library.TIFFSetErrorHandler(handler)
    return handler


def _libtiff() -> ctypes.CDLL | None:
    """Return Pillow's libtiff: the one in its wheel, or the system's."""
    package = Path(PIL.__file__).parent
    bundled = [*package.parent.glob("[Pp]illow.libs/libtiff*"), *package.glob(".dylibs/libtiff*")]
    name = str(bundled[0]) if bundled else ctypes.util.find_library("tiff")
    try:
        return ctypes.CDLL(name) if name else None
    except OSError:
        return None
