"""What results can be narrowed down by."""

from __future__ import annotations

from typing import Any

import pytest

from crosslens.errors import QueryError
from crosslens.ingest.contract.record import VectorField
from crosslens.serving.asked import Asked
from crosslens.serving.sieves import MOST_FIELDS, Sieves

_MAPPING: dict[str, Any] = {
    "properties": {
        "name": {"type": "text"},
        "maker": {"properties": {"country": {"type": "keyword"}}},
        "brand": {"type": "keyword"},
        "photo": {"type": "keyword"},
        "hidden": {"type": "keyword", "index": False},
        "uncounted": {"type": "keyword", "doc_values": False},
        "price": {"type": "scaled_float", "scaling_factor": 100},
        "since": {"type": "date"},
        "offers": {"type": "nested", "properties": {"shop": {"type": "keyword"}}},
        "crosslens": {"properties": {"photo_vector": {"properties": {"hash": {"type": "keyword"}}}}},
    }
}
_PHOTO = VectorField("photo_vector", "image", ("photo",), "clip", "f", 8, "hnsw")
_SIEVES = Sieves(("brand", "maker.country"), (("price", "number"), ("since", "date")))


def test_offered_are_fields_that_can_be_counted_and_compared() -> None:
    assert Sieves.of([_MAPPING], [_PHOTO]) == _SIEVES


def test_several_indices_offer_what_all_of_them_have() -> None:
    other = {"properties": {"brand": {"type": "keyword"}, "price": {"type": "keyword"}}}
    assert Sieves.of([_MAPPING, other], [_PHOTO]) == Sieves(("brand",))
    assert Sieves.of([], []) == Sieves()


def test_a_wide_mapping_offers_the_first_and_all_those_named() -> None:
    wide = {"properties": {f"k{i:02}": {"type": "keyword"} for i in range(40)}}
    assert Sieves.of([wide], []).keywords == tuple(f"k{i:02}" for i in range(MOST_FIELDS))
    assert len(Sieves.of([wide], [], list(wide["properties"])).keywords) == 40
    assert Sieves.of([_MAPPING], [_PHOTO], ["photo"]).keywords == ("photo",)
    with pytest.raises(QueryError, match="'name' is not a keyword, number or date"):
        Sieves.of([_MAPPING], [_PHOTO], ["name"])


def test_values_of_a_field_are_alternatives_and_bounds_belong_together() -> None:
    asked = Asked(
        chosen=(("brand", "a"), ("maker.country", "x"), ("brand", "b")), least=(("price", "1"),), most=(("price", "9"),)
    )
    assert _SIEVES.filters(asked) == [
        {"terms": {"brand": ["a", "b"]}},
        {"terms": {"maker.country": ["x"]}},
        {"range": {"price": {"gte": "1", "lte": "9"}}},
    ]
    assert _SIEVES.sort(Asked(sort=("since", True))) == [{"since": {"order": "desc"}}]
    assert _SIEVES.sort(Asked()) is None


@pytest.mark.parametrize("asked", [Asked(chosen=(("name", "a"),)), Asked(least=(("brand", "1"),))])
def test_a_field_that_is_not_offered_is_refused(asked: Asked) -> None:
    with pytest.raises(QueryError, match="not a field to narrow down"):
        _SIEVES.filters(asked)
    with pytest.raises(QueryError, match="not a field to narrow down"):
        _SIEVES.sort(Asked(sort=("crosslens.x", False)))


def test_a_field_with_a_value_for_each_document_is_no_facet_unless_chosen() -> None:
    counted = {"brand": {"buckets": [{"key": "a", "doc_count": 1}, {"key": "b", "doc_count": 1}]}}
    assert _SIEVES.facets(counted, Asked()) == []
    (facet,) = _SIEVES.facets(counted, Asked(chosen=(("brand", "b"), ("brand", "gone"))))
    assert facet["values"] == [
        {"value": "a", "count": 1, "chosen": False},
        {"value": "b", "count": 1, "chosen": True},
        {"value": "gone", "count": 0, "chosen": True},
    ]


def test_booleans_and_dates_are_shown_as_elasticsearch_writes_them() -> None:
    counted = {
        "brand": {"buckets": [{"key": 1, "key_as_string": "true", "doc_count": 2}], "sum_other_doc_count": 3},
        "since": {"count": 2, "min": 0.0, "max": 1.0, "min_as_string": "1970-01-01", "max_as_string": "1970-01-02"},
        "price": {"count": 0, "min": None, "max": None},
    }
    (facet,) = _SIEVES.facets(counted, Asked())
    assert (facet["values"][0]["value"], facet["others"]) == ("true", 3)
    (dates,) = _SIEVES.ranges(counted, Asked())
    assert (dates["field"], dates["lowest"], dates["highest"]) == ("since", "1970-01-01", "1970-01-02")
    _, prices = sorted(_SIEVES.ranges(counted, Asked(most=(("price", "5"),))), key=lambda each: each["kind"])
    assert (prices["to"], prices["lowest"]) == ("5", None)
