"""The Python side's searches, made by the plugin in one request, beside those that it makes by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from crosslens.ingest.model.encoder import Encoder
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.result import SearchResult
from tests.queries.trips import counted
from tests.server.conftest import Plugged
from tests.server.test_evidence import WINDOW, made

pytestmark = pytest.mark.node

KINDS = {"kinds": {"terms": {"field": "kind"}}}
FILTER = {"range": {"number": {"gte": 20, "lt": 110}}}
# The options of a search, and whether the plugin makes all of it.
SEARCHES: Mapping[str, tuple[dict[str, Any], bool]] = {
    "default": ({}, True),
    "large": ({"size": 25}, True),
    "empty": ({"size": 0, "aggregations": KINDS}, True),
    "names alone": ({"source": False}, True),
    "filtered": ({"filter": FILTER, "post_filter": {"terms": {"kind": ["red", "cat", "face"]}}}, True),
    "shown": ({"source": ["title"], "fields": ["kind"], "highlight": {"fields": {"title": {}}}}, True),
    "weights": ({"weights": {"keyword": 2, "photo_vector": 0.5}, "sources": {"photo_vector": "look"}}, True),
    "some legs": ({"legs": ["keyword", "more_vector"]}, True),
    "words alone": ({"legs": ["keyword"], "size": 7}, True),
    "least score": ({"min_score": 0.3}, True),
    "least score beyond all": ({"min_score": 1.5}, True),
    # The document is read first.
    "alike": ({"text": None, "like": "7"}, False),
    "own query": ({"query": {"bool": {"must": [{"match": {"story": "cat"}}]}}}, True),
    "counted": ({"aggregations": KINDS}, True),
    "oversampled": ({"oversample": 2.0}, True),
    "few": ({"filter": {"terms": {"number": [3, 5, 7]}}}, False),
    "misspelt": ({"text": "runing caat"}, False),
    "another normalizer": ({"normalizer": "theoretical-min-max"}, False),
    "collapsed": ({"collapse": "kind"}, False),
    "sorted": ({"sort": [{"number": "desc"}]}, False),
    "counted over the window": ({"aggregations": KINDS, "aggregate_over": "window"}, False),
    "not completed": ({"complete": False}, False),
}


@pytest.fixture(scope="module")
def searchers(plugged: Plugged, demo_encoder: Encoder) -> tuple[HybridSearcher, HybridSearcher]:
    """The same searcher with the plugin and without it, of two indices."""
    client = plugged.server.client
    name = made(plugged, demo_encoder)
    client.indices.put_alias(index=name, name=f"{name}-all")
    with_plugin, without = (
        HybridSearcher(client, f"{name}-all", demo_encoder, window=WINDOW, mapping_ttl_s=3600) for _ in range(2)
    )
    assert with_plugin._current().presence.there
    without._current().presence.there = False
    return with_plugin, without


def told(result: SearchResult) -> dict[str, Any]:
    """All of a result but the times, and the kinds of its numbers."""
    return replace(result, encode_ms=0.0, search_ms=0.0, profile={}, next=None).as_dict()


def same(found: Any, expected: Any, where: str = "") -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            same(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, value in enumerate(expected):
            same(found[i], value, f"{where}[{i}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5), where
    else:
        assert found == expected, where


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_is_the_same_with_and_without_the_plugin(
    searchers: tuple[HybridSearcher, HybridSearcher], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with_plugin, without = searchers
    options, alone = SEARCHES[name]
    options = {"text": "running cat in the red house", **options}
    expected = without.search(**options)
    asked = counted(with_plugin, monkeypatch)
    found = with_plugin.search(**options)
    same(told(found), told(expected))
    assert bool(asked) is not alone
    assert with_plugin._current().presence.there


def test_pages_by_the_plugin_go_on_where_the_last_one_ended(searchers: tuple[HybridSearcher, HybridSearcher]) -> None:
    with_plugin, without = searchers
    whole = without.search("running cat in the red house", size=25).hits
    pages: list[Any] = []
    page: Any = True
    for _ in range(3):
        found = with_plugin.search("running cat in the red house", size=9, page=page)
        pages += found.hits
        page = found.next
    same([hit.id for hit in pages[:25]], [hit.id for hit in whole])
    same([hit.score for hit in pages[:25]], [hit.score for hit in whole])
