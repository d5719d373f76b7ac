"""Small requests that ask for much: the node lives, others are answered meanwhile, and nobody waits for nothing."""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import re
import shutil
import struct
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.node.installing import install_models
from tests.server.conftest import Plugged
from tests.server.requests import Watched, alive, encoded, left, pipeline, png, search, simulated, vector_index

pytestmark = pytest.mark.node


def tiff(*fields: tuple[int, int, int]) -> bytes:
    """A TIFF whose directory holds these fields, each (tag, type, value), and little else."""
    body = zlib.compress(bytes(64))
    directory = struct.pack("<H", len(fields))
    for tag, kind, value in fields:
        directory += struct.pack("<HHII", tag, kind, 1, value)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory + bytes(4)


def many_scans(size: int, scans: int) -> bytes:
    """A progressive JPEG of one colour whose last scan is repeated."""
    out = io.BytesIO()
    Image.new("L", (size, size), 90).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


@pytest.mark.parametrize("size", [(1_000_000, 1), (100_000, 1), (1, 60_000), (1, 1_000_000), (40_000, 3)])
def test_a_picture_however_thin_costs_little(small: Plugged, size: tuple[int, int], demo_encoder: Encoder) -> None:
    data = png(*size)
    assert len(data) < 6_000
    index = vector_index(small, 192)
    with Watched(small.http) as watched:
        start = time.monotonic()
        small.http.ok("POST", f"{index}/_search", search(model="model", image=encoded(data)))
        assert time.monotonic() - start < 5
    assert watched.slowest < 5
    (made,) = small.http.ok("POST", "_crosslens/encode", {"model": "model", "images": [encoded(data)]})["vectors"]
    assert np.dot(made, demo_encoder.encode_images([data])[0]) >= 0.9999
    alive(small)


def hostile() -> dict[str, tuple[bytes, str]]:
    square = [(256, 3, 16), (257, 3, 16), (258, 3, 8), (259, 3, 8), (262, 3, 1)]
    piece = [(324, 4, 8), (325, 4, 11)]
    inner = io.BytesIO()
    Image.new("L", (3_000, 3_000)).save(inner, "JPEG")
    jpeg = inner.getvalue()
    fields = [(256, 3, 16), (257, 3, 16), (258, 3, 8), (259, 3, 7), (262, 3, 1), (273, 4, 8), (279, 4, len(jpeg))]
    head = b"II*\0" + struct.pack("<I", 8 + len(jpeg)) + jpeg + struct.pack("<H", len(fields))
    in_tiff = head + b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in fields) + bytes(4)
    bitmap = (
        b"BM" + struct.pack("<IHHI", 999, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 0, 5, 99, 0, 0, 0, 0)
    )
    wide, strip = [(256, 3, 9_000), (257, 3, 9_000), (259, 3, 8)], [(273, 4, 8), (279, 4, 11)]
    gif = struct.pack("<HHHHBB", 0, 0, 4, 4, 0, 2) + b"\1\4\0;"
    huge = b"BM" + struct.pack("<IHHI", 99, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 9_000, 9_000, 1, 24, *(0,) * 6)
    return {
        "tiff of huge tiles": (tiff(*square, (277, 3, 1), (322, 4, 24_000), (323, 4, 24_000), *piece), "tiles of"),
        "tiff of many samples": (tiff(*square, (277, 3, 60_000), (273, 4, 8), (279, 4, 11)), "samples a pixel"),
        "tiff of deep samples": (tiff(*square[:2], (258, 3, 31), *square[3:], (273, 4, 8), (279, 4, 11)), "cut off"),
        "tiff of a huge strip": (tiff(*wide, (258, 3, 64), (262, 3, 1), (277, 3, 40), *strip), "MB is not read"),
        "tiff of many deep samples": (tiff(*wide, (258, 3, 64), (262, 3, 1), (278, 3, 2), *strip), "strips or tiles"),
        "gif of a huge canvas": (b"GIF89a" + struct.pack("<HHBBBB", 65_535, 65_535, 0, 0, 0, 44) + gif, "allowed"),
        "bmp of a huge size": (huge, "cut off|truncated"),
        "tiff with a larger jpeg": (in_tiff, "larger than its tile"),
        "jpeg of many scans": (many_scans(2_000, 4_000), "scans"),
        "bmp with a png": (bitmap + png(9_000, 9_000), "compression 5"),
        "png of a huge chunk": (png(2, 2)[:33] + struct.pack(">I", 2**31 - 1) + b"zzZz" + png(2, 2)[33:], "truncated"),
    }


