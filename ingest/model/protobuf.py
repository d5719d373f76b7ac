"""The wire format of protocol buffers, read and written without a schema, and without copying what is passed over.

https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

Span = tuple[int, int]
"""Where a message's bytes begin and end."""


def fields(data: mmap.mmap, span: Span) -> Iterator[tuple[int, Span | int]]:
    """Yield each field's number with its integer value or the span of its bytes; floating-point fields are left out.

    Raises `ValueError` or `IndexError` for bytes that aren't a message.
    """
    return ((number, value) for number, value, _ in _whole_fields(data, span) if value is not None)


def messages(data: mmap.mmap, span: Span) -> Iterator[tuple[int, Span]]:
    """Yield each field that holds bytes: a message, a text, or packed numbers. Raises as `fields`."""
    return ((number, value) for number, value in fields(data, span) if not isinstance(value, int))


def whole_messages(data: mmap.mmap, span: Span) -> Iterator[tuple[int, Span | None, Span]]:
    """Yield each field's number, the span of its bytes if it holds bytes, and that of the field itself, to be copied.

    Raises as `fields`.
    """
    for number, value, whole in _whole_fields(data, span):
        yield number, None if isinstance(value, int) else value, whole


def text(data: mmap.mmap, span: Span) -> str:
    """Return a field's text."""
    return data[span[0] : span[1]].decode("utf-8")


def message(number: int, parts: list[bytes]) -> list[bytes]:
    """Return a field whose bytes are ``parts``, in pieces."""
    return [_encoded(number << 3 | 2), _encoded(sum(map(len, parts))), *parts]


def _whole_fields(data: mmap.mmap, span: Span) -> Iterator[tuple[int, Span | int | None, Span]]:
    at, end = span
    while at < end:
        first = at
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(data, at)
            yield key >> 3, number, (first, at)
            continue
        size, at = (8, at) if kind == 1 else (4, at) if kind == 5 else _varint(data, at) if kind == 2 else (-1, at)
        if size < 0 or at + size > end:
            raise ValueError(f"byte {at} can't be read")
        yield key >> 3, (at, at + size) if kind == 2 else None, (first, at + size)
        at += size


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError(f"byte {at} can't be read")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
