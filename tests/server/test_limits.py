"""A busy or abused plugin says so and lives on: full queues, memory, bombs, and thousands of damaged inputs."""

from __future__ import annotations

import base64
import concurrent.futures
import random
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crosslens.client import Connection, connect
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.node import Node
from crosslens.node.installing import install_models, install_plugin
from tests.conftest import VERSIONS, Server
from tests.server.conftest import PICTURES, Http, Plugged, plugin_zip
from tests.server.test_models import FORMATS

pytestmark = pytest.mark.node


@pytest.fixture(scope="module", params=VERSIONS)
def tight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, zips: Path) -> Iterator[Plugged]:
    """A node with little of everything, and no folder of images."""
    version = str(request.param)
    folder = tmp_path_factory.mktemp(f"tight-{version}")
    install_plugin(plugin_zip(version, zips), folder)
    install_models([DEMO_MODEL], folder)
    settings = {
        "crosslens.threads": "1",
        "crosslens.queue_size": "8",
        "crosslens.idle_timeout": "1s",
        "crosslens.max_pixels": "1000000",
        "breaker.crosslens.limit": "4mb",
        "crosslens.query_cache_size": "0b",
    }
    node = Node(folder, version=version, heap="512m", settings=settings)
    node.start()
    try:
        yield Plugged(Server(node, connect(Connection(url=node.url)), version), Http(node.url), folder)
    finally:
        node.stop()


def encoded(data: bytes) -> dict[str, Any]:
    return {"images": [base64.b64encode(data).decode()]}


def alive(plugged: Plugged) -> None:
    """The very process still answers, and no memory is held."""
    assert len(plugged.http.ok("POST", "_crosslens/encode", {"model": "model", "texts": ["a"]})["vectors"][0]) == 192
    assert plugged.stats()["breaker"]["used_bytes"] == 0


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is large, and whose rows would be."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20) * 8, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height"), [(100_000, 100_000), (1_000_000, 100), (2**31 - 1, 2**31 - 1), (1_001, 1_000)]
)
def test_too_many_pixels_are_refused_before_they_are_decoded(tight: Plugged, width: int, height: int) -> None:
    status, answer = tight.http("POST", "_crosslens/encode", encoded(bomb(width, height)))
    assert status == 400
    assert "more than the 1000000 allowed" in str(answer)
    alive(tight)


def test_an_image_that_takes_more_memory_than_there_ever_is_gets_400(tight: Plugged) -> None:
    status, answer = tight.http("POST", "_crosslens/encode", encoded(bomb(1_000, 999)))
    assert status == 400
    assert "circuit breaker" in str(answer)
    alive(tight)


