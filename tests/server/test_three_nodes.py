"""Three nodes that ingest through pipelines and a run, one of which is killed: nothing is lost, no ranking changes.

What the cluster was given or lost of models meanwhile, the one that was away catches up with."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch
from elasticsearch.helpers import bulk

from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.sharing import drop_model, push_model
from crosslens.ingest.run.report import Report
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.search.searcher import HybridSearcher
from tests.conftest import VERSIONS, Server
from tests.ingest.exactness import MAPPINGS, expect_exact, shop
from tests.server.clusters import Cluster, shared, three_nodes
from tests.server.conftest import Http, plugin_zip
from tests.server.test_ingest import processor
from tests.server.test_search import expect_same, retriever

pytestmark = pytest.mark.node
_COUNT = 900
_BULK = 20


@pytest.fixture(params=VERSIONS)
def three(
    request: pytest.FixtureRequest, tmp_path: Path, zips: Path, models: Path, pictures: Path
) -> Iterator[Cluster]:
    version = str(request.param)
    with three_nodes(tmp_path, version, plugin_zip(version, zips), [models / "small"], pictures) as nodes:
        yield nodes


def written(client: Elasticsearch, index: str, lines: list[Any]) -> bool:
    """Whether every document of a bulk was acknowledged by the node that ``client`` speaks to."""
    try:
        answer = client.bulk(operations=lines, index=index, pipeline="shop")
    except (ApiError, TransportError):
        return False
    return not answer["errors"]


def test_a_node_killed_while_all_ingest_loses_nothing_and_changes_no_ranking(
    three: Cluster, encoder: Encoder, models: Path, pictures: Path
) -> None:
    first = three.clients[0]
    index = "shop"
    first.indices.create(
        index=index,
        mappings=MAPPINGS,
        settings={"number_of_shards": 3, "number_of_replicas": 1},
        wait_for_active_shards="all",
    )
    targets = [Target("title_vector", "text", ("title",), "hnsw"), Target("photo_vector", "image", ("photo",), "hnsw")]
    options = Options(images=ImageAccess(root=pictures))
    add_vectors(first, index, encoder, targets, options)
    steps = [processor("title_vector", "title", "text"), processor("photo_vector", "photo", "image")]
    first.ingest.put_pipeline(id="shop", processors=steps)
    batches: list[list[Any]] = []
    for start in range(0, _COUNT, _BULK):
        lines: list[Any] = []
        for i, document in enumerate(shop(_COUNT)[start : start + _BULK], start):
            lines += [{"index": {"_id": str(i)}}, document]
        batches.append(lines)
    done, retried, lock = [0], [0], threading.Lock()
    # So many shards that the node which is killed holds some that the run reads.
    shelf = "shelf"
    first.indices.create(
        index=shelf,
        mappings=MAPPINGS,
        settings={"number_of_shards": 9, "number_of_replicas": 1},
        wait_for_active_shards="all",
    )
    bulk(first, ({"_index": shelf, "_id": str(i), **each} for i, each in enumerate(shop(_COUNT))), refresh=True)
    killed, reading = threading.Event(), threading.Event()

    def hold(report: Report) -> None:
        """In the midst of the run, until the node is killed."""
        if report.documents >= _COUNT // 3:
            reading.set()
            assert killed.wait(120)

    def feed(part: int) -> None:
        """Sends every third bulk to a node of its own; what it doesn't acknowledge is sent to another."""
        for lines in batches[part::3]:
            to = part
            until = time.monotonic() + 120
            while not written(three.clients[to % 3], index, lines):
                to += 1
                retried[0] += 1
                assert time.monotonic() < until
                time.sleep(0.2)
            with lock:
                done[0] += 1
                if done[0] == len(batches) // 3 and not killed.is_set():
                    status = three.nodes[2].status()
                    assert status is not None
                    assert reading.wait(120)
                    os.kill(status.pid, signal.SIGKILL)
                    killed.set()

    assert push_model(first, models / "wide", "before").failed == ()
    assert [shared(node)["models"] for node in three.nodes] == [["before"]] * 3
    with ThreadPoolExecutor(4) as pool:
        run = pool.submit(add_vectors, first, shelf, encoder, targets, options, progress=hold)
        list(pool.map(feed, range(3)))
        assert run.result().failures == []
    assert killed.is_set()
    assert retried[0] > 0
    left = Server(three.nodes[0], first, three.version)
    first.cluster.health(wait_for_status="yellow", wait_for_nodes="2", timeout="60s")
    first.indices.refresh(index=index)
    assert first.count(index=index)["count"] == _COUNT
    expect_exact(left, index, encoder, pictures)
    expect_exact(left, shelf, encoder, pictures)
    assert add_vectors(first, index, encoder, targets, options).documents == 0
    # Asked of either node that is left, and of the third one when it is back, the ranking is the Python side's.
    words = {"multi_match": {"query": "running shoe number 77", "fields": ["title"]}}
    vector = encoder.encode_texts(["running shoe number 77"])[0].tolist()
    knn = {"field": "photo_vector", "k": 100, "num_candidates": 1_000, "query_vector": vector}
    legs: dict[str, dict[str, Any]] = {"keyword": {"standard": {"query": words}}, "photo_vector": {"knn": knn}}
    searcher = HybridSearcher(first, index, encoder)
    # Copies of a shard count deleted documents differently in BM25, so each search has to use the same copy.
    first.indices.forcemerge(index=index, max_num_segments=1)
    how: dict[str, Any] = {"legs": ["keyword", "photo_vector"], "candidates": 1_000, "size": 50}
    expected = searcher.search("running shoe number 77", **how)
    body = {**retriever(legs, {}, window=100), "size": 50}
    for node in three.nodes[:2]:
        expect_same(Http(node.url).ok("POST", f"{index}/_search", body), expected)
    assert drop_model(first, "before").failed == ()
    assert push_model(first, models / "wide", "after").failed == ()
    assert [shared(node)["models"] for node in three.nodes] == [["after"], ["after"], ["before"]]
    three.nodes[2].start()
    first.cluster.health(wait_for_status="green", wait_for_nodes="3", timeout="90s")
    first.indices.forcemerge(index=index, max_num_segments=1)
    for node in three.nodes:
        expect_same(Http(node.url).ok("POST", f"{index}/_search", body), expected)
    assert first.count(index=index)["count"] == _COUNT
    until = time.monotonic() + 60
    while shared(three.nodes[2]) != {"models": ["after"], "incoming": []}:
        assert time.monotonic() < until, shared(three.nodes[2])
        time.sleep(0.2)
