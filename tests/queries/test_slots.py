"""Documents known by their sequence numbers until they are shown: the results are those of a search by ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import pytest

from crosslens.ingest.contract.targets import Target
from crosslens.ingest.run.write import add_vectors
from crosslens.queries.search import plan
from crosslens.queries.search.keys import Moved, Slot, key_of, named
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.result import SearchResult
from tests.bench.clustered import ClusteredEncoder
from tests.conftest import Server

_COLOURS, _THINGS = ("red", "blue", "green"), ("shoe", "hat", "shoe lace", "leather shoe")
_MAPPINGS: dict[str, Any] = {"properties": {"title": {"type": "text"}, "n": {"type": "integer"}}}
_ENCODER = ClusteredEncoder(16, clusters=8)


def _documents(count: int) -> list[dict[str, Any]]:
    # Every title ten times, so that many totals are equal.
    return [{"title": f"{_COLOURS[i % 3]} {_THINGS[i % 4]}", "n": i} for i in range(count)]


def _filled(server: Server, index_type: str = "int8_hnsw", shards: int = 1) -> str:
    index = server.new_index(_MAPPINGS, _documents(120), shards=shards)
    add_vectors(server.client, index, _ENCODER, [Target("title_vector", "text", ("title",), index_type)])
    server.client.indices.refresh(index=index)
    # Without vectors yet.
    for i in range(3):
        server.client.index(index=index, id=f"new {i}", document={"title": "blue shoe", "n": 200 + i}, refresh=True)
    return index


@dataclass(frozen=True)
class Shelf:
    """An index, a searcher of it, and the bodies of the searches that it sends."""

    index: str
    searcher: HybridSearcher
    sent: list[dict[str, Any]]
    shards: int

    def by_ids(self, monkeypatch: pytest.MonkeyPatch, *what: Any, **how: Any) -> SearchResult:
        with monkeypatch.context() as patched:
            patched.setattr(plan, "_needs_ids", lambda *_: True)
            return self.searcher.search(*what, **how)


@pytest.fixture(scope="module", params=[1, 3], ids=["one shard", "three shards"])
def filled(server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    index = _filled(server, shards=request.param)
    yield index
    server.client.indices.delete(index=index)


@pytest.fixture
def shelf(server: Server, filled: str, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    return _opened(server, filled, monkeypatch)


def _opened(server: Server, index: str, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    searcher, sent = HybridSearcher(server.client, index, _ENCODER), list[dict[str, Any]]()
    really = searcher._client.msearch

    def noting(**how: Any) -> Any:
        sent.extend(how["searches"][1::2])
        return really(**how)

    monkeypatch.setattr(searcher._client, "msearch", noting)
    settings = server.client.indices.get_settings(index=index)[index]["settings"]["index"]
    return Shelf(index, searcher, sent, int(settings["number_of_shards"]))


def _said(result: SearchResult) -> Any:
    hits = [
        (
            hit.index,
            hit.id,
            pytest.approx(hit.score, abs=1e-7),
            {name: (each.lacking, each.covered) for name, each in hit.parts.items()},
            {name: None if each.raw is None else pytest.approx(each.raw, abs=1e-6) for name, each in hit.parts.items()},
            hit.source,
            hit.fields,
            hit.highlight,
            hit.explanation,
        )
        for hit in result.hits
    ]
    return hits, result.found, pytest.approx(result.best), result.aggregations


@pytest.mark.node
def test_results_are_those_of_a_search_by_ids(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    hows: list[dict[str, Any]] = [
        {},
        {"size": 100},
        {"normalizer": "theoretical-min-max", "size": 37},
        {"complete": False, "highlight": {"fields": {"title": {}}}},
        {"min_score": 0.1, "source": ["title"], "fields": ["n"]},
        {"filter": {"range": {"n": {"lt": 50}}}, "weights": {"keyword": 3.0, "title_vector": 1.0}},
        {"aggregations": {"n": {"max": {"field": "n"}}}, "post_filter": {"term": {"title": "blue"}}},
        {"like": "17"},
    ]
    for how, text in zip(hows, cycle(("blue shoe", "hat", "bluu lace")), strict=False):
        # Of several shards those that show much, or complete a window, go by ids.
        if shelf.shards > 1 and "size" in how:
            continue
        shelf.sent.clear()
        found = shelf.searcher.search(text, **how)
        assert any(body.get("stored_fields") == "_none_" and body["size"] == 100 for body in shelf.sent)
        assert found.hits
        assert _said(found) == _said(shelf.by_ids(monkeypatch, text, **how)), (text, how)
    first = shelf.searcher.search("shoe", page=True, size=7)
    second = shelf.searcher.search("shoe", page=first.next, size=7)
    both = shelf.by_ids(monkeypatch, "shoe", size=14)
    assert [hit.id for hit in first.hits + second.hits] == [hit.id for hit in both.hits]


@pytest.mark.node
def test_a_document_that_is_written_between_the_trips_is_found_all_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Exact vectors: quantised ones change a little with the segment that they are in.
    shelf = _opened(server, _filled(server, "hnsw"), monkeypatch)
    before = shelf.searcher.search("blue hat", size=5)
    written = before.hits[1].id
    really = shelf.searcher._client.msearch
    times = 0

    def writing(**how: Any) -> Any:
        nonlocal times
        answer = really(**how)
        if not times:
            server.client.update(index=shelf.index, id=written, doc={"n": -1}, refresh=True)
        times += 1
        return answer

    monkeypatch.setattr(shelf.searcher._client, "msearch", writing)
    after = shelf.searcher.search("blue hat", size=5)
    assert times == 2
    assert [hit.id for hit in after.hits] == [hit.id for hit in before.hits]
    assert {hit.id: hit.source["n"] for hit in after.hits}[written] == -1
    server.client.indices.delete(index=shelf.index)


@pytest.mark.node
def test_an_index_that_has_got_more_shards_is_searched_by_ids(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = _opened(server, _filled(server, "hnsw"), monkeypatch)
    # Its mapping was read already, and is taken to be as it was for half a minute.
    shelf.searcher.search("blue hat")
    server.client.indices.put_settings(index=shelf.index, settings={"index.blocks.write": True})
    split = f"{shelf.index}-split"
    server.client.indices.split(index=shelf.index, target=split, settings={"index.number_of_shards": 4})
    server.client.cluster.health(index=split, wait_for_status="yellow")
    # Merges, which would otherwise go on beside the searches, change what words weigh.
    server.client.indices.forcemerge(index=split, max_num_segments=1)
    server.client.indices.refresh(index=split)
    actions = [{"remove_index": {"index": shelf.index}}, {"add": {"index": split, "alias": shelf.index}}]
    server.client.indices.update_aliases(actions=actions)
    found = shelf.searcher.search("blue hat", size=20)
    assert _said(found)[0] == _said(shelf.by_ids(monkeypatch, "blue hat", size=20))[0]
    assert {hit.index for hit in found.hits} == {split}
    server.client.indices.delete(index=split)


@pytest.mark.node
def test_two_documents_in_one_slot_are_both_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    index = server.new_index(_MAPPINGS, [], shards=2)
    for shard in (0, 1):
        ids = (str(i) for i in range(100))
        shards = ((id, server.client.search_shards(index=index, routing=id)["shards"][0][0]["shard"]) for id in ids)
        id = next(id for id, found in shards if found == shard)
        # By words the second one is better, by vectors they are equal, and the first shard's comes first.
        words = {"description": "a blue hat and another blue hat"} if shard else {}
        server.client.index(index=index, id=id, document={"title": "blue hat", **words}, refresh=True)
    add_vectors(server.client, index, _ENCODER, [Target("title_vector", "text", ("title",), "hnsw")])
    server.client.indices.refresh(index=index)
    hits = server.client.search(index=index, seq_no_primary_term=True)["hits"]["hits"]
    assert len({hit["_seq_no"] for hit in hits}) == 1
    for window in (1, 100):
        searcher = HybridSearcher(server.client, index, _ENCODER, window=window)
        found = searcher.search("blue hat", size=1)
        with monkeypatch.context() as patched:
            patched.setattr(plan, "_needs_ids", lambda *_: True)
            assert _said(found) == _said(searcher.search("blue hat", size=1))
        assert found.found == 2
    server.client.indices.delete(index=index)


def test_a_query_names_documents_by_slots_or_by_ids() -> None:
    by_slots = named([("a", Slot.of({"_seq_no": 7})), ("a", Slot.of({"_seq_no": 3}))])
    several = named([("a", Slot.of({"_seq_no": 7, "crosslens.v.source": "ab"}))])
    only = {"bool": {"filter": [{"term": {"_seq_no": 7}}, {"term": {"crosslens.v.source": "ab"}}]}}
    assert several["bool"]["filter"][1] == {"bool": {"should": [only], "minimum_should_match": 1}}
    assert by_slots == {"bool": {"filter": [{"term": {"_index": "a"}}, {"terms": {"_seq_no": [7, 3]}}]}}
    by_ids = named([("a", "7"), ("b", "x")])
    assert [part["bool"]["filter"][1] for part in by_ids["bool"]["should"]] == [
        {"ids": {"values": ["7"]}},
        {"ids": {"values": ["x"]}},
    ]


def test_a_hit_without_id_and_slot_is_known_by_neither() -> None:
    assert key_of({"_index": "a", "_id": "x"}) == ("a", "x")
    assert key_of({"_index": "a", "fields": {"_seq_no": [4]}}) == ("a", Slot.of({"_seq_no": 4}))
    with pytest.raises(Moved):
        key_of({"_index": "a"})
