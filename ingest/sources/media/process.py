"""The child processes that decode: started by a nursery, asked, listened to with suspicion, and ended."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from crosslens.errors import MediaError
from crosslens.ingest.sources.decoding import wire
from crosslens.ingest.sources.decoding.shapes import MediaLimits

_STARTING_S = 60.0
# One thread each is enough for what numpy does there, and fewer arenas leave more of the memory that is allowed.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


class Nursery:
    """The process that children are forked from; one for each process of ours, from its first use to its end."""

    def __init__(self) -> None:
        """Start it. Raises `MediaError` where PyAV isn't installed, or the system has no such processes."""
        if not hasattr(os, "fork") or not hasattr(socket, "send_fds"):
            raise MediaError("sound and footage are decoded on Linux and macOS only, in a process with limits")
        if importlib.util.find_spec("av") is None:
            raise MediaError("sound and footage need PyAV", hint="install crosslens[av]")
        ours, theirs = socket.socketpair()
        environment = {**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with theirs:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-P", "-m", "crosslens.ingest.sources.decoding.nursery"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        self.owner = os.getpid()
        self._control = ours
        self._turn = threading.Lock()
        ours.settimeout(_STARTING_S)
        try:
            wire.received_exactly(ours, wire.ANSWER.size)
        except (EOFError, OSError) as error:
            self._process.kill()
            said = (self._process.communicate()[1] or b"").decode("utf-8", "replace").strip().splitlines()
            raise MediaError(f"the process that decodes can't be started ({said[-1] if said else error})") from error

    @property
    def alive(self) -> bool:
        """Return whether this process can still ask it."""
        return self.owner == os.getpid() and self._process.poll() is None

    def fork(self, file: int, channel: socket.socket, opening: dict[str, Any]) -> int:
        """Return the id of a new child that has ``file`` and ``channel``."""
        return int(self._ask(opening, (file, channel.fileno()))["child"])

    def end(self, child: int, patience_s: float) -> dict[str, Any]:
        """End a child, at the latest after ``patience_s``, and return how it ended (empty where nobody knows)."""
        if not self.alive:
            return {}
        try:
            return self._ask({"end": child, "patience_s": patience_s}, ())
        except MediaError:
            return {}

    def _ask(self, request: dict[str, Any], files: tuple[int, ...]) -> dict[str, Any]:
        with self._turn:
            try:
                wire.send_request(self._control, request, files)
                got = wire.receive_request(self._control)
            except (OSError, EOFError) as error:
                self._process.kill()
                raise MediaError(f"the process that decodes is gone ({error})") from error
        if got is None:
            self._process.kill()
            raise MediaError("the process that decodes is gone")
        return got[0]


_lock = threading.Lock()
_nursery: Nursery | None = None


def nursery() -> Nursery:
    """Return this process's nursery, started if there is none."""
    global _nursery
    with _lock:
        if _nursery is None or not _nursery.alive:
            _nursery = Nursery()
        return _nursery


class Child:
    """One child and its file. Whatever it sends may be made by a hostile file: callers check it."""

    def __init__(self, file: int, kind: str, limits: MediaLimits, name: str):
        self._limits, self._name = limits, name
        self._waited = 0.0
        # How it ended, once it has.
        self.ended: dict[str, Any] | None = None
        ours, theirs = socket.socketpair()
        with theirs:
            self._nursery = nursery()
            opening = {"kind": kind, "limits": asdict(limits), "memory": limits.memory, "cpu_s": limits.cpu_s}
            self._child = self._nursery.fork(file, theirs, opening)
        ours.settimeout(limits.patience_s)
        self._channel = ours
        self._finalizer = weakref.finalize(self, _forget, self._nursery, self._child, ours)

    def ask(self, request: dict[str, Any]) -> None:
        """Send a request. Raises `MediaError` where the child is gone."""
        if self.ended is not None:
            raise MediaError(f"{self._name}: is closed")
        try:
            wire.send_request(self._channel, request)
        except OSError as error:
            raise self._gone(timed_out=isinstance(error, TimeoutError)) from error

    def answers(self) -> Iterator[tuple[bytes, int, int, int]]:
        """Yield the head of each answer: its kind, two numbers, and how many bytes follow, to be read before the next.

        Raises `MediaError` for an answer that says that the file can't be read, and where the child is gone.
        """
        while True:
            kind, a, b, length = wire.ANSWER.unpack(self.bytes(wire.ANSWER.size))
            if kind == wire.BEAT:
                continue
            if kind == wire.ERROR:
                said = self.json(length)
                raise self._explained(said if isinstance(said, dict) else {})
            yield kind, a, b, length

    def json(self, length: int) -> Any:
        """Return the next ``length`` bytes as JSON."""
        if length > wire.MAX_JSON:
            raise self.distrusted()
        try:
            return json.loads(self.bytes(length))
        except (ValueError, RecursionError) as error:
            raise self.distrusted() from error

    def bytes(self, length: int) -> bytes:
        """Return the next ``length`` bytes."""
        data = bytearray(length)
        self.fill(memoryview(data))
        return bytes(data)

    def fill(self, view: memoryview) -> None:
        """Fill ``view`` with the next bytes. Raises `MediaError` where the child is gone, or gets nowhere."""
        started = time.monotonic()
        try:
            wire.fill(self._channel, view)
        except (EOFError, OSError) as error:
            raise self._gone(timed_out=isinstance(error, TimeoutError)) from error
        finally:
            self._waited += time.monotonic() - started
        if self._waited > self._limits.cpu_s + self._limits.patience_s:
            raise self._gone(timed_out=True)

    def skip(self, length: int) -> None:
        """Read and drop the next ``length`` bytes."""
        while length:
            length -= len(self.bytes(min(length, 1 << 20)))

    def distrusted(self) -> MediaError:
        """End the child, and return the error for answers that can't be true."""
        self.end()
        return MediaError(f"{self._name}: can't be decoded (the decoder gave what can't be true)")

    def end(self, patience_s: float = 0.0) -> None:
        """End the child, at the latest after ``patience_s``."""
        if self.ended is None:
            self._finalizer.detach()
            self._channel.close()
            self.ended = self._nursery.end(self._child, patience_s)

    def _gone(self, *, timed_out: bool) -> MediaError:
        self.end(0.0 if timed_out else 2.0)
        ended = self.ended or {}
        code = ended.get("code")
        if timed_out:
            reason = f"got nowhere for {self._limits.patience_s:g} s"
        elif code == -signal.SIGXCPU:
            reason = f"took more than the {self._limits.cpu_s:,} s of processor time allowed"
        elif code == -signal.SIGKILL and not ended.get("killed"):
            reason = "was ended by the system, as it does when memory runs out"
        elif code is not None and code < 0:
            with contextlib.suppress(ValueError):
                code = signal.Signals(-code).name
            reason = f"crashed ({code})"
        else:
            reason = "ended without an answer"
        return MediaError(f"{self._name}: can't be decoded: the decoder {reason}")

    def _explained(self, said: dict[str, Any]) -> MediaError:
        if said.get("memory"):
            megabytes = self._limits.memory >> 20
            return MediaError(f"{self._name}: needs more than the {megabytes:,} MB of memory allowed for decoding")
        message = "".join(c if c.isprintable() else " " for c in str(said.get("message", ""))[:500])
        return MediaError(f"{self._name}: {message}")


def _forget(parent: Nursery, child: int, channel: socket.socket) -> None:
    channel.close()
    parent.end(child, 0.0)
