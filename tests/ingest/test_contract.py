"""The index contract: pure functions from mappings to requests."""

from __future__ import annotations

from typing import Any

import pytest

from crosslens.errors import MappingError
from crosslens.ingest.contract.mapping import check_target, mapping_update, searchable_texts, text_fields
from crosslens.ingest.contract.record import Record, VectorField, meta_update, own_paths, read_record, vector_fields
from crosslens.ingest.contract.targets import Target, default_name, parse_target

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


def put(mapping: dict[str, Any], *fields: VectorField) -> dict[str, Any]:
    """The put-mapping body that adds fields to what the mapping records."""
    return mapping_update(mapping, read_record(mapping).with_fields(fields), fields)


def recorded(**changes: Any) -> dict[str, Any]:
    """The shop's mapping after `FIELD` was put, with changes to the vector field's definition."""
    update = put(SHOP, FIELD)
    properties = {**SHOP["properties"], **update["properties"]}
    properties["photo_vector"] = {**properties["photo_vector"], **changes}
    return {"_meta": update["_meta"], "properties": properties}


def check(mapping: dict[str, Any], target: Target, fingerprint: str = "f00d", dims: int = 4) -> VectorField:
    return check_target("shop", mapping, target, model="clip", fingerprint=fingerprint, dims=dims)


PHOTO = Target("photo_vector", "image", ("photo",))


def test_the_update_keeps_foreign_meta_and_names_the_index_type() -> None:
    update = put(SHOP, FIELD)
    assert update["_meta"]["team"] == "search"
    assert update["properties"]["photo_vector"] == {
        "type": "dense_vector",
        "dims": 4,
        "index": True,
        "similarity": "cosine",
        "index_options": {"type": "int8_hnsw"},
    }
    assert vector_fields({"_meta": update["_meta"]}) == {"photo_vector": FIELD}


def test_a_second_field_keeps_the_first() -> None:
    title = VectorField("title_vector", "text", ("title",), "clip", "f00d", 4, "hnsw")
    update = put(recorded(), title)
    assert set(vector_fields({"_meta": update["_meta"]})) == {"photo_vector", "title_vector"}


def test_dotted_vector_fields_are_nested_in_the_mapping() -> None:
    field = VectorField("vectors.photo", "image", ("photo",), "clip", "f00d", 4, "hnsw")
    properties = put(SHOP, field)["properties"]
    assert properties["vectors"]["properties"]["photo"]["type"] == "dense_vector"


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
    assert text_fields(recorded()) == ["title", "maker.name", "reviews.text"]


def test_only_text_that_is_searchable_in_every_index_is_searched() -> None:
    text = {"type": "text"}
    captions = {"type": "nested", "properties": {"text": text, "at": {"properties": {"place": text}}}}
    first = {
        "properties": {"a": text, "b": {"type": "text", "index": False}, "c": text, "d": text, "captions": captions}
    }
    second = {
        "properties": {"c": {"type": "long"}, "d": {"type": "keyword"}, "e": text},
        "runtime": {"e": {"type": "ip"}},
    }
    nested = {"captions.text": "captions", "captions.at.place": "captions"}
    assert searchable_texts([first, second]) == {"a": None, "d": None, **nested}
    assert text_fields(second) == []
    flat = {"properties": {"captions": {"properties": {"text": text}}}}
    assert searchable_texts([first, flat]) == {"a": None, "c": None, "d": None, "captions.at.place": "captions"}


def test_default_names_follow_the_first_source() -> None:
    assert default_name(["title", "description"]) == "title_vector"
    assert default_name(["maker.name"]) == "maker_name_vector"


