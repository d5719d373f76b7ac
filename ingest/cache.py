"""Downloaded images on disk: each content once, and for each URL what it held when, with its validators."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

from crosslens.ingest.documents import content_hash

DEFAULT_LIMIT = 2 << 30
_SWEEP_EVERY = 256


@dataclass(frozen=True)
class Entry:
    """What a URL held: the content's hash, the validators that the server gave (RFC 9110, 8.8), and when (epoch, s)."""

    content: str
    fetched: float
    etag: str | None = None
    last_modified: str | None = None


class ImageCache:
    """A folder of contents under their hash and of entries under their URL's. May be shared by threads and processes.

    A damaged or vanished file is no entry; the least recently used contents go when there are more than ``limit``
    bytes of them.
    """

    def __init__(self, folder: Path | None = None, limit: int = DEFAULT_LIMIT):
        """``folder`` None means CROSSLENS_CACHE, or the user's cache folder."""
        root = os.environ.get("CROSSLENS_CACHE") or platformdirs.user_cache_path("crosslens")
        self._folder = folder or Path(root) / "images"
        self._limit = limit
        self._stored = 0
        self._sweeping = threading.Lock()

    def find(self, url: str) -> tuple[Entry, bytes] | None:
        """What is known of ``url``, with its content; None when that isn't there, or not whole."""
        try:
            entry = Entry(**json.loads(self._entry(url).read_text(encoding="utf-8")))
            path = self._content(entry.content)
            data = path.read_bytes()
        except (OSError, ValueError, TypeError):
            return None
        if content_hash(data) != entry.content:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return entry, data

    def store(self, url: str, data: bytes, *, etag: str | None, last_modified: str | None) -> None:
        """Notes that ``url`` holds ``data`` now."""
        entry = Entry(content_hash(data), time.time(), etag, last_modified)
        content = self._content(entry.content)
        if not content.exists():
            _write(content, data)
        _write(self._entry(url), json.dumps(asdict(entry)).encode())
        self._stored += 1
        if self._stored % _SWEEP_EVERY == 0:
            self.sweep()

    def sweep(self) -> None:
        """Deletes the least recently used contents beyond the limit."""
        if not self._sweeping.acquire(blocking=False):
            return
        try:
            files = []
            for path in (self._folder / "contents").glob("*/*"):
                with contextlib.suppress(OSError):
                    found = path.stat()
                    files.append((found.st_mtime, found.st_size, path))
            total = sum(size for _, size, _ in files)
            for _, size, path in sorted(files):
                if total <= self._limit:
                    break
                path.unlink(missing_ok=True)
                total -= size
        finally:
            self._sweeping.release()

    def _entry(self, url: str) -> Path:
        name = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        return self._folder / "urls" / name[:2] / f"{name}.json"

    def _content(self, content: str) -> Path:
        if not content.isalnum():
            raise ValueError(content)
        return self._folder / "contents" / content[:2] / content


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_bytes(data)
    temporary.replace(path)
