"""Legs as request bodies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crosslens.errors import QueryError
from crosslens.ingest.contract import VectorField
from crosslens.queries.legs import keyword_leg, knn_leg

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
    leg = knn_leg("photo", PHOTO, [1.0, 0.0], window=100, filters=[FILTER])
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
    request = knn_leg("p", PHOTO, [1.0], window=window, filters=[]).request
    assert request["knn"]["num_candidates"] == candidates
    assert request["size"] == window


def test_a_leg_over_several_vectors_a_document_asks_which_one_matched() -> None:
    field = replace(PHOTO, each=True)
    leg = knn_leg("photos", field, [1.0, 0.0], window=10, filters=[])
    assert leg.request["knn"]["field"] == "photo_vector_2.vector"
    assert leg.request["knn"]["inner_hits"]["_source"] == ["photo_vector_2.position", "photo_vector_2.reference"]
    hit = {"inner_hits": {"matched": {"hits": {"hits": [{"_source": {"position": 3, "reference": "d.png"}}]}}}}
    assert leg.matched(hit) == {"position": 3, "reference": "d.png"}
    assert knn_leg("photo", PHOTO, [1.0], window=10, filters=[]).matched({}) is None
