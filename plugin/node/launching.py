"""What the server's process is started with: its arguments, its log's settings, memory and ports."""

from __future__ import annotations

import contextlib
import getpass
import re
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from crosslens.errors import NodeError
from crosslens.local import config_option

TRANSPORT_PORT = 9300


LOG4J = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:es.logs.base_path}/node.log
appender.file.filePattern = ${sys:es.logs.base_path}/node-%i.log.gz
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %marker%m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 16MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


def launch_arguments(
    java: Path, home: Path, assembled: Path, folder: Path, port: int, transport: int, given: Mapping[str, str | None]
) -> bytes:
    """What the server reads from its standard input: its settings, as Elasticsearch's own launcher writes them."""
    settings: dict[str, object] = {
        "path.home": home,
        "path.data": folder / "data",
        "path.logs": folder / "logs",
        "cluster.name": "crosslens",
        "node.name": "crosslens",
        "network.host": "127.0.0.1",
        "http.port": port,
        "transport.port": transport,
        "discovery.type": "single-node",
        # A laptop's disk is often fuller than the thresholds made for servers, which would block every index.
        "cluster.routing.allocation.disk.threshold_enabled": "false",
    }
    settings = {key: value for key, value in {**settings, **given}.items() if value is not None}
    done = subprocess.run(
        [
            java,
            "-XX:TieredStopAtLevel=1",
            "-cp",
            f"{assembled / 'launch.jar'}:{assembled / 'lib'}/*",
            "LaunchArguments",
            folder / "config",
            folder / "logs",
            *(f"{key}={value}" for key, value in settings.items()),
        ],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise NodeError(f"the node's settings could not be written:\n{done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def command(java: Path, home: Path, assembled: Path, folder: Path, version: str, heap: str) -> list[str]:
    """The command line of the server\'s process."""
    bridge = assembled / "lib" / "entitlement-bridge" / f"elasticsearch-entitlement-bridge-{version}.jar"
    tmp = folder / "tmp"
    return [
        str(java),
        f"-Xms{heap}",
        f"-Xmx{heap}",
        "-XX:+UseG1GC",
        f"-Djava.io.tmpdir={tmp}",
        f"-Des.path.home={home}",
        config_option(folder),
        "-Des.distribution.type=tar",
        "-Des.networkaddress.cache.ttl=60",
        "-Djava.awt.headless=true",
        "-Dfile.encoding=UTF-8",
        "-Dio.netty.noUnsafe=true",
        "-Dlog4j2.disable.jmx=true",
        "-Djdk.attach.allowAttachSelf=true",
        f"-XX:ErrorFile={folder / 'logs' / 'hs_err_pid%p.log'}",
        "--add-modules=jdk.net,jdk.incubator.vector,jdk.management.agent,ALL-MODULE-PATH",
        "--add-opens=org.apache.lucene.core/org.apache.lucene.codecs.lucene99=org.elasticsearch.server",
        "--enable-native-access=org.elasticsearch.nativeaccess,org.apache.lucene.core",
        f"--patch-module=java.base={bridge}",
        "--add-exports=java.base/org.elasticsearch.entitlement.bridge="
        "org.elasticsearch.entitlement,java.logging,java.net.http,java.naming,jdk.net",
        "-p",
        str(assembled / "lib"),
        "-m",
        "org.elasticsearch.server/org.elasticsearch.bootstrap.Elasticsearch",
    ]


def heap_bytes(heap: str) -> int:
    """The size of a heap as Java takes it, 512m or 2g. Raises `NodeError` for anything else."""
    match = re.fullmatch(r"(\d+)([mMgG])", heap)
    if not match:
        raise NodeError(f"{heap!r} is not a heap size; give a number with m or g, as in 512m or 2g")
    return int(match[1]) << (20 if match[2] in "mM" else 30)


def check_memory(heap: int) -> None:
    """Raise `NodeError` where a server with a heap of so many bytes would find too little memory."""
    import psutil

    available = psutil.virtual_memory().available
    # Besides its heap the server maps index files and keeps buffers: half the heap again is its usual need.
    if available < heap * 1.5:
        raise NodeError(
            f"too little memory: a heap of {heap >> 20} MB needs about {heap * 3 >> 21} MB free and "
            f"{available >> 20} MB are",
            hint="close something, or give a smaller one, such as 512m",
            parameter="heap",
        )


def is_free(port: int) -> bool:
    """Whether nothing listens on the port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def claim(port: int, claims: contextlib.ExitStack) -> bool:
    """Whether ``port`` is free, and no other start on this machine has claimed it; it then is ours for ``claims``.

    Between choosing a port and listening on it a server takes seconds, in which another start would choose the same
    one, and take the first server's answers for its own.
    """
    lock = FileLock(Path(tempfile.gettempdir()) / f"crosslens-{getpass.getuser()}-{port}.lock", timeout=0)
    try:
        lock.acquire()
    except (Timeout, PermissionError):
        return False
    if not is_free(port):
        lock.release()
        return False
    claims.callback(lock.release)
    return True


def claim_from(first: int, claims: contextlib.ExitStack) -> int:
    """The first one of a hundred ports from ``first`` that can be claimed.

    Ports that the system hands out to outgoing connections would be taken by others between a stop and a start. Raises
    `NodeError` where there is none.
    """
    for port in range(first, min(first + 100, 65536)):
        if claim(port, claims):
            return port
    raise NodeError(f"the ports {first} to {first + 99} are all taken", hint="give one that is free", parameter="port")