def test_a_full_queue_is_answered_with_429_before_anything_is_done_and_empties_again(tight: Plugged) -> None:
    picture = base64.b64encode(sorted(PICTURES.glob("*.webp"))[0].read_bytes()).decode()
    before = tight.stats()["encode"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        many = {"images": [picture] * 8}
        answers = list(pool.map(lambda _: tight.http("POST", "_crosslens/encode", many), range(40)))
    statuses = [status for status, _ in answers]
    assert set(statuses) == {200, 429}
    refused = next(answer for status, answer in answers if status == 429)
    assert "crosslens.queue_size" in str(refused)
    status, answer = tight.http("POST", "_crosslens/encode", {"images": [picture] * 9})
    assert status == 400, "what never fits is not asked for again"
    assert "may have 8 inputs" in str(answer)
    until = time.monotonic() + 30
    while any(
        tight.stats()[lane]["queue"] or tight.stats()[lane]["working"] for lane in ("search", "ingest", "encode")
    ):
        assert time.monotonic() < until
        time.sleep(0.1)
    after = tight.stats()["encode"]
    assert after["images"] - before["images"] == 8 * statuses.count(200)
    assert after["rejected"] > before["rejected"]
    alive(tight)


def test_documents_wait_in_a_full_queue_and_none_is_refused_or_left_without_a_vector(tight: Plugged) -> None:
    step = {"crosslens": {"field": "v", "source": "title", "modality": "text", "ignore_failure": True}}
    tight.http.ok("PUT", "_ingest/pipeline/tight", {"processors": [step]})
    name = tight.server.new_index({"properties": {"v": {"type": "dense_vector", "dims": 192}}}, [])
    lines: list[Any] = []
    for i in range(500):
        lines += [{"index": {"_id": str(i)}}, {"title": f"a picture of {i}"}]
    answer = tight.http.ok("POST", f"{name}/_bulk?pipeline=tight&refresh=true", lines)
    assert not answer["errors"], str(answer)[:500]
    assert tight.server.client.count(index=name, query={"exists": {"field": "v"}})["count"] == 500
    alive(tight)


def test_query_vectors_are_not_kept_where_that_is_turned_off(tight: Plugged) -> None:
    mapping = {"properties": {"v": {"type": "dense_vector", "dims": 192}}}
    index = tight.server.new_index(mapping, [{"v": [1.0] + [0.0] * 191}])
    knn = {"field": "v", "k": 1, "num_candidates": 1, "query_vector_builder": {"crosslens": {"text": "not kept"}}}
    before = tight.stats()
    for _ in range(2):
        tight.http.ok("POST", f"{index}/_search", {"knn": knn})
    after = tight.stats()
    assert after["search"]["texts"] - before["search"]["texts"] == 2
    assert [after["query_cache"][key] for key in ("hits", "bytes", "limit_bytes")] == [0, 0, 0]


def test_an_idle_model_is_unloaded_and_comes_back_by_itself(tight: Plugged) -> None:
    def loaded() -> bool:
        (node,) = tight.http.ok("GET", "_crosslens/models")["nodes"].values()
        return bool(node["models"][0]["loaded"])

    alive(tight)
    assert loaded()
    until = time.monotonic() + 30
    while loaded():
        assert time.monotonic() < until
        time.sleep(0.2)
    alive(tight)


def test_a_node_without_an_image_folder_reads_no_files(tight: Plugged) -> None:
    step = {"crosslens": {"field": "v", "source": "photo", "modality": "image"}}
    for path in ("model/config.json", "/etc/passwd", str(DEMO_MODEL / "config.json")):
        body = {"pipeline": {"processors": [step]}, "docs": [{"_source": {"photo": path}}]}
        answer = tight.http.ok("POST", "_ingest/pipeline/_simulate", body)
        assert "crosslens.image_folder is not set" in str(answer)


def test_thousands_of_damaged_pictures_leave_the_node_unharmed(plugged: Plugged) -> None:
    rng = random.Random(3)
    whole = [FORMATS[kind]() for kind in ("jpeg 4:2:0", "png alpha", "gif animated", "tiff lzw alpha", "webp animated")]
    whole += [sorted(PICTURES.glob("*.webp"))[3].read_bytes(), FORMATS["webp lossless alpha"](), FORMATS["bmp"]()]
    outcomes = {200: 0, 400: 0}
    pid = plugged.server.node.status()
    for _ in range(40):
        items: list[str] = []
        for _ in range(25):
            data = bytearray(rng.choice(whole))
            if rng.random() < 0.3:
                del data[rng.randrange(len(data)) :]
            for _ in range(rng.choice((1, 3, 30))):
                if data:
                    # Headers are where most decoders believe what they read.
                    place = rng.randrange(min(len(data), rng.choice((64, len(data)))))
                    data[place] = rng.randrange(256)
            items.append(base64.b64encode(bytes(data)).decode())
        step = {"crosslens": {"model": "model", "field": "v", "source": "photo", "modality": "image"}}
        documents = [{"_source": {"photo": "data:;base64," + each}} for each in items]
        answer = plugged.http.ok(
            "POST", "_ingest/pipeline/_simulate", {"pipeline": {"processors": [step]}, "docs": documents}
        )
        for each in answer["docs"]:
            if "doc" in each:
                outcomes[200] += 1
            else:
                assert each["error"]["type"] in ("image_exception", "illegal_argument_exception"), each
                outcomes[400] += 1
    assert min(outcomes.values()) > 50, outcomes
    assert plugged.server.node.status() == pid
    alive(plugged)


def test_nonsense_in_requests_is_answered_with_400(plugged: Plugged) -> None:
    rng = random.Random(4)
    strange: list[Any] = [
        None,
        0,
        -1,
        1e308,
        True,
        "",
        "a" * 70_000,
        "\x00",
        [],
        [[]],
        {},
        {"a": {}},
        [None],
        ["", " "],
    ]
    for _ in range(300):
        body = {rng.choice(("model", "texts", "images", "packed", "bulk", "x")): rng.choice(strange) for _ in range(3)}
        status, answer = plugged.http("POST", "_crosslens/encode", body)
        assert status in (200, 400), (body, answer)
    for _ in range(300):
        child = {rng.choice(("retriever", "weight", "name", "moments")): rng.choice(strange) for _ in range(2)}
        inner = {
            rng.choice(("normalizer", "mean", "complete", "rank_window_size", "filter", "min_score")): rng.choice(
                strange
            ),
            "retrievers": rng.choice(([child], [{"retriever": {"standard": {"query": {"match_all": {}}}}}], *strange)),
        }
        status, answer = plugged.http("POST", "_all/_search", {"retriever": {"crosslens": inner}})
        assert status in (200, 400), (inner, answer)
    alive(plugged)
