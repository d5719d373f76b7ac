"""Hybrid search against real nodes, on three shards with deleted documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosslens.errors import ImageError, MappingError, ModelError, QueryError
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.result import SearchResult
from tests.conftest import Server

pytestmark = pytest.mark.node

COLOURS = ("blue", "red", "green", "black")


def documents(count: int) -> list[dict[str, Any]]:
    return [
        {"title": f"{COLOURS[i % 4]} running shoe number {i}", "colour": COLOURS[i % 4], "photo": f"{i % 60}.png"}
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def index(server: Server, encoder: Encoder, pictures: Path) -> str:
    name = server.new_index(
        {
            "properties": {
                "title": {"type": "text"},
                "colour": {"type": "keyword"},
                "photo": {"type": "keyword"},
            }
        },
        documents(120),
    )
    # Whole floats in one field, to compare with; at 24 dims the default int8 is off by up to a tenth.
    targets = [Target("title_vector", "text", ("title",)), Target("photo_vector", "image", ("photo",), "hnsw")]
    add_vectors(server.client, name, encoder, targets, Options(images=ImageAccess(root=pictures)))
    for i in range(100, 120):
        server.client.delete(index=name, id=str(i))
    server.client.indices.refresh(index=name)
    return name


@pytest.fixture(scope="module")
def searcher(server: Server, index: str, encoder: Encoder) -> HybridSearcher:
    return HybridSearcher(server.client, index, encoder, window=100)


def ids(result: SearchResult) -> list[str]:
    return [hit.id for hit in result.hits]


def test_a_text_search_has_a_keyword_leg_and_one_for_each_vector_field(searcher: HybridSearcher) -> None:
    result = searcher.search("blue shoe")
    assert result.legs == ["keyword", "photo_vector", "title_vector"]
    assert len(result.hits) == 10
    for hit in result.hits:
        assert set(hit.parts) == set(result.legs)
        assert hit.score == pytest.approx(sum(part.weighted for part in hit.parts.values()))
    assert [h.score for h in result.hits] == sorted((h.score for h in result.hits), reverse=True)


def test_keyword_scores_are_bm25_as_the_server_gives_it(server: Server, index: str, searcher: HybridSearcher) -> None:
    query = {"multi_match": {"query": "blue shoe number 7", "fields": ["title"]}}
    plain = {h["_id"]: h["_score"] for h in server.client.search(index=index, query=query, size=100)["hits"]["hits"]}
    for hit in searcher.search("blue shoe number 7", size=100).hits:
        assert hit.parts["keyword"].raw == pytest.approx(plain[hit.id], rel=1e-6)


def test_vector_scores_are_the_exact_cosines_where_the_index_keeps_whole_floats(
    searcher: HybridSearcher, encoder: Encoder, pictures: Path
) -> None:
    query = encoder.encode_images([pictures / "7.png"])[0]
    stored = encoder.encode_images([pictures / f"{i % 60}.png" for i in range(100)])
    hits = searcher.search(image=pictures / "7.png", size=100).hits
    raws = {hit.id: hit.parts["photo_vector"].raw for hit in hits}
    assert sum(raw is not None for raw in raws.values()) >= 90
    for id, raw in raws.items():
        if raw is not None:
            assert raw == pytest.approx(float(stored[int(id)] @ query), abs=1e-5)


def test_the_vector_leg_ranks_as_brute_force_does(server: Server, index: str, encoder: Encoder, pictures: Path) -> None:
    searcher = HybridSearcher(server.client, index, encoder, fields=["photo_vector"])
    query = encoder.encode_images([pictures / "7.png"])[0]
    cosines = encoder.encode_images([pictures / f"{i % 60}.png" for i in range(100)]) @ query
    found = ids(searcher.search(image=pictures / "7.png", size=20))
    assert {"7", "67"} == set(found[:2])
    assert len({str(i) for i in np.argsort(-cosines)[:20]} & set(found)) >= 17


@pytest.mark.parametrize("size", [0, 1, 3, 17, 100])
def test_the_ranking_never_depends_on_size(searcher: HybridSearcher, pictures: Path, size: int) -> None:
    whole = searcher.search("red shoe", image=pictures / "3.png", size=100)
    part = searcher.search("red shoe", image=pictures / "3.png", size=size)
    assert ids(part) == ids(whole)[:size]
    assert [h.score for h in part.hits] == [h.score for h in whole.hits][:size]


def test_filters_hold_for_every_leg(searcher: HybridSearcher, pictures: Path) -> None:
    result = searcher.search("shoe", image=pictures / "3.png", filter={"term": {"colour": "green"}}, size=50)
    assert {hit.source["colour"] for hit in result.hits} == {"green"}
    assert len(result.hits) == 25
    both = searcher.search("shoe", filter=[{"term": {"colour": "green"}}, {"match": {"title": "6"}}])
    assert ids(both) == ["6"]


def test_deleted_documents_are_not_found(searcher: HybridSearcher) -> None:
    assert not set(ids(searcher.search("shoe number 105", size=100))) & {str(i) for i in range(100, 120)}


def test_text_and_image_are_one_vector_for_each_field(
    searcher: HybridSearcher, encoder: Encoder, pictures: Path
) -> None:
    result = searcher.search("blue", image=pictures / "3.png", weights={"photo_vector": 2, "keyword": 0}, size=100)
    summed = searcher.search(
        "blue",
        image=pictures / "3.png",
        weights={"photo_vector": 2, "keyword": 0},
        size=100,
        normalizer="theoretical-min-max",
    )
    assert result.legs == ["keyword", "photo_vector", "title_vector"]
    assert result.hits[0].parts["keyword"].weighted == 0.0
    assert max(hit.parts["photo_vector"].weighted for hit in summed.hits) == pytest.approx(2 / 3)
    both = encoder.encode_texts(["blue"])[0] + encoder.encode_images([pictures / "3.png"])[0]
    stored = encoder.encode_images([pictures / result.hits[0].source["photo"]])[0]
    expected = float(stored @ both / np.linalg.norm(both))
    assert result.hits[0].parts["photo_vector"].raw == pytest.approx(expected, abs=1e-5)


def test_an_image_alone_has_no_keyword_leg(searcher: HybridSearcher, pictures: Path) -> None:
    assert searcher.search(image=pictures / "3.png").legs == ["photo_vector", "title_vector"]


def test_weights_of_zero_leave_the_other_leg_alone(server: Server, index: str, searcher: HybridSearcher) -> None:
    result = searcher.search("blue shoe number 8", weights={"photo_vector": 0, "title_vector": 0}, size=5)
    plain = server.client.search(index=index, query={"match": {"title": "blue shoe number 8"}}, size=1)
    assert result.hits[0].id == plain["hits"]["hits"][0]["_id"]
    assert searcher.search("blue", legs=["keyword"]).legs == ["keyword"]


def test_results_bring_their_document_without_vectors_and_state(searcher: HybridSearcher) -> None:
    hit = searcher.search("blue shoe number 8", size=1).hits[0]
    assert set(hit.source) == {"title", "colour", "photo"}
    assert set(searcher.search("blue", size=1, source=["colour"]).hits[0].source) == {"colour"}
    assert searcher.search("blue", size=1, source=False).hits[0].source == {}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({}, "nothing to search for"),
        ({"text": "  "}, "nothing to search for"),
        ({"text": "a", "size": 101}, "size must be from 0 to the window of 100"),
        ({"text": "a", "weights": {"foto": 1}}, "name no leg .* foto; its legs are keyword, photo_vector"),
        ({"text": "a", "legs": ["foto"]}, "no leg is named foto"),
        ({"text": "a", "filter": {"nonsense": {}}}, r"refused the search.*nonsense"),
    ],
)
def test_searches_that_make_no_sense_say_why(searcher: HybridSearcher, call: dict[str, Any], says: str) -> None:
    with pytest.raises(QueryError, match=says):
        searcher.search(**call)


def test_an_unreadable_query_image_is_named(searcher: HybridSearcher, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png"):
        searcher.search(image=tmp_path / "gone.png")


def test_a_query_with_another_model_is_refused_with_both_names(server: Server, index: str, models: Path) -> None:
    with pytest.raises(ModelError, match=r"of small-checkpoint \(.*\), not of other-checkpoint"):
        HybridSearcher(server.client, index, Encoder(models / "other"))


def test_an_index_without_vectors_says_how_to_make_them(server: Server, encoder: Encoder) -> None:
    name = server.new_index({"properties": {"title": {"type": "text"}}}, [])
    with pytest.raises(MappingError, match=f"'{name}' has no vectors yet; add vectors to it first") as bare:
        HybridSearcher(server.client, name, encoder)
    assert bare.value.verb == "add"
    with pytest.raises(MappingError, match="no index"):
        HybridSearcher(server.client, "absent", encoder)


def test_unknown_vector_fields_and_windows_are_refused(server: Server, index: str, encoder: Encoder) -> None:
    with pytest.raises(MappingError, match="no vector field foto; it has photo_vector, title_vector"):
        HybridSearcher(server.client, index, encoder, fields=["foto"])
    with pytest.raises(QueryError, match="window must be"):
        HybridSearcher(server.client, index, encoder, window=0)


def test_long_and_odd_texts_are_searched_like_any_other(searcher: HybridSearcher) -> None:
    for text in ("word " * 1_000, "🙂", 'quote " and \\ slash', "ümläut", "a" * 5_000):
        assert len(searcher.search(text, size=5).hits) == 5


def test_two_indices_under_one_pattern_are_searched_together(server: Server, encoder: Encoder, pictures: Path) -> None:
    mapping = {"properties": {"title": {"type": "text"}, "photo": {"type": "keyword"}}}
    names = [server.new_index(mapping, documents(3)) for _ in range(2)]
    targets = [Target("photo_vector", "image", ("photo",))]
    for name in names:
        add_vectors(server.client, name, encoder, targets, Options(images=ImageAccess(root=pictures)))
    result = HybridSearcher(server.client, ",".join(names), encoder).search(image=pictures / "1.png", size=2)
    assert {(hit.index, hit.id) for hit in result.hits} == {(name, "1") for name in names}
    assert all(hit.source["photo"] == "1.png" for hit in result.hits)
