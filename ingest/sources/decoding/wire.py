"""What the two processes send each other: requests as JSON, answers as a kind, two numbers and bytes."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

# A request's length; an answer's kind, its two numbers (height and width, or samples and 0), and its bytes.
LENGTH = struct.Struct("<I")
ANSWER = struct.Struct("<cIIQ")
# An answer in JSON, a picture, a sound, the end of pictures or sounds, an error (JSON), and "still at work".
JSON, FRAME, SOUND, END, ERROR, BEAT = b"J", b"F", b"S", b"Z", b"E", b"."
MAX_JSON = 64 << 20


def send_request(channel: socket.socket, request: dict[str, Any], files: tuple[int, ...] = ()) -> None:
    """Send one request, with open files."""
    data = json.dumps(request).encode()
    if files:
        socket.send_fds(channel, [LENGTH.pack(len(data))], list(files))
        channel.sendall(data)
    else:
        channel.sendall(LENGTH.pack(len(data)) + data)


def receive_request(channel: socket.socket, files: int = 0) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next request with at most ``files`` open files, or None where the other side is gone."""
    if files:
        head, received, _, _ = socket.recv_fds(channel, LENGTH.size, files)
    else:
        head, received = channel.recv(LENGTH.size), []
    if not head:
        return None
    # The other side sends these few bytes at once.
    (length,) = LENGTH.unpack(head)
    request: dict[str, Any] = json.loads(bytes(received_exactly(channel, length)))
    return request, received


def send_answer(channel: socket.socket, kind: bytes, a: int = 0, b: int = 0, data: Any = b"") -> None:
    """Send one answer; ``data`` is anything with contiguous bytes."""
    view = memoryview(data).cast("B") if len(data) else memoryview(b"")
    channel.sendall(ANSWER.pack(kind, a, b, view.nbytes))
    if view.nbytes:
        channel.sendall(view)


def received_exactly(channel: socket.socket, length: int) -> bytearray:
    """Return the next ``length`` bytes. Raises `EOFError` where the other side goes before."""
    data = bytearray(length)
    fill(channel, memoryview(data))
    return data


def fill(channel: socket.socket, view: memoryview) -> None:
    """Fill ``view`` with the next bytes. Raises `EOFError` as `received_exactly`."""
    while view.nbytes:
        got = channel.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]
