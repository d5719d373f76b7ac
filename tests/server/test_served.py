"""Nodes that have a model encode for those that haven't, and where one of them is lost the next one does."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosslens.errors import ModelError
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.cluster import ClusterEncoder, cluster_models
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.sharing import drop_model, push_model
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.node.installing import install_models
from tests.conftest import VERSIONS
from tests.ingest.exactness import MAPPINGS, shop
from tests.server.clusters import Cluster, Member, running, shared
from tests.server.conftest import Http, plugin_zip

pytestmark = pytest.mark.node
_TEXTS = [f"a shoe of the colour {i}" for i in range(40)]


@pytest.fixture(scope="module", params=VERSIONS)
def three(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, zips: Path, models: Path
) -> Iterator[Cluster]:
    """Two nodes with a model, and one without that neither holds data nor ingests; "two" takes no shared models."""
    version = str(request.param)
    plugin = plugin_zip(version, zips)
    takes = {"crosslens.models.upload": "true"}
    members = [
        Member("asked", plugin, settings={"node.roles": "remote_cluster_client", **takes}),
        Member("one", plugin, [models / "small"], takes),
        Member("two", plugin, [models / "small"]),
    ]
    with running(members, version, tmp_path_factory.mktemp(f"served-{version}")) as cluster:
        yield cluster


def close(made: Any, expected: Any) -> bool:
    return bool((np.array(made) * expected).sum(axis=1).min() >= 0.99999)


def test_a_pushed_model_reaches_every_node_that_takes_models(three: Cluster, models: Path) -> None:
    wide = Encoder(models / "wide")
    seen: list[tuple[int, int]] = []
    asked, one, two = (Http(node.url) for node in three.nodes)

    pushed = push_model(three.clients[0], models / "wide", "pushed", progress=lambda *done: seen.append(done))
    states = {name: node.state for name, node in pushed.nodes.items()}
    assert states == {"asked": "installed", "one": "installed", "two": "off"}
    assert (pushed.failed, pushed.fingerprint) == ((), wide.fingerprint)
    assert seen[-1] == (pushed.total, pushed.total)
    for http in (asked, one, two):
        made = http.ok("POST", "_crosslens/encode", {"model": "pushed", "texts": _TEXTS[:3]})
        assert close(made["vectors"], wide.encode_texts(_TEXTS[:3]))
    # Those that have it encode for themselves.
    nodes = one.ok("GET", "_crosslens/models")["nodes"].values()
    have = {node["name"]: [model["directory"] for model in node["models"]] for node in nodes}
    assert have == {"asked": ["pushed"], "one": ["small", "pushed"], "two": ["small"]}
    assert [shared(node)["models"] for node in three.nodes] == [["pushed"], ["pushed"], []]

    # A node that doesn't take models neither gives any, and what lies on some node by hand is left alone.
    status, answer = two("DELETE", "_crosslens/models/pushed")
    assert (status, "crosslens.models.upload" in str(answer)) == (403, True), answer
    with pytest.raises(ModelError, match=r"by hand into crosslens/ in the configuration folder of one, two"):
        push_model(three.clients[0], models / "small")
    with pytest.raises(ModelError, match=r"by hand into crosslens/ in the configuration folder of one, two"):
        drop_model(three.clients[0], "small")

    assert drop_model(three.clients[0], "pushed").failed == ()
    assert [shared(node)["models"] for node in three.nodes] == [[], [], []]
    status, answer = asked("POST", "_crosslens/encode", {"model": "pushed", "texts": ["a"]})
    assert (status, "no model [pushed]" in str(answer)) == (400, True), answer
    used = [n["breaker"]["used_bytes"] for n in asked.ok("GET", "_crosslens/stats")["nodes"].values()]
    assert used == [0, 0, 0]


def test_a_node_without_a_model_is_served_by_those_that_have_it(
    three: Cluster, encoder: Encoder, models: Path, pictures: Path
) -> None:
    asked = Http(three.nodes[0].url)
    status, answer = asked("POST", "_crosslens/encode", {"model": "nowhere", "texts": ["a"]})
    assert (status, "no model [nowhere]" in str(answer)) == (400, True), answer

    # By whatever it is called, texts and images, in the order given.
    expected = encoder.encode_texts(_TEXTS)
    for name in ("small", encoder.name, encoder.fingerprint, None):
        answer = asked.ok("POST", "_crosslens/encode", {"model": name, "texts": _TEXTS})
        assert answer["model"] == {"name": encoder.name, "fingerprint": encoder.fingerprint}
        assert close(answer["vectors"], expected)
    data = [base64.b64encode((pictures / f"{i}.png").read_bytes()).decode() for i in range(3)]
    answer = asked.ok("POST", "_crosslens/encode", {"images": data})
    assert close(answer["vectors"], encoder.encode_images([pictures / f"{i}.png" for i in range(3)]))
    status, answer = asked("POST", "_crosslens/encode", {"images": [base64.b64encode(b"no picture").decode()]})
    assert (status, "not an image" in str(answer)) == (400, True), answer

    # Searches, and the Python side, which needs to know nothing of it.
    client = three.clients[0]
    found = cluster_models(client)
    assert found is not None
    assert [(each.nodes, each.lacking, each.silent) for each in found] == [(("one", "two"), ("asked",), ())]
    there = ClusterEncoder(client)
    client.indices.create(index="shop", mappings=MAPPINGS, settings={"number_of_replicas": 1})
    for i, document in enumerate(shop(30)):
        client.index(index="shop", id=str(i), document=document)
    client.indices.refresh(index="shop")
    targets = [Target("title_vector", "text", ("title",), "hnsw"), Target("photo_vector", "image", ("photo",), "hnsw")]
    add_vectors(client, "shop", there, targets, Options(images=ImageAccess(root=pictures)))
    client.cluster.health(wait_for_status="green", timeout="60s")
    vector = {"crosslens": {"field": "photo_vector", "text": "blue shoe"}}
    knn = {"field": "photo_vector", "k": 5, "num_candidates": 30, "query_vector_builder": vector}
    expected_hits = asked.ok(
        "POST",
        "shop/_search",
        {"knn": {**knn, "query_vector_builder": {"crosslens": {"model": encoder.fingerprint, "text": "blue shoe"}}}},
    )["hits"]["hits"]
    assert len(expected_hits) == 5
    assert asked.ok("POST", "shop/_search", {"knn": knn})["hits"]["hits"] == expected_hits

    # Both serve, in turn; the one that was asked has encoded nothing.
    served = {n["name"]: n["search"]["texts"] for n in asked.ok("GET", "_crosslens/stats")["nodes"].values()}
    assert served.pop("asked") == 0
    assert min(served.values()) > 0.2 * sum(served.values())
    used = [n["breaker"]["used_bytes"] for n in asked.ok("GET", "_crosslens/stats")["nodes"].values()]
    assert used == [0, 0, 0]

    # One is killed while all ask: nobody notices.
    def ask(i: int) -> int:
        if i == 10:
            status = three.nodes[2].status()
            assert status is not None
            os.kill(status.pid, signal.SIGKILL)
        made = asked.ok("POST", "_crosslens/encode", {"model": "small", "texts": [_TEXTS[i % 40]]})["vectors"]
        assert close(made, expected[i % 40][None])
        return i

    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(ask, range(120)))) == 120

    # Where the last one loses it nobody serves it, and where it comes back all are served again, without a restart.
    folder = three.nodes[1].folder / "config" / "crosslens" / "small"
    shutil.rmtree(folder)
    status, answer = until(lambda: asked("POST", "_crosslens/encode", {"model": "small", "texts": ["a"]}), 400)
    assert "no model [" in str(answer)
    install_models([models / "small"], three.nodes[1].folder)
    until(lambda: asked("POST", "_crosslens/encode", {"model": "small", "texts": ["a"]}), 200)
    # A new model is there as soon as one node has it.
    install_models([models / "wide"], three.nodes[1].folder)
    wide = Encoder(models / "wide")
    answer = asked.ok("POST", "_crosslens/encode", {"model": "wide", "texts": _TEXTS})
    assert close(answer["vectors"], wide.encode_texts(_TEXTS))
    # Who has the only model is remembered for up to 10 s.
    status, answer = until(lambda: asked("POST", "_crosslens/encode", {"texts": ["a"]}), 400)
    assert "say which [model]" in str(answer), answer


def until(ask: Any, wanted: int) -> tuple[int, Any]:
    """Asks until the answer has the status that is wanted, which it must have within 30 s."""
    end = time.monotonic() + 30
    while True:
        status, answer = ask()
        if status == wanted:
            return status, answer
        assert time.monotonic() < end, answer
        time.sleep(0.5)
