"""Downloaded images on disk: each content once, and for each URL its content, fetch time and validators."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from crosslens.ingest.sources.hashing import content_hash

DEFAULT_LIMIT = 2 << 30
_SWEEP_EVERY = 256
_TABLES = """
CREATE TABLE IF NOT EXISTS contents (content TEXT PRIMARY KEY, size INTEGER, used REAL);
CREATE TABLE IF NOT EXISTS urls (
    url TEXT PRIMARY KEY, content TEXT, fetched REAL, etag TEXT, last_modified TEXT, private INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_content ON urls (content);
"""


@dataclass(frozen=True)
class Entry:
    """A URL's content hash, its fetch time (epoch, s) and the server's validators (RFC 9110, 8.8).

    ``private`` is whether it was fetched from an address that isn't public, which not every run may read.
    """

    content: str
    fetched: float
    etag: str | None
    last_modified: str | None
    private: bool


class ImageCache:
    """A folder of contents named by hash, and a small database of URLs. May be shared by threads and processes.

    A damaged or vanished file counts as missing; when the contents exceed ``limit`` bytes, the least recently used are
    deleted with their URLs.
    """

    def __init__(self, folder: Path | None = None, limit: int = DEFAULT_LIMIT):
        """``folder`` None means CROSSLENS_CACHE, or the user's cache folder."""
        root = os.environ.get("CROSSLENS_CACHE") or platformdirs.user_cache_path("crosslens")
        self._folder = folder or Path(root) / "images"
        self._limit = limit
        self._stored = 0
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def find(self, url: str) -> tuple[Entry, bytes] | None:
        """Return the entry of ``url`` with its content, or None when the content is missing or damaged."""
        with self._database() as database:
            row = database.execute(
                "SELECT content, fetched, etag, last_modified, private FROM urls WHERE url = ?", [url]
            ).fetchone()
        if row is None:
            return None
        content, fetched, etag, last_modified, private = row
        # Older releases didn't record where they fetched from.
        entry = Entry(content, fetched, etag, last_modified, private != 0)
        try:
            data = self._file(entry.content).read_bytes()
        except OSError:
            return None
        if content_hash(data) != entry.content:
            return None
        with self._database() as database:
            database.execute("UPDATE contents SET used = ? WHERE content = ?", [time.time(), entry.content])
        return entry, data

    def store(self, url: str, data: bytes, *, etag: str | None, last_modified: str | None, private: bool) -> None:
        """Record that ``url`` holds ``data`` now; ``private`` as in `Entry`."""
        content, now = content_hash(data), time.time()
        path = self._file(content)
        if not path.exists() or path.stat().st_size != len(data):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
            temporary.write_bytes(data)
            temporary.replace(path)
        with self._database() as database:
            database.execute("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", [content, len(data), now])
            database.execute(
                "INSERT OR REPLACE INTO urls (url, content, fetched, etag, last_modified, private) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [url, content, now, etag, last_modified, private],
            )
            self._stored += 1
            due = self._stored % _SWEEP_EVERY == 0
        if due:
            self.sweep()

    def sweep(self) -> None:
        """Delete the least recently used contents beyond the limit."""
        with self._database() as database:
            (total,) = database.execute("SELECT COALESCE(SUM(size), 0) FROM contents").fetchone()
            for content, size in database.execute("SELECT content, size FROM contents ORDER BY used").fetchall():
                if total <= self._limit:
                    break
                database.execute("DELETE FROM urls WHERE content = ?", [content])
                database.execute("DELETE FROM contents WHERE content = ?", [content])
                self._file(content).unlink(missing_ok=True)
                total -= size

    def _file(self, content: str) -> Path:
        return self._folder / "contents" / content[:2] / content

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction, one thread at a time, waiting for other processes."""
        with self._lock:
            if self._connection is None:
                self._connection = self._open()
            with self._connection:
                yield self._connection

    def _open(self) -> sqlite3.Connection:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "urls.sqlite"
        try:
            return _connect(path)
        except sqlite3.DatabaseError:
            # The cache only saves downloads, so a damaged database is simply recreated.
            path.unlink(missing_ok=True)
            return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(_TABLES)
    if "private" not in {column[1] for column in connection.execute("PRAGMA table_info(urls)")}:
        # Where another process is faster, it has added the column.
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("ALTER TABLE urls ADD COLUMN private INTEGER")
    return connection
