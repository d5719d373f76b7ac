"""Images behind http(s) URLs, fetched safely: a document's URL must not reach hosts that only this machine can reach.

Every address that a host name resolves to is checked at the moment of connecting, and the connection goes to exactly
the checked address; so neither a redirect nor a name that resolves differently the second time leads elsewhere (server
side request forgery, OWASP; DNS rebinding). The environment's proxies are not used, since they would resolve names
themselves.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import version
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError

from crosslens.errors import ImageError
from crosslens.ingest.sources.cache import ImageCache

_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 5
_WORTH_ANOTHER_TRY = {408, 429, 500, 502, 503, 504}
_TRIES = 3
_LONGEST_PAUSE_S = 15.0
_CHUNK = 64 << 10
# An answer's status, body, headers in lower case, and whether any address on the way isn't public.
_Answer = tuple[int, bytes, dict[str, str], bool]
MAX_FETCHED = 32 << 20
# Prefixes that carry an IPv4 address inside an IPv6 one, with the bit where it starts: NAT64 and 6to4.
_CARRIERS = ((ipaddress.IPv6Network("64:ff9b::/96"), 96), (ipaddress.IPv6Network("2002::/16"), 16))


def is_public(address: str) -> bool:
    """Return whether an IP address is on the public internet, by the IANA special-purpose registries."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        for network, start in _CARRIERS:
            if ip in network:
                return is_public(str(ipaddress.IPv4Address((int(ip) >> (96 - start)) & 0xFFFFFFFF)))
        if ip.is_site_local:
            return False
    return ip.is_global and not (
        ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved or ip.is_unspecified
    )


@dataclass
class _Attempt:
    """One request of a thread: its permitted addresses, and the connection to cut when its time is up."""

    allow_private: bool
    connection: _Checked | None = None
    cut: bool = False

    def shut(self) -> None:
        """End the request, however slowly its bytes trickle in."""
        self.cut = True
        sock = getattr(self.connection, "sock", None)
        if sock is not None:
            # It may be closed by now, which is just as well.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class _Thread(threading.local):
    attempt: _Attempt | None = None


_thread = _Thread()


class _Checked(HTTPConnection):
    """A connection to a checked address; ``private`` where that isn't public."""

    private = False

    def _new_conn(self) -> socket.socket:
        attempt = _thread.attempt
        if attempt is None:
            raise RuntimeError("connections are opened by a Fetcher only")
        host = self._dns_host.strip("[]")
        try:
            found = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, f"the name {host} can't be resolved ({error})") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not attempt.allow_private:
            for address in addresses:
                if not is_public(address):
                    raise _ForbiddenError(f"{host} is {address}, which is not a public address")
        reason: OSError | None = None
        for address in addresses:
            try:
                connected = socket.create_connection((address, self.port), self.timeout)
            except OSError as error:
                reason = error
            else:
                self.private = not is_public(address)
                return connected
        raise NewConnectionError(self, f"{host} can't be reached ({reason})")

    def request(self, *args: Any, **kwargs: Any) -> Any:
        if _thread.attempt is not None:
            _thread.attempt.connection = self
        return super().request(*args, **kwargs)


