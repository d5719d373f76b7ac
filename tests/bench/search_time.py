"""A search's own time over many documents, by the Python side and by the plugin, against one request that adds scores.

    python -m tests.bench.search_time --documents 100000 --folder build/search-time

Without and with a body of 4 KB a document. A folder keeps its node and the indices for the next run. Each way takes
turns with the others, "search" without the plugin and "in one request" with it. What is printed is real time, and the
processor's time of client and server together.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch

from crosslens.client import Connection, connect
from crosslens.local import find_process
from crosslens.node import Node
from crosslens.node.build import cached_plugin
from crosslens.node.installing import install_plugin
from crosslens.node.process import DEFAULT_VERSION
from crosslens.queries.search.legs import Leg
from crosslens.queries.search.searcher import HybridSearcher
from tests.bench.clustered import ClusteredEncoder, fill, vocabulary
from tests.bench.common import in_own_process, percentile, show

_DIMS, _BODY = 512, 4_096
_ROUNDS, _A_ROUND, _AT_ONCE = 6, 40, 4
_PEER = "bool + knn"


def main(arguments: Sequence[str] = ()) -> None:
    """Print a table for the documents without bodies, and one for those with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the node lies, and stays for another run")
    parser.add_argument("--shards", type=int, default=1)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as tmp:
        node = Node(chosen.folder or Path(tmp) / "node", heap="2g")
        install_plugin(cached_plugin(DEFAULT_VERSION), node.folder)
        with node:
            client = connect(Connection(url=node.url))
            for body in (0, _BODY):
                index = f"bench-{chosen.documents}-{chosen.shards}-{body}"
                if not client.indices.exists(index=index):
                    fill(client, index, ClusteredEncoder(_DIMS), chosen.documents, shards=chosen.shards, body=body)
                    # Merges that are under way would be in the way of one way and not of the other.
                    client.options(request_timeout=1_200).indices.forcemerge(index=index, max_num_segments=4)
                pid = find_process(node.folder)
                measured = in_own_process("tests.bench.search_time", "--measure", node.url, index, str(pid))
                _show(f"{chosen.documents:,} documents of {body} bytes, {chosen.shards} shards", measured)


def _show(title: str, measured: dict[str, dict[str, float]]) -> None:
    peer = measured[_PEER]
    rows = [
        [
            name,
            *(f"{each[what]:.2f} ({each[what] / peer[what]:.2f}x)" for what in ("p50", "cpu")),
            f"{each['rate']:.0f}",
        ]
        for name, each in measured.items()
    ]
    show(title, ["milliseconds", "p50", "processor", f"queries/s, {_AT_ONCE} threads"], rows)


def _ways(client: Elasticsearch, index: str) -> dict[str, Callable[[str], object]]:
    by_one = HybridSearcher(client, index, ClusteredEncoder(_DIMS), mapping_ttl_s=86_400)
    searcher = HybridSearcher(client, index, ClusteredEncoder(_DIMS), mapping_ttl_s=86_400)
    searcher._current().presence.there = False
    own = [*searcher.fields, "crosslens"]
    bare: dict[str, Any] = {"complete": False, "source": False}

    def legs(text: str) -> list[Leg]:
        return searcher.legs(text)

    def by_plugin(text: str, *, explain: bool) -> object:
        words, vectors = legs(text)
        children = [{"retriever": {"standard": {"query": words.query}}}, {"retriever": {"knn": vectors.query}}]
        body: dict[str, Any] = {"retriever": {"crosslens": {"retrievers": children}}, "size": 10, "explain": explain}
        return client.search(index=index, body={**body, "_source": {"excludes": own}})

    def by_sum(text: str) -> object:
        words, vectors = legs(text)
        body = {"query": words.query, "knn": vectors.query, "size": 10, "_source": {"excludes": own}}
        return client.search(index=index, body=body)

    return {
        _PEER: by_sum,
        "search": lambda text: searcher.search(text),
        "search, in one request": lambda text: by_one.search(text),
        "search, not completed": lambda text: searcher.search(text, complete=False),
        "search, window completed": lambda text: searcher.search(text, normalizer="theoretical-min-max"),
        "the windows": lambda text: searcher.search(text, normalizer="min-max", **bare),
        "the windows and the words' probes": lambda text: searcher.search(text, **bare),
        "plugin, explained": lambda text: by_plugin(text, explain=True),
        "plugin": lambda text: by_plugin(text, explain=False),
    }


def _measure(url: str, index: str, pid: str) -> None:
    ways, words = _ways(connect(Connection(url=url)), index), vocabulary()
    rng = np.random.default_rng(8)
    texts = [" ".join(rng.choice(words, 2)) for _ in range(_A_ROUND * (_ROUNDS + 1))]
    took: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(_ROUNDS + 1):
        some = texts[number * _A_ROUND : (number + 1) * _A_ROUND]
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            before, times = _processor(pid), []
            for text in some:
                started = time.perf_counter()
                ways[name](text)
                times.append((time.perf_counter() - started) * 1e3)
            used = (_processor(pid) - before) * 1e3 / len(some)
            started = time.perf_counter()
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(ways[name], some))
            # The first round warms up.
            if number:
                took[name] += times
                cpu[name].append(used)
                rates[name].append(len(some) / (time.perf_counter() - started))
    measured = {
        name: {"p50": percentile(took[name], 50), "cpu": percentile(cpu[name], 50), "rate": percentile(rates[name], 50)}
        for name in names
    }
    print(json.dumps(measured))


def _processor(pid: str) -> float:
    """Seconds of processor time that the server and this process have taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    _measure(*sys.argv[2:]) if sys.argv[1:2] == ["--measure"] else main(sys.argv[1:])
