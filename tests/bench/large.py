"""A hybrid search over many documents of 512 dims, against one request that adds up the scores of the same legs.

    python -m tests.bench.large --documents 20000 --body 0 4096 --shards 1 3

Both show ten documents. And what the words' probes add to a search: the same windows with and without them. ``body`` is
how many bytes a document has that aren't searched.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch

from crosslens.client import Connection, connect
from crosslens.node import Node
from crosslens.queries.search.legs import Leg
from crosslens.queries.search.searcher import HybridSearcher
from tests.bench.clustered import ClusteredEncoder, fill, vocabulary
from tests.bench.common import console, percentile, show

_INDEX = "bench-large"
_DIMS = 512
_QUERIES, _WARM_UP = 300, 200
_WAYS = {
    "sum": "bool + knn, scores summed by the server",
    "uncompleted": "crosslens, not completed",
    "completed": "crosslens, what is shown completed",
    "former": "crosslens, theoretical-min-max, the window completed",
    "windows": "the windows alone, with ids",
    "windows and probes": "the windows and the words' probes, with ids",
}


def main(arguments: Sequence[str] = ()) -> None:
    """Print latencies in milliseconds without encoding; every query runs all ways, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--body", type=int, nargs="+", default=[0, 4096])
    parser.add_argument("--shards", type=int, nargs="+", default=[1])
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as tmp, Node(Path(tmp) / "node", heap="2g") as node:
        client, encoder = connect(Connection(url=node.url)), ClusteredEncoder(_DIMS)
        for shards in asked.shards:
            for body in asked.body:
                fill(client, _INDEX, encoder, asked.documents, shards=shards, body=body)
                _measure(client, encoder, f"{asked.documents:,} documents, {shards} shards, bodies of {body:,} bytes")
                client.indices.delete(index=_INDEX)


def _measure(client: Elasticsearch, encoder: ClusteredEncoder, what: str) -> None:
    searcher, words, rng = HybridSearcher(client, _INDEX, encoder), vocabulary(), np.random.default_rng(6)
    ways = list(_WAYS)
    times: dict[str, list[float]] = {way: [] for way in [*ways, "client"]}
    for n in range(_WARM_UP + _QUERIES):
        text = " ".join(rng.choice(words, 2))
        legs = searcher.legs(text)
        # Whichever comes first finds the server's caches cold, so they take turns.
        turn = n % len(ways)
        took = {way: _time(way, client, searcher, legs, text) for way in ways[turn:] + ways[:turn]}
        if n >= _WARM_UP:
            for way in ways:
                times[way].append(took[way][0])
            times["client"].append(took["completed"][1])
    rows = [
        [
            name,
            *(f"{percentile(times[way], p):.2f}" for p in (50, 99)),
            f"{percentile(times[way], 50) / percentile(times['sum'], 50):.2f}x",
        ]
        for way, name in _WAYS.items()
    ]
    added = percentile(times["windows and probes"], 50) / percentile(times["windows"], 50) - 1
    console.print(f"the probes add {added:.1%} to the search for the windows", highlight=False)
    client_ms = [f"{percentile(times['client'], p):.2f}" for p in (50, 99)]
    rows.append(["client's own time, what is shown completed", *client_ms, "-"])
    show(f"A search over {what}, 2 legs", ["milliseconds", "p50", "p99", "ratio of p50"], rows)


def _time(way: str, client: Elasticsearch, searcher: HybridSearcher, legs: list[Leg], text: str) -> tuple[float, float]:
    """Milliseconds without encoding, and of them those that weren't the server's."""
    started = time.perf_counter()
    if way == "sum":
        client.search(index=_INDEX, body={"query": legs[0].query, "knn": legs[1].query, "size": 10})
        return (time.perf_counter() - started) * 1e3, 0.0
    if way.startswith("windows"):
        probes = legs[0].probes.searches if legs[0].probes and way == "windows and probes" else ()
        bodies = [*(leg.request for leg in legs), *probes]
        client.msearch(searches=[line for body in bodies for line in ({"index": _INDEX}, body)])
        return (time.perf_counter() - started) * 1e3, 0.0
    waited = 0.0
    several, one = searcher._client.msearch, searcher._client.search

    def timed(really: Any) -> Any:
        def sent(**how: Any) -> Any:
            nonlocal waited
            started = time.perf_counter()
            answer = really(**how)
            waited += (time.perf_counter() - started) * 1e3
            return answer

        return sent

    searcher._client.msearch, searcher._client.search = timed(several), timed(one)  # type: ignore[method-assign]
    options: dict[str, dict[str, Any]] = {
        "uncompleted": {"complete": False},
        "completed": {},
        "former": {"normalizer": "theoretical-min-max"},
    }
    try:
        result = searcher.search(text, **options[way])
    finally:
        searcher._client.msearch, searcher._client.search = several, one  # type: ignore[method-assign]
    return result.search_ms, result.search_ms - waited


if __name__ == "__main__":
    main(sys.argv[1:])
