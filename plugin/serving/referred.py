"""Addresses of documents' pictures and files, which only this service can make.

A page's address of a picture says which reference is meant. Signed, nobody can ask for another file below the root, or
have the service fetch another URL, than those that documents which they found refer to.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass

_MAC_BYTES = 16
# Longer references are inline pictures, whose bytes no address could hold.
LONGEST = 2_000


@dataclass(frozen=True)
class Referred:
    """A reference in a document, and what it is to be shown as: "picture", "sound" or "video" ... by ``kind``."""

    kind: str
    reference: str


class Signer:
    """Makes addresses of references and reads them; others than its own mean nothing to it.

    ``secret`` is shared by processes that serve the same pages (None: a new one, so that addresses end with the
    process).
    """

    def __init__(self, secret: bytes | None = None):
        self._secret = secret or secrets.token_bytes(32)

    def address(self, referred: Referred) -> str | None:
        """Return an address of letters, digits, ``-`` and ``_``; None for a reference that is too long."""
        text = json.dumps([referred.kind, referred.reference]).encode()
        if len(text) > LONGEST:
            return None
        return base64.urlsafe_b64encode(self._mac(text) + text).rstrip(b"=").decode()

    def read(self, address: str) -> Referred | None:
        """Return what an address means; None for one that this service didn't make."""
        try:
            data = base64.urlsafe_b64decode(address.encode("ascii") + b"=" * (-len(address) % 4))
        except (ValueError, binascii.Error):
            return None
        mac, text = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(text)):
            return None
        return Referred(*json.loads(text))

    def _mac(self, text: bytes) -> bytes:
        return hmac.digest(self._secret, text, hashlib.sha256)[:_MAC_BYTES]
