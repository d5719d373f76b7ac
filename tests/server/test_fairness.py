"""Searches, documents and encode requests each get their share, and what is asked for again isn't made again."""

from __future__ import annotations

import concurrent.futures
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.node.installing import install_models
from tests.server.conftest import Plugged
from tests.server.requests import Watched, alive, encoded, left, pipeline, png, search, simulated, vector_index, within

pytestmark = pytest.mark.node

HEART = sorted((DEMO_MODEL.parent / "pictures").glob("*.webp"))[0].read_bytes()


def slow(n: int) -> str:
    """A picture that takes a while, and equals no other."""
    return encoded(png(3_000, 2_900 + n))


def texts_of(plugged: Plugged, lane: str) -> int:
    return int(plugged.stats()[lane]["texts"])


def vectors_of(plugged: Plugged, texts: Sequence[str], **options: Any) -> list[list[float]]:
    body = {"model": "model", "texts": list(texts), **options}
    return list(plugged.http.ok("POST", "_crosslens/encode", body)["vectors"])


def test_slow_searches_leave_documents_and_encode_requests_their_share(small: Plugged) -> None:
    index = vector_index(small, 192)
    pipeline(small, "meanwhile", source="title", modality="text")
    with Watched(small.http) as watched, concurrent.futures.ThreadPoolExecutor(40) as pool:
        searches = [
            pool.submit(small.http, "POST", f"{index}/_search", search(model="model", image=slow(n))) for n in range(40)
        ]
        while small.stats()["search"]["queue"] < 10:
            assert not all(each.done() for each in searches)
        took = []
        for n in range(3):
            started = time.monotonic()
            (made,) = simulated(small, "meanwhile", {"title": f"a red heart {n}"})
            vectors_of(small, [f"a blue heart {n}"])
            took.append(time.monotonic() - started)
            assert len(made["doc"]["_source"]["v"]) == 192
        waiting = sum(not each.done() for each in searches)
        answers = [each.result() for each in searches]
    assert waiting > 5, "the searches were over too soon to hold anything up"
    assert max(took) < within(2), took
    assert {status for status, _ in answers} == {200}
    assert watched.slowest < within(1)
    alive(small)


def test_slow_documents_and_encode_requests_leave_searches_their_share(small: Plugged) -> None:
    index = vector_index(small, 192)
    pipeline(small, "slow", source="photo", modality="image")
    pictures = [slow(n) for n in range(20)]
    with Watched(small.http) as watched, concurrent.futures.ThreadPoolExecutor(2) as pool:
        documents = pool.submit(simulated, small, "slow", *({"photo": each} for each in pictures))
        body = {"model": "model", "images": pictures, "bulk": True}
        asked = pool.submit(small.http, "POST", "_crosslens/encode", body)
        while not small.stats()["ingest"]["working"] or not small.stats()["encode"]["working"]:
            assert not documents.done()
        took = []
        for n in range(3):
            started = time.monotonic()
            small.http.ok("POST", f"{index}/_search", search(model="model", text=f"a green heart {n}"))
            took.append(time.monotonic() - started)
        assert not (documents.done() and asked.done())
        assert [each for each in documents.result() if "doc" not in each] == []
        status, answer = asked.result()
        assert status == 200, str(answer)[:500]
    assert max(took) < within(2), took
    assert watched.slowest < within(1)
    alive(small)


def test_a_small_encode_request_does_not_wait_for_all_of_a_large_one(small: Plugged) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        large = pool.submit(
            small.http, "POST", "_crosslens/encode", {"model": "model", "images": [encoded(HEART)] * 1_000}
        )
        while small.stats()["encode"]["queue"] < 500:
            assert not large.done()
        vectors_of(small, ["a small one"])
        assert not large.done()
        assert large.result()[0] == 200
    alive(small)


def test_what_one_request_may_ask_for_is_capped(small: Plugged) -> None:
    status, answer = small.http("POST", "_crosslens/encode", {"model": "model", "texts": ["a"] * 1_001})
    assert status == 400
    assert "a request may have 1000 inputs" in str(answer)
    # As many strings as the body has room for would take twenty times its size.
    body = b'{"model": "model", "texts": [' + b'"a",' * 5_000_000 + b'"a"]}'
    request = urllib.request.Request(f"{small.http.url}/_crosslens/encode", body, {"content-type": "application/json"})
    with Watched(small.http) as watched, pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert refused.value.code == 400
    assert "a request may have 1000 inputs" in refused.value.read().decode()
    assert watched.slowest < within(1)
    alive(small)


