"""Legs as request bodies."""

from __future__ import annotations

import pytest

from crosslens.errors import QueryError
from crosslens.queries.legs import keyword_leg, knn_leg

FILTER = {"term": {"colour": "blue"}}


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
    leg = knn_leg("photo", "photo_vector", [1.0, 0.0], window=100, filters=[FILTER])
    assert leg.request["knn"] == {
        "field": "photo_vector",
        "query_vector": [1.0, 0.0],
        "k": 100,
        "num_candidates": 200,
        "filter": [FILTER],
    }
    assert [leg.raw(score) for score in (1.0, 0.5, 0.0)] == [1.0, 0.0, -1.0]


@pytest.mark.parametrize(("window", "candidates"), [(1, 200), (150, 300), (9_000, 10_000)])
def test_candidates_stay_within_what_the_server_allows(window: int, candidates: int) -> None:
    request = knn_leg("p", "v", [1.0], window=window, filters=[]).request
    assert request["knn"]["num_candidates"] == candidates
    assert request["size"] == window