@pytest.mark.parametrize("kind", sorted(hostile()))
def test_what_a_file_claims_is_read_before_a_decoder_sees_it(small: Plugged, kind: str) -> None:
    data, says = hostile()[kind]
    index = vector_index(small, 192)
    with Watched(small.http) as watched:
        start = time.monotonic()
        status, answer = small.http("POST", f"{index}/_search", search(model="model", image=encoded(data)))
        assert time.monotonic() - start < 5
    assert status == 400
    assert re.search(says, str(answer)), str(answer)[:500]
    assert watched.slowest < 5
    alive(small)


def test_pictures_of_unusual_but_honest_files_are_still_read(small: Plugged, demo_encoder: Encoder) -> None:
    rng = np.random.default_rng(5)
    picture = Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)).resize((300, 200), 3)
    files = []
    for kind, how in [
        ("TIFF", {"compression": "jpeg"}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"tiffinfo": {278: 2**31 - 1}}),
        ("JPEG", {"progressive": True}),
        ("BMP", {}),
    ]:
        out = io.BytesIO()
        picture.save(out, kind, **how)
        files.append(out.getvalue())
    body = {"model": "model", "images": [encoded(data) for data in files]}
    made = small.http.ok("POST", "_crosslens/encode", body)["vectors"]
    assert (np.array(made) * demo_encoder.encode_images(files)).sum(axis=1).min() >= 0.9999


def test_a_document_that_names_a_large_file_thirty_times_is_read_file_by_file(small: Plugged) -> None:
    with (small.images / "large.bmp").open("wb") as file:
        file.write(b"BM" + bytes(60))
        file.truncate(90 << 20)
    shutil.copy(sorted((DEMO_MODEL.parent / "pictures").glob("*.webp"))[0], small.images / "good.webp")
    pipeline(small, "large", source="photos", modality="image", each=True, record_errors=True)
    with Watched(small.http) as watched:
        (made,) = simulated(small, "large", {"photos": ["large.bmp"] * 30 + ["good.webp"]})
    source = made["doc"]["_source"]
    assert [each["position"] for each in source["v"]] == [30]
    assert "and 27 more" in source["crosslens"]["v"]["error"]
    assert watched.slowest < 5
    (many,) = simulated(small, "large", {"photos": ["good.webp"] * 1_001})
    assert "more than the 1000" in str(many)
    alive(small)


@pytest.mark.parametrize("family", ["model", "small"])
def test_a_text_is_cut_before_it_becomes_tokens(small: Plugged, family: str, models: Path) -> None:
    texts = {
        "words": "blue running shoes " * 1_000_000,
        "one word": "a" * 20_000_000,
        "spaces": "a" + " " * 10_000_000 + "red shoe",
        "emoji": "\U0001f45f" * 1_000_000,
        "mixed": "xyz\u00e9\u4e2d\U0001f600 -,. " * 200_000,
    }
    # What comes first decides, so a prefix that Python can afford has the same tokens.
    short = [text[:30_000] for text in texts.values()]
    short[2] = "a red shoe"
    encoder = Encoder(DEMO_MODEL if family == "model" else models / "small")
    with Watched(small.http) as watched:
        made = []
        for text in texts.values():
            start = time.monotonic()
            body = {"model": family, "texts": [text]}
            made += small.http.ok("POST", "_crosslens/encode", body)["vectors"]
            assert time.monotonic() - start < 5
    assert (np.array(made) * encoder.encode_texts(short)).sum(axis=1).min() >= 0.9999
    assert watched.slowest < 5
    alive(small)


