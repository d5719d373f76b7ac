"""What a hybrid search costs besides the raw ``_msearch`` of the same legs: p50 and p99 over the demo's index."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from rich.console import Console

from crosslens.client import Connection, connect
from crosslens.demo.run import add, create_index, load_items
from crosslens.ingest.encoder import Encoder
from crosslens.models import DEMO_MODEL
from crosslens.node import Node
from crosslens.queries.hybrid import HybridSearcher
from tests.bench.common import percentile, show

_INDEX = "bench-query"
_QUERIES = 300


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
        texts = [" ".join(words[i : i + 2]) for i in range(0, 7 * _QUERIES, 7)]
        raw: list[float] = []
        whole: list[float] = []
        encoding: list[float] = []
        for n, text in enumerate([*texts[:50], *texts]):
            vectors = {"text": encoder.encode_texts([text])[0].tolist()}
            searches = [line for leg in searcher.legs(text, vectors) for line in ({"index": _INDEX}, leg.request)]
            started = time.perf_counter()
            client.msearch(searches=searches)
            between = time.perf_counter()
            result = searcher.search(text)
            finished = time.perf_counter()
            # The first fifty warm the server up.
            if n >= 50:
                raw.append((between - started) * 1e3)
                whole.append((finished - between) * 1e3 - result.encode_ms)
                encoding.append(result.encode_ms)
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
