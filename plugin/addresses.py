"""The addresses of a cluster as users write them: one, a list with commas, or Kibana's JSON list.

An address may hold a user and a password. This module's messages and the representation of `Host` never repeat them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from crosslens.errors import ConnectionFailedError

_SCHEME = re.compile(r"https?://", re.IGNORECASE)
# A comma in a password is followed by the rest of it, and an @ before the next slash; one between addresses isn't.
_BETWEEN = re.compile(r",(?![^/]*@)")
_HARMLESS = re.compile(r"([^\s:/]{1,100}|\[[0-9a-fA-F:.]+\])(:\d{1,5})?(/[^\s:]{0,100})?")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Host:
    """One address with its credentials; ``path`` is the prefix under which a proxy serves Elasticsearch."""

    scheme: str
    name: str
    port: int
    path: str = ""
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{self.scheme}://{name}:{self.port}{self.path}"


def parse_hosts(text: str) -> list[Host]:
    """Return the hosts in ``text``. Raises `ConnectionFailedError` where it isn't an address or a list of them."""
    if not text.strip():
        raise _wrong("the address is empty", "give one, as in https://localhost:9200")
    return [_parse(each) for each in _parts(text.strip())]


def has_user(text: str | None) -> bool:
    """Return whether an address, or any in a list, names a user."""
    return text is not None and "@" in text


def without_secrets(text: str) -> str:
    """Return an address, good or bad, without any user, password or query."""
    try:
        return ", ".join(str(host) for host in parse_hosts(text))
    except ConnectionFailedError:
        return "(an address that can't be read)"


def _parts(text: str) -> Sequence[str]:
    if text.startswith("[") and not re.match(r"\[[0-9a-fA-F:.]+\]", text):
        try:
            listed = json.loads(text)
        except ValueError:
            listed = None
        if not isinstance(listed, list) or not listed or not all(isinstance(each, str) for each in listed):
            raise _wrong("the list of addresses is not valid JSON", 'write it as ["https://a:9200","https://b:9200"]')
        return [each.strip() for each in listed]
    parts = [each.strip() for each in _BETWEEN.split(text)]
    return [each for each in parts if each] or [text]


def _parse(text: str) -> Host:
    scheme = _SCHEME.match(text)
    if not scheme:
        raise _wrong(f"{_shown(text)} is not an address", "it must start with http:// or https://")
    if re.search(r"[\s\x00-\x1f]", text):
        raise _wrong("the address has a space in it", "write %20 for one in a password, and commas between addresses")
    # A slash in a password that wasn't encoded: what precedes the last @ is the user's in any case.
    user_part, at, place = text[scheme.end() :].rpartition("@")
    if re.search(r"[?#]", place):
        raise _wrong(f"the address of {_shown(place)} has a query", "leave out the ? and what follows it")
    authority, slash, path = place.partition("/")
    found = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?", authority)
    if found is None:
        raise _wrong("the address has colons or brackets in its host's name", "write IPv6 as in http://[::1]:9200")
    name, port = found[1], found[2]
    if port is not None and port.startswith(":"):
        raise _wrong("the address has too many colons", "write IPv6 as in http://[::1]:9200")
    if not name.strip("[]"):
        raise _wrong("the address names no host", "write it as in https://localhost:9200")
    if port is not None and not (re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
        # The port may be a password, where the host was forgotten.
        raise _wrong(f"the port of {_shown(name)} is not a number from 1 to 65535")
    user, password = _credentials(user_part, at, _shown(name))
    kind = scheme.group()[:-3].lower()
    return Host(
        scheme=kind,
        name=_ascii(name.strip("[]"), _shown(name)),
        port=int(port) if port else _PORTS[kind],
        path=(slash + path).rstrip("/"),
        user=user,
        password=password,
    )


def _credentials(text: str, at: str, shown: str) -> tuple[str | None, str | None]:
    if not at:
        return None, None
    user, colon, password = text.partition(":")
    if not user or not colon:
        raise _wrong(f"the address of {shown} holds a user without a password, or a password without a user")
    return unquote(user), unquote(password)


def _ascii(name: str, shown: str) -> str:
    """Return the name in its DNS form: münchen.example becomes xn--mnchen-3ya.example."""
    if ":" in name:
        import ipaddress

        try:
            ipaddress.IPv6Address(name.partition("%")[0])
        except ValueError:
            raise _wrong(f"{shown} is not an IPv6 address") from None
        return name
    try:
        encoded = name.encode("idna").decode("ascii")
    except UnicodeError:
        raise _wrong(f"{shown} can't be a host's name") from None
    if not re.fullmatch(r"[A-Za-z0-9._-]+", encoded):
        raise _wrong(f"{shown} can't be a host's name")
    return encoded


def _shown(text: str) -> str:
    """Return the part of ``text`` that can't be a secret: a host behind the last @, perhaps with port and path."""
    place = re.split(r"[?#]", text.rpartition("@")[2])[0]
    return repr(place) if _HARMLESS.fullmatch(place) else "what was given"


def _wrong(message: str, hint: str = "") -> ConnectionFailedError:
    return ConnectionFailedError(message, hint=hint, parameter="url")