def test_an_encode_request_that_was_taken_waits_for_memory_and_is_never_refused_half_done(small: Plugged) -> None:
    images = [encoded(png(3_000, 2_900 + n)) for n in range(6)]
    before = small.stats()
    with Watched(small.http) as watched, concurrent.futures.ThreadPoolExecutor(4) as pool:
        body = {"model": "model", "images": images}
        answers = list(pool.map(lambda _: small.http("POST", "_crosslens/encode", body), range(4)))
    assert {status for status, _ in answers} == {200}, answers
    after = small.stats()
    assert after["encode"]["images"] - before["encode"]["images"] == 4 * len(images)
    assert after["encode"]["rejected"] == before["encode"]["rejected"]
    assert watched.slowest < within(1)
    alive(small)


def test_an_image_that_can_not_be_read_ends_its_request(small: Plugged) -> None:
    before = small.stats()["encode"]["images"]
    body = {"model": "model", "images": [encoded(b"no image"), *[encoded(HEART)] * 900]}
    status, _ = small.http("POST", "_crosslens/encode", body)
    assert status == 400
    alive(small)
    assert small.stats()["encode"]["images"] - before < 100


def test_a_query_that_is_asked_again_is_encoded_once(small: Plugged) -> None:
    index = vector_index(small, 192)
    before = small.stats()
    for _ in range(5):
        for builder in ({"text": "a heart, once"}, {"image": encoded(HEART)}):
            small.http.ok("POST", f"{index}/_search", search(model="model", **builder))
    after = small.stats()
    assert after["search"]["texts"] == before["search"]["texts"] + 1
    assert after["search"]["images"] == before["search"]["images"] + 1
    cache, former = after["query_cache"], before["query_cache"]
    assert (cache["hits"] - former["hits"], cache["misses"] - former["misses"]) == (8, 2)
    assert 0 < cache["bytes"] <= cache["limit_bytes"] == 4 << 20
    # The model is what its fingerprint says, however it is called, and the vector is the one that it makes.
    small.http.ok("POST", f"{index}/_search", search(model="crosslens-emoji", text="a heart, once"))
    assert small.stats()["search"]["texts"] == after["search"]["texts"]
    vector = Encoder(DEMO_MODEL).encode_texts(["a heart, once"])[0]
    mapping = {"properties": {"v": {"type": "dense_vector", "dims": 192, "index_options": {"type": "flat"}}}}
    own = small.server.new_index(mapping, [{"v": vector.tolist()}])
    (hit,) = small.http.ok("POST", f"{own}/_search", search(model="model", text="a heart, once"))["hits"]["hits"]
    assert hit["_score"] > 0.9999


def test_legs_and_searches_that_ask_for_one_vector_at_a_time_share_it(small: Plugged) -> None:
    index = vector_index(small, 192)
    before = small.stats()["search"]["images"]
    image = slow(77)
    knn = search(model="model", image=image)["knn"]
    body = {"retriever": {"crosslens": {"retrievers": [{"retriever": {"knn": knn}, "name": n} for n in "abc"]}}}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: small.http("POST", f"{index}/_search", body), range(8)))
    assert {status for status, _ in answers} == {200}, answers
    assert small.stats()["search"]["images"] == before + 1
    alive(small)


def test_a_search_that_is_given_up_takes_no_vector_from_others(small: Plugged) -> None:
    index = vector_index(small, 192)
    wanted = search(model="model", image=slow(78))
    before = small.stats()["search"]
    others = [left(small.server.node.url, f"{index}/_search", search(model="model", image=slow(n))) for n in range(6)]
    first = left(small.server.node.url, f"{index}/_search", wanted)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(small.http, "POST", f"{index}/_search", wanted) for _ in range(3)]
        time.sleep(0.1)
        for each in (first, *others):
            each.close()
        assert [each.result()[0] for each in answers] == [200] * 3
    alive(small)
    assert small.stats()["search"]["failed"] == before["failed"]