def test_searches_that_nobody_waits_for_hold_up_no_other(small: Plugged) -> None:
    index = vector_index(small, 192)
    waste = {**search(model="model", text="blue running shoes " * 220_000), "timeout": "1s"}
    connections = [left(small.server.node.url, f"{index}/_search", waste) for _ in range(6)]
    for each in connections:
        each.close()
    start = time.monotonic()
    small.http.ok("POST", f"{index}/_search", search(model="model", text="red"))
    assert time.monotonic() - start < 5
    alive(small)


def test_a_closed_connection_and_a_timeout_take_a_search_out_of_the_queue(small: Plugged) -> None:
    index = vector_index(small, 192)
    rng = np.random.default_rng(1)

    def picture() -> str:
        # Each is another one, or they would be encoded together.
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (500, 500, 3), dtype=np.uint8)).save(out, "PNG", compress_level=0)
        return encoded(out.getvalue())

    before = small.stats()["search"]["ended"]
    searches = [search(model="model", image=picture()) for _ in range(40)]
    hurried = [{**search(model="model", image=picture()), "timeout": "1ms"} for _ in range(4)]
    busy = [left(small.server.node.url, f"{index}/_search", each) for each in searches]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda body: small.http("POST", f"{index}/_search", body), hurried))
    for each in busy:
        each.close()
    assert all(status in (429, 504) and "timed out" in str(answer) for status, answer in answers), answers
    start = time.monotonic()
    small.http.ok("POST", f"{index}/_search", search(model="model", text="red"))
    assert time.monotonic() - start < 5
    alive(small)
    assert small.stats()["search"]["ended"] > before


def test_a_document_that_was_read_and_is_written_again_keeps_its_vectors(small: Plugged) -> None:
    properties = {"all": {"type": "nested", "properties": {"vector": {"type": "dense_vector", "dims": 192}}}}
    index = small.server.new_index({"properties": {"v": {"type": "dense_vector", "dims": 192}, **properties}}, [])
    steps = [
        {"crosslens": {"model": "model", "field": "v", "source": "title", "modality": "text"}},
        {"crosslens": {"model": "model", "field": "all", "source": "tags", "modality": "text", "each": True}},
    ]
    small.http.ok("PUT", "_ingest/pipeline/again", {"processors": steps})
    document = {"title": "a red heart", "tags": ["red", "heart"]}
    small.http.ok("PUT", f"{index}/_doc/1?pipeline=again&refresh=true", document)
    for edit in range(3):
        read = small.http.ok("GET", f"{index}/_doc/1")["_source"]
        small.http.ok("PUT", f"{index}/_doc/1?pipeline=again&refresh=true", {**read, "edit": edit})
        nested = {"nested": {"path": "all", "query": {"exists": {"field": "all.vector"}}}}
        for query in ({"exists": {"field": "v"}}, nested):
            assert small.http.ok("POST", f"{index}/_search", {"query": query})["hits"]["total"]["value"] == 1
        source: Any = small.server.source(index, "1")
        assert [each["position"] for each in source["all"]] == [0, 1]
        assert all(each["vector"] for each in source["all"])


def test_a_bulk_of_thousands_is_encoded_whole_on_the_default_queue(small: Plugged) -> None:
    index = vector_index(small, 192)
    step = {
        "crosslens": {"model": "model", "field": "v", "source": "title", "modality": "text", "ignore_failure": True}
    }
    small.http.ok("PUT", "_ingest/pipeline/thousands", {"processors": [step]})
    lines: list[Any] = []
    for i in range(9_000):
        lines += [{"index": {"_id": f"n{i}"}}, {"title": f"heart {i}", "kind": "bulk"}]
    with Watched(small.http) as watched:
        answer = small.server.client.options(request_timeout=300).bulk(
            index=index, operations=lines, pipeline="thousands", refresh=True
        )
    assert not answer["errors"], str(answer)[:500]
    body = {"query": {"bool": {"must": [{"match": {"kind": "bulk"}}, {"exists": {"field": "v"}}]}}}
    assert small.http.ok("POST", f"{index}/_count", body)["count"] == 9_000
    assert watched.slowest < 5
    assert small.stats()["ingest"]["rejected"] == 0
    alive(small)


