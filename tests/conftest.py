"""Fixtures that tests share: real nodes of both versions, and small exported models."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from elasticsearch import Elasticsearch, helpers
from hypothesis import HealthCheck, settings
from PIL import Image

from crosslens.client import Connection, connect, parse_version
from crosslens.errors import NodeError
from crosslens.ingest.model.encoder import Encoder
from crosslens.node import Node
from crosslens.node.home import assemble
from crosslens.node.jvm import find_java

# How long examples take depends on what else the machine does.
settings.register_profile("crosslens", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("crosslens")
VERSIONS = ("9.5.3", "8.19.21")
DATA = Path(__file__).parent / "data"
# Nothing that tests do may touch, or depend on, what the user running them has.
for _name in [n for n in os.environ if n.startswith(("ELASTIC", "ES_", "CROSSLENS_"))]:
    if _name != "CROSSLENS_CACHE":
        del os.environ[_name]


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("user")
    os.environ["CROSSLENS_NODE"] = str(root / "node")
    os.environ["CROSSLENS_DATA"] = str(root / "data")


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """What a command that ran in this process set up for the library's log is undone."""
    log = logging.getLogger("crosslens")
    handlers, level, propagate = list(log.handlers), log.level, log.propagate
    yield
    log.handlers[:], log.propagate = handlers, propagate
    log.setLevel(level)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run side by side, the tests of one version share a worker, and with it nodes; so do others of one file."""
    for item in items:
        version = next((each for each in VERSIONS if each in item.name), None)
        item.add_marker(pytest.mark.xdist_group(version or item.path.name))


def require_node(version: str) -> None:
    """Skips where the node can't be set up: no Java, or no way to its jars."""
    try:
        assemble(version, find_java(version))
    except NodeError as error:
        pytest.skip(f"no Elasticsearch {version}: {error}")


@dataclass(frozen=True)
class Server:
    """A running node and a client of it."""

    node: Node
    client: Elasticsearch
    version: str

    def new_index(self, mappings: dict[str, object], documents: list[dict[str, object]], shards: int = 3) -> str:
        """An index of its own name; documents take their place in the list as id."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        settings = {"number_of_shards": shards, "number_of_replicas": 0}
        self.client.indices.create(index=name, mappings=mappings, settings=settings)
        actions = ({"_index": name, "_id": str(i), **document} for i, document in enumerate(documents))
        helpers.bulk(self.client, actions, refresh=True)
        return name

    def source(self, index: str, id: str) -> dict[str, object]:
        """A document with its vectors, which newer servers leave out unless asked."""
        query = {"ids": {"values": [id]}}
        body = {
            "query": query,
            "_source": {"exclude_vectors": False} if parse_version(self.version) >= (9, 2) else True,
        }
        hits = self.client.search(index=index, body=body)["hits"]["hits"]
        assert len(hits) == 1, f"{id} is not in {index}"
        return dict(hits[0]["_source"])


@pytest.fixture(scope="session", params=VERSIONS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    version = str(request.param)
    require_node(version)
    node = Node(tmp_path_factory.mktemp(f"node-{version}"), version=version, heap="512m")
    node.start()
    try:
        yield Server(node, connect(Connection(url=node.url)), version)
    finally:
        node.stop()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of exported small CLIPs: ``small``, ``other`` of the same dims, and ``wide`` of more; and of ``text``, a
    text model with prompts."""
    pytest.importorskip("transformers", reason="the extra 'export' is not installed")
    from crosslens.ingest.model.exporting import export
    from tests import checkpoints

    root = tmp_path_factory.mktemp("models")
    for name, seed, dims in (("small", 0, 24), ("other", 7, 24), ("wide", 3, 32), ("absent", 11, 24)):
        export(
            str(checkpoints.clip(root / f"{name}-checkpoint", seed=seed, projection_dim=dims)),
            root / name,
            precision="fp32",
        )
    prompts = {"query": "find ", "document": "here is "}
    text = checkpoints.sentence_encoder(root / "text-checkpoint", prompts=prompts)
    export(str(text), root / "text", precision="fp32")
    return root


@pytest.fixture(scope="session")
def encoder(models: Path) -> Encoder:
    return Encoder(models / "small", batch_size=8)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `draw_pictures` makes it."""
    folder = tmp_path_factory.mktemp("pictures")
    draw_pictures(folder)
    return folder


def draw_pictures(folder: Path) -> None:
    """Draws 60 small pictures, 0.png to 59.png, each of its own colours."""
    rng = np.random.default_rng(3)
    for i in range(60):
        base = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(base).resize((40 + i, 50), Image.Resampling.BICUBIC).save(folder / f"{i}.png")


def read_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
