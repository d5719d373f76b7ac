"""The plugin's query vectors and its retriever, asked by a plain HTTP client and compared with the Python side."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.run.calibrate import calibrate
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.fusion.normalizers import NORMALIZERS
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.result import SearchResult
from tests.server.conftest import PICTURES, Plugged
from tests.server.relations import STRANGER, TWIN, index_of, related

pytestmark = pytest.mark.node

WORDS = ("red", "cat", "face", "heart", "flag", "clock", "moon", "hand", "tree", "cloud", "fish", "house")


@pytest.fixture(scope="module")
def index(plugged: Plugged, demo_encoder: Encoder) -> str:
    """300 documents on three shards in several segments, some deleted; int8, whole floats, and several a document."""
    pictures = sorted(PICTURES.glob("*.webp"))[:300]
    documents = [
        {
            "title": f"{WORDS[i % 12]} {WORDS[i % 7]} number {i}",
            "kind": WORDS[i % 5],
            "photo": picture.name,
            "more": [pictures[(i * 7 + n) % 300].name for n in range(i % 4)],
        }
        for i, picture in enumerate(pictures)
    ]
    name = plugged.server.new_index(
        {
            "properties": {
                "title": {"type": "text"},
                "kind": {"type": "keyword"},
                "photo": {"type": "keyword"},
                "more": {"type": "keyword"},
            }
        },
        documents,
    )
    targets = [
        Target("title_vector", "text", ("title",), "hnsw"),
        Target("photo_vector", "image", ("photo",)),
        Target("more_vector", "image", ("more",), each=True),
    ]
    client = plugged.server.client
    add_vectors(client, name, demo_encoder, targets, Options(images=ImageAccess(root=PICTURES)))
    for i in range(0, 300, 17):
        client.delete(index=name, id=str(i))
    client.indices.refresh(index=name)
    calibrate(client, name)
    return name


def knn(field: str, k: int, **builder: str) -> dict[str, Any]:
    return {
        "field": field,
        "k": k,
        "num_candidates": max(2 * k, 200),
        "query_vector_builder": {"crosslens": {"model": "model", **builder}},
    }


def ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


@pytest.mark.parametrize("kind", ["text", "image"])
def test_query_vectors_serve_knn_searches_queries_and_retrievers(
    plugged: Plugged, index: str, demo_encoder: Encoder, kind: str
) -> None:
    picture = sorted(PICTURES.glob("*.webp"))[42]
    if kind == "text":
        given, vector = {"text": "a red heart"}, demo_encoder.encode_texts(["a red heart"])[0]
    else:
        given, vector = (
            {"image": base64.b64encode(picture.read_bytes()).decode()},
            demo_encoder.encode_images([picture])[0],
        )
    clause = knn("photo_vector", 20, **given)
    plain = {"field": "photo_vector", "k": 20, "num_candidates": 200, "query_vector": vector.tolist()}
    for body, same in (
        ({"knn": clause}, {"knn": plain}),
        ({"query": {"knn": clause}}, {"query": {"knn": plain}}),
        ({"retriever": {"knn": clause}}, {"retriever": {"knn": plain}}),
    ):
        made = plugged.http.ok("POST", f"{index}/_search", {**body, "size": 20, "_source": False})
        expected = plugged.http.ok("POST", f"{index}/_search", {**same, "size": 20, "_source": False})
        scores = [hit["_score"] for hit in made["hits"]["hits"]]
        assert scores == pytest.approx([hit["_score"] for hit in expected["hits"]["hits"]], abs=1e-5)
        assert len(set(ids(made)) & set(ids(expected))) >= 19


def test_a_data_uri_is_an_image_too(plugged: Plugged, index: str) -> None:
    picture = sorted(PICTURES.glob("*.webp"))[43]
    uri = "data:image/webp;base64," + base64.b64encode(picture.read_bytes()).decode()
    found = plugged.http.ok("POST", f"{index}/_search", {"knn": knn("photo_vector", 1, image=uri)})
    assert ids(found) == ["43"]


def test_a_model_searches_the_vectors_that_its_record_allows(plugged: Plugged, demo_encoder: Encoder) -> None:
    name = "related-vectors"
    texts = [f"a {word}" for word in WORDS]
    fields = [("near", TWIN), ("far", STRANGER)]

    def asked(searched: str, **builder: str) -> tuple[int, Any]:
        vector = {"crosslens": {"text": "a red heart", **builder}}
        clause = {"field": searched, "k": 12, "num_candidates": 100, "query_vector_builder": vector}
        return plugged.http("POST", f"{name}/_search", {"knn": clause, "size": 12, "_source": False})

    index_of(plugged.server.client, name, demo_encoder.encode_texts(texts), fields)
    assert asked("near", field="near")[0] == 400
    with related(DEMO_MODEL, plugged.folder) as model:
        expected = demo_encoder.encode_texts(texts) @ demo_encoder.encode_texts(["a red heart"])[0]
        for builder in ({"field": "near"}, {"model": model}):
            status, answer = asked("near", **builder)
            assert status == 200, answer
            found = {int(hit["_id"]): 2 * hit["_score"] - 1 for hit in answer["hits"]["hits"]}
            assert [found[i] for i in range(12)] == pytest.approx(expected.tolist(), abs=1e-5)
        for builder, told in (
            ({"field": "far"}, f"no model [{STRANGER}]"),
            ({"model": model}, "would compare a query"),
        ):
            status, answer = asked("far", **builder)
            assert status == 400
            assert told in str(answer)
        # What is written as of a model is made by that model.
        status, answer = plugged.http("POST", "_crosslens/encode", {"model": TWIN, "texts": ["a"]})
        assert status == 400
        assert f"no model [{TWIN}]" in str(answer)


@pytest.mark.parametrize(
    ("builder", "told"),
    [
        ({"model": "nowhere", "text": "a"}, "this node has no model [nowhere]; it has "),
        ({"text": "a"}, "say which [model]"),
        ({"model": "model"}, "needs either [text] or [image]"),
        ({"model": "model", "text": "a", "image": "b"}, "needs either [text] or [image]"),
        ({"model": "model", "text": "  "}, "empty [text]"),
        ({"model": "model", "image": "!!"}, "image is empty"),
        ({"model": "model", "image": "AAAA"}, "not an image in a supported format"),
        ({"model": "model", "txt": "a"}, "unknown field [txt]"),
    ],
)
def test_a_wrong_query_vector_is_answered_with_400(
    plugged: Plugged, index: str, builder: dict[str, str], told: str
) -> None:
    clause = {"field": "photo_vector", "k": 1, "num_candidates": 10, "query_vector_builder": {"crosslens": builder}}
    status, answer = plugged.http("POST", f"{index}/_search", {"knn": clause})
    assert status == 400, answer
    assert told in str(answer)


def retriever(
    legs: dict[str, dict[str, Any]], weights: dict[str, float], *, window: int = 100, **options: Any
) -> dict[str, Any]:
    children = [
        {"retriever": leg, "name": name, **({"weight": weights[name]} if name in weights else {})}
        for name, leg in legs.items()
    ]
    return {"retriever": {"crosslens": {"retrievers": children, "rank_window_size": window, **options}}}


def legs(text: str, window: int, *fields: str, vector: Any = None) -> dict[str, dict[str, Any]]:
    """A keyword leg and vector legs, which the cluster encodes unless the query's ``vector`` is given."""
    words = {"multi_match": {"query": text, "fields": ["title"], "type": "best_fields", "operator": "or"}}
    vectors = {
        name: {"knn": knn(f"{name}.vector" if name == "more_vector" else name, window, text=text)} for name in fields
    }
    if vector is not None:
        for leg in vectors.values():
            del leg["knn"]["query_vector_builder"]
            leg["knn"]["query_vector"] = vector.tolist()
    return {"keyword": {"standard": {"query": words}}, **vectors}