def with_weights_in(name: str) -> onnx.ModelProto:
    """A text tower whose weights lie in ``name``, twice as long as 4 GiB: readable, and of no use to ONNX Runtime."""
    weights = onnx.TensorProto(name="weights", data_type=onnx.TensorProto.FLOAT, dims=[2 << 30])
    weights.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", name), ("offset", "0"), ("length", str(8 << 30))):
        weights.external_data.add(key=key, value=value)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["weights"], ["text_embeds"])],
        "text",
        [onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "sequence"])],
        [onnx.helper.make_tensor_value_info("text_embeds", onnx.TensorProto.FLOAT, ["size"])],
        [weights],
    )
    return onnx.helper.make_model(graph)


def test_reading_a_large_model_holds_up_nobody(small: Plugged) -> None:
    index = vector_index(small, 192)
    target = small.folder / "config" / "crosslens" / "large"
    target.mkdir()
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        shutil.copy(DEMO_MODEL / name, target / name)
    (target / "onnx").mkdir()
    shutil.copy(DEMO_MODEL / "onnx" / "vision_model.onnx", target / "onnx" / "vision_model.onnx")
    onnx.save(with_weights_in(beside := "text_model.onnx_data"), str(target / "onnx" / "text_model.onnx"))
    with (target / "onnx" / beside).open("wb") as file:
        file.truncate(4 << 30)
    try:
        with Watched(small.http) as watched, concurrent.futures.ThreadPoolExecutor(4) as pool:
            asked = [
                pool.submit(small.http, "POST", "_crosslens/encode", {"model": "large", "texts": ["a"]}),
                pool.submit(small.http, "POST", f"{index}/_search", search(model="large", text="a")),
                pool.submit(small.http, "GET", "_crosslens/models"),
            ]
            slowest = 0.0
            while not all(each.done() for each in asked):
                start = time.monotonic()
                small.http.ok("POST", f"{index}/_search", search(model="model", text="red"))
                slowest = max(slowest, time.monotonic() - start)
        assert slowest < 2
        assert watched.slowest < 2
        assert "can't be loaded" in str(asked[0].result()), asked[0].result()
        # What is damaged isn't read again for every query.
        start = time.monotonic()
        for _ in range(5):
            assert small.http("POST", "_crosslens/encode", {"model": "large", "texts": ["a"]})[0] >= 400
        assert time.monotonic() - start < 1
    finally:
        shutil.rmtree(target)


def test_a_large_body_is_parsed_beside_the_nodes_own_work(small: Plugged) -> None:
    body = {"model": "model", "texts": ["a"] * 8, "images": ["QUJD" * 6_000_000] * 2}
    with Watched(small.http) as watched:
        status, answer = small.http("POST", "_crosslens/encode", body)
    assert status in (400, 429), str(answer)[:300]
    assert watched.slowest < 2
    alive(small)


def test_no_document_says_that_its_vector_is_of_a_model_that_did_not_make_it(small: Plugged, models: Path) -> None:
    home = small.folder / "config" / "crosslens"
    encoders = {each.fingerprint: each for each in (Encoder(models / "small"), Encoder(models / "other"))}
    shutil.copytree(models / "small", home / "turning")
    step = {"crosslens": {"model": "turning", "field": "v", "source": "title", "modality": "text"}}
    small.http.ok("PUT", "_ingest/pipeline/turning", {"processors": [step]})
    end = threading.Event()

    def turn() -> None:
        for i in range(1_000):
            if end.is_set():
                return
            new = home.parent / f"next-{i}"
            shutil.copytree(models / ("other" if i % 2 == 0 else "small"), new)
            (home / "turning").rename(home.parent / f"old-{i}")
            new.rename(home / "turning")
            time.sleep(0.15)

    turning = threading.Thread(target=turn)
    turning.start()
    seen: dict[str, int] = {}
    try:
        until = time.monotonic() + 12
        while time.monotonic() < until:
            documents = [{"title": f"a shoe {i}"} for i in range(40)]
            for each in simulated(small, "turning", *documents):
                if "doc" not in each:
                    continue
                source = each["doc"]["_source"]
                made_by = source["crosslens"]["v"]["model"]
                expected = encoders[made_by].encode_texts([source["title"]])[0]
                assert np.dot(source["v"], expected) >= 0.999
                seen[made_by] = seen.get(made_by, 0) + 1
    finally:
        end.set()
        turning.join()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(home / "turning")
    assert len(seen) == 2, seen


