"""Peak memory of a run over 10,000 and over 100,000 documents with an image each; it should not grow."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from elasticsearch import helpers

from crosslens.client import Connection, connect
from crosslens.demo.build import DATA
from crosslens.demo.run import load_items
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.node import Node
from tests.bench.common import in_own_process, peak_rss_mb, show

_COUNTS = (10_000, 100_000)


def main() -> None:
    """Prints peak memory and documents a second for both counts, each run in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as tmp, Node(Path(tmp) / "node", heap="2g") as node:
        client = connect(Connection(url=node.url))
        files = [item["image"] for item in load_items()]
        for count in _COUNTS:
            index = f"bench-memory-{count}"
            client.indices.create(index=index, settings={"number_of_replicas": 0})
            documents = ({"_index": index, "_id": str(i), "image": files[i % len(files)]} for i in range(count))
            helpers.bulk(client, documents, chunk_size=5_000, refresh=True)
            result = in_own_process("tests.bench.memory", index, node.url)
            rows.append((count, result["peak_mb"], count / result["seconds"]))
            client.indices.delete(index=index)
    show(
        "A run over images, demo model",
        ["documents", "peak memory", "documents/s"],
        [[f"{count:,}", f"{peak:.0f} MB", f"{rate:.0f}"] for count, peak, rate in rows]
        + [["ratio", f"{rows[1][1] / rows[0][1]:.2f}x", f"{rows[1][2] / rows[0][2]:.2f}x"]],
    )


def _run(index: str, url: str) -> None:
    options = Options(images=ImageAccess(root=DATA))
    target = Target("v", "image", ("image",))
    report = add_vectors(connect(Connection(url=url)), index, Encoder(DEMO_MODEL), [target], options)
    if report.failed or not report.written:
        raise RuntimeError(f"the run failed: {report.failures[:3]}")
    print(json.dumps({"peak_mb": peak_rss_mb(), "seconds": report.seconds}))


if __name__ == "__main__":
    _run(*sys.argv[1:]) if len(sys.argv) > 1 else main()
