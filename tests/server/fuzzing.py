"""Requests that no honest client sends, made from a seed, against a node with little heap.

    python -m tests.server.fuzzing [--minutes 60] [--seed 1] [--version 9.5.3] [--only N]

Pictures of all formats are damaged, texts are odd, documents and bodies have the wrong types. The node has to live,
answer everyone in bounded time, never with a status of 500 and more, and hold no memory when all is over. Every
request is made from the seed and its number alone, so that ``--only`` sends one of them again.
"""

from __future__ import annotations

import argparse
import collections
import functools
import io
import itertools
import json
import math
import os
import random
import re
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.node import Node
from crosslens.node.build import build_plugin
from crosslens.node.installing import install_models, install_plugin
from tests.server.requests import encoded

DIMS = 192
INDEX = "fuzz"
# A decode's own deadline is 10 s, and three clients may wait for one another's.
_SLOW_S = 45.0
_HEALTH_S = 5.0
_IN_LOG = re.compile(
    r"OutOfMemoryError|StackOverflowError|NullPointerException|ClassCastException|IndexOutOfBounds|NegativeArraySize"
    r"|AssertionError|fatal error|uncaught exception",
)
_EXTREMES = (0, 1, 2, 7, 255, 256, 2**15, 2**16 - 1, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_ALPHABETS = (
    "abc xyz",
    "\u0000\u0001\t\n\r\u2028\u00a0",
    "\u4e2d\u6587\u3042\uac00",
    "\u05d0\u05d1\u0627\u0644\u202e",
    "\U0001f600\U0001f468\u200d\U0001f469\ufe0f",
    "\ud800\udfff\ud83d",
    "<|endoftext|><|startoftext|></s>",
    "e\u0301\u0302\u0303",
)


@dataclass(frozen=True)
class Request:
    """One request: what kind it is, and what is sent."""

    kind: str
    method: str
    path: str
    body: bytes
    content_type: str = "application/json"


@dataclass
class Findings:
    """What went wrong, and how often each kind of request had each status."""

    counts: collections.Counter[tuple[str, int]] = field(default_factory=collections.Counter)
    examples: dict[tuple[str, int], tuple[int, bytes]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    slowest_health: float = 0.0

    def table(self) -> str:
        """The counts, a line a kind, and the first request of each that was put off."""
        kinds = sorted({kind for kind, _ in self.counts})
        lines = [
            f"{kind:12} " + ", ".join(f"{status}: {n}" for (k, status), n in sorted(self.counts.items()) if k == kind)
            for kind in kinds
        ]
        lines += [f"429 of {kind}, request {n}: {said!r}" for (kind, s), (n, said) in self.examples.items() if s == 429]
        return "\n".join(lines)


@functools.cache
def seeds() -> tuple[bytes, ...]:
    """Whole pictures of every format that is read, small enough for thousands of requests."""
    noise = np.random.default_rng(3).integers(0, 255, (24, 31, 4), dtype=np.uint8)
    rgba = Image.fromarray(noise).resize((96, 70), Image.Resampling.BICUBIC)
    rgb, grey, palette = rgba.convert("RGB"), rgba.convert("L"), rgba.convert("RGB").quantize(32)
    made = []
    for picture, kind, how in [
        (rgb, "PNG", {}),
        (rgba, "PNG", {}),
        (palette, "PNG", {}),
        (grey.convert("I;16"), "PNG", {}),
        (rgb, "JPEG", {}),
        (rgb, "JPEG", {"progressive": True, "quality": 60}),
        (grey, "JPEG", {}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (palette, "GIF", {}),
        (palette, "GIF", {"save_all": True, "append_images": [palette, palette]}),
        (rgb, "BMP", {}),
        (palette, "BMP", {}),
        (rgb, "TIFF", {}),
        (rgb, "TIFF", {"compression": "tiff_lzw"}),
        (rgb, "TIFF", {"compression": "jpeg"}),
        (rgb, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (grey, "TIFF", {"compression": "packbits"}),
        (rgb.convert("1"), "TIFF", {"compression": "group4"}),
        (rgb.convert("CMYK"), "TIFF", {}),
        (rgb, "WEBP", {}),
        (rgba, "WEBP", {"lossless": True}),
        (rgba, "WEBP", {"save_all": True, "append_images": [rgba], "duration": 100}),
    ]:
        out = io.BytesIO()
        picture.save(out, kind, **how)
        made.append(out.getvalue())
    return tuple(made)


def damaged(rng: random.Random, data: bytes) -> bytes:
    """A file after one to eight accidents, most of them in its first bytes, where claims are."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if not out:
            break
        near = rng.random() < 0.6
        at = rng.randrange(min(len(out), 256) if near else len(out))
        accident = rng.randrange(8)
        if accident == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif accident == 1:
            out[at] = rng.randrange(256)
        elif accident == 2:
            number = rng.choice(_EXTREMES)
            out[at : at + 4] = number.to_bytes(4, rng.choice(["big", "little"]))
        elif accident == 3:
            out[at : at + 2] = (rng.choice(_EXTREMES) & 0xFFFF).to_bytes(2, rng.choice(["big", "little"]))
        elif accident == 4:
            del out[rng.randrange(1, len(out)) if len(out) > 1 else 0 :]
        elif accident == 5:
            piece = out[at : at + rng.randint(1, 400)]
            out[at:at] = piece * rng.choice([1, 1, 2, 50])
        elif accident == 6:
            other = rng.choice(seeds())
            out[at:] = other[rng.randrange(len(other)) :]
        else:
            del out[at : at + rng.randint(1, 64)]
    if out[:4] == b"\x89PNG" and rng.random() < 0.7:
        out = bytearray(_with_checksums(bytes(out)))
    return bytes(out)


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums that their damaged contents ask for, so that a decoder looks into them."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + size > len(data):
            break
        part = data[at + 4 : at + 8 + size]
        out += data[at : at + 4] + part + zlib.crc32(part).to_bytes(4, "big")
        at += 12 + size
    return bytes(out) + data[at:]


def text(rng: random.Random) -> str:
    """A text of any alphabet, seldom long."""
    alphabet = rng.choice(_ALPHABETS) + (rng.choice(_ALPHABETS) if rng.random() < 0.3 else "")
    length = rng.choice([0, 1, 3, 30, 300]) if rng.random() < 0.97 else rng.choice([20_000, 400_000])
    if length > 1_000 and rng.random() < 0.5:
        return rng.choice(alphabet) * length
    return "".join(rng.choice(alphabet) for _ in range(length))


def anything(rng: random.Random, depth: int = 0) -> Any:
    """A JSON value of any kind."""
    kinds: list[Callable[[], Any]] = [
        lambda: None,
        lambda: rng.random() < 0.5,
        lambda: rng.choice([*_EXTREMES, -1, -(2**63), 10**400, 1e308, -0.0, 0.5]),
        lambda: text(rng),
        lambda: reference(rng),
    ]
    if depth < 3:
        kinds += [
            lambda: [anything(rng, depth + 1) for _ in range(rng.randrange(5))],
            lambda: {name(rng): anything(rng, depth + 1) for _ in range(rng.randrange(4))},
        ]
    return rng.choice(kinds)()


def name(rng: random.Random) -> str:
    return rng.choice(["v", "title", "photo", "crosslens", "vector", "position", "source", "a.b", "", "error", "model"])


def reference(rng: random.Random) -> str:
    """What a document may give for a picture."""
    data = damaged(rng, rng.choice(seeds())) if rng.random() < 0.8 else rng.choice(seeds())
    kinds: list[Callable[[], str]] = [
        lambda: encoded(data),
        lambda: "data:image/png;base64," + encoded(data),
        lambda: "data:" + text(rng)[:50] + "," + encoded(data)[:200],
        lambda: rng.choice(
            ["../" * 9 + "etc/passwd", "/dev/zero", "file:///etc/passwd", "//host/x.jpg", "%2e%2e/x", "."]
        ),
        lambda: rng.choice(["http://127.0.0.1:9200/", "s3://b/k", "good.png", "good.png\u0000", "C:\\x.png"]),
        lambda: encoded(data)[: rng.randrange(1, 60)],
        lambda: text(rng),
    ]
    weights = [6, 3, 1, 1, 1, 1, 1]
    return rng.choices(kinds, weights)[0]()


def spoiled(rng: random.Random, body: Any) -> bytes:
    """A body as JSON, in two of five cases with a value of another kind or with damaged bytes."""
    if rng.random() < 0.3:
        body = _replaced(rng, body)
    data = json.dumps(body).encode()
    if rng.random() < 0.1:
        data = damaged(rng, data)
    return data


def _replaced(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        other = {**value, key: _replaced(rng, value[key])}
        if rng.random() < 0.2:
            other[name(rng)] = anything(rng)
        return other
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], _replaced(rng, value[at]), *value[at + 1 :]]
    return anything(rng)


def picture_query(rng: random.Random) -> Request:
    image = encoded(damaged(rng, rng.choice(seeds())))
    return _search(rng, {"model": "model", "image": image}, "picture")


def text_query(rng: random.Random) -> Request:
    return _search(rng, {"model": "model", "text": text(rng)}, "text")


def _search(rng: random.Random, builder: dict[str, Any], kind: str) -> Request:
    if rng.random() < 0.3:
        builder = {"field": "v", **builder}
    knn = {"field": "v", "k": 3, "num_candidates": 10, "query_vector_builder": {"crosslens": builder}}
    body: dict[str, Any] = {"knn": knn, "size": 3, "_source": False}
    if rng.random() < 0.2:
        body["timeout"] = rng.choice(["1ms", "1s"])
    # What is damaged is the plugin's part: the server's own parser is fuzzed by others.
    if rng.random() < 0.2:
        knn["query_vector_builder"] = {"crosslens": _replaced(rng, builder)}
    return Request(kind, "POST", f"{INDEX}/_search", json.dumps(body).encode())


def hybrid(rng: random.Random) -> Request:
    children: list[dict[str, Any]] = [
        {"retriever": {"standard": {"query": {"match": {"title": text(rng)[:500]}}}}, "name": "words"},
        {
            "retriever": {
                "knn": {
                    "field": "v",
                    "k": 5,
                    "num_candidates": 10,
                    "query_vector_builder": {"crosslens": {"model": "model", "text": text(rng)[:500]}},
                }
            },
            "weight": rng.choice([1, 0, 0.3]),
        },
    ]
    inner: dict[str, Any] = {"retrievers": rng.sample(children, rng.randint(1, 2)), "rank_window_size": 10}
    if rng.random() < 0.6:
        inner["normalizer"] = rng.choice(
            ["evidence", "min-max", "rank", "l2", "z-score", "standardise", "theoretical-min-max", "best"]
        )
    if rng.random() < 0.5:
        inner["complete"] = rng.random() < 0.5
    if rng.random() < 0.4:
        inner = _replaced(rng, inner)
    body = {"retriever": {"crosslens": inner}, "size": 3}
    return Request("retriever", "POST", f"{INDEX}/_search", json.dumps(body).encode())


def encode(rng: random.Random) -> Request:
    body: dict[str, Any] = {"model": "model"}
    if rng.random() < 0.6:
        body["texts"] = [text(rng) for _ in range(rng.randrange(6))]
    if rng.random() < 0.6:
        body["images"] = [encoded(damaged(rng, rng.choice(seeds()))) for _ in range(rng.randrange(4))]
    return Request("encode", "POST", "_crosslens/encode", spoiled(rng, body))


def bulk(rng: random.Random) -> Request:
    lines: list[Any] = []
    for _ in range(rng.randint(1, 12)):
        action = rng.choice(["index", "index", "create", "update", "delete"])
        lines.append({action: {"_index": INDEX, "_id": str(rng.randrange(60))}})
        document = {
            "title": text(rng),
            "photo": reference(rng),
            "photos": [reference(rng) for _ in range(rng.randrange(4))],
        }
        if rng.random() < 0.3:
            document = _replaced(rng, document)
        if rng.random() < 0.2 and isinstance(document, dict):
            document["crosslens"] = anything(rng)
        if action == "update":
            lines.append({"doc": document, "doc_as_upsert": rng.random() < 0.7})
        elif action != "delete":
            lines.append(document if isinstance(document, dict) else {"title": document})
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return Request("bulk", "POST", f"_bulk?pipeline=fuzz{rng.randrange(3)}", data, "application/x-ndjson")


def simulate(rng: random.Random) -> Request:
    document = {"title": anything(rng), "photo": anything(rng), "photos": anything(rng), "v": anything(rng)}
    step: dict[str, Any] = {
        "model": "model",
        "field": rng.choice(["v", "w", "title.v", "crosslens"]),
        "source": rng.choice(["title", "photo", "photos", ["title", "photo"]]),
        "modality": rng.choice(["text", "image"]),
        "each": rng.random() < 0.3,
    }
    if rng.random() < 0.3:
        step = {**step, **{rng.choice([*step, "template", "max"]): anything(rng)}}
    body = {"pipeline": {"processors": [{"crosslens": step}]}, "docs": [{"_source": document}]}
    return Request("simulate", "POST", "_ingest/pipeline/_simulate", json.dumps(body).encode())


_MAKERS = (picture_query, picture_query, text_query, hybrid, encode, encode, bulk, simulate)


def request(seed: int, number: int) -> Request:
    """The request of this number."""
    rng = random.Random(f"{seed}/{number}")
    return rng.choice(_MAKERS)(rng)


def set_up(url: str) -> None:
    """The index, and the pipelines that bulks go through."""
    mapping: dict[str, Any] = {
        "title": {"type": "text", "fields": {}},
        "photo": {"enabled": False},
        "photos": {"enabled": False},
        "v": {"type": "dense_vector", "dims": DIMS},
        "w": {"type": "dense_vector", "dims": DIMS},
        "all": {"type": "nested", "properties": {"vector": {"type": "dense_vector", "dims": DIMS}}},
        "crosslens": {"type": "object", "enabled": False},
    }
    del mapping["title"]["fields"]
    body: dict[str, Any] = {"mappings": {"dynamic": False, "properties": mapping}}
    _expect(url, "PUT", INDEX, body)
    text_step = {"model": "model", "field": "v", "source": "title", "modality": "text"}
    image_step = {"model": "model", "field": "w", "source": "photo", "modality": "image"}
    each_step = {"model": "model", "field": "all", "source": "photos", "modality": "image", "each": True}
    for i, steps in enumerate(([text_step], [text_step, image_step], [each_step])):
        options: dict[str, Any] = {"ignore_failure": True} if i == 2 else {}
        _expect(
            url, "PUT", f"_ingest/pipeline/fuzz{i}", {"processors": [{"crosslens": {**s, **options}} for s in steps]}
        )
    _expect(url, "PUT", f"{INDEX}/_doc/good?pipeline=fuzz0&refresh=true", {"title": "a red heart"})
    for inputs in ({"texts": ["a"]}, {"images": [encoded(seeds()[0])]}):
        _expect(url, "POST", "_crosslens/encode", {"model": "model", **inputs})


def _expect(url: str, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    status, answer = send(url, Request("setup", method, path, data or b""))
    if status >= 300:
        raise SystemExit(f"{method} {path}: {status} {answer[:500]!r}")
    return json.loads(answer)


def send(url: str, made: Request) -> tuple[int, bytes]:
    """Status and body of the answer."""
    asked = urllib.request.Request(
        f"{url}/{made.path}", made.body or None, {"content-type": made.content_type}, method=made.method
    )
    try:
        with urllib.request.urlopen(asked, timeout=2 * _SLOW_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def fault_in(made: Request, status: int, answer: bytes) -> str | None:
    """What is wrong with an answer, if anything is."""
    if status >= 500:
        return f"status {status}: {answer[:300]!r}"
    if status >= 400:
        return None
    try:
        read = json.loads(answer)
    except ValueError as error:
        return f"not JSON ({error})"
    if made.kind == "encode":
        for vector in read["vectors"]:
            length = math.sqrt(sum(x * x for x in vector))
            if len(vector) != DIMS or not abs(length - 1) < 1e-3:
                return f"a vector of {len(vector)} dims and length {length}"
    if made.kind == "bulk":
        for item in read["items"]:
            (done,) = item.values()
            if done["status"] >= 500:
                return f"an item of status {done['status']}: {json.dumps(done)[:300]}"
    if made.kind == "simulate":
        for each in read["docs"]:
            why = json.dumps(each.get("error", ""))
            if _IN_LOG.search(why):
                return why[:300]
    return None


def fuzz(node: Node, url: str, seed: int, numbers: Iterator[int], clients: int = 3) -> Findings:
    """Sends the requests of ``numbers``, ``clients`` at a time, and says what was wrong."""
    found, lock, end = Findings(), threading.Lock(), threading.Event()
    before = node.status()
    logged = node.log.stat().st_size if node.log.exists() else 0

    def client() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None or end.is_set():
                return
            made = request(seed, number)
            started = time.monotonic()
            try:
                status, answer = send(url, made)
                fault = fault_in(made, status, answer)
            except (ConnectionError, urllib.error.URLError) as error:
                # The server closes the connection in the middle of a bulk of which it has refused the first part.
                closed = made.kind == "bulk" and "Broken pipe" in str(error)
                status, fault = 0, None if closed else f"{type(error).__name__}: {error}"
            except (OSError, ValueError) as error:
                status, fault = 0, f"{type(error).__name__}: {error}"
            took = time.monotonic() - started
            if took > _SLOW_S:
                fault = f"it took {took:.0f} s"
            with lock:
                found.counts[made.kind, status] += 1
                found.examples.setdefault((made.kind, status), (number, answer[:300] if status else b""))
                found.slowest = max(found.slowest, took)
                if fault is not None:
                    found.faults.append(f"request {number} of seed {seed} ({made.kind}): {fault}")
                    if len(found.faults) >= 50:
                        end.set()

    def health() -> None:
        while not end.wait(0.1):
            started = time.monotonic()
            try:
                send(url, Request("health", "GET", "_cluster/health", b""))
            except OSError as error:
                found.faults.append(f"_cluster/health: {error}")
                return
            found.slowest_health = max(found.slowest_health, time.monotonic() - started)

    watching = threading.Thread(target=health)
    watching.start()
    try:
        with ThreadPoolExecutor(clients) as pool:
            for each in [pool.submit(client) for _ in range(clients)]:
                each.result()
    finally:
        end.set()
        watching.join()
    if found.slowest_health > _HEALTH_S:
        found.faults.append(f"_cluster/health took {found.slowest_health:.1f} s")
    after = node.status()
    if before is None or after is None or before.pid != after.pid:
        found.faults.append("the node's process is not the one that it was")
    else:
        found.faults += held(url)
    with node.log.open("rb") as log:
        log.seek(logged)
        found.faults += [f"in the log: {line[:300]}" for line in _suspicious(log.read().decode(errors="replace"))]
    return found


def held(url: str) -> list[str]:
    """Memory that the plugin's breaker still counts, half a minute after the last request."""
    until = time.monotonic() + 30
    while True:
        nodes = _expect(url, "GET", "_crosslens/stats")["nodes"]
        used = sum(node["breaker"]["used_bytes"] for node in nodes.values())
        if not used:
            return []
        if time.monotonic() > until:
            return [f"{used} bytes are still held"]
        time.sleep(0.2)


def _suspicious(log: str) -> Iterator[str]:
    for line in log.splitlines():
        if _IN_LOG.search(line):
            yield line


def main() -> int:
    """Run from the command line; exit status 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--version", default="9.5.3")
    parser.add_argument("--heap", default="512m")
    parser.add_argument("--only", type=int, help="send one request of the seed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        folder, images = Path(tmp) / "node", Path(tmp) / "images"
        images.mkdir()
        (images / "good.png").write_bytes(seeds()[0])
        folder.mkdir()
        install_plugin(build_plugin(options.version, Path(tmp)), folder)
        install_models([DEMO_MODEL], folder)
        settings = {"crosslens.image_folder": str(images.resolve())}
        with Node(folder, version=options.version, heap=options.heap, settings=settings) as node:
            set_up(node.url)
            if options.only is not None:
                made = request(options.seed, options.only)
                sys.stdout.write(f"{made.method} {made.path}\n{made.body[:2000]!r}\n")
                status, answer = send(node.url, made)
                sys.stdout.write(f"{status} {answer[:2000]!r}\n")
                return 0
            until = time.monotonic() + 60 * options.minutes
            numbers = itertools.takewhile(lambda _: time.monotonic() < until, itertools.count())
            found = fuzz(node, node.url, options.seed, numbers)
            if found.faults and "CROSSLENS_KEEP_LOG" in os.environ:
                Path(os.environ["CROSSLENS_KEEP_LOG"]).write_bytes(node.log.read_bytes())
    sys.stdout.write(f"Elasticsearch {options.version}, seed {options.seed}, {options.minutes:g} minutes\n")
    sys.stdout.write(f"{found.table()}\nslowest {found.slowest:.1f} s, health {found.slowest_health:.2f} s\n")
    sys.stdout.write("".join(f"{fault}\n" for fault in found.faults) or "no faults\n")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
