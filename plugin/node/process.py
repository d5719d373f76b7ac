"""Starting, finding and stopping the embedded node's process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from crosslens.errors import NodeError
from crosslens.local import NodeStatus, default_folder, find_process, recorded
from crosslens.node.home import assemble
from crosslens.node.installing import home_with_plugins
from crosslens.node.jvm import find_java
from crosslens.node.launching import (
    LOG4J,
    check_memory,
    command,
    heap_bytes,
    launch_arguments,
)
from crosslens.node.locks import HeldError, held
from crosslens.node.ports import TRANSPORT_PORT, check_port, claim, claim_from, is_free
from crosslens.node.removing import check_removable, delete
from crosslens.node.watching import is_up, last_words

DEFAULT_VERSION = "9.5.3"
DEFAULT_PORT = 9200
_START_TIMEOUT_S = 180
_STOP_TIMEOUT_S = 60
_PORT_TIMEOUT_S = 3
_PORT_TRIES = 3


class _PortTakenError(NodeError):
    """Another program took the port between choosing and listening."""


class Node:
    """A real single-node Elasticsearch on loopback, with its own folder for data, logs and settings.

    As a context manager it starts the node and stops it at the end; a node that was already running keeps running.

        with Node() as node:
            Elasticsearch(node.url)
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        version: str | None = None,
        port: int | None = None,
        heap: str = "1g",
        java: Path | None = None,
        settings: Mapping[str, str | None] | None = None,
    ):
        """``version`` None keeps the folder's version (`DEFAULT_VERSION` for a new one); ``port`` None takes 9200 or,
        where that is busy, a free one; ``heap`` is Java's heap, as in 512m or 2g; ``settings`` are Elasticsearch's own,
        in place of what the node would take (None: none)."""
        self.folder = (folder or default_folder()).expanduser().resolve()
        self._version, self._port, self._heap, self._java = version, port, heap, java
        self._settings = dict(settings or {})
        self._started_here = False
        self._log_start = 0

    @property
    def url(self) -> str:
        """Return the address of the running node. Raises `NodeError` when it isn't running."""
        status = self.running()
        if status is None:
            raise NodeError(f"no node is running in {self.folder}", hint="start it", verb="node start")
        return status.url

    @property
    def version(self) -> str:
        """Return the version that the next start runs. Raises `NodeError` where it is older than the folder's data."""
        return self._choose_version()

    @property
    def log(self) -> Path:
        """Return the server's own log file."""
        return self.folder / "logs" / "node.log"

    def status(self) -> NodeStatus | None:
        """Return the status of the folder's node, or None when none was ever started there."""
        last = recorded(self.folder)
        if last is None:
            return None
        return replace(last, running=find_process(self.folder) is not None)

    def running(self) -> NodeStatus | None:
        """Return the status of the running node, or None when none runs in the folder."""
        status = self.status()
        return status if status is not None and status.running else None

    def start(self) -> NodeStatus:
        """Start the node and return when it answers.

        Raises `NodeError` when it already runs, for a missing or outdated Java, no network on the first start, a taken
        port, too little memory, an older version than the data's, or a server that exits (with the end of its log).
        """
        if self._port is not None:
            check_port(self._port)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return self._start()
        except OSError as error:
            raise NodeError(
                f"the node can't be started in {self.folder}: {error.strerror or error}"
                + (f" ({error.filename})" if error.filename else ""),
                hint="check the folder and its disk, or give another",
                parameter="folder",
            ) from error

    def _start(self) -> NodeStatus:
        with self._lock():
            running = find_process(self.folder)
            if running is not None:
                last = recorded(self.folder)
                where = f" at {last.url}" if last else ""
                raise NodeError(
                    f"a node already runs in {self.folder}{where} (process {running})",
                    hint="stop it, or give another folder",
                    verb="node stop",
                )
            version = self._choose_version()
            heap = heap_bytes(self._heap)
            check_memory(heap)
            java = find_java(version, self._java)
            assembled = assemble(version, java)
            home = home_with_plugins(assembled, self.folder, version)
            for left in reversed(range(_PORT_TRIES)):
                with contextlib.ExitStack() as claims:
                    ports = self._choose_port(claims), claim_from(TRANSPORT_PORT, claims)
                    try:
                        return self._launch(home, assembled, java.java, version, ports)
                    except _PortTakenError:
                        # Another user's node was faster; its claims aren't seen here.
                        if not left:
                            raise
            raise AssertionError("the last try returns or raises")

    def stop(self) -> bool:
        """Stop the node and return True, or False when none was running. Data and settings stay."""
        pid = find_process(self.folder)
        if pid is None:
            return False
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_TIMEOUT_S)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(_STOP_TIMEOUT_S)
        return True

    def remove(self) -> int:
        """Stop the node if it runs and delete its folder with all its data; return the bytes freed.

        Raises `NodeError` for a folder that isn't a node's, or that holds anything else.
        """
        check_removable(self.folder)
        with self._lock():
            self.stop()
            return delete(self.folder)

    def __enter__(self) -> Self:
        if self.running() is None:
            self.start()
            self._started_here = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started_here:
            self.stop()
            self._started_here = False

    def _launch(self, home: Path, assembled: Path, java: Path, version: str, ports: tuple[int, int]) -> NodeStatus:
        config, logs, tmp = self.folder / "config", self.folder / "logs", self.folder / "tmp"
        shutil.rmtree(tmp, ignore_errors=True)
        for folder in (config, logs, tmp, self.folder / "data"):
            folder.mkdir(exist_ok=True)
        (config / "log4j2.properties").write_text(LOG4J)
        settings = config / "elasticsearch.yml"
        if not settings.exists():
            settings.write_text("# Your own settings for the crosslens node; addresses and folders are set at start.\n")
        arguments = launch_arguments(java, home, assembled, self.folder, *ports, self._settings)
        # The log continues from earlier starts, whose errors don't belong to this one.
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        # The server stops when its standard input closes, so it inherits the writing end of its own pipe.
        reader, writer = os.pipe()
        try:
            os.write(writer, arguments)
            with (logs / "console.log").open("wb") as console:
                process = subprocess.Popen(
                    command(java, home, assembled, self.folder, version, self._heap),
                    stdin=reader,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    pass_fds=(writer,),
                    env={**os.environ, "LIBFFI_TMPDIR": str(tmp)},
                    cwd=self.folder,
                    start_new_session=True,
                )
        finally:
            os.close(reader)
            os.close(writer)
        status = NodeStatus(True, f"http://127.0.0.1:{ports[0]}", version, process.pid, str(self.folder))
        temporary = self.folder / "node.json.new"
        temporary.write_text(json.dumps(status.as_dict(), indent=2))
        temporary.replace(self.folder / "node.json")
        try:
            self._wait(process, status)
        except BaseException:
            process.terminate()
            process.wait(_STOP_TIMEOUT_S)
            raise
        return status

    def _wait(self, process: subprocess.Popen[bytes], status: NodeStatus) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                why = last_words(self.folder / "logs", self.log, self._log_start)
                taken = re.search(r"BindHttpException|BindTransportException|Address already in use", why)
                raise (_PortTakenError if taken else NodeError)(
                    f"Elasticsearch {status.version} exited with {process.returncode} while starting:\n{why}"
                )
            if is_up(status.url, process.pid):
                return
            time.sleep(0.2)
        raise NodeError(f"Elasticsearch did not answer within {_START_TIMEOUT_S} s; its log: {self.log}")

    def _choose_version(self) -> str:
        last = recorded(self.folder)
        if last is None:
            return self._version or DEFAULT_VERSION
        version = self._version or last.version
        if _numbers(version) < _numbers(last.version):
            raise NodeError(
                f"the data in {self.folder} belongs to Elasticsearch {last.version} and can't be opened by the "
                f"older {version}",
                hint="leave the version out, or give another folder",
                parameter="version",
            )
        return version

    def _choose_port(self, claims: contextlib.ExitStack) -> int:
        if self._port is not None:
            if not claim(self._port, claims):
                raise NodeError(
                    f"port {self._port} is taken by another program", hint="give another, or none", parameter="port"
                )
            return self._port
        earlier = recorded(self.folder)
        last = int(earlier.url.rsplit(":", 1)[1]) if earlier else DEFAULT_PORT
        # A killed server's sockets outlive its entry in the process list; clients expect the port they know.
        deadline = time.monotonic() + _PORT_TIMEOUT_S
        while earlier and not is_free(last) and time.monotonic() < deadline:
            time.sleep(0.05)
        return last if claim(last, claims) else claim_from(DEFAULT_PORT, claims)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            with held(self.folder / "start.lock"):
                yield
        except HeldError as error:
            raise NodeError(f"another start is under way in {self.folder}", hint="wait for it to finish") from error


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
