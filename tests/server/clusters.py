"""Clusters of three nodes with the plugin."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from elasticsearch import Elasticsearch

from crosslens.client import Connection, connect
from crosslens.node import Node
from crosslens.node.installing import install_models, install_plugin

NAMES = ("one", "two", "three")


@dataclass(frozen=True)
class Three:
    """The nodes, and a client of each."""

    nodes: list[Node]
    clients: list[Elasticsearch]
    version: str


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextmanager
def three_nodes(
    root: Path,
    version: str,
    plugin: Path,
    models: Iterable[Path],
    images: Path,
) -> Iterator[Three]:
    """Three nodes of one cluster, each in a folder of ``root`` of its own; stopped at the end."""
    ports = free_ports(6)
    models = list(models)
    nodes = []
    for i, name in enumerate(NAMES):
        folder = root / name
        folder.mkdir()
        install_plugin(plugin, folder)
        install_models(models, folder)
        chosen = {
            "node.name": name,
            "cluster.name": "crosslens-three",
            "discovery.type": None,
            "discovery.seed_hosts": ",".join(f"127.0.0.1:{port}" for port in ports[3:]),
            "cluster.initial_master_nodes": ",".join(NAMES),
            "transport.port": str(ports[3 + i]),
            "crosslens.image_folder": str(images.resolve()),
        }
        nodes.append(Node(folder, version=version, heap="512m", port=ports[i], settings=chosen))
    try:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda node: node.start(), nodes))
        yield Three(nodes, [connect(Connection(url=node.url)) for node in nodes], version)
    finally:
        for node in nodes:
            node.stop()
