"""Commands without the second that Python takes to import them: forked from a process that has done so once.

A forked command has everything else of its own: arguments, environment, streams, exit status, and the end of its
interpreter. What only a new process shows (the start itself, encodings, signals) is tested with `commands.start`, or by
an environment that differs in more than `_MAY_DIFFER`.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

_MAY_DIFFER = (
    *("CROSSLENS_", "ELASTICSEARCH_", "ELASTIC_", "ES_", "PYTEST_", "COLUMNS"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY"),
)
_COLUMNS = "120"
_LIMIT = 1 << 20  # bytes of a request: arguments and environment


def usable(environment: dict[str, str]) -> bool:
    """Whether a command in ``environment`` does the same when it is forked: nothing else is read by what it imports."""
    if not hasattr(os, "fork") or environment["COLUMNS"] != _COLUMNS:
        return False
    _, begun = _server()
    differing = [name for name in {*environment, *begun} if environment.get(name) != begun.get(name)]
    return all(name.startswith(_MAY_DIFFER) for name in differing)


def run(arguments: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as `subprocess.run` does."""
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection,
    ):
        connection.connect(_server()[0])
        request = json.dumps([arguments, environment, str(folder)]).encode()
        socket.send_fds(connection, [request], [out.fileno(), err.fileno()])
        answer = connection.recv(16)
        if not answer:
            raise ChildProcessError("the process that commands are forked from ended")
        texts = []
        for each in (out, err):
            each.seek(0)
            texts.append(each.read().decode())
    return subprocess.CompletedProcess(arguments, int(answer), *texts)


@cache
def _server() -> tuple[str, dict[str, str]]:
    """Start it, and return its address and its environment."""
    environment = {**os.environ, "COLUMNS": _COLUMNS}
    folder = tempfile.mkdtemp(prefix="crosslens-warm-")
    address = f"{folder}/socket"
    command = [sys.executable, "-m", "tests.warm", address]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    if not process.stdout.readline():
        raise ChildProcessError("the process that commands are forked from did not start")

    def end() -> None:
        process.terminate()
        process.wait()
        Path(address).unlink()
        Path(folder).rmdir()

    atexit.register(end)
    return address, environment


def _serve(address: str) -> None:
    from crosslens import cli

    for name in cli._COMMANDS:
        importlib.import_module(f"crosslens.commands.{cli._MODULES.get(name, name)}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(address)
        listening.listen()
        print("listening", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
        # Standard input ends with the process that writes to it, however that ends.
        while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
            connection, _ = listening.accept()
            if not os.fork():
                listening.close()
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, streams, _, _ = socket.recv_fds(connection, _LIMIT, 2)
    command = os.fork()
    if not command:
        connection.close()
        arguments, environment, folder = json.loads(request)
        _become(arguments, environment, folder, streams)
    _, status = os.waitpid(command, 0)
    connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(arguments: list[str], environment: dict[str, str], folder: str, streams: list[int]) -> NoReturn:
    for stream, number in zip([os.open(os.devnull, os.O_RDONLY), *streams], (0, 1, 2), strict=True):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["crosslens", *arguments]
    # The processes that this one starts import what they would otherwise.
    this: Any = sys.modules["__main__"]
    this.__spec__ = importlib.util.find_spec("crosslens.cli")
    from crosslens.cli import main

    main()
    raise AssertionError("a command ends by itself")


if __name__ == "__main__":
    _serve(sys.argv[1])
