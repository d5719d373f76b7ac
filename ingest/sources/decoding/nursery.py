"""A process that has loaded FFmpeg and reads nothing but its own program's requests: it forks one child for each file.

Forking takes milliseconds where starting Python and loading FFmpeg takes a quarter of a second. Children never share
anything but the loaded code, and end with the nursery, which ends with the program that started it.
"""

from __future__ import annotations

import gc
import os
import pkgutil
import signal
import socket
import sys
import time
from importlib import import_module
from typing import Any

import av
import numpy as np

from crosslens.ingest.sources.decoding import wire
from crosslens.ingest.sources.decoding.confine import confine
from crosslens.ingest.sources.decoding.serve import serve

_PROGRAMS = {"av.__main__", "av.about", "av.datasets"}


def main() -> None:
    """Answer requests on the socket at file descriptor 0 until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=os.dup(0))
    children: set[int] = set()
    _load()
    # What is loaded stays; the children's garbage collector shouldn't touch, and so copy, it.
    gc.freeze()
    wire.send_answer(control, wire.BEAT)
    while (got := wire.receive_request(control, files=2)) is not None:
        request, files = got
        if "end" in request:
            answer = _ended(request["end"], request["patience_s"]) if request["end"] in children else {}
            children.discard(request["end"])
        else:
            child = os.fork()
            if not child:
                control.close()
                _child(request, *files)
            for file in files:
                os.close(file)
            children.add(child)
            answer = {"child": child}
        wire.send_request(control, answer)
    for child in children:
        os.kill(child, signal.SIGKILL)


def _load() -> None:
    """Load all that decoding may need: a child can't open files any more, modules included."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name not in _PROGRAMS:
            import_module(module.name)
    for encoding in ("utf-8", "ascii", "latin-1"):
        b"".decode(encoding, "replace")
    # numpy loads some of its parts when they are first used.
    few = np.zeros(3, np.float32)
    for use in (np.median, np.unique, np.nan_to_num, np.diff):
        use(few)


def _child(request: dict[str, Any], file: int, channel: int) -> None:
    """Serve one file, and leave the process."""
    status = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2) if not sys.flags.dev_mode else (0, 1):
            os.dup2(null, standard)
        confine(request["memory"], request["cpu_s"])
        serve(socket.socket(fileno=channel), file, request)
        status = 0
    finally:
        # Nothing of the nursery may run here: no cleaning up, no loop.
        os._exit(status)


def _ended(child: int, patience_s: float) -> dict[str, Any]:
    """End ``child`` if it doesn't by itself within ``patience_s``; say how, and what memory and processor time it took.

    Memory is the most at once, in bytes, and processor time is in s.
    """
    deadline = time.monotonic() + patience_s
    killed = False
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            scale = 1 if sys.platform == "darwin" else 1024
            return {
                "code": os.waitstatus_to_exitcode(status),
                "killed": killed,
                "peak": usage.ru_maxrss * scale,
                "cpu": usage.ru_utime + usage.ru_stime,
            }
        if time.monotonic() >= deadline and not killed:
            os.kill(child, signal.SIGKILL)
            killed = True
        time.sleep(0.001)


if __name__ == "__main__":
    main()
