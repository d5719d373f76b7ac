"""A cluster of three nodes under everything at once, for as long as is wished.

    python -m tests.server.soaking [--minutes 30] [--version 9.5.3]

Documents are written in bulks through a pipeline, searches run, some are cancelled or their clients go away, the model
of the text field is swapped in its folder, and in the middle a node is killed and replaced by another. In the end each
acknowledged document is there, each vector is that of its source under the model that its state names, nothing holds
memory, and no node has grown.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from elastic_transport import ConnectionTimeout, TransportError
from elasticsearch import ApiError

from crosslens.client import Connection, connect
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.exporting import export
from crosslens.node.build import build_plugin
from tests import checkpoints
from tests.conftest import Server, draw_pictures
from tests.ingest.exactness import all_documents
from tests.server.clusters import Cluster, three_nodes
from tests.server.fuzzing import held
from tests.server.requests import left

INDEX = "soak"
_DIMS = 24
_SAMPLE_S = 5.0
_SWAP_S = 7.0
_BULK = 10


@dataclass
class Soak:
    """What the clients share: the cluster, which of its nodes are up, and what they have seen."""

    three: Cluster
    images: Path
    end: threading.Event = field(default_factory=threading.Event)
    up: set[int] = field(default_factory=lambda: {0, 1, 2})
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    rss: dict[int, list[tuple[float, int]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, rng: random.Random) -> Any:
        return self.three.clients[rng.choice(sorted(self.up))]

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def fault(self, what: str) -> None:
        with self.lock:
            self.faults.append(what)


def set_up(three: Cluster) -> None:
    client = three.clients[0]
    vector = {"type": "dense_vector", "dims": _DIMS}
    properties = {
        "title": {"type": "text"},
        "photo": {"type": "keyword"},
        "tv": vector,
        "pv": vector,
        "crosslens": {"type": "object", "enabled": False},
    }
    client.indices.create(
        index=INDEX,
        mappings={"properties": properties},
        settings={"number_of_shards": 3, "number_of_replicas": 1},
        wait_for_active_shards="all",
    )
    steps = [
        {"crosslens": {"model": "turning", "field": "tv", "source": "title", "modality": "text"}},
        {"crosslens": {"model": "small", "field": "pv", "source": "photo", "modality": "image"}},
    ]
    client.ingest.put_pipeline(id=INDEX, processors=steps)


def writing(soak: Soak, rng: random.Random) -> None:
    documents = {
        f"{rng.randrange(4_000)}": {
            "title": f"{rng.choice(['red', 'blue', 'old'])} shoe {rng.randrange(10**6)}",
            "photo": f"{rng.randrange(60)}.png",
        }
        for _ in range(_BULK)
    }
    # Two writers of one document would leave open whose is the last.
    documents = {f"{threading.current_thread().name}-{id}": document for id, document in documents.items()}
    lines: list[Any] = []
    for id, document in documents.items():
        lines += [{"index": {"_id": id}}, document]
    try:
        answer = soak.client(rng).bulk(index=INDEX, operations=lines, pipeline=INDEX)
    except (ApiError, TransportError) as error:
        with soak.lock:
            # Whether it was written isn't known: what is stored then may be either version.
            for id in documents:
                soak.acknowledged.pop(id, None)
        soak.count(f"bulk: {type(error).__name__}")
        return
    for item in answer["items"]:
        (done,) = item.values()
        id = done["_id"]
        with soak.lock:
            if done["status"] < 300:
                soak.acknowledged[id] = documents[id]
                soak.counts["written"] += 1
            else:
                soak.acknowledged.pop(id, None)
                soak.counts[f"document: {done['status']} {done['error']['type']}"] += 1


def knn(model: str, field: str, text: str, **more: Any) -> dict[str, Any]:
    builder = {"crosslens": {"model": model, "text": text}}
    return {"knn": {"field": field, "k": 10, "num_candidates": 50, "query_vector_builder": builder}, **more}


def searching(soak: Soak, rng: random.Random) -> None:
    words = f"{rng.choice(['red', 'blue', 'old'])} shoe {rng.randrange(100)}"
    body: dict[str, Any] = knn("small", "pv", words, size=10, _source=False)
    if rng.random() < 0.5:
        retrievers = [
            {"name": "words", "retriever": {"standard": {"query": {"match": {"title": words}}}}},
            {"name": "pictures", "retriever": knn("small", "pv", words)},
        ]
        body = {"retriever": {"crosslens": {"retrievers": retrievers, "rank_window_size": 50}}, "_source": False}
    started = time.monotonic()
    try:
        soak.client(rng).search(index=INDEX, body=body)
        soak.count("search")
    except ConnectionTimeout as error:
        soak.fault(f"a search wasn't answered: {error}")
    except ApiError as error:
        # Cancelled ones among them: whoever cancels here cancels the searches of others, and says so.
        cancelled = "cancel" in str(error.body)
        soak.count("search: cancelled" if cancelled else f"search: {error.status_code} {str(error)[:200]}")
        if error.status_code >= 500 and error.status_code != 503:
            soak.fault(f"a search: {str(error)[:300]}")
    except TransportError as error:
        soak.count(f"search: {type(error).__name__}")
    took = time.monotonic() - started
    if took > 30:
        soak.fault(f"a search took {took:.0f} s")


def leaving(soak: Soak, rng: random.Random) -> None:
    """A client that asks for much and goes away, and one whose task is cancelled."""
    long_text = "many words " * 5_000
    which = rng.choice(sorted(soak.up))
    node = soak.three.nodes[which]
    if rng.random() < 0.5:
        with contextlib.suppress(OSError), left(node.url, f"{INDEX}/_search", knn("small", "pv", long_text)):
            time.sleep(rng.random() / 20)
        soak.count("gone client")
    else:
        asking = threading.Thread(target=_quietly, args=(soak, which, long_text))
        asking.start()
        with contextlib.suppress(ApiError, TransportError):
            soak.three.clients[which].tasks.cancel(actions="indices:data/read/search*")
        asking.join()
        soak.count("cancelled")
    time.sleep(0.2)


def _quietly(soak: Soak, which: int, words: str) -> None:
    with contextlib.suppress(ApiError, TransportError):
        soak.three.clients[which].search(index=INDEX, body=knn("small", "pv", words))


def swapping(soak: Soak, models: Path, step: int) -> None:
    """Puts the other model in the place of the turning one, on every node."""
    for node in soak.three.nodes:
        home = node.folder / "config" / "crosslens"
        new, old = node.folder / f"next-{step}", node.folder / f"old-{step}"
        shutil.copytree(models / ("other" if step % 2 else "small"), new)
        (home / "turning").rename(old)
        new.rename(home / "turning")
        shutil.rmtree(old)
    soak.count("swapped")


def killing(soak: Soak) -> None:
    """Kills the third node, and starts another in its place half a minute later."""
    status = soak.three.nodes[2].status()
    assert status is not None
    soak.up.discard(2)
    os.kill(status.pid, signal.SIGKILL)
    soak.count("killed")
    time.sleep(30)
    soak.three.nodes[2].start()
    soak.three.clients[2] = connect(Connection(url=soak.three.nodes[2].url))
    soak.three.clients[0].cluster.health(wait_for_status="green", wait_for_nodes="3", timeout="120s")
    soak.up.add(2)
    soak.count("replaced")


def sampling(soak: Soak) -> None:
    for i in sorted(soak.up):
        status = soak.three.nodes[i].status()
        if status is None:
            soak.fault(f"node {i} isn't running")
            continue
        with contextlib.suppress(FileNotFoundError):
            lines = Path(f"/proc/{status.pid}/status").read_text().splitlines()
            (rss,) = [int(line.split()[1]) for line in lines if line.startswith("VmRSS")]
            soak.rss.setdefault(status.pid, []).append((time.monotonic(), rss))


def checked(soak: Soak, encoders: dict[str, Encoder]) -> None:
    """Compares everything that is stored with its source."""
    client = soak.three.clients[0]
    client.cluster.health(wait_for_status="green", timeout="120s")
    stored = all_documents(Server(soak.three.nodes[0], client, soak.three.version), INDEX)

    @cache
    def picture(model: str, name: str) -> Any:
        return encoders[model].encode_images([soak.images / name])[0]

    for id, document in soak.acknowledged.items():
        found = stored.get(id)
        if found is None or {name: found.get(name) for name in document} != document:
            soak.fault(f"document {id} is {'lost' if found is None else 'another'}")
    for id, found in stored.items():
        for name, expected in (
            ("tv", lambda model, found: encoders[model].encode_texts([found["title"]])[0]),
            ("pv", lambda model, found: picture(model, found["photo"])),
        ):
            model = found.get("crosslens", {}).get(name, {}).get("model")
            if name not in found or model not in encoders:
                soak.fault(f"document {id} has no {name}, or of no model: {json.dumps(found.get('crosslens'))}")
            elif np.dot(found[name], expected(model, found)) < 0.999:
                soak.fault(f"document {id}: {name} isn't what {model} makes of its source")
    soak.counts["checked"] = len(stored)
    soak.faults += held(soak.three.nodes[0].url)


def growth(samples: list[tuple[float, int]]) -> float | None:
    """By which factor the resident memory of the last quarter exceeds that of the second; None for too few samples."""
    if len(samples) < 12:
        return None
    sizes = [size for _, size in samples]
    quarter = len(sizes) // 4
    return statistics.median(sizes[-quarter:]) / statistics.median(sizes[quarter : 2 * quarter])


def run(three: Cluster, images: Path, models: Path, minutes: float) -> Soak:
    """Soaks the cluster, and returns what was seen."""
    soak = Soak(three, images)
    set_up(three)
    started = time.monotonic()
    until = started + 60 * minutes

    def again(what: Callable[[], None], pause: float = 0.0) -> None:
        while not soak.end.wait(pause):
            try:
                what()
            except Exception as error:
                soak.fault(f"{type(error).__name__}: {error}")
                raise

    def repeat(name: str, what: Callable[[Soak, random.Random], None], pause: float = 0.0) -> threading.Thread:
        rng = random.Random(name)
        return threading.Thread(target=again, args=(lambda: what(soak, rng), pause), name=name)

    steps = iter(range(1, 10**6))
    threads = [
        *(repeat(f"writer{i}", writing) for i in range(2)),
        *(repeat(f"searcher{i}", searching) for i in range(2)),
        repeat("leaver", leaving),
        threading.Thread(target=again, args=(lambda: swapping(soak, models, next(steps)), _SWAP_S)),
        threading.Thread(target=again, args=(lambda: sampling(soak), _SAMPLE_S)),
    ]
    for thread in threads:
        thread.start()
    try:
        soak.end.wait(max(60 * minutes / 3, 10))
        killing(soak)
        while time.monotonic() < until and len(soak.faults) < 20:
            time.sleep(0.5)
    finally:
        soak.end.set()
        for thread in threads:
            thread.join()
    checked(soak, {each.fingerprint: each for each in (Encoder(models / "small"), Encoder(models / "other"))})
    return soak


def main() -> int:
    """Run from the command line; exit status 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--version", default="9.5.3")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        root = Path(tmp)
        models, images = root / "models", root / "images"
        images.mkdir()
        draw_pictures(images)
        for name, seed in (("small", 0), ("other", 7)):
            checkpoint = checkpoints.clip(root / f"{name}-checkpoint", seed=seed, projection_dim=_DIMS)
            export(str(checkpoint), models / name, precision="fp32")
        shutil.copytree(models / "small", models / "turning")
        plugin = build_plugin(options.version, root)
        with three_nodes(root, options.version, plugin, [models / "small", models / "turning"], images) as three:
            soak = run(three, images, models, options.minutes)
    sys.stdout.write(f"Elasticsearch {options.version}, {options.minutes:g} minutes, three nodes of 512 MB of heap\n")
    sys.stdout.write("".join(f"{what}: {n}\n" for what, n in sorted(soak.counts.items())))
    for pid, samples in soak.rss.items():
        grown = growth(samples)
        sizes = f"{min(s for _, s in samples) >> 10} to {max(s for _, s in samples) >> 10} MB"
        sys.stdout.write(f"process {pid}: {sizes}" + ("" if grown is None else f", grew {grown:.3f}x") + "\n")
        if grown is not None and grown > 1.1:
            soak.fault(f"process {pid} grew {grown:.2f}x")
    sys.stdout.write("".join(f"{fault}\n" for fault in soak.faults[:40]) or "no faults\n")
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
