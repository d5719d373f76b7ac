"""What operators rely on: metrics that Prometheus reads, and the actions that a secured cluster's privileges name."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.conftest import Plugged
from tests.server.test_search import retriever

pytestmark = pytest.mark.node
LANES = ("search", "ingest", "encode")
# As a Prometheus server sends it.
_SCRAPER = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


def leaves(part: dict[str, Any]) -> set[str]:
    """The names of all that is counted; a histogram is one."""
    found = set()
    for key, value in part.items():
        if isinstance(value, dict) and "histogram" not in value:
            found |= {f"{key}_{each}" for each in leaves(value)}
        elif not isinstance(value, str):
            found.add(key)
    return found


@pytest.mark.parametrize("path", ["_crosslens/metrics", "_crosslens/stats?format=prometheus"])
def test_metrics_are_those_of_the_statistics_in_prometheus_form(plugged: Plugged, path: str) -> None:
    plugged.http.ok("POST", "_crosslens/encode", {"model": "small", "texts": ["a", "b"]})
    kind, text = plugged.http.text(path, _SCRAPER)
    assert kind.startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    stats = plugged.stats()
    node = plugged.http.ok("GET", "_nodes/_local")["nodes"].popitem()[1]["name"]

    def value(name: str, **labels: str) -> float:
        family = families[re.sub("_(total|sum|count|bucket)$", "", name)]
        (found,) = [s.value for s in family.samples if s.name == name and s.labels == labels]
        return float(found)

    for lane in LANES:
        where = {"node": node, "lane": lane}
        for name in ("texts", "images", "failed", "rejected", "ended"):
            assert value(f"crosslens_{name}_total", **where) == stats[lane][name]
            assert families[f"crosslens_{name}"].type == "counter"
        for gauge in ("queue", "queue_size", "working"):
            assert families[f"crosslens_{gauge}"].type == "gauge"
        latency = families["crosslens_latency_seconds"]
        assert latency.type == "histogram"
        buckets = [s for s in latency.samples if s.name.endswith("_bucket") and s.labels["lane"] == lane]
        counts = [s.value for s in buckets]
        assert counts == sorted(counts)
        bounds = [float(s.labels["le"]) for s in buckets]
        assert bounds == sorted(bounds)
        assert bounds[-1] == float("inf")
        assert counts[-1] == value("crosslens_latency_seconds_count", **where) == stats[lane]["latency"]["count"]
    assert value("crosslens_breaker_limit_bytes", node=node) == stats["breaker"]["limit_bytes"]
    assert value("crosslens_failed_nodes") == 0
    # Nothing that the statistics count is left out, whatever is added to them.
    others = set(stats) - set(LANES)
    counted = {key for lane in LANES for key in leaves(stats[lane])} | leaves({k: stats[k] for k in others})
    assert len(families) - 1 == len(counted)
    # Each family's lines are together, after its type.
    named = re.findall(r"^# TYPE (\S+)", text, re.M)
    assert len(named) == len(set(named)) == len(families)


# What the node does by itself, at any time: leases and checkpoints of shards that were written to.
_BY_ITSELF = "indices:admin/seq_no/"


def actions(plugged: Plugged, method: str, path: str, body: Any, wanted: set[str]) -> set[str]:
    """The actions that a request is registered as on the node: what a secured cluster looks up privileges by.

    All that are in the log when those ``wanted`` are, but not what the node does by itself.
    """
    log = plugged.server.node.log
    start = log.stat().st_size
    if "prometheus" in path:
        plugged.http.text(path)
    else:
        plugged.http.ok(method, path, body)
    until = time.monotonic() + 10
    found: set[str] = set()
    while not wanted <= found and time.monotonic() < until:
        with log.open() as lines:
            lines.seek(start)
            found = set(
                re.findall(
                    r"register \d+ \[\w+\] \[((?:cluster|indices|internal):[^\[\]]+(?:\[\w+\])*)\]", lines.read()
                )
            )
        time.sleep(0.1)
    return {name for name in found if not name.startswith(_BY_ITSELF)}


@pytest.fixture
def traced(plugged: Plugged) -> Any:
    logger = "logger.org.elasticsearch.tasks.TaskManager"
    plugged.server.client.cluster.put_settings(persistent={logger: "TRACE"})
    yield plugged
    plugged.server.client.cluster.put_settings(persistent={logger: None})


def test_each_request_runs_under_the_action_that_the_documentation_names(traced: Plugged) -> None:
    field = {"type": "dense_vector", "dims": 24, "index": True, "similarity": "cosine"}
    index = traced.server.new_index({"properties": {"v": field, "title": {"type": "text"}}}, [{"title": "a shoe"}])
    builder = {"crosslens": {"model": "small", "text": "a shoe"}}
    knn = {"field": "v", "k": 1, "num_candidates": 1, "query_vector_builder": builder}
    legs = {"keyword": {"standard": {"query": {"match": {"title": "shoe"}}}}, "v": {"knn": knn}}
    pipeline = {"processors": [{"crosslens": {"model": "small", "field": "v", "modality": "text", "source": "title"}}]}
    monitor = "cluster:monitor/crosslens"
    search = {"indices:data/read/search"}
    # Elasticsearch's own, which several searches at once are made by.
    several = {
        "indices:data/read/msearch",
        "indices:data/read/open_point_in_time",
        "indices:data/read/open_reader_context",
        "indices:data/read/close_point_in_time",
    }
    requests: list[tuple[str, str, Any, set[str]]] = [
        ("GET", "_crosslens/models", None, {f"{monitor}/models"}),
        ("GET", "_crosslens/stats", None, {f"{monitor}/stats"}),
        ("GET", "_crosslens/stats?format=prometheus", None, {f"{monitor}/stats"}),
        ("POST", "_crosslens/encode", {"model": "small", "texts": ["a"]}, {f"{monitor}/encode"}),
        ("POST", f"{index}/_search", {"knn": knn}, search),
        ("POST", f"{index}/_search", retriever(legs, {}), search),
        ("PUT", "_ingest/pipeline/actions", pipeline, {"cluster:admin/ingest/pipeline/put"}),
        ("PUT", f"{index}/_doc/2?pipeline=actions", {"title": "b"}, {"indices:data/write/index"}),
        (
            "POST",
            f"{index}/_bulk?pipeline=actions",
            [{"index": {"_id": "3"}}, {"title": "c"}],
            {"indices:data/write/bulk"},
        ),
    ]
    try:
        for method, path, body, wanted in requests:
            found = actions(traced, method, path, body, wanted)
            assert wanted <= found, (path, found)
            assert {name for name in found if "crosslens" in name} == {
                name for name in {*wanted, *(f"{each}[n]" for each in wanted)} if "crosslens" in name and name in found
            }
            if path.endswith("_search"):
                # Whoever may read the index may search it: nothing else is asked for.
                bare = {re.sub(r"\[.*", "", name) for name in found}
                assert {name for name in bare if name.startswith("indices:data/read")} <= search | several, found
                assert not {name for name in bare if name.startswith(("cluster:admin", "indices:admin"))}, found
    finally:
        traced.http("DELETE", "_ingest/pipeline/actions")


def test_the_documentation_names_these_actions() -> None:
    page = (Path(__file__).parents[2] / "docs" / "server-plugin.md").read_text()
    for name in ("models", "stats", "encode"):
        assert f"`cluster:monitor/crosslens/{name}`" in page
