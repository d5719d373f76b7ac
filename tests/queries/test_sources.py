"""Which legs read the same thing."""

from __future__ import annotations

import pytest

from crosslens.errors import QueryError
from crosslens.queries.search.analysis import Analysis
from crosslens.queries.search.readings import Reads, assign, copies, words_of


def texts(*fields: str) -> Reads:
    return frozenset(("text", field) for field in fields)


def pictures(*fields: str) -> Reads:
    return frozenset(("image", field) for field in fields)


def test_words_and_their_vector_are_one_source_and_the_picture_is_another() -> None:
    reads = {
        "keyword": texts("title", "description"),
        "title_vector": texts("title"),
        "photo_vector": pictures("photo"),
    }
    assert assign(reads, {}) == {"keyword": "title", "title_vector": "title", "photo_vector": "photo"}


def test_a_pictures_path_searched_as_text_is_not_the_picture() -> None:
    apart = assign({"keyword": texts("photo"), "photo_vector": pictures("photo")}, {})
    assert apart == {"keyword": "photo", "photo_vector": "photo of photo_vector"}
    assert assign({"keyword": texts("photo", "title"), "photo_vector": pictures("photo")}, {}) == {
        "keyword": "photo, title",
        "photo_vector": "photo",
    }


def test_what_overlaps_is_one_source_and_so_is_what_hangs_together_by_a_third() -> None:
    reads = {"title_vector": texts("title"), "body_vector": texts("body"), "keyword": texts("title", "body", "brand")}
    assert len(set(assign(reads, {}).values())) == 1
    del reads["keyword"]
    assert assign(reads, {}) == {"title_vector": "title", "body_vector": "body"}


def test_two_models_of_one_picture_are_one_source() -> None:
    found = assign({"clip": pictures("photo"), "siglip": pictures("photo"), "views": pictures("views")}, {})
    assert found == {"clip": "photo", "siglip": "photo", "views": "views"}


def test_a_leg_of_which_nothing_is_known_reads_something_of_its_own() -> None:
    assert assign({"keyword": frozenset(), "v": texts("title")}, {}) == {"keyword": "keyword", "v": "title"}


def test_users_know_better() -> None:
    reads = {"keyword": texts("title"), "title_vector": texts("title"), "photo_vector": pictures("photo")}
    assert assign(reads, {"title_vector": "meaning"}) == {
        "keyword": "title",
        "title_vector": "meaning",
        "photo_vector": "photo",
    }
    assert assign(reads, {"photo_vector": "title"})["photo_vector"] == "title"
    with pytest.raises(QueryError, match="sources name no leg of this search: foto; its legs are keyword"):
        assign(reads, {"foto": "x"})


def test_multi_fields_and_copied_fields_hold_the_words_of_others() -> None:
    mapping = {
        "properties": {
            "title": {"type": "text", "copy_to": "all", "fields": {"english": {"type": "text"}}},
            "brand": {"type": "text", "copy_to": ["all"]},
            "all": {"type": "text"},
        }
    }
    held = copies(mapping)
    assert held == {"title.english": {"title"}, "all": {"all", "title", "brand"}}
    assert words_of(["title.english^2"], held) == texts("title")
    assert words_of(["all"], held) == texts("all", "title", "brand")
    assert words_of(["brand"], held) == texts("brand")


def test_names_with_wildcards_stand_for_the_fields_that_they_match() -> None:
    mapping = {"properties": {"title": {"type": "text", "fields": {"en": {"type": "text"}}}, "body": {"type": "text"}}}
    named = Analysis.of({"i": mapping}, {}).named
    assert words_of(["*"], copies(mapping), named) == texts("title", "body")
    assert words_of(["title*^2"], copies(mapping), named) == texts("title")
    assert words_of(["price"], copies(mapping), named) == texts("price")
