"""Images inside the document itself: a data URI (RFC 2397), or bare base64 as in a `binary` field."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote, unquote_to_bytes

from crosslens.errors import ImageError
from crosslens.ingest.sources.formats.naming import format_of

# An encoded picture of the most pixels that are decoded is smaller than this.
MAX_BYTES = 100 << 20
# The shortest base64 worth trying: a shorter text can't hold an image, and may be a file's name.
_SHORTEST = 32
_START = re.compile(r"[A-Za-z0-9+/]{32}")
_OTHERS = re.compile(r"[^A-Za-z0-9+/]+")


def is_data_uri(reference: str) -> bool:
    """Return whether a reference is a data URI."""
    return reference[:5].lower() == "data:"


def is_inline(reference: str) -> bool:
    """Return whether the document contains the image itself, so that repeating it would only cost space."""
    return is_data_uri(reference) or _begins_as_image(reference)


def base64_of_image(text: str, max_bytes: int) -> bytes | None:
    """Return the bytes if ``text`` is base64 of a file that begins like an image, or else None."""
    if not _begins_as_image(text):
        return None
    if len(text) > max_bytes * 4 // 3 + 4:
        raise ImageError(f"{text[:24]}...: more than the {max_bytes:,} bytes allowed", parameter="max_bytes")
    # Lines may be broken, and the padding may be missing, as with Java's decoder.
    plain = _OTHERS.sub("", text)
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4))
    except binascii.Error:
        return None


def read_data_uri(uri: str, name: str, max_bytes: int) -> bytes:
    """Return the bytes of ``data:[type][;base64],data``; errors call it ``name``."""
    head, comma, body = uri.partition(",")
    if not comma:
        raise ImageError(f"{name}: a data URI without a comma")
    if len(body) > max_bytes * 4 // 3 + 4:
        raise ImageError(f"{name}: more than the {max_bytes:,} bytes allowed", parameter="max_bytes")
    try:
        if not head.lower().endswith(";base64"):
            return unquote_to_bytes(body)
        text = "".join(unquote(body).split())
        # Many writers omit the padding.
        padding = "" if text.endswith("=") else "=" * (-len(text) % 4)
        return base64.b64decode(text + padding, validate=True)
    except UnicodeEncodeError as error:
        raise ImageError(f"{name}: not a usable data URI (it holds half of a character)") from error
    except ValueError as error:
        raise ImageError(f"{name}: not valid base64 ({error})") from error


def _begins_as_image(text: str) -> bool:
    # Decoding the beginning is cheap, and enough to decide.
    found = _START.match(text)
    return found is not None and format_of(base64.b64decode(found[0])) not in (None, "SVG")
