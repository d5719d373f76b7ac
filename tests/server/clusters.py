"""Several nodes that form one cluster, each with a plugin and models of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from elasticsearch import Elasticsearch

from crosslens.client import Connection, connect
from crosslens.node import Node
from crosslens.node.installing import install_models, install_plugin
from tests.ports import own_ports

NAMES = ("one", "two", "three")


@dataclass(frozen=True)
class Member:
    """A node to be: the zip of its plugin (None for none), its models, and its other settings."""

    name: str
    plugin: Path | None
    models: Sequence[Path] = ()
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cluster:
    """The nodes, and a client of each."""

    nodes: list[Node]
    clients: list[Elasticsearch]
    version: str


@contextmanager
def running(members: Sequence[Member], version: str, folder: Path) -> Iterator[Cluster]:
    """Starts the members and stops them at the end; those whose settings name no roles may be the master."""
    ports = own_ports(2 * len(members))
    hosts = ports[len(members) :]
    masters = [member.name for member in members if "node.roles" not in member.settings]
    nodes = []
    for i, member in enumerate(members):
        home = folder / member.name
        home.mkdir()
        if member.plugin:
            install_plugin(member.plugin, home)
        install_models(member.models, home)
        settings = {
            "node.name": member.name,
            "cluster.name": f"crosslens-{folder.name}",
            "discovery.type": None,
            "discovery.seed_hosts": ",".join(f"127.0.0.1:{port}" for port in hosts),
            "cluster.initial_master_nodes": ",".join(masters) if member.name in masters else None,
            "transport.port": str(hosts[i]),
            **member.settings,
        }
        nodes.append(Node(home, version=version, heap="512m", port=ports[i], settings=settings))
    try:
        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(lambda node: node.start(), nodes))
        yield Cluster(nodes, [connect(Connection(url=node.url)) for node in nodes], version)
    finally:
        for node in nodes:
            node.stop()


@contextmanager
def three_nodes(
    root: Path,
    version: str,
    plugin: Path,
    models: Iterable[Path],
    images: Path,
) -> Iterator[Cluster]:
    """Three equal nodes of one cluster, each in a folder of ``root`` of its own; stopped at the end."""
    chosen = list(models)
    settings = {"crosslens.image_folder": str(images.resolve()), "crosslens.models.upload": "true"}
    members = [Member(name, plugin, chosen, settings) for name in NAMES]
    with running(members, version, root) as cluster:
        yield cluster


def shared(node: Node) -> dict[str, list[str]]:
    """What lies in a node's folder of shared models, and in that of unfinished ones."""
    root = node.folder / "data" / "crosslens"
    return {
        name: sorted(each.name for each in (root / name).iterdir()) if (root / name).exists() else []
        for name in ("models", "incoming")
    }