def test_another_model_under_the_same_name_makes_its_own_query_vectors(small: Plugged, models: Path) -> None:
    mapping = {"properties": {"v": {"type": "dense_vector", "dims": 24}}}
    home = small.folder / "config" / "crosslens"
    for n, name in enumerate(("small", "other")):
        vector = Encoder(models / name).encode_texts(["a turn"])[0]
        index = small.server.new_index(mapping, [{"v": vector.tolist()}])
        if n:
            (home / "turned").rename(home.parent / "turned-before")
        install_models([models / name], small.folder.parent / "spare")
        (small.folder.parent / "spare" / "config" / "crosslens" / name).rename(home / "turned")
        for _ in range(2):
            until = time.monotonic() + 10
            while True:
                (hit,) = small.http.ok("POST", f"{index}/_search", search(model="turned", text="a turn"))["hits"][
                    "hits"
                ]
                if hit["_score"] > 0.9999 or time.monotonic() > until:
                    break
                time.sleep(0.2)
            assert hit["_score"] > 0.9999


def test_models_in_the_setting_are_loaded_before_anybody_asks(small: Plugged) -> None:
    (node,) = small.http.ok("GET", "_crosslens/models")["nodes"].values()
    loaded = {model["directory"]: model.get("loaded") for model in node["models"]}
    assert loaded["model"]
    # The one that isn't there is logged, and the node lives; the fixture has waited for the other.
    logs = "".join(path.read_text(errors="replace") for path in (small.folder / "logs").glob("*.log"))
    assert "crosslens.preload: model [absent] can't be loaded" in logs


def test_a_part_of_a_document_clears_what_an_earlier_source_left(small: Plugged) -> None:
    steps = [
        {"crosslens": {"field": "v", "source": "title", "modality": "text", "ignore_missing": True}},
        {"crosslens": {"field": "p", "source": "photo", "modality": "image", "ignore_missing": True}},
    ]
    for step in steps:
        step["crosslens"] |= {"model": "model", "record_errors": True}
    small.http.ok("PUT", "_ingest/pipeline/parts", {"processors": steps})
    index = vector_index(small, 192, p={"type": "dense_vector", "dims": 192})
    # A pipeline that a request names sees no parts of documents.
    small.http.ok("PUT", f"{index}/_settings", {"index.default_pipeline": "parts"})

    def put(method: str, path: str, body: Any) -> dict[str, Any]:
        answer = small.http.ok(method, f"{index}/{path}?refresh=true", body)
        assert not answer.get("errors"), answer
        return dict(small.server.source(index, "1"))

    def update(**part: Any) -> dict[str, Any]:
        return put("POST", "_bulk", [{"update": {"_id": "1"}}, {"doc": part, "doc_as_upsert": True}])

    def state(document: dict[str, Any], field: str) -> dict[str, Any]:
        return {key: value for key, value in document["crosslens"][field].items() if value is not None}

    def holding() -> dict[str, bool]:
        counted = {
            field: small.http.ok(
                "POST",
                f"{index}/_count",
                {"query": {"bool": {"filter": [{"exists": {"field": field}}, {"ids": {"values": ["1"]}}]}}},
            )["count"]
            for field in "vp"
        }
        return {field: count == 1 for field, count in counted.items()}

    begun = put("PUT", "_doc/1", {"title": " ", "photo": encoded(b"no image")})
    assert "skipped" in state(begun, "v")
    assert "error" in state(begun, "p")
    mended = update(title="a red heart", photo=encoded(HEART))
    assert state(mended, "v").keys() == {"source", "model"}
    assert state(mended, "p").keys() == {"source", "model", "content"}
    assert holding() == {"v": True, "p": True}
    # And the other way: a vector of a source that is gone goes with it.
    emptied = update(title="", photo=encoded(b"again none"))
    assert state(emptied, "v").keys() == {"source", "model", "skipped"}
    assert state(emptied, "p").keys() == {"source", "model", "error"}
    assert holding() == {"v": False, "p": False}


def test_vectors_are_those_of_python_however_they_were_asked_for(small: Plugged) -> None:
    texts = [f"a heart of {n}" for n in range(300)]
    expected = Encoder(DEMO_MODEL).encode_texts(texts)
    for bulk in (False, True):
        assert (np.array(vectors_of(small, texts, bulk=bulk)) * expected).sum(axis=1).min() >= 0.9999
