"""Searches of indices that aren't as simple as most: nested texts, many fields, routing, narrow windows, odd texts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import helpers

from crosslens.errors import QueryError
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.fusion.normalizers import NORMALIZERS, Normalizer
from crosslens.queries.search.answers import checked
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.search.textual import MOST_FIELDS
from crosslens.queries.show.result import SearchResult
from tests.conftest import Server

pytestmark = pytest.mark.node

COLOURS = ("blue", "red", "green", "black")
Make = Callable[..., str]


@pytest.fixture(scope="module")
def make(server: Server, encoder: Encoder, pictures: Path) -> Iterator[Make]:
    """Makes an index with vectors of its titles and photos."""
    made: list[str] = []

    def index(
        properties: dict[str, Any],
        documents: list[dict[str, Any]],
        *,
        name: str = "",
        settings: dict[str, Any] | None = None,
        routing: dict[str, Any] | None = None,
        **each: Any,
    ) -> str:
        name = name or f"odd-{uuid.uuid4().hex[:10]}"
        mappings: dict[str, Any] = {
            "properties": {"title": {"type": "text"}, "photo": {"type": "keyword"}, **properties}
        }
        if routing is not None:
            mappings["_routing"] = routing
        server.client.indices.create(
            index=name, mappings=mappings, settings={"number_of_shards": 2, "number_of_replicas": 0, **(settings or {})}
        )
        actions = [{"_index": name, "_id": str(i), **each, **document} for i, document in enumerate(documents)]
        helpers.bulk(server.client, actions, refresh=True)
        targets = [Target("title_vector", "text", ("title",)), Target("photo_vector", "image", ("photo",))]
        add_vectors(server.client, name, encoder, targets, Options(images=ImageAccess(root=pictures)))
        server.client.indices.refresh(index=name)
        made.append(name)
        return name

    yield index
    for name in made:
        server.client.indices.delete(index=name)


def shoes(count: int = 60) -> list[dict[str, Any]]:
    return [{"title": f"{COLOURS[i % 4]} shoe", "photo": f"{i % 60}.png"} for i in range(count)]


def ids(result: SearchResult) -> list[str]:
    return [hit.id for hit in result.hits]


@pytest.fixture(scope="module")
def shop(server: Server, make: Make) -> str:
    name = make({}, shoes())
    # As it arrived a moment ago: it has no vectors yet.
    server.client.index(index=name, id="new", document={"title": "umbrella", "photo": "7.png"}, refresh=True)
    return name


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("complete", [True, False])
def test_a_new_document_that_alone_has_the_words_comes_first_by_any_normalizer(
    server: Server, shop: str, encoder: Encoder, normalizer: Normalizer, complete: bool
) -> None:
    if normalizer == "standardise":
        pytest.skip("needs corpus statistics; the means are those of the others")
    searcher = HybridSearcher(server.client, shop, encoder)
    result = searcher.search("umbrella", normalizer=normalizer, complete=complete, size=61)
    hit = next(hit for hit in result.hits if hit.id == "new")
    if normalizer == "z-score":
        # The only score of a window is its mean; vectors stand out of theirs.
        assert hit.score >= 0
    else:
        assert ids(result)[0] == "new"
        assert hit.score > 0.9
    assert hit.parts["title_vector"].lacking
    # Uncompleted, what another source lacks isn't asked for: by evidence it is of no account.
    assert hit.parts["photo_vector"].lacking or (normalizer == "evidence" and not complete)
    assert hit.score == pytest.approx(sum(part.weighted for part in hit.parts.values()))


def test_ranks_are_those_of_what_each_leg_found_with_completion_as_without(
    server: Server, shop: str, encoder: Encoder
) -> None:
    searcher = HybridSearcher(server.client, shop, encoder, window=20)
    completed = searcher.search("red shoe", normalizer="rank", size=20, fields=["title"])
    by_leg = {
        name: server.client.search(index=shop, body=body)["hits"]["hits"]
        for name, body in searcher.to_body("red shoe")["legs"].items()
    }
    found = {name: {hit["_id"] for hit in hits} for name, hits in by_leg.items()}
    assert any(len({hit.id} & found[name]) == 0 for hit in completed.hits for name in found)
    for hit in completed.hits:
        for name, part in hit.parts.items():
            assert (part.normalized > 0) == (hit.id in found[name])
            assert part.raw is not None or part.lacking


@pytest.fixture(scope="module")
def captioned(make: Make) -> str:
    nested = {
        "type": "nested",
        "properties": {"text": {"type": "text"}, "by": {"properties": {"name": {"type": "text"}}}},
    }
    documents = shoes(40)
    documents[3]["captions"] = [{"text": "worn once"}, {"text": "a zeppelin above the quay", "by": {"name": "Ada"}}]
    documents[5]["captions"] = [{"text": "a quay at noon"}]
    return make({"captions": nested}, documents)


def test_captions_in_nested_objects_are_found_and_highlighted(server: Server, captioned: str, encoder: Encoder) -> None:
    searcher = HybridSearcher(server.client, captioned, encoder)
    highlight = {"fields": {"captions.text": {}}}
    for how in ({}, {"normalizer": "min-max", "legs": ["keyword"]}, {"complete": False}):
        result = searcher.search("zeppelin quay", highlight=highlight, **how)  # type: ignore[arg-type]
        assert result.hits[0].id == "3"
        assert result.hits[0].highlight == {"captions.text": ["a <em>zeppelin</em> above the <em>quay</em>"]}
    first = searcher.search("zeppelin quay").hits[0]
    assert first.parts["keyword"].covered == pytest.approx(1.0)
    second = next(hit for hit in searcher.search("zeppelin quay", size=40).hits if hit.id == "5")
    assert 0 < (second.parts["keyword"].covered or 0) < 0.9
    assert searcher.search("Ada", legs=["keyword"]).hits[0].id == "3"
    misspelt = searcher.search("zepelin", legs=["keyword"]).hits[0]
    assert misspelt.id == "3"
    assert misspelt.parts["keyword"].respelt


def test_named_nested_fields_take_boosts_and_wildcards(server: Server, captioned: str, encoder: Encoder) -> None:
    for names in (["captions.text^3"], ["capt*"], ["title^2", "captions.*"]):
        searcher = HybridSearcher(server.client, captioned, encoder, text_fields=names)
        assert ids(searcher.search("zeppelin", legs=["keyword"])) == ["3"]


def test_boosted_fields_are_compared_in_a_search_for_more_like_a_document(
    server: Server, captioned: str, encoder: Encoder
) -> None:
    searcher = HybridSearcher(server.client, captioned, encoder, text_fields=["title^3", "ti*"])
    assert searcher.search(like="0", legs=["keyword"]).hits


def test_only_what_is_searchable_in_every_index_is_searched(server: Server, make: Make, encoder: Encoder) -> None:
    prefix = f"mixed-{uuid.uuid4().hex[:8]}"
    unsearched = {"notes": {"type": "text", "index": False}}
    make({**unsearched, "size": {"type": "text"}}, [{**shoes()[0], "size": "large"}], name=f"{prefix}-a")
    make({"size": {"type": "integer"}}, [{**shoes()[1], "size": 42}], name=f"{prefix}-b")
    searcher = HybridSearcher(server.client, f"{prefix}-*", encoder)
    result = searcher.search("red shoe", size=2)
    assert [hit.index for hit in result.hits] == [f"{prefix}-b", f"{prefix}-a"]
    assert result.hits[0].parts["keyword"].covered == pytest.approx(1.0)
    assert searcher.search(like=(f"{prefix}-a", "0")).hits


def test_an_index_of_1500_text_fields_is_searched_by_those_nearest_the_root(
    server: Server, make: Make, encoder: Encoder
) -> None:
    inner = {"properties": {f"f{i}": {"type": "text"} for i in range(1_500)}}
    settings = {"index.mapping.total_fields.limit": 4_000}
    name = make(
        {"attributes": inner, "zeal": {"type": "text"}},
        [{**each, "zeal": "keen"} for each in shoes(8)],
        settings=settings,
    )
    searcher = HybridSearcher(server.client, name, encoder)
    assert searcher.search("red shoe").hits[0].parts["keyword"].covered == pytest.approx(1.0)
    assert searcher.search("keen", legs=["keyword"]).hits
    (leg,) = searcher.legs("red shoe", legs=["keyword"])
    fields = leg.query["multi_match"]["fields"]
    assert len(fields) == MOST_FIELDS
    assert fields[:2] == ["title", "zeal"]
    assert searcher.search("red shoe " * 200, legs=["keyword"]).hits
    assert searcher.search(like="0", legs=["keyword"]).hits


@pytest.mark.parametrize("required", [False, True])
def test_more_like_a_document_that_is_routed_elsewhere_has_keyword_scores(
    server: Server, make: Make, encoder: Encoder, required: bool
) -> None:
    name = make({}, shoes(40), routing={"required": required}, _routing="somewhere")
    result = HybridSearcher(server.client, name, encoder).search(like="1", size=9)
    assert result.legs[0] == "keyword"
    assert all(hit.parts["keyword"].raw for hit in result.hits if hit.source["title"] == "red shoe")
    assert any(hit.parts["keyword"].raw for hit in result.hits)


def test_a_shards_own_error_is_said_and_not_to_be_tried_again(server: Server, make: Make, encoder: Encoder) -> None:
    prefix = f"sized-{uuid.uuid4().hex[:8]}"
    make({"size": {"type": "keyword"}}, shoes(4), name=f"{prefix}-a")
    make({"size": {"type": "integer"}}, shoes(4), name=f"{prefix}-b")
    with pytest.raises(QueryError, match=r'2 of 4 shards failed .*For input string: "large"') as raised:
        HybridSearcher(server.client, f"{prefix}-*", encoder).search("shoe", filter={"term": {"size": "large"}})
    assert "try again" not in str(raised.value)


def test_only_what_passes_is_to_be_tried_again() -> None:
    busy = {"type": "es_rejected_execution_exception", "reason": "the queue is full"}
    wrong = {"type": "script_exception", "reason": "runtime error", "caused_by": {"type": "x", "reason": "no sevens"}}
    said = {}
    for name, causes in (("busy", [busy]), ("wrong", [wrong]), ("both", [busy, wrong]), ("away", [])):
        shards = {
            "total": 3,
            "failed": max(len(causes), 1),
            "failures": [{"shard": 0, "reason": each} for each in causes],
        }
        with pytest.raises(QueryError) as raised:
            checked([{"_shards": shards}], ["keyword"])
        said[name] = str(raised.value)
    assert said == {
        "busy": "1 of 3 shards failed in the search (keyword): the queue is full; try again",
        "wrong": "1 of 3 shards failed in the search (keyword): runtime error (no sevens)",
        "both": "2 of 3 shards failed in the search (keyword): runtime error (no sevens)",
        "away": "1 of 3 shards failed in the search (keyword); try again",
    }
    for status, hint in ((429, "try again"), (503, "try again"), (400, "")):
        error = {"type": "search_phase_execution_exception", "reason": "all shards failed", "root_cause": []}
        with pytest.raises(QueryError, match="all shards failed") as refusal:
            checked([{"error": error, "status": status}], ["keyword"])
        assert refusal.value.hint == hint


def test_a_narrow_result_window_is_kept_to(server: Server, make: Make, encoder: Encoder) -> None:
    name = make({}, shoes(60))
    server.client.indices.put_settings(index=name, settings={"index.max_result_window": 30})
    searcher = HybridSearcher(server.client, name, encoder)
    for how in ({}, {"normalizer": "min-max"}, {"aggregations": {"n": {"terms": {"field": "photo"}}}}):
        result = searcher.search("red shoe", size=30, **how)  # type: ignore[arg-type]
        assert len(result.hits) == 30
    page = searcher.search("red shoe", size=20, page=True)
    assert page.next
    assert searcher.search("red shoe", size=10, page=page.next).hits
    with pytest.raises(QueryError, match=r"window of 50 .* returns 30 at most \(index.max_result_window\)"):
        HybridSearcher(server.client, name, encoder, window=50).search("red shoe")
    assert HybridSearcher(server.client, name, encoder, window=25).search("red shoe").hits


@pytest.mark.parametrize("how", [{}, {"normalizer": "min-max"}, {"complete": False}, {"page": True}])
def test_results_are_sorted_by_a_field_and_equal_ones_by_their_total(
    server: Server, shop: str, encoder: Encoder, how: dict[str, Any]
) -> None:
    searcher = HybridSearcher(server.client, shop, encoder, window=20)
    ranked = searcher.search("red shoe", size=20).hits[0].score
    result = searcher.search("red shoe", size=20, sort=[{"photo": "desc"}], **how)
    photos = [hit.source["photo"] for hit in result.hits]
    assert len(set(photos)) > 10
    assert photos == sorted(photos, reverse=True)
    assert "normalizer" in how or max(hit.score for hit in result.hits) <= ranked
    unsorted = searcher.search("red shoe", size=20, **how)
    alike = searcher.search("red shoe", size=20, sort={"missing": {"unmapped_type": "keyword"}}, **how)
    assert ids(alike) == ids(unsorted)
    if result.next:
        more = searcher.search("red shoe", size=5, sort=[{"photo": "desc"}], page=result.next)
        assert not set(ids(more)) & set(ids(result))
        assert all(hit.source["photo"] <= photos[-1] for hit in more.hits)


@pytest.mark.parametrize("how", [{}, {"normalizer": "min-max"}, {"complete": False}])
def test_a_post_filter_narrows_results_and_not_aggregations(
    server: Server, shop: str, encoder: Encoder, how: dict[str, Any]
) -> None:
    searcher = HybridSearcher(server.client, shop, encoder)
    result = searcher.search(
        "red shoe",
        size=50,
        post_filter={"term": {"photo": "5.png"}},
        aggregations={"photos": {"cardinality": {"field": "photo"}}},
        **how,
    )
    assert ids(result) == ["5"]
    assert result.hits[0].parts["keyword"].raw
    assert result.aggregations["photos"]["value"] == 60


def test_half_an_emoji_is_no_error(server: Server, shop: str, encoder: Encoder) -> None:
    searcher = HybridSearcher(server.client, shop, encoder)
    half, whole = "red shoe \ud83d", "red shoe \U0001f45f"
    assert ids(searcher.search(half)) == ids(searcher.search("red shoe \ufffd"))
    assert ids(searcher.search("red shoe \ud83d\udc5f")) == ids(searcher.search(whole))
    assert searcher.search("red shoe", less_text="\udc5f", filter={"match": {"title": half}}).hits
    assert searcher.search("red", query={"match": {"title": half}}).hits
    page = searcher.search(half, size=2, page=True)
    assert page.next
    assert searcher.search(half, size=2, page=page.next).hits
