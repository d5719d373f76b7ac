"""A real TCP proxy between a client and Elasticsearch, that delays, cuts, and turns away on demand."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from types import TracebackType

_SAYS = b'{"error":{"type":"es_rejected_execution_exception"},"status":429}'
_BUSY = (
    b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nx-elastic-product: Elasticsearch\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(_SAYS), _SAYS)
)


class Proxy:
    """Forwards connections to a port on loopback, from ``host``'s.

    Of every ``cut_every`` requests one has its connection cut after a random number of the answer's bytes: the server
    has done it, and the client can't know. Of every ``busy_every`` one is answered 429 and never reaches the server.
    """

    def __init__(
        self,
        port: int,
        *,
        cut_every: int = 0,
        busy_every: int = 0,
        delay_s: float = 0.0,
        seed: int = 0,
        host: str = "127.0.0.1",
    ):
        self._target = port
        self.cut_every, self.busy_every, self.delay_s = cut_every, busy_every, delay_s
        self.cuts = self.refusals = self.requests = 0
        self._random = random.Random(seed)
        self._server = socket.create_server((host, 0))
        self.port: int = self._server.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self._open = True

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._open = False
        self._server.close()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            upstream = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        # Requests of one connection follow one another, so the first bytes after an answer begin a new request.
        state = {"fresh": True, "left": -1}
        back = threading.Thread(target=self._answers, args=(upstream, client, state), daemon=True)
        back.start()
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                if state["fresh"]:
                    state["fresh"] = False
                    self.requests += 1
                    # The first questions of a client are let through.
                    if self.busy_every and self.requests > 3 and self.requests % self.busy_every == 0:
                        self.refusals += 1
                        client.sendall(_BUSY)
                        break
                    if self.cut_every and self.requests > 3 and self.requests % self.cut_every == 0:
                        state["left"] = self._random.randrange(0, 400)
                upstream.sendall(data)
        for each in (upstream, client):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _answers(self, upstream: socket.socket, client: socket.socket, state: dict[str, int | bool]) -> None:
        with contextlib.suppress(OSError):
            while data := upstream.recv(1 << 16):
                state["fresh"] = True
                if self.delay_s:
                    time.sleep(self.delay_s)
                left = int(state["left"])
                if 0 <= left < len(data):
                    self.cuts += 1
                    client.sendall(data[:left])
                    break
                if left >= 0:
                    state["left"] = left - len(data)
                client.sendall(data)
        for each in (upstream, client):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