class _CheckedTls(_Checked, HTTPSConnection):
    """The same under TLS; the certificate is checked against the name, not the address."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Checked


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _CheckedTls


class _ForbiddenError(Exception):
    """A document may not refer to this address."""


class Fetcher:
    """Fetches images by URL, with limits on each one's bytes and seconds, and on connections to each host.

    ``allow_private`` permits private addresses; at most ``per_host`` connections go to one host.
    Fetched images are kept in ``cache`` and revalidated there; those from private addresses, which another run may have
    been permitted, count as unknown where they aren't. May be used from several threads.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        max_bytes: int = MAX_FETCHED,
        max_seconds: float = 30.0,
        per_host: int = 4,
        cache: ImageCache | None = None,
    ):
        self._allow_private, self._max_bytes, self._max_seconds = allow_private, max_bytes, max_seconds
        self._cache = cache
        self._pools = urllib3.PoolManager(num_pools=32, maxsize=per_host, retries=False)
        self._pools.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        self._turns: defaultdict[str, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(per_host))
        self._lock = threading.Lock()

    def fetch(self, url: str, *, fresh_s: float = 3600.0) -> bytes:
        """Return the bytes behind ``url``, as they are now or were at most ``fresh_s`` seconds ago.

        Raises `ImageError` for an address that is not public, for too many bytes, seconds or redirects, and for every
        other failure of the server or the network.
        """
        known = self._cache.find(url) if self._cache else None
        if known is not None and known[0].private and not self._allow_private:
            known = None
        if known is not None and time.time() - known[0].fetched < fresh_s:
            self._check_size(url, len(known[1]))
            return known[1]
        headers = _headers("image/*")
        if known is not None:
            if known[0].etag:
                headers["if-none-match"] = known[0].etag
            if known[0].last_modified:
                headers["if-modified-since"] = known[0].last_modified
        status, body, answer, private = self._patiently(url, headers, None)
        if status == 304 and known is not None:
            body, private = known[1], private or known[0].private
            self._check_size(url, len(body))
            answer = {"etag": known[0].etag or "", "last-modified": known[0].last_modified or "", **answer}
        elif status != 200:
            raise ImageError(f"{shown_url(url)}: the server answered {status}")
        if self._cache is not None:
            etag, last_modified = answer.get("etag") or None, answer.get("last-modified") or None
            self._cache.store(url, body, etag=etag, last_modified=last_modified, private=private)
        return body

    def fetch_into(self, url: str, out: BinaryIO, *, accept: str) -> None:
        """Write the bytes behind ``url`` to ``out``, an empty file, as they come; never from the cache.

        Raises `ImageError` as `fetch` does; ``out`` then holds anything.
        """
        status, _, _, _ = self._patiently(url, _headers(accept), out)
        if status != 200:
            raise ImageError(f"{shown_url(url)}: the server answered {status}")

    def _patiently(self, url: str, headers: dict[str, str], out: BinaryIO | None) -> _Answer:
        """Follow ``url`` as `_follow` does, again where the server may have only been busy."""
        for attempt in range(1, _TRIES):
            answered = self._follow(url, headers, out)
            if answered[0] not in _WORTH_ANOTHER_TRY:
                return answered
            time.sleep(_pause(answered[2].get("retry-after"), attempt))
        return self._follow(url, headers, out)

    def _follow(self, url: str, headers: dict[str, str], out: BinaryIO | None) -> _Answer:
        """Follow ``url`` and return the final answer; its body goes to ``out``, if there is one."""
        at, left, private = url, self._max_seconds, False
        for _ in range(_MOST_REDIRECTS + 1):
            parts = urlsplit(at)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ImageError(f"{shown_url(url)}: leads to {shown_url(at)}, which isn't an http(s) URL")
            if parts.username or parts.password:
                raise ImageError(f"{shown_url(url)}: a URL with a user name is not fetched")
            with self._lock:
                turn = self._turns[parts.hostname]
            with turn:
                # Waiting for other requests to the same host isn't the image's fault, and doesn't count.
                started = time.monotonic()
                status, body, answer, here = self._once(url, at, headers, max(0.1, left), out)
                private = private or here
                left -= time.monotonic() - started
            target = answer.get("location")
            if status not in _REDIRECTS or not target:
                return status, body, answer, private
            at = urljoin(at, target)
        raise ImageError(f"{shown_url(url)}: more than {_MOST_REDIRECTS} redirects")

    def _once(self, url: str, at: str, headers: dict[str, str], seconds: float, out: BinaryIO | None) -> _Answer:
        """Send one request to ``at``, on the way from ``url``; as `_follow`."""
        attempt = _thread.attempt = _Attempt(self._allow_private)
        timer = threading.Timer(seconds, attempt.shut)
        timer.daemon = True
        timer.start()
        timeout = urllib3.Timeout(connect=min(10.0, seconds), read=min(15.0, seconds))
        try:
            response = self._pools.urlopen(
                "GET", at, headers=headers, preload_content=False, redirect=False, retries=False, timeout=timeout
            )
            try:
                body = self._body(url, response, out) if response.status == 200 else b""
            except BaseException:
                # A connection whose last answer wasn't read to the end can't be reused.
                response.close()
                raise
            if attempt.cut:
                # Truncated headers can pass for complete ones.
                raise TimeoutError
            if response.status not in (200, 304):
                response.close()
            response.release_conn()
            private = attempt.connection is None or attempt.connection.private
            return response.status, body, {k.lower(): v for k, v in response.headers.items()}, private
        except _ForbiddenError as error:
            raise ImageError(
                f"{shown_url(url)}: {error}, and others are not read unless allowed", parameter="allow_private_urls"
            ) from error
        except (HTTPError, OSError, ValueError, HTTPException) as error:
            if attempt.cut:
                raise ImageError(f"{shown_url(url)}: took more than {self._max_seconds:.0f} s") from error
            raise ImageError(f"{shown_url(url)}: can't be fetched ({error})") from error
        finally:
            timer.cancel()
            _thread.attempt = None

    def _body(self, url: str, response: urllib3.BaseHTTPResponse, out: BinaryIO | None) -> bytes:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            raise ImageError(f"{shown_url(url)}: sent with content-encoding {encoding}, which wasn't asked for")
        size = 0
        parts = []
        for chunk in response.stream(_CHUNK, decode_content=False):
            size += len(chunk)
            self._check_size(url, size)
            if out is None:
                parts.append(chunk)
            else:
                out.write(chunk)
        return b"".join(parts)

    def _check_size(self, url: str, size: int) -> None:
        if size > self._max_bytes:
            raise ImageError(
                f"{shown_url(url)}: more than the {self._max_bytes:,} bytes allowed", parameter="max_bytes"
            )


def _headers(accept: str) -> dict[str, str]:
    return {"user-agent": f"crosslens/{version('crosslens')}", "accept": accept, "accept-encoding": "identity"}


def _pause(retry_after: str | None, attempt: int) -> float:
    """Return the seconds to the next try: the server's own number, or else doubling; at most `_LONGEST_PAUSE_S`."""
    asked = float(retry_after) if retry_after and retry_after.strip().isdigit() else 0.5 * 2**attempt
    return min(asked, _LONGEST_PAUSE_S)


def shown_url(url: str) -> str:
    """Return the URL cut to a line, without user, password or query, which may hold secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    shown = f"{parts.scheme}://{host}{parts.path}" + ("?..." if parts.query else "")
    return shown if len(shown) <= 120 else f"{shown[:117]}..."
