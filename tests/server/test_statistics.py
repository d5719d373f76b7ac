"""The retriever's corpus statistics: of every index that is searched, of it alone, and whole."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from crosslens.errors import NotCalibratedError
from crosslens.ingest.contract.statistics import STATISTICS_INDEX
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.write import add_vectors
from crosslens.queries.search.searcher import HybridSearcher
from tests.server.conftest import Plugged

pytestmark = pytest.mark.node


def filled(plugged: Plugged, encoder: Encoder, titles: list[str], name: str | None = None) -> str:
    made = plugged.server.new_index({"properties": {"title": {"type": "text"}}}, [{"title": each} for each in titles])
    if name is not None:
        plugged.server.client.indices.delete(index=made)
        plugged.server.client.indices.create(index=name, mappings={"properties": {"title": {"type": "text"}}})
        for each in titles:
            plugged.server.client.index(index=name, document={"title": each}, refresh=True)
        made = name
    add_vectors(plugged.server.client, made, encoder, [Target("title_vector", "text", ("title",), "hnsw")])
    plugged.server.client.indices.refresh(index=made)
    return made


def body(text: str) -> dict[str, Any]:
    knn = {"field": "title_vector", "k": 20, "num_candidates": 50}
    knn["query_vector_builder"] = {"crosslens": {"field": "title_vector", "text": text}}
    fused = {"retrievers": [{"retriever": {"knn": knn}, "name": "title"}], "normalizer": "standardise"}
    return {"retriever": {"crosslens": {**fused, "rank_window_size": 20}}, "size": 20}


def both_refuse(plugged: Plugged, encoder: Encoder, index: str, *named: str) -> str:
    """Python and the plugin say of the same indices that they lack statistics; returns what the plugin says."""
    status, answer = plugged.http("POST", f"{index}/_search", body("red"))
    assert status == 400, answer
    assert "crosslens calibrate" in str(answer)
    searcher = HybridSearcher(plugged.server.client, index, encoder, text_fields=[])
    with pytest.raises(NotCalibratedError) as raised:
        searcher.search("red", normalizer="standardise")
    for name in named:
        assert name in str(answer)
        assert name in str(raised.value)
    return str(answer)


def test_every_index_that_is_searched_has_its_own(plugged: Plugged, demo_encoder: Encoder) -> None:
    first = filled(plugged, demo_encoder, ["red heart", "blue shoe", "green tree"])
    second = filled(plugged, demo_encoder, ["yellow sun", "a black cat"])
    both = f"{first},{second}"
    hits = plugged.http.ok("POST", f"{both}/_search", body("red"))["hits"]["hits"]
    searcher = HybridSearcher(plugged.server.client, both, demo_encoder, text_fields=[])
    expected = searcher.search("red", normalizer="standardise")
    scores = {(hit["_index"], hit["_id"]): hit["_score"] for hit in hits}
    assert scores == pytest.approx({(hit.index, hit.id): hit.score for hit in expected.hits}, abs=1e-5)
    plugged.server.client.delete(index=STATISTICS_INDEX, id=f"{second}/title_vector", refresh=True)
    said = both_refuse(plugged, demo_encoder, both, second)
    assert f"in [{second}]" in said
    assert plugged.http.ok("POST", f"{first}/_search", body("red"))["hits"]["hits"]
    # An index without such a field needs none.
    bare = plugged.server.new_index({"properties": {"title": {"type": "text"}}}, [{"title": "red"}])
    assert plugged.http.ok("POST", f"{first},{bare}/_search", body("red"))["hits"]["hits"]


def test_an_index_made_anew_does_not_inherit_them(plugged: Plugged, demo_encoder: Encoder) -> None:
    index = filled(plugged, demo_encoder, ["red heart", "blue shoe", "green tree"])
    assert plugged.http.ok("POST", f"{index}/_search", body("red"))["hits"]["hits"]
    kept = plugged.server.client.get(index=STATISTICS_INDEX, id=f"{index}/title_vector")["_source"]
    plugged.server.client.indices.delete(index=index)
    filled(plugged, demo_encoder, ["yellow sun", "a black cat"], index)
    assert plugged.http.ok("POST", f"{index}/_search", body("red"))["hits"]["hits"]
    plugged.server.client.index(index=STATISTICS_INDEX, id=f"{index}/title_vector", document=kept, refresh=True)
    both_refuse(plugged, demo_encoder, index, index)


@pytest.mark.parametrize(
    "damage",
    [
        {"covariance": None},
        {"mean": None, "covariance": None, "count": None},
        {"covariance": "%%%"},
        {"covariance": base64.b64encode(bytes(100)).decode()},
        {"mean": base64.b64encode(np.full(192, np.nan, "<f4").tobytes()).decode()},
        {"mean": base64.b64encode(bytes(24 * 4)).decode(), "covariance": base64.b64encode(bytes(24 * 24 * 4)).decode()},
        {"count": "many"},
        {"count": -3},
        {"count": 0},
        {"uuid": None},
        {"fingerprint": "0123456789abcdef"},
    ],
    ids=lambda damage: ",".join(f"{key}={str(value)[:8]}" for key, value in damage.items()),
)
def test_a_damaged_entry_counts_as_none(plugged: Plugged, demo_encoder: Encoder, damage: dict[str, Any]) -> None:
    index = filled(plugged, demo_encoder, ["red heart", "blue shoe", "green tree"])
    id = f"{index}/title_vector"
    whole = plugged.server.client.get(index=STATISTICS_INDEX, id=id)["_source"]
    plugged.server.client.index(index=STATISTICS_INDEX, id=id, document={**whole, **damage}, refresh=True)
    both_refuse(plugged, demo_encoder, index, index)
    plugged.server.client.index(index=STATISTICS_INDEX, id=id, document=whole, refresh=True)
    assert plugged.http.ok("POST", f"{index}/_search", body("red"))["hits"]["hits"]


def test_an_entry_that_was_seen_is_read_again_once_the_hidden_index_was_made_anew(
    plugged: Plugged, demo_encoder: Encoder
) -> None:
    client = plugged.server.client
    index = filled(plugged, demo_encoder, ["red heart", "blue shoe", "green tree"])
    whole = client.get(index=STATISTICS_INDEX, id=f"{index}/title_vector")["_source"]
    for damaged in (False, True):
        # Both times it is the first document of a new index, with the same sequence number.
        mappings = client.indices.get_mapping(index=STATISTICS_INDEX)[STATISTICS_INDEX]["mappings"]
        client.indices.delete(index=STATISTICS_INDEX)
        client.indices.create(index=STATISTICS_INDEX, mappings=mappings, settings={"hidden": True})
        document = {**whole, **({"mean": ""} if damaged else {})}
        client.index(index=STATISTICS_INDEX, id=f"{index}/title_vector", document=document, refresh=True)
        assert plugged.http("POST", f"{index}/_search", body("red"))[0] == (400 if damaged else 200)
