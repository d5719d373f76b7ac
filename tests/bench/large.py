"""A hybrid search over 100,000 documents of 512 dims, against one request that adds up the scores of the same legs.

Both show ten documents. And what the words' probes add to a search: the same windows with and without them.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch, helpers

from crosslens.client import Connection, connect
from crosslens.demo.run import load_items
from crosslens.ingest.contract.documents import State, source_hash
from crosslens.ingest.contract.fields import agree, put_fields, read_mappings
from crosslens.ingest.contract.settings import vector_packer
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.node import Node
from crosslens.queries.search.legs import Leg
from crosslens.queries.search.searcher import HybridSearcher
from tests.bench.common import console, percentile, show, vit_b_32

_INDEX = "bench-large"
_DOCUMENTS = 100_000
_QUERIES, _WARM_UP = 300, 200


def main() -> None:
    """Prints latencies in milliseconds without encoding; every query runs all ways, one after the other."""
    encoder = Encoder(vit_b_32()[1], verify=False)
    words = sorted({word for item in load_items() for word in item.get("keywords", "").split(", ") if word})
    rng = np.random.default_rng(6)
    with tempfile.TemporaryDirectory() as tmp, Node(Path(tmp) / "node", heap="2g") as node:
        client = connect(Connection(url=node.url))
        _fill(client, encoder, words, rng)
        searcher = HybridSearcher(client, _INDEX, encoder)
        ways = ["sum", "one trip", "completed", "windows", "windows and probes", "former"]
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
        for name, way in (
            ("bool + knn, scores summed by the server", "sum"),
            ("crosslens, one round trip", "one trip"),
            ("crosslens, what is shown completed", "completed"),
            ("crosslens, theoretical-min-max, the window completed", "former"),
            ("the windows alone", "windows"),
            ("the windows and the words' probes", "windows and probes"),
        )
    ]
    added = percentile(times["windows and probes"], 50) / percentile(times["windows"], 50) - 1
    console.print(f"the probes add {added:.1%} to the search for the windows", highlight=False)
    client_ms = [f"{percentile(times['client'], p):.2f}" for p in (50, 99)]
    rows.append(["client's own time, what is shown completed", *client_ms, "-"])
    show(f"A search over {_DOCUMENTS:,} documents, 2 legs", ["milliseconds", "p50", "p99", "ratio of p50"], rows)


def _fill(client: Elasticsearch, encoder: Encoder, words: list[str], rng: Any) -> None:
    client.indices.create(
        index=_INDEX,
        mappings={"properties": {"title": {"type": "text"}}},
        settings={"number_of_shards": 3, "number_of_replicas": 0, "refresh_interval": "-1"},
    )
    titles = [" ".join(rng.choice(words, 6)) for _ in range(_DOCUMENTS)]
    client.index(index=_INDEX, id="0", document={"title": titles[0]}, refresh=True)
    target = Target("title_vector", "text", ("title",))
    (field,) = agree(client, _INDEX, read_mappings(client, _INDEX), [target], encoder)
    put_fields(client, _INDEX, [field])
    pack = vector_packer(client, _INDEX)
    # Vectors in clusters, as real ones lie: uniform ones have no neighbourhoods for a graph to follow.
    centres = rng.normal(size=(500, encoder.dims)).astype(np.float32)

    def actions() -> Any:
        for i, title in enumerate(titles):
            vector = centres[rng.integers(0, 500)] + 0.7 * rng.normal(size=encoder.dims).astype(np.float32)
            vector /= np.linalg.norm(vector)
            state = State(source_hash([title], field), field.fingerprint)
            states = {"title_vector": {"source": state.source, "model": state.model}}
            yield {"_index": _INDEX, "_id": str(i), "title": title, "title_vector": pack(vector), "crosslens": states}

    for _ in helpers.streaming_bulk(client, actions(), chunk_size=1_000, request_timeout=300):
        pass
    client.options(request_timeout=600).indices.refresh(index=_INDEX)


def _time(way: str, client: Elasticsearch, searcher: HybridSearcher, legs: list[Leg], text: str) -> tuple[float, float]:
    """Milliseconds without encoding, and of them those that weren't the server's."""
    if way == "sum":
        body = {"query": legs[0].query, "knn": legs[1].query, "size": 10}
        started = time.perf_counter()
        client.search(index=_INDEX, body=body)
        return (time.perf_counter() - started) * 1e3, 0.0
    waited = 0.0
    really = searcher._client.msearch

    def timed(**how: Any) -> Any:
        nonlocal waited
        started = time.perf_counter()
        answer = really(**how)
        waited += (time.perf_counter() - started) * 1e3
        return answer

    searcher._client.msearch = timed  # type: ignore[method-assign]
    options: dict[str, dict[str, Any]] = {
        "one trip": {"complete": False},
        "completed": {},
        "former": {"normalizer": "theoretical-min-max"},
        "windows": {"complete": False, "source": False, "normalizer": "min-max"},
        "windows and probes": {"complete": False, "source": False},
    }
    try:
        result = searcher.search(text, **options[way])
    finally:
        searcher._client.msearch = really  # type: ignore[method-assign]
    return result.search_ms, result.search_ms - waited


if __name__ == "__main__":
    main()
