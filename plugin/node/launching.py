"""The launch of the server's process: its arguments, log settings and memory."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from crosslens.errors import NodeError
from crosslens.local import config_option

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
    """Return the server's standard input: its settings, as Elasticsearch's own launcher writes them."""
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
        # A laptop's disk is often above the thresholds made for servers, which would block every index.
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
    """Return the command line of the server's process."""
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
    """Return the bytes of a heap in Java's notation, 512m or 2g. Raises `NodeError` for anything else."""
    match = re.fullmatch(r"(\d+)([mMgG])", heap)
    if not match:
        raise NodeError(
            f"{heap!r} is not a heap size", hint="give a number with m or g, as in 512m or 2g", parameter="heap"
        )
    return int(match[1]) << (20 if match[2] in "mM" else 30)


def check_memory(heap: int) -> None:
    """Raise `NodeError` where memory is too short for a server with a heap of that many bytes."""
    import psutil

    available = psutil.virtual_memory().available
    # Besides its heap the server maps index files and keeps buffers, usually half the heap again.
    if available < heap * 1.5:
        raise NodeError(
            f"too little memory: a heap of {heap >> 20} MB needs about {heap * 3 >> 21} MB free and "
            f"{available >> 20} MB are",
            hint="close something, or give a smaller one, such as 512m",
            parameter="heap",
        )