def parts_of(hit: Any) -> list[dict[str, Any]]:
    """What an explanation says of the legs; Elasticsearch may wrap it."""
    told = hit["_explanation"]
    while not any(how in told["description"] for how in ("mean of scores scaled by", "noisy-or by evidence")):
        told = told["details"][0]
    return list(told["details"])


def expect_same(answer: Any, expected: SearchResult, apart: float = 1e-5) -> None:
    """The same documents with the same scores, but for ``apart``; documents of equal scores may change places."""
    found = {hit["_id"]: hit["_score"] for hit in answer["hits"]["hits"]}
    wanted = {hit.id: hit.score for hit in expected.hits}
    assert list(found.values()) == pytest.approx(list(wanted.values()), abs=apart)
    last = min(wanted.values())
    for id in found.keys() ^ wanted.keys():
        # At the end of the list, of equal ones either may be left out.
        assert {**wanted, **found}[id] == pytest.approx(last, abs=apart)
    for id in found.keys() & wanted.keys():
        assert found[id] == pytest.approx(wanted[id], abs=apart)


@pytest.mark.parametrize("text", ["red heart", "a clock in the moon", "nothing of the sort"])
@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_the_retriever_ranks_as_the_python_side_does(
    plugged: Plugged, index: str, demo_encoder: Encoder, normalizer: Any, complete: bool, text: str
) -> None:
    weights = {"keyword": 1.0, "title_vector": 0.5, "photo_vector": 2.0, "more_vector": 1.5}
    searcher = HybridSearcher(plugged.server.client, index, demo_encoder, window=60)
    expected = searcher.search(text, weights=weights, normalizer=normalizer, complete=complete, size=40)
    # The very same query vector, since the last bits of another run's may cross a step of the int8 field, and what
    # z-score divides by is small.
    vector = demo_encoder.encode_texts([text])[0]
    body = retriever(
        legs(text, 60, "title_vector", "photo_vector", "more_vector", vector=vector),
        weights,
        window=60,
        normalizer=normalizer,
        complete=complete,
    )
    answer = plugged.http.ok("POST", f"{index}/_search", {**body, "size": 40, "_source": False})
    if normalizer == "z-score":
        # Lucene has no negative scores: all are raised by as much as the last of the window is below 0.
        raised = answer["hits"]["hits"][0]["_score"] - expected.hits[0].score
        assert raised >= -1e-6
        expected = replace(expected, hits=[replace(hit, score=hit.score + raised) for hit in expected.hits])
        # It divides by the window's deviation, here of some thousandths, what JSON tells to 8 digits.
        expect_same(answer, expected, 1e-4)
    else:
        expect_same(answer, expected)


