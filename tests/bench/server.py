"""The server plugin against the Python side on the same cores: hybrid searches, queries that are asked
again, and documents through a pipeline."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from crosslens.client import Connection, connect
from crosslens.demo.build import DATA
from crosslens.demo.run import add, create_index, load_items
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.sources.images import ImageSource, open_image
from crosslens.node import Node
from crosslens.node.build import cached_plugin
from crosslens.node.installing import install_models, install_plugin
from crosslens.node.process import DEFAULT_VERSION
from crosslens.queries.search.searcher import HybridSearcher
from tests.bench.common import console, percentile, show, vit_b_32
from tests.bench.write import photographs

_INDEX = "bench-server"
_WARM_UP, _QUERIES, _AT_ONCE = 300, 500, 4
_BULK = 64


def main() -> None:
    """Print the tables; each comparison takes turns within one run."""
    with tempfile.TemporaryDirectory() as tmp:
        images = Path(tmp).resolve() / "images"
        shutil.copytree(DATA / "pictures", images / "pictures")
        node = Node(Path(tmp) / "node", heap="2g", settings={"crosslens.image_folder": str(images)})
        install_plugin(cached_plugin(DEFAULT_VERSION), node.folder)
        install_models([DEMO_MODEL, vit_b_32()[1]], node.folder)
        with node:
            _documents(node.url, images)
            _searches(node.url)


def _post(url: str, body: bytes, kind: str = "application/json") -> Any:
    request = urllib.request.Request(url, body, {"content-type": kind})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def _searches(url: str) -> None:
    client, items, encoder = connect(Connection(url=url)), load_items(), Encoder(DEMO_MODEL)
    create_index(client, items, index=_INDEX)
    add(client, encoder, Console(quiet=True), index=_INDEX)
    searcher = HybridSearcher(client, _INDEX, encoder)
    words = [word for item in items for word in item.get("keywords", "").split(", ") if word]
    # Both sides remember query vectors, so every round has its own texts; those that come again are timed apart.
    rounds = [[" ".join(words[i + n : i + n + 2]) for i in range(0, 5 * _QUERIES, 5)] for n in range(5)]
    fields = {name: field.vector_path for name, field in searcher.fields.items()}

    def by_python(text: str) -> list[str]:
        return [hit.id for hit in searcher.search(text).hits]

    def by_plugin(text: str) -> list[str]:
        legs = searcher.legs(text, legs=["keyword"])
        children: list[dict[str, Any]] = [{"retriever": {"standard": {"query": legs[0].query}}}]
        for path in fields.values():
            built = {"crosslens": {"model": "model", "text": text}}
            knn = {"field": path, "k": 100, "num_candidates": 200, "query_vector_builder": built}
            children.append({"retriever": {"knn": knn}})
        own = ["crosslens", *fields.values()]
        body = {"retriever": {"crosslens": {"retrievers": children}}, "size": 10, "_source": {"excludes": own}}
        answer = _post(f"{url}/{_INDEX}/_search", json.dumps(body).encode())
        return [hit["_id"] for hit in answer["hits"]["hits"]]

    sides: dict[str, Callable[[str], list[str]]] = {"plugin": by_plugin, "Python client": by_python}
    took: dict[str, list[float]] = {name: [] for name in sides}
    same = 0
    for n, text in enumerate([*rounds[0][:_WARM_UP], *rounds[1]]):
        found = []
        for name in list(sides) if n % 2 else list(sides)[::-1]:
            started = time.perf_counter()
            found.append(sides[name](text))
            if n >= _WARM_UP:
                took[name].append((time.perf_counter() - started) * 1e3)
        same += n >= _WARM_UP and len(set(found[0]) & set(found[1])) >= 9
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for texts in rounds[2:]:
        for name, search in sides.items():
            started = time.perf_counter()
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(search, texts))
            rates[name].append(len(texts) / (time.perf_counter() - started))
    rows = []
    for what, values in (
        ("p50 ms", {name: percentile(each, 50) for name, each in took.items()}),
        ("p99 ms", {name: percentile(each, 99) for name, each in took.items()}),
        (f"queries/s, {_AT_ONCE} at once", {name: max(each) for name, each in rates.items()}),
    ):
        ours, peer = values["plugin"], values["Python client"]
        rows.append([what, f"{ours:.2f}", f"{peer:.2f}", f"{ours / peer:.2f}x"])
    show(
        f"Text to image hybrid, completed, {len(items)} documents; the same results for {same} of {_QUERIES} queries",
        ["", "plugin, one request", "Python client", "ratio"],
        rows,
    )
    _again(url, encoder, next(iter(fields.values())), rounds[1])


def _again(url: str, encoder: Encoder, field: str, texts: Sequence[str]) -> None:
    """A kNN search by a text that is asked again, against one with the vector at hand, and by a text that is new."""
    texts = list(dict.fromkeys(texts))
    vectors = encoder.encode_texts(texts).tolist()
    knn = {"field": field, "k": 10, "num_candidates": 100}

    def searched(query: dict[str, Any]) -> float:
        body = json.dumps({"knn": {**knn, **query}, "_source": False}).encode()
        started = time.perf_counter()
        _post(f"{url}/{_INDEX}/_search", body)
        return (time.perf_counter() - started) * 1e3

    def built(text: str) -> dict[str, Any]:
        return {"query_vector_builder": {"crosslens": {"model": "model", "text": text}}}

    took: dict[str, list[float]] = {"vector at hand": [], "text asked again": [], "new text": []}
    for n, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        new = searched(built(f"{text} {n}"))
        pair = {"vector at hand": {"query_vector": vector}, "text asked again": built(text)}
        searched(built(text))
        for name in list(pair) if n % 2 else list(pair)[::-1]:
            took[name].append(searched(pair[name]))
        took["new text"].append(new)
    p50 = {name: percentile(each, 50) for name, each in took.items()}
    ready = p50["vector at hand"]
    rows = [[name, f"{each:.2f}", f"{each / ready:.2f}x"] for name, each in p50.items()]
    show(f"kNN search, p50 of {len(texts)} each", ["query", "ms", "of a vector at hand"], rows)


def _documents(url: str, images: Path) -> None:
    """Both sides read the same files, which documents name by their paths."""
    files = [str(images / item["image"]) for item in load_items()]
    rows = []
    for name, model, folder, some in (
        ("demo model, 128 px WebP", "model", DEMO_MODEL, files),
        ("ViT-B/32, 128 px WebP", "vit-b-32", vit_b_32()[1], files[:256]),
        ("ViT-B/32, 1 MP JPEG", "vit-b-32", vit_b_32()[1], photographs(images / "photos", 256)),
    ):
        encoder = Encoder(folder, verify=False)
        pixels = [np.asarray(open_image(f, target=encoder.transform.resize_target)) for f in some]
        best = {"plugin": 0.0, "files": 0.0, "pixels": 0.0}
        for _ in range(3):
            best["plugin"] = max(best["plugin"], _ingest(url, model, encoder.dims, some))
            best["files"] = max(best["files"], _rate(encoder, some))
            best["pixels"] = max(best["pixels"], _rate(encoder, pixels))
        row = [name, *(f"{best[key]:.1f}" for key in ("plugin", "files", "pixels"))]
        rows.append([*row, *(f"{best['plugin'] / best[key]:.2f}x" for key in ("files", "pixels"))])
    show(
        "Ingest processor against the Python encoder, which indexes nothing",
        ["images/s", "pipeline", "encoder, files", "encoder, pixels", "of files", "of pixels"],
        rows,
    )


def _rate(encoder: Encoder, images: Sequence[ImageSource]) -> float:
    started = time.perf_counter()
    encoder.encode_images(images)
    return len(images) / (time.perf_counter() - started)


def _ingest(url: str, model: str, dims: int, files: Sequence[str]) -> float:
    """Documents a second of bulks through a pipeline, two requests at a time."""
    client, index = connect(Connection(url=url)), f"{_INDEX}-documents"
    client.options(ignore_status=404).indices.delete(index=index)
    vector = {"type": "dense_vector", "dims": dims, "index_options": {"type": "int8_hnsw"}}
    mappings = {"properties": {"image": {"type": "keyword", "index": False, "doc_values": False}, "v": vector}}
    client.indices.create(index=index, mappings=mappings, settings={"number_of_replicas": 0})
    step = {"crosslens": {"model": model, "field": "v", "source": "image", "modality": "image"}}
    client.ingest.put_pipeline(id="bench", processors=[step])
    bulks = []
    for start in range(0, len(files), _BULK):
        lines = ""
        for path in files[start : start + _BULK]:
            lines += json.dumps({"index": {}}) + "\n" + json.dumps({"image": path}) + "\n"
        bulks.append(lines.encode())

    def send(bulk: bytes) -> None:
        if _post(f"{url}/{index}/_bulk?pipeline=bench", bulk, "application/x-ndjson")["errors"]:
            raise RuntimeError("not every document was written")

    # The model is loaded, and the server warm, before the clock starts.
    send(bulks[0])
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(send, bulks))
    return len(files) / (time.perf_counter() - started)


if __name__ == "__main__":
    console.print("the plugin is built first, if it isn't cached")
    main()
