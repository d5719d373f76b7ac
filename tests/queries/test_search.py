"""Hybrid search on three shards, several segments and deleted documents: completion, and what users expect."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import helpers

from crosslens.errors import QueryError
from crosslens.ingest.contract.targets import Target, parse_target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.fusion.normalizers import NORMALIZERS
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.result import SearchResult
from tests.conftest import Server
from tests.ingest.exactness import all_documents
from tests.queries.trips import counted

pytestmark = pytest.mark.node

COLOURS = ("blue", "red", "green", "black")
THINGS = ("shoe", "hat", "boot", "sock", "glove")
WINDOW = 25
COUNT = 400


def documents() -> list[dict[str, Any]]:
    made = []
    for i in range(COUNT):
        words = f"{COLOURS[i % 4]} {THINGS[i % 5]} " + "warm " * (i % 3) + f"number {i}"
        document: dict[str, Any] = {"title": words, "colour": COLOURS[i % 4], "price": i, "photo": f"{i % 60}.png"}
        document["photos"] = [f"{(i + j) % 60}.png" for j in range(i % 4)]
        if i % 6 == 0:
            # Realistic gaps: no words, or no picture.
            del document["title"]
        if i % 7 == 0:
            del document["photo"]
        made.append(document)
    return made


@pytest.fixture(scope="module")
def index(server: Server, encoder: Encoder, pictures: Path) -> str:
    properties = {"title": {"type": "text"}, "colour": {"type": "keyword"}, "photo": {"type": "keyword"}}
    name = server.new_index({"properties": {**properties, "price": {"type": "integer"}}}, [])
    for start in range(0, COUNT, 80):
        # Every part is a segment of its own.
        part = ({"_index": name, "_id": str(start + i), **d} for i, d in enumerate(documents()[start : start + 80]))
        helpers.bulk(server.client, part, refresh=True)
    targets = [
        Target("title_vector", "text", ("title",)),
        Target("photo_vector", "image", ("photo",), "hnsw"),
        replace(parse_target("views=photos[]", "image"), index_type="int8_hnsw"),
    ]
    add_vectors(server.client, name, encoder, targets, Options(images=ImageAccess(root=pictures)))
    for i in range(0, COUNT, 9):
        server.client.delete(index=name, id=str(i))
    server.client.indices.refresh(index=name)
    return name


@pytest.fixture(scope="module")
def searcher(server: Server, index: str, encoder: Encoder) -> HybridSearcher:
    return HybridSearcher(server.client, index, encoder, window=WINDOW)


@pytest.fixture(scope="module")
def stored(server: Server, index: str) -> dict[str, dict[str, Any]]:
    return all_documents(server, index)


def ids(result: SearchResult) -> list[str]:
    return [hit.id for hit in result.hits]


def everything(server: Server, index: str, query: dict[str, Any]) -> dict[str, float]:
    """The score of every document that a keyword query matches, from one exhaustive search."""
    hits = server.client.search(index=index, query=query, size=COUNT, source=False)["hits"]["hits"]
    return {hit["_id"]: hit["_score"] for hit in hits}


@pytest.mark.parametrize(
    "how",
    [
        {"text": "blue warm hat"},
        {"image": 7},
        {"text": "red boot", "image": 11, "filter": {"range": {"price": {"gte": 90}}}},
    ],
    ids=["text", "image", "both, filtered"],
)
def test_every_documents_every_score_is_the_one_of_an_exhaustive_computation(
    server: Server,
    index: str,
    searcher: HybridSearcher,
    stored: dict[str, dict[str, Any]],
    encoder: Encoder,
    pictures: Path,
    how: dict[str, Any],
) -> None:
    if "image" in how:
        how = {**how, "image": pictures / f"{how['image']}.png"}
    result = searcher.search(size=WINDOW, **how)
    assert result.found > WINDOW
    query = np.zeros(encoder.dims)
    if "text" in how:
        query += encoder.encode_texts([how["text"]])[0]
    if "image" in how:
        query += encoder.encode_images([how["image"]])[0]
    query /= np.linalg.norm(query)
    words = everything(server, index, {"match": {"title": how["text"]}}) if "text" in how else {}

    def cosine(vector: Any) -> float:
        return float(np.dot(vector, query) / np.linalg.norm(vector))

    compared = 0
    for hit in result.hits:
        document = stored[hit.id]
        if "text" in how:
            assert hit.parts["keyword"].raw == pytest.approx(words.get(hit.id, 0.0), rel=1e-6)
        for name in ("title_vector", "photo_vector"):
            raw = hit.parts[name].raw
            if document.get(name) is None:
                assert raw is None, (hit.id, name)
            else:
                assert raw == pytest.approx(cosine(document[name]), abs=2e-6), (hit.id, name)
                compared += 1
        views = [cosine(each["vector"]) for each in document.get("views") or []]
        if views:
            assert hit.parts["views"].raw == pytest.approx(max(views), abs=2e-6), hit.id
            assert hit.matched["views"]["position"] == int(np.argmax(views)) or len(set(document["photos"])) < len(
                views
            )
        else:
            assert hit.parts["views"].raw is None
    assert compared > WINDOW


def test_completion_lets_a_document_without_words_win_by_its_picture_alone_no_more_than_it_should(
    searcher: HybridSearcher,
) -> None:
    how: dict[str, Any] = {"size": WINDOW, "normalizer": "theoretical-min-max"}
    completed = searcher.search("blue warm hat", **how)
    alone = searcher.search("blue warm hat", complete=False, **how)
    assert ids(completed) != ids(alone)
    assert any(part.raw is None for hit in alone.hits for part in hit.parts.values())
    # What one leg found in its window has that leg's score in both.
    for hit in alone.hits:
        raw = hit.parts["photo_vector"].raw
        again = next((h for h in completed.hits if h.id == hit.id), None)
        if raw is not None and again is not None:
            assert again.parts["photo_vector"].raw == pytest.approx(raw, abs=2e-6)


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("normalizer", [n for n in NORMALIZERS if n != "standardise"])
def test_no_ranking_depends_on_size(searcher: HybridSearcher, normalizer: Any, complete: bool) -> None:
    how: dict[str, Any] = {"normalizer": normalizer, "complete": complete}
    whole = searcher.search("red warm boot", size=WINDOW, **how)
    for size in (0, 1, 7):
        part = searcher.search("red warm boot", size=size, **how)
        assert ids(part) == ids(whole)[:size]
        assert [h.score for h in part.hits] == [h.score for h in whole.hits][:size]


def test_words_that_match_nothing_leave_the_ranking_to_the_vectors(searcher: HybridSearcher) -> None:
    how: dict[str, Any] = {"size": WINDOW, "normalizer": "theoretical-min-max"}
    result = searcher.search("xylophone quartz", **how)
    assert {hit.parts["keyword"].normalized for hit in result.hits} == {0.0}
    alone = searcher.search("xylophone quartz", weights={"keyword": 0}, **how)
    assert ids(result) == ids(alone)


def test_windows_are_completed_and_what_is_shown_is_fetched_in_trips_of_their_own(
    searcher: HybridSearcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = counted(searcher, monkeypatch)
    hit = searcher.search("blue hat", normalizer="theoretical-min-max").hits[0]
    assert hit.source["colour"]
    # Two of the legs are clauses of one search, and the nested one has its own.
    assert asked == [4, 2, 1]
    asked.clear()
    searcher.search("blue hat", normalizer="theoretical-min-max", source=False)
    assert asked == [4, 2]
    asked.clear()
    hit = searcher.search("blue hat", complete=False, normalizer="theoretical-min-max").hits[0]
    assert asked == [4]
    assert hit.source["colour"]


def test_a_query_looks_away_from_what_it_is_told_to(
    searcher: HybridSearcher, encoder: Encoder, pictures: Path, stored: dict[str, dict[str, Any]]
) -> None:
    how: dict[str, Any] = {"legs": ["photo_vector"], "size": WINDOW}
    toward = searcher.search(image=[pictures / "3.png", pictures / "9.png"], **how)
    assert {stored[id]["photo"] for id in ids(toward)[:8]} <= {"3.png", "9.png"} | {
        h.source["photo"] for h in toward.hits
    }
    away = searcher.search(image=pictures / "3.png", less_image=pictures / "9.png", less_text="red", **how)
    query = encoder.encode_images([pictures / "3.png"])[0] - encoder.encode_images([pictures / "9.png"])[0]
    query -= encoder.encode_texts(["red"])[0]
    best = max(
        (float(np.dot(d["photo_vector"], query) / np.linalg.norm(query)), id)
        for id, d in stored.items()
        if d.get("photo_vector")
    )
    assert away.hits[0].parts["photo_vector"].raw == pytest.approx(best[0], abs=1e-5)
    with pytest.raises(QueryError, match="cancel each other out"):
        searcher.search("red", less_text="red")
    with pytest.raises(QueryError, match="nothing to search for"):
        searcher.search(less_text="red")


def test_more_like_a_document_finds_its_likes_and_not_itself(
    searcher: HybridSearcher, index: str, stored: dict[str, dict[str, Any]]
) -> None:
    result = searcher.search(like="61", size=WINDOW)
    assert result.legs[0] == "keyword"
    assert "61" not in ids(result)
    alone = searcher.search(like=(index, "61"), legs=["photo_vector"], size=3)
    assert {stored[id]["photo"] for id in ids(alone)} == {stored["61"]["photo"]}
    assert alone.hits[0].parts["photo_vector"].raw == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(QueryError, match="no document 'gone'"):
        searcher.search(like="gone")


def test_any_query_can_be_the_keyword_leg(server: Server, index: str, searcher: HybridSearcher) -> None:
    # Its clauses may have names, as ours have.
    query = {"match_phrase": {"title": {"query": "green glove", "_name": "title_vector"}}}
    result = searcher.search("something else", query=query, weights={"title_vector": 0, "photo_vector": 0, "views": 0})
    exact = everything(server, index, query)
    assert result.hits[0].parts["keyword"].raw == pytest.approx(max(exact.values()))
    assert set(ids(result)[:3]) <= exact.keys()


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"normalizer": "theoretical-min-max"},
        {"legs": ["keyword"]},
        {"legs": ["keyword"], "complete": False},
    ],
    ids=["default", "window completed", "words", "one trip"],
)
def test_fields_highlights_and_sources_are_those_of_search(searcher: HybridSearcher, how: dict[str, Any]) -> None:
    for kind in ("unified", "plain"):
        highlight = {"fields": {"title": {"type": kind}}}
        result = searcher.search("blue hat", fields=["price"], highlight=highlight, source=["colour"], **how)
        hit = result.hits[0]
        assert set(hit.source) == {"colour"}
        assert set(hit.fields) == {"price"}
        assert re.search("<em>(blue|hat)</em>", hit.highlight["title"][0])


def test_without_a_keyword_leg_no_words_are_highlighted(searcher: HybridSearcher) -> None:
    result = searcher.search("blue hat", highlight={"fields": {"title": {}}}, legs=["title_vector"])
    assert [hit.highlight for hit in result.hits] == [{}] * 10


def test_aggregations_say_over_what(server: Server, index: str, searcher: HybridSearcher) -> None:
    colours = {"colours": {"terms": {"field": "colour"}}}
    over_matches = searcher.search("hat", aggregations=colours).aggregations
    plain = server.client.search(index=index, query={"match": {"title": "hat"}}, aggs=colours, size=0)
    assert over_matches == plain["aggregations"]
    whole = searcher.search("hat", aggregations=colours, aggregate_over="window", size=WINDOW)
    counted = {b["key"]: b["doc_count"] for b in whole.aggregations["colours"]["buckets"]}
    assert sum(counted.values()) == whole.found
    one = searcher.search("hat", aggregations=colours, aggregate_over="window", complete=False)
    assert one.aggregations == whole.aggregations
    with pytest.raises(QueryError, match='aggregate over the "window"'):
        searcher.search("hat", aggregations=colours, legs=["photo_vector"])


def test_collapse_keeps_the_best_of_each_value(searcher: HybridSearcher) -> None:
    whole = searcher.search("warm hat", size=WINDOW)
    collapsed = searcher.search("warm hat", collapse="colour", size=WINDOW)
    assert collapsed.found == 4
    best = {}
    for hit in whole.hits:
        best.setdefault(hit.source["colour"], hit.id)
    assert {hit.source["colour"]: hit.id for hit in collapsed.hits}.items() >= best.items()
    assert collapsed.hits[0].fields == {}


def test_min_score_is_on_the_fused_scale(searcher: HybridSearcher) -> None:
    whole = searcher.search("warm hat", size=WINDOW)
    bound = whole.hits[9].score
    cut = searcher.search("warm hat", size=WINDOW, min_score=bound)
    assert ids(cut) == [hit.id for hit in whole.hits if hit.score >= bound]


def test_pages_are_stable_while_the_index_changes(server: Server, encoder: Encoder, index: str) -> None:
    searcher = HybridSearcher(server.client, index, encoder, window=60)
    whole = ids(searcher.search("green sock", size=60))
    first = searcher.search("green sock", size=20, page=True)
    assert first.next is not None
    gone = whole[25]
    document = server.client.get(index=index, id=gone)["_source"]
    server.client.delete(index=index, id=gone, refresh=True)
    try:
        second = searcher.search("green sock", size=20, page=first.next)
        assert second.next is not None
        third = searcher.search("green sock", size=20, page=second.next)
        assert ids(first) + ids(second) + ids(third) == whole
        with pytest.raises(QueryError, match="belongs to another search"):
            searcher.search("red sock", size=20, page=first.next)
        with pytest.raises(QueryError, match="not a token"):
            searcher.search("green sock", page="nonsense")
    finally:
        server.client.index(index=index, id=gone, document=document, refresh=True)


def test_the_end_of_the_window_has_no_next_page(searcher: HybridSearcher) -> None:
    result = searcher.search("green sock", size=WINDOW, page=True)
    seen = len(result.hits)
    while result.next:
        result = searcher.search("green sock", size=WINDOW, page=result.next)
        seen += len(result.hits)
    assert seen == result.found


def test_the_profile_has_each_legs_time(searcher: HybridSearcher) -> None:
    profile = searcher.search("hat").profile
    assert profile.keys() == {"keyword", "title_vector", "photo_vector", "views", "completion"}
    assert all(value >= 0 for value in profile.values())


def test_candidates_and_oversampling_reach_the_request(searcher: HybridSearcher) -> None:
    legs = {leg.name: leg.request for leg in searcher.legs("hat", candidates=77, oversample=3.0)}
    assert legs["title_vector"]["knn"]["num_candidates"] == 77
    assert legs["title_vector"]["knn"]["rescore_vector"] == {"oversample": 3.0}
    assert "rescore_vector" not in legs["photo_vector"]["knn"]
    by_leg = {
        leg.name: leg.request for leg in searcher.legs("hat", candidates={"views": 500}, oversample={"views": 2.0})
    }
    assert by_leg["views"]["knn"]["num_candidates"] == 500
    assert by_leg["title_vector"]["knn"]["num_candidates"] == 200
    assert "rescore_vector" not in by_leg["title_vector"]["knn"]
    assert searcher.search("hat", candidates=77, oversample=3.0).hits


def test_the_same_id_in_two_indices_is_two_documents(server: Server, encoder: Encoder) -> None:
    names = [server.new_index({"properties": {"title": {"type": "text"}}}, documents()[:60]) for _ in range(2)]
    for name, last in zip(names, (60, 30), strict=True):
        for i in range(last, 60):
            server.client.delete(index=name, id=str(i))
        server.client.indices.refresh(index=name)
        add_vectors(server.client, name, encoder, [Target("title_vector", "text", ("title",), "hnsw")])
    result = HybridSearcher(server.client, ",".join(names), encoder, window=40).search("blue hat", size=40)
    keys = [(hit.index, hit.id) for hit in result.hits]
    assert len(keys) == len(set(keys)) == 40
    assert {hit.index for hit in result.hits} == set(names)
    for hit in result.hits:
        assert (hit.parts["title_vector"].raw is None) == ("title" not in hit.source)