@pytest.mark.parametrize("mean", ["geometric", "harmonic"])
def test_the_retriever_knows_other_means(plugged: Plugged, index: str, demo_encoder: Encoder, mean: Any) -> None:
    searcher = HybridSearcher(plugged.server.client, index, demo_encoder, window=60)
    scaled: Any = "theoretical-min-max"
    expected = searcher.search("red heart", normalizer=scaled, mean=mean, legs=["keyword", "photo_vector"], size=20)
    body = retriever(legs("red heart", 60, "photo_vector"), {}, window=60, normalizer=scaled, mean=mean)
    expect_same(plugged.http.ok("POST", f"{index}/_search", {**body, "size": 20}), expected)


def test_filters_hold_in_every_leg_and_in_the_completion(plugged: Plugged, index: str, demo_encoder: Encoder) -> None:
    searcher = HybridSearcher(plugged.server.client, index, demo_encoder, window=50)
    only = {"term": {"kind": "cat"}}
    expected = searcher.search("red heart", filter=only, size=30)
    body = retriever(legs("red heart", 50, "title_vector", "photo_vector", "more_vector"), {}, window=50, filter=[only])
    answer = plugged.http.ok("POST", f"{index}/_search", {**body, "size": 30})
    assert {hit["_source"]["kind"] for hit in answer["hits"]["hits"]} == {"cat"}
    expect_same(answer, expected)