def test_a_part_of_a_document_leaves_the_state_of_what_it_does_not_send(small: Plugged) -> None:
    index = vector_index(small, 192)
    pipeline(small, "part", source="title", modality="text", ignore_missing=True)
    # A pipeline that a request names sees no parts of documents.
    small.http.ok("PUT", f"{index}/_settings", {"index.default_pipeline": "part"})
    small.http.ok("PUT", f"{index}/_doc/1?refresh=true", {"title": "a red heart"})
    before: Any = small.server.source(index, "1")
    lines = [{"update": {"_id": "1"}}, {"doc": {"price": 3}, "doc_as_upsert": True}]
    answer = small.http.ok("POST", f"{index}/_bulk?refresh=true", lines)
    assert not answer["errors"], answer
    after: Any = small.server.source(index, "1")
    assert after == {**before, "price": 3}
    # A blank source is one that was sent.
    small.http.ok("PUT", f"{index}/_doc/2?refresh=true", {"title": " "})
    blank: Any = small.server.source(index, "2")
    assert "skipped" in blank["crosslens"]["v"]


def test_a_query_by_another_model_of_the_same_dims_is_refused(plugged: Plugged, models: Path) -> None:
    install_models([models / "other"], plugged.folder)
    encoder = Encoder(models / "small")
    entry = {"fingerprint": encoder.fingerprint, "modality": "text", "sources": ["title"], "path": "v"}
    mapping = {
        "_meta": {"crosslens": {"fields": {"v": entry}}},
        "properties": {"v": {"type": "dense_vector", "dims": 24}, "title": {"type": "text"}},
    }
    document = {"title": "a", "v": encoder.encode_texts(["a"])[0].tolist()}
    index = plugged.server.new_index(mapping, [document])
    for right in ({"model": "small"}, {"field": "v"}, {"model": encoder.fingerprint}):
        answer = plugged.http.ok("POST", f"{index}/_search", search(**right, text="a"))
        assert answer["hits"]["hits"][0]["_score"] > 0.999

    def retriever(builder: dict[str, Any]) -> dict[str, Any]:
        knn = {"field": "v", "k": 1, "num_candidates": 10, "query_vector_builder": {"crosslens": builder}}
        keyword = {"standard": {"query": {"match": {"title": "a"}}}}
        return {"retriever": {"crosslens": {"retrievers": [{"retriever": {"knn": knn}}, {"retriever": keyword}]}}}

    def query(builder: dict[str, Any]) -> dict[str, Any]:
        knn = {"field": "v", "query_vector_builder": {"crosslens": builder}}
        return {"query": {"bool": {"should": [{"knn": knn}, {"match": {"title": "a"}}]}}}

    for body in (search, lambda **builder: retriever(builder), lambda **builder: query(builder)):
        status, answer = plugged.http("POST", f"{index}/_search", body(model="other", text="a"))
        assert status == 400, answer
        assert "with vectors of another" in str(answer)
        assert plugged.http.ok("POST", f"{index}/_search", body(field="v", text="a"))["hits"]["hits"]
    pit = plugged.http.ok("POST", f"{index}/_pit?keep_alive=1m")["id"]
    status, answer = plugged.http("POST", "_search", {**search(model="other", text="a"), "pit": {"id": pit}})
    assert status == 400
    assert plugged.http.ok("POST", "_search", {**search(field="v", text="a"), "pit": {"id": pit}})["hits"]["hits"]
    status, answer = plugged.http("POST", f"{index}/_search", search(field="title", text="a"))
    assert (status, "records a model for [title]" in str(answer)) == (400, True)
