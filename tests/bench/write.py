"""The write path's images a second against the encoder alone on decoded pixels, the server on the same cores."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from elasticsearch import Elasticsearch, helpers
from PIL import Image

from crosslens.client import Connection, connect
from crosslens.demo.build import DATA
from crosslens.demo.run import load_items
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.ingest.sources.images import open_image
from crosslens.node import Node
from tests.bench.common import show, vit_b_32

_INDEX = "bench-write"


def main() -> None:
    """Prints a row for the demo's small model and two for ViT-B/32; the best of three rounds counts for each side."""
    rows = []
    with tempfile.TemporaryDirectory() as tmp, Node(Path(tmp) / "node", heap="1g") as node:
        client = connect(Connection(url=node.url))
        files = [item["image"] for item in load_items()]
        for name, folder, some in (
            ("demo model, 128 px WebP", DEMO_MODEL, files),
            ("ViT-B/32, 128 px WebP", vit_b_32()[1], files[:256]),
            ("ViT-B/32, 1 MP JPEG", vit_b_32()[1], photographs(Path(tmp) / "photos", 256)),
        ):
            encoder = Encoder(folder, verify=False)
            alone = max(_alone(encoder, some) for _ in range(3))
            whole = max(_write(client, encoder, some) for _ in range(3))
            rows.append([name, str(len(some)), f"{whole:.1f}", f"{alone:.1f}", f"{whole / alone:.2f}x"])
    show("Write path", ["images/s", "documents", "crosslens add", "encoder alone", "ratio"], rows)


def photographs(folder: Path, count: int) -> list[str]:
    """Paths of JPEGs of 1200 x 900 pixels with a photograph's detail."""
    folder.mkdir(exist_ok=True)
    rng, paths = np.random.default_rng(2), []
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))
        coarse.resize((1200, 900), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=88)
        paths.append(str(folder / f"{i}.jpg"))
    return paths


def _alone(encoder: Encoder, files: Sequence[str]) -> float:
    pixels = [np.asarray(open_image(DATA / f, target=encoder.transform.resize_target)) for f in files]
    encoder.encode_images(pixels[:32])
    started = time.perf_counter()
    encoder.encode_images(pixels)
    return len(files) / (time.perf_counter() - started)


def _write(client: Elasticsearch, encoder: Encoder, files: Sequence[str]) -> float:
    client.options(ignore_status=404).indices.delete(index=_INDEX)
    settings = {"number_of_replicas": 0}
    client.indices.create(index=_INDEX, mappings={"properties": {"image": {"type": "keyword"}}}, settings=settings)
    helpers.bulk(client, ({"_index": _INDEX, "_id": str(i), "image": f} for i, f in enumerate(files)), refresh=True)
    root = DATA if not Path(files[0]).is_absolute() else Path(files[0]).parent
    report = add_vectors(
        client, _INDEX, encoder, [Target("v", "image", ("image",))], Options(images=ImageAccess(root=root))
    )
    if report.failures or report.written["v"] != len(files):
        raise RuntimeError(f"not every image was written: {report.failures[:3]}")
    return len(files) / report.seconds


if __name__ == "__main__":
    main()