def test_a_filter_of_one_child_is_that_childs_alone(plugged: Plugged, index: str) -> None:
    both = legs("red heart", 50, "photo_vector")
    both["photo_vector"]["knn"]["filter"] = [{"term": {"kind": "cat"}}]
    answer = plugged.http.ok(
        "POST", f"{index}/_search", {**retriever(both, {}, window=50), "size": 50, "explain": True}
    )
    for hit in answer["hits"]["hits"]:
        told = [part["description"] for part in parts_of(hit)]
        lacks = any("[photo_vector] has no score" in each for each in told)
        assert lacks == (hit["_source"]["kind"] != "cat"), told


def test_an_explanation_has_every_leg_and_adds_up(plugged: Plugged, index: str, demo_encoder: Encoder) -> None:
    searcher = HybridSearcher(plugged.server.client, index, demo_encoder, window=50)
    expected = {hit.id: hit for hit in searcher.search("red heart", legs=["keyword", "photo_vector"], size=10).hits}
    body = retriever(legs("red heart", 50, "photo_vector"), {}, window=50)
    answer = plugged.http.ok("POST", f"{index}/_search", {**body, "size": 10, "explain": True})
    for hit in answer["hits"]["hits"]:
        told = parts_of(hit)
        assert hit["_explanation"]["value"] == pytest.approx(hit["_score"])
        assert sum(part["value"] for part in told) == pytest.approx(hit["_score"], abs=1e-6)
        if hit["_id"] in expected:
            parts = expected[hit["_id"]].parts
            for part, name in zip(told, ("keyword", "photo_vector"), strict=True):
                assert part["description"].startswith(f"[{name}] weighted")
                assert part["value"] == pytest.approx(parts[name].weighted, abs=1e-5)


def test_pages_totals_aggregations_and_highlights_are_those_of_a_search(plugged: Plugged, index: str) -> None:
    body = retriever(legs("red heart", 50, "photo_vector"), {}, window=50)
    whole = plugged.http.ok("POST", f"{index}/_search", {**body, "size": 20})
    second = plugged.http.ok("POST", f"{index}/_search", {**body, "from": 10, "size": 10})
    assert ids(second) == ids(whole)[10:]
    more = plugged.http.ok(
        "POST",
        f"{index}/_search",
        {
            **body,
            "size": 5,
            "aggs": {"kinds": {"terms": {"field": "kind"}}},
            "highlight": {"fields": {"title": {}}, "highlight_query": {"match": {"title": "red heart"}}},
        },
    )
    assert ids(more) == ids(whole)[:5]
    buckets = more["aggregations"]["kinds"]["buckets"]
    assert sum(bucket["doc_count"] for bucket in buckets) == more["hits"]["total"]["value"] >= 50
    assert any("<em>" in text for hit in more["hits"]["hits"] for text in hit.get("highlight", {}).get("title", []))


def test_min_score_cuts_the_list_as_the_python_side_does(plugged: Plugged, index: str, demo_encoder: Encoder) -> None:
    searcher = HybridSearcher(plugged.server.client, index, demo_encoder, window=50)
    all_of_them = searcher.search("red heart", legs=["keyword", "photo_vector"], size=50)
    # Between two scores, so that float32 and float64 agree on every document.
    scores = [hit.score for hit in all_of_them.hits]
    place = int(np.argmax(-np.diff(scores[10:40]))) + 10
    least = (scores[place] + scores[place + 1]) / 2
    expected = searcher.search("red heart", legs=["keyword", "photo_vector"], min_score=least, size=50)
    body = retriever(legs("red heart", 50, "photo_vector"), {}, window=50, min_score=least)
    expect_same(plugged.http.ok("POST", f"{index}/_search", {**body, "size": 50}), expected, 5e-5)