@pytest.mark.parametrize(
    ("spec", "modality", "target"),
    [
        ("title", "text", Target("title_vector", "text", ("title",))),
        ("title, description", "text", Target("title_vector", "text", ("title", "description"))),
        ("words=title,body", "text", Target("words", "text", ("title", "body"))),
        (
            "{title} by {brand}",
            "text",
            Target("title_vector", "text", ("title", "brand"), template="{title} by {brand}"),
        ),
        ("w={a}={b} {a}", "text", Target("w", "text", ("a", "b"), template="{a}={b} {a}")),
        ("{a}={b}", "text", Target("a_vector", "text", ("a", "b"), template="{a}={b}")),
        ("photos[].url", "image", Target("photos_url_vector", "image", ("photos.url",), each=True)),
        ("views=photos[]", "image", Target("views", "image", ("photos",), each=True)),
        ("tags[]", "text", Target("tags_vector", "text", ("tags",), each=True)),
    ],
)
def test_a_target_can_be_written_on_one_line(spec: str, modality: Any, target: Target) -> None:
    assert parse_target(spec, modality) == target


@pytest.mark.parametrize(
    ("spec", "modality", "says"),
    [
        ("", "text", "names no field"),
        ("=title", "text", "names no field"),
        ("title,,body", "text", "names no field"),
        ("a[],b[]", "text", "one field and no template"),
        ("{a[]}", "text", "one field and no template"),
        ("{a", "text", "can't be read"),
        ("{a:>10}", "text", "formats are not understood"),
        ("{}", "text", "more than {field}"),
        ("front,back", "image", "made from one field"),
    ],
)
def test_a_target_that_makes_no_sense_says_why(spec: str, modality: Any, says: str) -> None:
    with pytest.raises(MappingError, match=says):
        parse_target(spec, modality)


def test_a_field_with_a_vector_for_each_value_is_mapped_as_nested_objects() -> None:
    field = VectorField("views", "image", ("photos",), "clip", "f00d", 4, "hnsw", each=True)
    mapped = put(SHOP, field)["properties"]["views"]
    assert mapped["type"] == "nested"
    assert mapped["properties"]["vector"]["dims"] == 4
    assert field.vector_path == "views.vector"
    assert mapped["properties"]["reference"]["index"] is False


def test_the_record_of_the_first_version_is_read_and_the_second_written() -> None:
    entry = {"modality": "image", "sources": ["photo"], "model": "clip", "fingerprint": "f00d", "dims": 4}
    old = {"_meta": {"crosslens": {"version": 1, "fields": {"photo_vector": {**entry, "index_type": "int8_hnsw"}}}}}
    assert vector_fields(old) == {"photo_vector": FIELD}
    written = meta_update(old, read_record(old))
    assert written["crosslens"]["version"] == 2
    assert vector_fields({"_meta": written}) == {"photo_vector": FIELD}


def test_a_change_of_model_is_recorded_beside_the_field_in_use() -> None:
    new = VectorField("photo_vector", "image", ("photo",), "siglip", "beef", 8, "hnsw", path="photo_vector_beef")
    record = Record({"photo_vector": FIELD}, {"photo_vector": new}, {}, "2026-01-01T00:00:00+00:00")
    mapping = {"_meta": meta_update(SHOP, record)}
    assert read_record(mapping) == record
    assert own_paths(mapping) == ["crosslens", "photo_vector", "photo_vector_beef"]
    assert mapping["_meta"]["team"] == "search"


def test_a_vector_field_has_no_place_inside_nested_objects_or_a_text() -> None:
    for name, kind in (("reviews.vector", "nested"), ("title.vector", "text")):
        with pytest.raises(MappingError, match=f"would lie inside .* of type {kind}"):
            check(SHOP, Target(name, "text", ("title",)))


def test_the_name_of_the_state_must_be_free() -> None:
    taken = {"properties": {**SHOP["properties"], "crosslens": {"type": "keyword"}}}
    with pytest.raises(MappingError, match="uses the name 'crosslens'"):
        check(taken, PHOTO)


def test_an_empty_vector_field_is_taken_over_with_its_index_type() -> None:
    mapping = {**recorded(index_options={"type": "flat"}), "_meta": {}}
    taken = check_target("shop", mapping, PHOTO, model="m", fingerprint="f", dims=4, empty=["photo_vector"])
    assert taken.index_type == "flat"


def test_a_template_can_say_numbers() -> None:
    target = parse_target("{title}, {price} euros", "text")
    assert check(SHOP, target).template == "{title}, {price} euros"
    with pytest.raises(MappingError, match=r"'maker' .* is of type object"):
        check(SHOP, parse_target("{title} {maker}", "text"))
