"""Requests that tests of the plugin send, and what they watch meanwhile."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
import threading
import time
import zlib
from typing import Any

from tests.server.conftest import Http, Plugged


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def part(data: bytes) -> dict[str, str]:
    """A part of a model, as it is sent."""
    return {"data": encoded(data)}


def parts(files: dict[str, bytes]) -> list[bytes]:
    """The files' bytes, one after the other, in parts of a model."""
    data = b"".join(files.values())
    return [data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)]


def announcement(files: dict[str, bytes], fingerprint: str = "0" * 16) -> dict[str, Any]:
    """What a client says of a model, by the documentation."""

    def sha256(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    said = [{"name": name, "size": len(data), "sha256": sha256(data)} for name, data in files.items()]
    return {"fingerprint": fingerprint, "files": said, "parts": [sha256(data) for data in parts(files)]}


def png(width: int, height: int) -> bytes:
    """A PNG of one colour, small however large it is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes((width + 7) // 8)) * height, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def within(seconds: float) -> float:
    """A bound on a machine of its own; where others share its cores, it grows with the processes that wait for one."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class Watched:
    """How long `_cluster/health` took at most while something else ran."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.slowest = 0.0

    def _watch(self) -> None:
        while not self._end.is_set():
            start = time.monotonic()
            self._http.ok("GET", "_cluster/health")
            self.slowest = max(self.slowest, time.monotonic() - start)
            self._end.wait(0.05)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def alive(plugged: Plugged) -> None:
    """The process is the same, and holds no memory for what is done."""
    assert plugged.server.node.status() is not None
    until = time.monotonic() + 30
    while plugged.stats()["breaker"]["used_bytes"]:
        assert time.monotonic() < until, plugged.stats()
        time.sleep(0.1)


def vector_index(plugged: Plugged, dims: int, **properties: Any) -> str:
    mapping = {"v": {"type": "dense_vector", "dims": dims}, "title": {"type": "text"}, **properties}
    return plugged.server.new_index({"properties": mapping}, [{"title": "a", "v": [1.0] + [0.0] * (dims - 1)}])


def search(**builder: Any) -> dict[str, Any]:
    knn = {"field": "v", "k": 1, "num_candidates": 10, "query_vector_builder": {"crosslens": builder}}
    return {"knn": knn, "_source": False}


def pipeline(plugged: Plugged, name: str, **options: Any) -> None:
    step = {"crosslens": {"model": "model", "field": "v", **options}}
    plugged.http.ok("PUT", f"_ingest/pipeline/{name}", {"processors": [step]})


def simulated(plugged: Plugged, name: str, *documents: dict[str, Any]) -> list[dict[str, Any]]:
    body = {"docs": [{"_source": document} for document in documents]}
    return list(plugged.http.ok("POST", f"_ingest/pipeline/{name}/_simulate", body)["docs"])


def left(url: str, path: str, body: dict[str, Any]) -> socket.socket:
    """Sends a request whose answer nobody will read."""
    host, port = url.removeprefix("http://").split(":")
    data = json.dumps(body).encode()
    connection = socket.create_connection((host, int(port)))
    head = f"POST /{path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    connection.sendall(head.encode() + data)
    return connection
