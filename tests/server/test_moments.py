"""Moments of sounds and footage, whose vectors were made outside: the plugin's retriever beside the Python side."""

from __future__ import annotations

from typing import Any

import pytest
from elasticsearch import helpers

from crosslens.ingest.contract.fields import put_fields
from crosslens.queries.search.searcher import HybridSearcher
from tests.queries.test_moments import FIELDS, Colours, documents
from tests.server.conftest import Plugged
from tests.server.test_joined import same, told
from tests.server.test_search import expect_same

pytestmark = pytest.mark.node
APART = 2e-6


def test_the_retriever_searches_moments_as_the_python_side_does(plugged: Plugged) -> None:
    keyword = {"type": "keyword"}
    properties = {"title": {"type": "text"}, "photo": keyword, "clip": keyword, "footage": keyword}
    index = plugged.server.new_index({"properties": properties}, [], shards=2)
    put_fields(plugged.server.client, index, FIELDS)
    actions = ({"_index": index, "_id": str(i), **each} for i, each in enumerate(documents()))
    helpers.bulk(plugged.server.client, actions, refresh=True)

    searcher = HybridSearcher(plugged.server.client, index, Colours())
    text = "blue lighthouse film"
    children: list[dict[str, Any]] = []
    for leg in searcher.legs(text):
        query = {**(leg.words if leg.kind == "keyword" else {k: v for k, v in leg.query.items() if k != "inner_hits"})}
        children.append({"name": leg.name, "retriever": {"standard" if leg.kind == "keyword" else "knn": query}})
        if leg.kind == "keyword":
            children[-1]["retriever"] = {"standard": {"query": query}}
    body = {"retriever": {"crosslens": {"retrievers": children}}, "size": 28, "_source": False}
    expected = searcher.search(text, size=28, source=False)
    expect_same(plugged.http.ok("POST", f"{index}/_search", body), expected, APART)

    # By the plugin in one request, and without it.
    apart = HybridSearcher(plugged.server.client, index, Colours())
    assert searcher._current().presence.there
    apart._current().presence.there = False
    how = {"size": 5, "highlight": {"fields": {"*": {}}}}
    same(told(searcher.search(text, **how)), told(apart.search(text, **how)))

    said = str(plugged.http.ok("POST", f"{index}/_search", {**body, "explain": True, "size": 1})["hits"]["hits"][0])
    assert "scene" in said
    assert "the captions" in said
