"""Real HTTP servers on loopback: with an answer of their own, or in front of an Elasticsearch node."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

Answer = tuple[int, Mapping[str, str], bytes]
ELASTIC = {"Content-Type": "application/json", "X-elastic-product": "Elasticsearch"}


@dataclass
class Web:
    """A small HTTP server that gives every request the same answer, or one by its path."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    tls: ssl.SSLContext | None = None
    node_url: str = ""

    def __enter__(self) -> Web:
        answer = self.answer

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                status, headers, body = answer(self.command, self.path, dict(self.headers), self.rfile.read(length))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if self.tls:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        self.port = self.server.server_port
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        return self.status, self.headers, self.body


@dataclass
class Forwarding(Web):
    """A reverse proxy in front of the node at ``node_url``."""

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        request = urllib.request.Request(self.node_url + path, body or None, headers, method=method)
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, _kept(reply.headers), reply.read()
        except urllib.error.HTTPError as error:
            return error.code, _kept(error.headers), error.read()


def _kept(headers: Message) -> dict[str, str]:
    return {k: v for k, v in headers.items() if k.lower() in ("content-type", "x-elastic-product", "warning")}


@dataclass
class Serverless(Forwarding):
    """As Elastic Cloud Serverless presents itself: its number says nothing, and shards are its own affair."""

    refused: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if method == "PUT" and b"number_of_shards" in body:
            self.refused.append(path)
            reason = "Settings [index.number_of_shards] are not available when running in serverless mode"
            return 400, ELASTIC, _error(400, "illegal_argument_exception", reason)
        status, given, said = super().answer(method, path, headers, body)
        if path == "/":
            welcome = json.loads(said)
            welcome["version"] = {
                "number": "8.11.0",
                "build_flavor": "serverless",
                "build_type": "docker",
                "build_hash": "00000000",
                "build_date": "2023-10-31",
                "build_snapshot": False,
                "lucene_version": "9.7.0",
                "minimum_wire_compatibility_version": "8.11.0",
                "minimum_index_compatibility_version": "8.11.0",
            }
            said = json.dumps(welcome).encode()
        return status, given, said


@dataclass
class Secured(Forwarding):
    """A node with Elasticsearch's security: who isn't known gets 401, and who may not do something 403.

    ``known`` are the values of the header Authorization that are let in; ``may_only`` the methods of ``readers``.
    """

    known: frozenset[str] = frozenset()
    readers: frozenset[str] = frozenset()
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    open_for: int | None = None
    """After so many requests nobody is known any more, as where a key is revoked."""

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        given = {name.lower(): value for name, value in headers.items()}
        authorization = given.pop("authorization", "")
        self.seen.append((method, path, authorization))
        revoked = self.open_for is not None and len(self.seen) > self.open_for
        if revoked or authorization not in self.known:
            return 401, {**ELASTIC, "WWW-Authenticate": _CHALLENGE}, _unknown(authorization, path)
        if authorization in self.readers and _writes(method, path):
            reason = (
                f"action [indices:data/write] is unauthorized for user [reader] with effective roles [r] on {path}, "
                "this action is granted by the index privileges [write,all]"
            )
            return 403, ELASTIC, _error(403, "security_exception", reason)
        return super().answer(method, path, given, body)


_CHALLENGE = 'Basic realm="security", charset="UTF-8"'
_READS = ("_search", "_msearch", "_count", "_pit", "_mget", "_termvectors", "_analyze", "_refresh")


def _writes(method: str, path: str) -> bool:
    return method not in ("GET", "HEAD") and not any(part in path for part in _READS)


def _unknown(authorization: str, path: str) -> bytes:
    kind, _, value = authorization.partition(" ")
    if kind == "Basic":
        reason = f"unable to authenticate user [{base64.b64decode(value).decode().partition(':')[0]}] for REST request"
    elif kind:
        reason = "unable to authenticate with provided credentials and anonymous access is not allowed for this request"
    else:
        reason = f"missing authentication credentials for REST request [{path}]"
    return _error(401, "security_exception", reason)


def _error(status: int, kind: str, reason: str) -> bytes:
    error: dict[str, Any] = {"type": kind, "reason": reason}
    return json.dumps({"error": {"root_cause": [error], **error}, "status": status}).encode()
