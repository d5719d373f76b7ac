"""What a hybrid search costs besides the raw ``_msearch`` of the same legs: p50 and p99 over the demo's index."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from rich.console import Console

from crosslens.client import Connection, connect
from crosslens.demo.run import add, create_index, load_items
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.node import Node
from crosslens.queries.search.searcher import HybridSearcher
from tests.bench.common import percentile, show

_INDEX = "bench-query"
_QUERIES = 600
# The server compiles its hot code in the first hundreds of searches.
_WARM_UP = 400


def main() -> None:
    """Prints the latencies in milliseconds; each query runs both ways, one after the other."""
    items = load_items()
    with tempfile.TemporaryDirectory() as tmp, Node(Path(tmp) / "node", heap="1g") as node:
        client = connect(Connection(url=node.url))
        create_index(client, items, index=_INDEX)
        encoder = Encoder(DEMO_MODEL)
        add(client, encoder, Console(quiet=True), index=_INDEX)
        searcher = HybridSearcher(client, _INDEX, encoder)
        words = [word for item in items for word in item.get("keywords", "").split(", ") if word]
        texts = [" ".join(words[i : i + 2]) for i in range(0, 5 * _QUERIES, 5)]
        raw: list[float] = []
        whole: list[float] = []
        encoding: list[float] = []
        for n, text in enumerate([*texts[:_WARM_UP], *texts]):
            searches = [line for leg in searcher.legs(text) for line in ({"index": _INDEX}, leg.request)]
            took: dict[str, float] = {}
            # Whichever comes second finds the server's caches warm, so they take turns.
            for which in ("raw", "whole") if n % 2 else ("whole", "raw"):
                started = time.perf_counter()
                encode_ms = 0.0
                if which == "raw":
                    client.msearch(searches=searches)
                else:
                    encode_ms = searcher.search(text).encode_ms
                    took["encoding"] = encode_ms
                took[which] = (time.perf_counter() - started) * 1e3 - encode_ms
            if n >= _WARM_UP:
                raw.append(took["raw"])
                whole.append(took["whole"])
                encoding.append(took["encoding"])
    rows = [
        [
            f"p{p}",
            *(f"{percentile(v, p):.2f}" for v in (whole, raw, encoding)),
            f"{percentile(whole, p) - percentile(raw, p):.2f}",
            f"{percentile(whole, p) / percentile(raw, p):.2f}x",
        ]
        for p in (50, 99)
    ]
    headings = ["milliseconds", "search", "raw _msearch", "(encoding, apart)", "difference", "ratio"]
    show(f"Query, {len(items)} documents, 3 legs", headings, rows)


if __name__ == "__main__":
    main()
