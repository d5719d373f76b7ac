"""What real indices may look like before they get vectors: sources, vector fields and settings of all kinds."""

from __future__ import annotations

from typing import Any

import pytest

from crosslens.errors import MappingError, ModelError
from crosslens.ingest.contract.ingest_pipeline import put_pipeline
from crosslens.ingest.contract.targets import Target, parse_target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.write import add_vectors
from tests.conftest import Server

pytestmark = pytest.mark.node

TITLE = Target("title_vector", "text", ("title",))


@pytest.mark.parametrize(
    ("spec", "says", "hint"),
    [
        ("title.english", "only indexes the values of 'title'", "title"),
        ("all", "copy_to takes from title, maker.name", "title,maker.name"),
        ("{all} by {title}", "copy_to takes from title, maker.name", "title,maker.name"),
        ("heading", "is an alias of 'title'", "title"),
        ("size", "is a short name of attributes.size", "attributes.size"),
        ("labels", "is of type flattened", "labels.KEY"),
    ],
)
def test_a_field_that_documents_hold_no_value_of_is_refused_before_anything_is_written(
    server: Server, encoder: Encoder, spec: str, says: str, hint: str
) -> None:
    index = server.new_index(_SOURCES, [{"title": "a shoe", "maker": {"name": "A"}, "attributes": {"size": "7"}}])
    before = server.client.indices.get_mapping(index=index).body
    with pytest.raises(MappingError, match=says) as caught:
        add_vectors(server.client, index, encoder, [parse_target(f"v={spec}", "text")])
    assert hint in caught.value.hint
    assert server.client.indices.get_mapping(index=index).body == before


_SOURCES: dict[str, Any] = {
    "properties": {
        "title": {"type": "text", "copy_to": "all", "fields": {"english": {"type": "text", "analyzer": "simple"}}},
        "maker": {"properties": {"name": {"type": "keyword", "copy_to": ["all"]}}},
        "all": {"type": "text"},
        "heading": {"type": "alias", "path": "title"},
        "labels": {"type": "flattened"},
        "attributes": {"type": "passthrough", "priority": 1, "properties": {"size": {"type": "keyword"}}},
    },
    "runtime": {"seen": {"type": "keyword"}},
}


@pytest.mark.parametrize("source", ["attributes.size", "labels.colour", "seen", "all"])
def test_values_that_documents_do_hold_are_read_wherever_they_lie(
    server: Server, encoder: Encoder, source: str
) -> None:
    document = {"attributes": {"size": "7"}, "labels": {"colour": "red"}, "seen": "often", "all": "of it"}
    index = server.new_index(_SOURCES, [document, {"title": "without"}])
    report = add_vectors(server.client, index, encoder, [parse_target(f"v={source}", "text")])
    assert report.written == {"v": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"index_options": {"type": "int8_hnsw", "m": 24, "ef_construction": 90}},
        {"index_options": {"type": "hnsw", "m": 8, "ef_construction": 50}, "similarity": "dot_product"},
        {"index_options": {"type": "int4_hnsw", "m": 16, "ef_construction": 100, "confidence_interval": 0.0}},
        {"index_options": {"type": "int8_flat"}},
    ],
)
def test_an_empty_vector_field_is_used_as_it_was_mapped(
    server: Server, encoder: Encoder, changes: dict[str, Any]
) -> None:
    vector = {"type": "dense_vector", "dims": encoder.dims, **changes}
    nested = {"type": "nested", "properties": {"vector": vector}}
    index = server.new_index({"properties": {"title_vector": vector, "views": nested}}, [{"title": "a shoe"}])

    def mapped() -> list[Any]:
        found = server.client.indices.get_mapping(index=index)[index]["mappings"]["properties"]
        return [found["title_vector"], found["views"]["properties"]["vector"]]

    before = mapped()
    report = add_vectors(server.client, index, encoder, [TITLE, parse_target("views=title[]", "text")])
    assert report.written == {"title_vector": 1, "views": 1}
    assert mapped() == before
    recorded = server.client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]["crosslens"]["fields"]
    assert recorded["title_vector"]["index_type"] == changes["index_options"]["type"]


def test_a_vector_field_that_was_mapped_without_dims_gets_them(server: Server, encoder: Encoder) -> None:
    index = server.new_index({"properties": {"title_vector": {"type": "dense_vector"}}}, [{"title": "a shoe"}])
    assert add_vectors(server.client, index, encoder, [TITLE]).written == {"title_vector": 1}


def test_an_index_that_allows_only_small_pages_is_read_in_small_pages(server: Server, encoder: Encoder) -> None:
    index = server.new_index({}, [{"title": f"shoe {i}", "loose": {"part": i}} for i in range(900)], shards=1)
    limits = {"index.max_result_window": 7, "index.max_slices_per_scroll": 2}
    server.client.indices.put_settings(index=index, settings=limits)
    report = add_vectors(server.client, index, encoder, [TITLE, parse_target("v=title[]", "text")])
    assert report.written == {"title_vector": 900, "v": 900}
    with pytest.raises(MappingError, match="has no field 'nothing'"):
        add_vectors(server.client, index, encoder, [parse_target("nothing", "text")])


def test_a_pipeline_needs_the_plugin(server: Server, encoder: Encoder) -> None:
    index = server.new_index({}, [{"title": "a shoe"}])
    add_vectors(server.client, index, encoder, [TITLE])
    with pytest.raises(ModelError, match="have no crosslens plugin to encode with"):
        put_pipeline(server.client, index, default=True)
    settings = server.client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    assert "index.default_pipeline" not in settings
