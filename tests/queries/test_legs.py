"""Legs as request bodies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crosslens.errors import QueryError
from crosslens.ingest.contract.record import VectorField
from crosslens.queries.search.legs import keyword_leg, knn_leg, named

FILTER = {"term": {"colour": "blue"}}
PHOTO = VectorField("photo_vector", "image", ("photo",), "clip", "f00d", 2, "int8_hnsw", path="photo_vector_2")


def test_the_keyword_leg_matches_any_word_in_the_best_field() -> None:
    leg = keyword_leg("blue shoes", ["title", "body"], window=50, filters=[])
    assert leg.request == {
        "query": {
            "multi_match": {
                "query": "blue shoes",
                "fields": ["title", "body"],
                "type": "best_fields",
                "operator": "or",
            }
        },
        "size": 50,
        "_source": False,
        "track_total_hits": False,
    }
    assert leg.raw(7.5) == 7.5


def test_a_filter_narrows_the_keyword_leg_without_scoring() -> None:
    query = keyword_leg("shoes", ["title"], window=5, filters=[FILTER]).request["query"]
    assert query["bool"]["filter"] == [FILTER]
    assert "multi_match" in query["bool"]["must"][0]


def test_a_keyword_leg_needs_a_text_field() -> None:
    with pytest.raises(QueryError, match="no text field"):
        keyword_leg("shoes", [], window=5, filters=[])


def test_the_knn_leg_filters_before_it_counts_and_reads_its_score_as_a_cosine() -> None:
    leg = knn_leg(PHOTO, [1.0, 0.0], window=100, filters=[FILTER])
    assert leg.request["knn"] == {
        "field": "photo_vector_2",
        "query_vector": [1.0, 0.0],
        "k": 100,
        "num_candidates": 200,
        "filter": [FILTER],
    }
    assert [leg.raw(score) for score in (1.0, 0.5, 0.0)] == [1.0, 0.0, -1.0]


@pytest.mark.parametrize(("window", "candidates"), [(1, 200), (150, 300), (9_000, 10_000)])
def test_candidates_stay_within_what_the_server_allows(window: int, candidates: int) -> None:
    request = knn_leg(PHOTO, [1.0], window=window, filters=[]).request
    assert request["knn"]["num_candidates"] == candidates
    assert request["size"] == window


def test_a_leg_over_several_vectors_a_document_asks_which_one_matched() -> None:
    field = replace(PHOTO, each=True)
    leg = knn_leg(field, [1.0, 0.0], window=10, filters=[])
    assert leg.request["knn"]["field"] == "photo_vector_2.vector"
    told = [f"photo_vector_2.{name}" for name in ("position", "reference", "start", "end")]
    assert leg.request["knn"]["inner_hits"]["_source"] == told
    hit = {"inner_hits": {"matched": {"hits": {"hits": [{"_source": {"position": 3, "reference": "d.png"}}]}}}}
    assert leg.matched(hit) == {"position": 3, "reference": "d.png"}
    assert knn_leg(PHOTO, [1.0], window=10, filters=[]).matched({}) is None


def test_a_completion_names_its_documents_and_takes_all_of_them_for_candidates() -> None:
    leg = knn_leg(PHOTO, [1.0, 0.0], window=10, filters=[FILTER], oversample=3)
    keys = [("shop", str(i)) for i in range(7_000)]
    first, second = leg.completions(keys, rescore=True)
    assert (first["knn"]["k"], first["knn"]["num_candidates"], second["size"]) == (5_000, 5_000, 2_000)
    assert first["knn"]["rescore_vector"] == {"oversample": 1.0}
    assert first["knn"]["filter"] == [named(keys[:5_000])]
    assert "rescore_vector" not in next(iter(leg.completions(keys, rescore=False)))["knn"]
    whole = knn_leg(replace(PHOTO, index_type="hnsw"), [1.0, 0.0], window=10, filters=[])
    assert "rescore_vector" not in next(iter(whole.completions(keys, rescore=True)))["knn"]


def test_clauses_by_a_name_of_our_own_score_what_they_are_told_to() -> None:
    keys = [("shop", "1"), ("shop", "2")]
    words = keyword_leg("blue", ["title"], window=5, filters=[FILTER])
    clause = {"bool": {"must": [words.query], "_name": "crosslens score of keyword"}}
    assert words.clause(named(keys), len(keys), rescore=True) == clause
    vectors = knn_leg(PHOTO, [1.0, 0.0], window=10, filters=[FILTER], oversample=3)
    knn = vectors.clause(named(keys), len(keys), rescore=True)["knn"]
    assert knn["_name"] == "crosslens score of photo_vector"
    assert knn["filter"] == [named(keys)]
    assert (knn["k"], knn["num_candidates"], knn["rescore_vector"]) == (2, 2, {"oversample": 1.0})
    assert "rescore_vector" not in vectors.clause(named(keys), len(keys), rescore=False)["knn"]


def test_documents_of_several_indices_are_named_with_their_index() -> None:
    query = named([("a", "1"), ("b", "1"), ("a", "2")])
    assert query["bool"]["minimum_should_match"] == 1
    assert query["bool"]["should"][0]["bool"]["filter"] == [{"term": {"_index": "a"}}, {"ids": {"values": ["1", "2"]}}]


def test_any_query_can_be_the_keyword_leg() -> None:
    query = {"match_phrase": {"title": "blue shoe"}}
    assert keyword_leg(query, [], window=5, filters=[]).request["query"] == query
