"""What grows with an index: searches and everything that looks at all of it, at several sizes of one kind of data.

    python -m tests.bench.scale --documents 10000 100000 1000000

Each operation runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from elasticsearch import Elasticsearch

from crosslens.client import Connection, connect
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.run.calibrate import calibrate
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.status import survey
from crosslens.ingest.run.write import reindex
from crosslens.node import Node
from crosslens.queries.evaluate.recall import measure_recall
from crosslens.queries.search.searcher import HybridSearcher
from tests.bench.clustered import ClusteredEncoder, fill, vocabulary
from tests.bench.common import console, in_own_process, peak_rss_mb, percentile, show

_DIMS = 192
_QUERIES, _WARM_UP = 200, 100
_SAMPLE = 20_000
_COUNTS = (10_000, 100_000)


def main(arguments: Sequence[str] = ()) -> None:
    """Print a table: by operation and size its seconds (of searches milliseconds) and memory, and how they grow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=list(_COUNTS), help="the sizes to measure")
    counts = sorted(parser.parse_args(arguments).documents)
    measured: dict[int, dict[str, tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as tmp, Node(Path(tmp) / "node", heap="4g") as node:
        client = connect(Connection(url=node.url))
        for count in counts:
            index = f"bench-scale-{count}"
            started = time.perf_counter()
            fill(client, index, ClusteredEncoder(_DIMS), count)
            console.print(f"{count:,} documents written in {time.perf_counter() - started:.0f} s", highlight=False)
            measured[count] = {}
            for operation in _OPERATIONS:
                result = in_own_process("tests.bench.scale", "--operation", operation, index, node.url)
                for name, value in result["took"].items():
                    measured[count][name] = (value, result["peak_mb"])
            client.indices.delete(index=index)
    headings = ["", *(f"{count:,}" for count in counts), "growth of time", "of memory"]
    show(
        f"{_DIMS} dims, time and peak memory; the data grows {counts[-1] / counts[0]:g}-fold",
        headings,
        [_row(name, [measured[count][name] for count in counts]) for name in measured[counts[0]]],
    )


def _row(name: str, values: Sequence[tuple[float, float]]) -> list[str]:
    unit = "ms" if name.endswith(("p50", "p99")) else "s"
    (first, memory), (last, most) = values[0], values[-1]
    shown = [f"{value:.2f} {unit}, {peak:.0f} MB" for value, peak in values]
    return [name, *shown, f"{last / first:.1f}x", f"{most / memory:.2f}x"]


def _searches(client: Elasticsearch, index: str) -> dict[str, float]:
    """Milliseconds of searches, without encoding."""
    searcher, words = HybridSearcher(client, index, ClusteredEncoder(_DIMS)), vocabulary()
    rng = np.random.default_rng(8)
    ways = {"search": "evidence", "search, window completed": "theoretical-min-max"}
    took: dict[str, list[float]] = {name: [] for name in ways}
    for n in range(_WARM_UP + _QUERIES):
        text = " ".join(rng.choice(words, 2))
        for name, normalizer in list(ways.items())[:: 1 if n % 2 else -1]:
            searched = searcher.search(text, normalizer=normalizer)  # type: ignore[arg-type]
            if n >= _WARM_UP:
                took[name].append(searched.search_ms)
    return {f"{name}, p{p}": percentile(values, p) for name, values in took.items() for p in (50, 99)}


def _reindexed(client: Elasticsearch, index: str, selection: Selection) -> None:
    report = reindex(client, index, ClusteredEncoder(_DIMS), Options(selection))
    if report.written or report.failed:
        raise RuntimeError(f"there was something to do: {report}")


def _timed(name: str, work: Callable[[Elasticsearch, str], object]) -> Callable[[Elasticsearch, str], dict[str, float]]:
    def measured(client: Elasticsearch, index: str) -> dict[str, float]:
        started = time.perf_counter()
        work(client, index)
        return {name: time.perf_counter() - started}

    return measured


_WORK: dict[str, Callable[[Elasticsearch, str], object]] = {
    "status": survey,
    f"status of a sample of {_SAMPLE:,}": lambda client, index: survey(client, index, sample=_SAMPLE),
    "status --quick": lambda client, index: survey(client, index, quick=True),
    "reindex --missing, nothing to do": lambda client, index: _reindexed(client, index, Selection()),
    "reindex --stale, nothing to do": lambda client, index: _reindexed(
        client, index, Selection(missing=False, stale=True)
    ),
    "calibrate": calibrate,
    "recall": measure_recall,
    f"recall by a sample of {_SAMPLE:,}": lambda client, index: measure_recall(client, index, sample=_SAMPLE),
}
_OPERATIONS = {"search": _searches, **{name: _timed(name, work) for name, work in _WORK.items()}}


def _operate(operation: str, index: str, url: str) -> None:
    took = _OPERATIONS[operation](connect(Connection(url=url)), index)
    print(json.dumps({"took": took, "peak_mb": peak_rss_mb()}))


if __name__ == "__main__":
    _operate(*sys.argv[2:]) if sys.argv[1:2] == ["--operation"] else main(sys.argv[1:])