def test_retrievers_nest(plugged: Plugged, index: str) -> None:
    inner = retriever(legs("red heart", 50, "photo_vector"), {}, window=50)["retriever"]
    outer = retriever({"fused": inner, "title": legs("red heart", 50, "title_vector")["title_vector"]}, {}, window=50)
    answer = plugged.http.ok("POST", f"{index}/_search", {**outer, "size": 20})
    scores = [hit["_score"] for hit in answer["hits"]["hits"]]
    assert len(scores) == 20
    assert scores == sorted(scores, reverse=True)


def test_moments_may_be_given_instead_of_looked_up(plugged: Plugged, index: str) -> None:
    child = {**legs("red heart", 50, "photo_vector")["photo_vector"]}
    given = {"retriever": child, "name": "photo", "moments": {"mean": 0.0, "deviation": 0.1}}
    body = {"retriever": {"crosslens": {"retrievers": [given], "normalizer": "standardise", "rank_window_size": 50}}}
    answer = plugged.http.ok("POST", f"{index}/_search", {**body, "size": 50, "explain": True})
    raw = [float(parts_of(hit)[0]["description"].rsplit(" ", 1)[1]) for hit in answer["hits"]["hits"]]
    top = max(raw)
    for hit, cosine in zip(answer["hits"]["hits"], raw, strict=True):
        assert hit["_score"] == pytest.approx(max(cosine, 0) / top, abs=1e-4)


def test_a_child_without_moments_is_told_how_to_get_them(plugged: Plugged, demo_encoder: Encoder) -> None:
    name = plugged.server.new_index({"properties": {"title": {"type": "text"}}}, [{"title": "red"}])
    add_vectors(plugged.server.client, name, demo_encoder, [Target("title_vector", "text", ("title",), "hnsw")])
    plugged.server.client.indices.delete(index="crosslens-moments")
    body = retriever(legs("red", 10, "title_vector"), {}, window=10, normalizer="standardise")
    status, answer = plugged.http("POST", f"{name}/_search", body)
    assert status == 400
    assert "crosslens calibrate" in str(answer)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"normalizer": "best"}, "unknown normalizer [best]; one of evidence, theoretical-min-max, min-max"),
        ({"mean": "median"}, "unknown mean [median]"),
        ({"normalizer": "z-score", "mean": "harmonic"}, "needs scores that aren't negative"),
        ({"mean": "harmonic"}, "a harmonic mean is of normalized scores, which evidence doesn't take"),
        ({"rank_window_size": 0}, "must be 1 or more"),
        ({"rank_window_size": 5}, "[size: 10]"),
        ({"retrievers": []}, "needs [retrievers]"),
        ({"windw": 5}, "unknown field [windw]"),
    ],
)
def test_a_wrong_retriever_is_answered_with_400(
    plugged: Plugged, index: str, options: dict[str, Any], told: str
) -> None:
    body = retriever(legs("red heart", 50, "photo_vector"), {}, window=50)
    body["retriever"]["crosslens"].update(options)
    status, answer = plugged.http("POST", f"{index}/_search", {**body, "size": 10})
    assert status == 400, answer
    assert told in str(answer)


def test_weights_must_make_sense(plugged: Plugged, index: str) -> None:
    for weights in ({"keyword": -1.0}, {"keyword": 0.0, "photo_vector": 0.0}):
        body = retriever(legs("red heart", 50, "photo_vector"), weights, window=50)
        status, answer = plugged.http("POST", f"{index}/_search", body)
        assert status == 400, answer


def test_an_error_in_a_child_names_it(plugged: Plugged, index: str) -> None:
    wrong = legs("red heart", 50, "photo_vector")
    del wrong["photo_vector"]["knn"]["query_vector_builder"]
    wrong["photo_vector"]["knn"]["query_vector"] = [0.6, 0.8]
    status, answer = plugged.http("POST", f"{index}/_search", retriever(wrong, {}, window=50))
    assert status == 400
    assert "the search of [photo_vector] failed" in str(answer)
    assert "dims" in str(answer) or "dimension" in str(answer)
