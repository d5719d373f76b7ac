"""The index contract: pure functions from mappings and documents to requests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslens.errors import MappingError
from crosslens.ingest import contract
from crosslens.ingest.contract import State, Target, VectorField

FIELD = VectorField("photo_vector", "image", ("photo",), "clip", "f00d", 4, "int8_hnsw")
SHOP: dict[str, Any] = {
    "_meta": {"team": "search"},
    "properties": {
        "title": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
        "photo": {"type": "keyword"},
        "price": {"type": "float"},
        "maker": {"properties": {"name": {"type": "text"}}},
        "reviews": {"type": "nested", "properties": {"text": {"type": "text"}}},
    },
}


def recorded(**changes: Any) -> dict[str, Any]:
    """The shop's mapping after `FIELD` was put, with changes to the vector field's definition."""
    update = contract.mapping_update(SHOP, [FIELD])
    properties = {**SHOP["properties"], **update["properties"]}
    properties["photo_vector"] = {**properties["photo_vector"], **changes}
    return {"_meta": update["_meta"], "properties": properties}


def check(mapping: dict[str, Any], target: Target, fingerprint: str = "f00d", dims: int = 4) -> VectorField:
    return contract.check_target("shop", mapping, target, model="clip", fingerprint=fingerprint, dims=dims)


PHOTO = Target("photo_vector", "image", ("photo",))


def test_the_update_keeps_foreign_meta_and_names_the_index_type() -> None:
    update = contract.mapping_update(SHOP, [FIELD])
    assert update["_meta"]["team"] == "search"
    assert update["properties"]["photo_vector"] == {
        "type": "dense_vector",
        "dims": 4,
        "index": True,
        "similarity": "cosine",
        "index_options": {"type": "int8_hnsw"},
    }
    assert contract.vector_fields({"_meta": update["_meta"]}) == {"photo_vector": FIELD}


def test_a_second_field_keeps_the_first() -> None:
    title = VectorField("title_vector", "text", ("title",), "clip", "f00d", 4, "hnsw")
    update = contract.mapping_update(recorded(), [title])
    assert set(contract.vector_fields({"_meta": update["_meta"]})) == {"photo_vector", "title_vector"}


def test_dotted_vector_fields_are_nested_in_mapping_and_document() -> None:
    field = VectorField("vectors.photo", "image", ("photo",), "clip", "f00d", 4, "hnsw")
    properties = contract.mapping_update(SHOP, [field])["properties"]
    assert properties["vectors"]["properties"]["photo"]["type"] == "dense_vector"
    update = contract.document_update({"vectors.photo": State("h", "f00d")}, {"vectors.photo": [1, 0]}, {})
    assert update["vectors"] == {"photo": [1, 0]}
    assert contract.state_of(update, "vectors.photo") == {"source": "h", "model": "f00d"}


def test_a_target_that_is_recorded_already_is_accepted_as_it_is() -> None:
    assert check(recorded(), PHOTO) == FIELD


@pytest.mark.parametrize(
    ("mapping", "target", "options", "says"),
    [
        (SHOP, Target("v", "image", ("price",)), {}, "'price' of index 'shop' is of type float"),
        (SHOP, Target("v", "text", ("maker",)), {}, "'maker' of index 'shop' is of type object"),
        (SHOP, Target("price", "text", ("title",)), {}, "is of type float, not dense_vector"),
        (SHOP, Target("maker", "text", ("title",)), {}, "is of type object, not dense_vector"),
        (recorded(dims=5), PHOTO, {}, "holds vectors of 5 dims, but clip makes 4"),
        (recorded(), PHOTO, {"fingerprint": "beef"}, r"of clip \(f00d\), not of clip \(beef\)"),
        (recorded(), Target("photo_vector", "text", ("title",)), {}, "made from image"),
        ({**recorded(), "_meta": {}}, PHOTO, {}, "crosslens didn't make"),
        (SHOP, Target("v", "image", ("photo",), "hsnw"), {}, "unknown index type"),
        (SHOP, Target("v", "image", ("photo",)), {"dims": 5000}, "at most 4096"),
        (SHOP, Target("v", "text", ()), {}, "at least one"),
        ({"_meta": {"crosslens": {"version": 99}}}, PHOTO, {}, "upgrade crosslens"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    mapping: dict[str, Any], target: Target, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(MappingError, match=says):
        check(mapping, target, **options)


def test_keyword_search_reads_full_text_fields_and_not_the_state() -> None:
    assert contract.text_fields(recorded()) == ["title", "maker.name", "reviews.text"]


def test_values_are_found_in_objects_arrays_and_dotted_keys() -> None:
    document = {
        "title": " Shoe ",
        "tags": ["red", "", "blue"],
        "maker": {"name": "Acme"},
        "photos": [{"url": "a.png"}, {"url": "b.png"}],
        "size.eu": 42,
        "nothing": None,
    }
    for path, values in {
        "title": [" Shoe "],
        "tags": ["red", "blue"],
        "maker.name": ["Acme"],
        "photos.url": ["a.png", "b.png"],
        "size.eu": ["42"],
        "nothing": [],
        "absent.path": [],
    }.items():
        assert contract.source_values(document, path) == values, path


def test_text_sources_are_joined_and_blank_ones_left_out() -> None:
    document = {"title": "Shoe. ", "tags": ["red", "blue"], "blank": " \n"}
    assert contract.source_text(document, ["title", "blank", "tags"]) == "Shoe. red, blue"
    assert contract.source_text(document, ["blank", "absent"]) is None


def test_the_first_image_of_the_first_source_that_has_one_is_taken() -> None:
    assert contract.source_image({"b": ["x.png", "y.png"]}, ["a", "b"]) == "x.png"
    assert contract.source_image({"a": "  "}, ["a"]) is None


def test_a_later_attempt_clears_what_the_earlier_one_left() -> None:
    before = {"crosslens": {"photo_vector": {"source": "old", "model": "f00d", "error": "no such file"}}}
    update = contract.document_update({"photo_vector": State("new", "f00d")}, {"photo_vector": [1.0]}, before)
    assert update["crosslens"]["photo_vector"]["error"] is None
    failed = contract.document_update({"photo_vector": State("new", "f00d", error="broken")}, {}, before)
    assert failed["photo_vector"] is None
    first = contract.document_update({"photo_vector": State("new", "f00d", error="broken")}, {}, {})
    assert "photo_vector" not in first


@given(st.text(), st.text())
def test_hashes_tell_sources_apart(a: str, b: str) -> None:
    if a != b:
        assert contract.source_hash(a) != contract.source_hash(b)
    assert len(contract.source_hash(a)) == 32


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda children: st.lists(children) | st.dictionaries(st.text(max_size=5), children),
        max_leaves=12,
    ),
    st.text(max_size=9),
)
def test_any_document_can_be_searched_for_any_path(value: Any, path: str) -> None:
    found = contract.source_values({"a": value, "b": {"c": value}}, path)
    assert all(isinstance(v, str) and v.strip() for v in found)


def test_default_names_follow_the_first_source() -> None:
    assert contract.default_name(["title", "description"]) == "title_vector"
    assert contract.default_name(["maker.name"]) == "maker_name_vector"
