"""Who may ask: addresses that the service is called by, requests of its own pages, and holders of its token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

COOKIE = "crosslens"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def is_loopback(host: str) -> bool:
    """Return whether a name or an address, without its port, means this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """Return the name or address in a Host header, in lower case and without its port; empty for what isn't one."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""


@dataclass(frozen=True)
class Door:
    """What lets a request in.

    hosts: names and addresses that the service is called by, besides loopback ones. A page from elsewhere whose name
        was made to lead here (DNS rebinding) calls it by another name.
    any_host: whether it may be called by any name; where a token is demanded that costs nothing, as a foreign page
        doesn't have it.
    token: what clients must show; None: nothing.
    """

    hosts: frozenset[str] = frozenset()
    any_host: bool = False
    token: str | None = None

    def knows_host(self, header: str) -> bool:
        """Return whether a Host header names this service."""
        host = host_of(header)
        return bool(host) and (self.any_host or is_loopback(host) or host in self.hosts)

    def same_origin(self, method: str, headers: Mapping[str, str]) -> bool:
        """Return whether a request that changes something comes from this service's own pages, or from no page.

        Browsers say where a request comes from (Fetch Metadata, and Origin on every POST); programs don't, and can't
        be made to send somebody's cookie.
        """
        if method in _SAFE:
            return True
        site = headers.get("sec-fetch-site")
        if site is not None and site not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        if origin is None:
            return True
        try:
            return urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
        except ValueError:
            return False

    def admits(self, authorization: str, cookie: str) -> bool:
        """Return whether an Authorization header, or the value of the cookie, shows the token."""
        if self.token is None:
            return True
        kind, _, given = authorization.partition(" ")
        if kind.lower() == "bearer" and self.is_token(given.strip()):
            return True
        return _equal(cookie, self.cookie)

    def is_token(self, given: str) -> bool:
        """Return whether that is the token, in time that doesn't depend on how much of it is right."""
        return self.token is not None and _equal(given, self.token)

    @property
    def cookie(self) -> str:
        """What a browser is given for the token, which it can't be had back from."""
        return hmac.new((self.token or "").encode(), b"crosslens cookie", hashlib.sha256).hexdigest()


def _equal(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode("utf-8", "replace"))
