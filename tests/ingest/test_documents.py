"""What a document says: pure functions over its source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslens.ingest.contract import documents
from crosslens.ingest.contract.documents import State
from crosslens.ingest.contract.record import VectorField

PHOTO = VectorField("photo_vector", "image", ("photo",), "clip", "f00d", 4, "hnsw")
TITLE = VectorField("title_vector", "text", ("title", "tags"), "clip", "f00d", 4, "hnsw")
VIEWS = replace(PHOTO, field="views", path="views", sources=("photos.url",), each=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(max_size=5), children),
    max_leaves=12,
)


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
        assert documents.source_values(document, path) == values, path


def test_text_sources_are_joined_and_blank_ones_left_out() -> None:
    document = {"title": "Shoe. ", "tags": ["red", "blue"], "blank": " \n"}
    assert documents.source_text(document, ["title", "blank", "tags"]) == "Shoe. red, blue"
    assert documents.source_text(document, ["blank", "absent"]) is None


def test_a_template_puts_fields_in_their_place_and_leaves_nothing_for_a_missing_one() -> None:
    template = "{title} by {brand}, size {size}"
    document = {"title": "Shoe", "brand": ["Acme", "Bolt"], "size": 42}
    sources = ["title", "brand", "size"]
    assert documents.source_text(document, sources, template) == "Shoe by Acme, Bolt, size 42"
    assert documents.source_text({"title": "Shoe"}, sources, template) == "Shoe by , size"
    assert documents.source_text({"colour": "red"}, sources, template) is None


def test_one_image_is_the_first_and_each_image_is_all_of_them() -> None:
    assert documents.inputs({"photo": ["x.png", "y.png"]}, PHOTO) == ["x.png"]
    assert documents.inputs({"photo": "  "}, PHOTO) == []
    photos = {"photos": [{"url": "a.png"}, {"caption": "no picture"}, {"url": "b.png"}]}
    assert documents.inputs(photos, VIEWS) == ["a.png", "b.png"]


def done(field: VectorField, document: dict[str, Any], **state: Any) -> dict[str, Any]:
    """The document with the state of a run that did it."""
    made = State(documents.source_hash(documents.inputs(document, field), field), field.fingerprint, **state)
    return documents.with_vectors(document, {field.path: made}, {field.path: [1.0]})


def test_a_document_stands_by_its_state_and_its_present_source() -> None:
    document = {"photo": "a.png", "title": "Shoe", "photos": [{"url": "a.png"}, {"url": "b.png"}]}
    for field in (PHOTO, TITLE, VIEWS):
        assert documents.standing(document, field) == "missing"
        assert documents.standing(done(field, document), field) == "done"
        assert documents.standing(done(field, document, error="gone"), field) == "failed"
        assert documents.standing({"price": 3}, field) == "empty"
        assert documents.standing(done(field, {"price": 3}, skipped="no image"), field) == "skipped"
        other = replace(field, fingerprint="beef")
        assert documents.standing(done(field, document), other) == "stale"


@pytest.mark.parametrize(
    ("field", "edit"),
    [
        (PHOTO, {"photo": "b.png"}),
        (PHOTO, {"photo": None}),
        (TITLE, {"title": "Boot"}),
        (TITLE, {"tags": ["red"]}),
        (VIEWS, {"photos": [{"url": "b.png"}, {"url": "a.png"}]}),
        (VIEWS, {"photos": [{"url": "a.png, b.png"}]}),
        (VIEWS, {"photos": []}),
    ],
)
def test_any_change_of_the_source_makes_the_vector_stale(field: VectorField, edit: dict[str, Any]) -> None:
    document = done(field, {"photo": "a.png", "title": "Shoe", "photos": [{"url": "a.png"}, {"url": "b.png"}]})
    assert documents.standing({**document, **edit}, field) == "stale"
    assert documents.standing({**document, "price": 4}, field) == "done"


def test_a_later_attempt_clears_what_the_earlier_one_left() -> None:
    before = {"crosslens": {"photo_vector": {"source": "old", "model": "f00d", "error": "no such file"}}}
    update = documents.document_update({"photo_vector": State("new", "f00d")}, {"photo_vector": [1.0]}, before)
    assert update["crosslens"]["photo_vector"]["error"] is None
    failed = documents.document_update({"photo_vector": State("new", "f00d", error="broken")}, {}, before)
    assert failed["photo_vector"] is None
    first = documents.document_update({"photo_vector": State("new", "f00d", error="broken")}, {}, {})
    assert "photo_vector" not in first


def test_a_vector_at_a_dotted_path_lies_in_its_object() -> None:
    update = documents.document_update({"vectors.photo": State("h", "f00d")}, {"vectors.photo": [1, 0]}, {})
    assert update["vectors"] == {"photo": [1, 0]}
    assert documents.state_of(update, "vectors.photo") == {"source": "h", "model": "f00d"}


def test_an_array_where_a_vector_would_lie_is_an_obstacle() -> None:
    assert documents.obstacle({"photos": [{"url": "a"}]}, "photos.vector") == "photos"
    assert documents.obstacle({"photos": {"first": "a"}}, "photos.first.vector") == "photos.first"
    for free in ({}, {"photos": None}, {"photos": {"url": "a"}}):
        assert documents.obstacle(free, "photos.vector") is None


def test_what_crosslens_put_in_comes_out_without_a_trace() -> None:
    document = {"title": "Shoe", "maker": {"name": "Acme"}}
    states = {"photo_vector": State("h", "f00d"), "maker.vector": State("h", "f00d")}
    filled = documents.with_vectors(document, states, {"photo_vector": [1.0], "maker.vector": [2.0]})
    assert filled["maker"] == {"name": "Acme", "vector": [2.0]}
    paths = [path for each in states for path in (each, f"crosslens.{each}")]
    assert documents.without(filled, paths) == document


@given(st.dictionaries(st.text(min_size=1, max_size=4), JSON), st.text(min_size=1, max_size=4))
def test_taking_out_what_is_not_there_changes_nothing(document: dict[str, Any], name: str) -> None:
    assert documents.without(document, [f"absent-{name}", f"absent.{name}"]) == document


@given(st.text(), st.text())
def test_hashes_tell_sources_apart(a: str, b: str) -> None:
    if a != b:
        assert documents.source_hash([a], PHOTO) != documents.source_hash([b], PHOTO)
    assert len(documents.source_hash([a], PHOTO)) == 32


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_hashes_of_several_values_tell_where_one_ends(a: list[str], b: list[str]) -> None:
    assert (documents.source_hash(a, VIEWS) == documents.source_hash(b, VIEWS)) == (a == b)


@given(JSON, st.text(max_size=9))
def test_any_document_can_be_searched_for_any_path(value: Any, path: str) -> None:
    found = documents.source_values({"a": value, "b": {"c": value}}, path)
    assert all(isinstance(v, str) and v.strip() for v in found)
