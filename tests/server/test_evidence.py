"""Fusion by evidence: the plugin's retriever beside the Python side, on an index with everything that matters to it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from elasticsearch import helpers

from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.result import SearchResult
from tests.server.conftest import PICTURES, Plugged
from tests.server.test_search import WORDS, expect_same, legs, parts_of, retriever

pytestmark = pytest.mark.node

WINDOW = 60
FIELDS = ("title_vector", "photo_vector", "more_vector")
COLOURS, ANIMALS = ("红色", "蓝色", "绿色"), ("猫", "狗", "熊猫", "心形")
# Only analysers that Elasticsearch has without any module: "english" is as "stop" is here, with a stemmer besides.
ANALYSIS = {
    "tokenizer": {"threes": {"type": "standard", "max_token_length": 3}},
    "analyzer": {"threes": {"type": "custom", "tokenizer": "threes", "filter": ["lowercase"]}},
}
PROPERTIES = {
    "title": {"type": "text", "analyzer": "stop", "fields": {"plain": {"type": "text"}}, "copy_to": "all"},
    "story": {"type": "text", "copy_to": "all"},
    "all": {"type": "text"},
    "zh": {"type": "text"},
    "code": {"type": "text", "analyzer": "threes"},
    "kind": {"type": "keyword"},
    "number": {"type": "integer"},
    "photo": {"type": "keyword"},
    "more": {"type": "keyword"},
    "parts": {"type": "nested", "properties": {"name": {"type": "text"}}},
}


def documents(start: int, end: int) -> list[dict[str, Any]]:
    pictures = sorted(PICTURES.glob("*.webp"))[:150]
    return [
        {
            "title": f"the {WORDS[i % 12]} {WORDS[i % 7]} of houses" if i % 5 else "",
            "story": f"running {WORDS[(i * 5) % 11]} and a {WORDS[(i * 3) % 8]} in the {WORDS[i % 3]} {WORDS[i % 4]}",
            "zh": f"{COLOURS[i % 3]}的{ANIMALS[i % 4]}和{ANIMALS[(i // 4) % 4]}",
            "code": f"{WORDS[i % 6]}{WORDS[i % 5]}",
            "kind": WORDS[i % 5],
            "number": i,
            "parts": [{"name": WORDS[(i + n) % 9]} for n in range(i % 3)],
            **({"photo": pictures[i].name} if i % 4 else {}),
            "more": [pictures[(i * 7 + n) % 150].name for n in range(i % 4)],
        }
        for i in range(start, end)
    ]


def made(plugged: Plugged, encoder: Encoder) -> str:
    """120 documents with vectors, some wordless and some without a picture, and 20 new ones that have none yet."""
    client = plugged.server.client
    name = f"test-{uuid.uuid4().hex[:12]}"
    client.indices.create(
        index=name,
        mappings={"properties": PROPERTIES},
        settings={"number_of_shards": 2, "number_of_replicas": 0, "analysis": ANALYSIS},
    )
    helpers.bulk(client, ({"_index": name, "_id": str(d["number"]), **d} for d in documents(0, 120)), refresh=True)
    targets = [
        Target("title_vector", "text", ("title",), "hnsw"),
        Target("photo_vector", "image", ("photo",)),
        Target("more_vector", "image", ("more",), each=True),
    ]
    add_vectors(client, name, encoder, targets, Options(images=ImageAccess(root=PICTURES)))
    helpers.bulk(client, ({"_index": name, "_id": str(d["number"]), **d} for d in documents(120, 140)), refresh=True)
    return name


@pytest.fixture(scope="module")
def index(plugged: Plugged, demo_encoder: Encoder) -> str:
    return made(plugged, demo_encoder)


class Compared:
    """A search by both sides, with the very same query vector."""

    def __init__(self, plugged: Plugged, index: str, encoder: Encoder):
        self._plugged, self._index, self._encoder = plugged, index, encoder
        self._searcher = HybridSearcher(plugged.server.client, index, encoder, window=WINDOW)

    def expected(self, text: str, query: Mapping[str, Any] | None = None, **how: Any) -> SearchResult:
        how = {"size": WINDOW, "source": False, **how}
        return self._searcher.search(text, query=None if query is None else dict(query), **how)

    def answer(
        self,
        text: str,
        query: Mapping[str, Any] | None = None,
        *,
        fields: Sequence[str] = FIELDS,
        weights: Mapping[str, float] | None = None,
        sources: Mapping[str, str] | None = None,
        explain: bool = False,
        **options: Any,
    ) -> Any:
        # The very numbers that the Python side sends: a window's tail makes much of a cosine's last bits.
        vector = next(leg.query["query_vector"] for leg in self._searcher.legs(text) if leg.kind == "knn")
        asked = legs(text, WINDOW, *fields, vector=np.array(vector))
        if query is None:
            query = self._searcher._current().texts.matching(text)
        asked["keyword"]["standard"]["query"] = query
        body = retriever(asked, dict(weights or {}), window=WINDOW, **options)
        for child in body["retriever"]["crosslens"]["retrievers"]:
            if child["name"] in (sources or {}):
                child["source"] = (sources or {})[child["name"]]
        path = f"{self._index}/_search"
        return self._plugged.http.ok("POST", path, {**body, "size": WINDOW, "_source": False, "explain": explain})

    def expect_same(self, text: str, query: Mapping[str, Any] | None = None, **both: Any) -> SearchResult:
        filters = {"filter": both.pop("filter")} if "filter" in both else {}
        expected = self.expected(text, query, **both, **filters)
        wrapped = {"filter": [filters["filter"]]} if filters else {}
        expect_same(self.answer(text, query, **both, **wrapped), expected, APART)
        return expected


APART = 2e-6


@pytest.fixture(scope="module")
def compared(plugged: Plugged, index: str, demo_encoder: Encoder) -> Compared:
    return Compared(plugged, index, demo_encoder)


QUERIES: dict[str, dict[str, Any]] = {
    "stop words": {"match": {"title": "the heart of the houses"}},
    "nothing but stop words": {"match": {"title": "the of"}},
    "a word that nobody wrote": {"match": {"title": "red zyzzyva heart"}},
    "a misspelt word": {"match": {"title": "red heaxt"}},
    "misspelt words in several fields": {"multi_match": {"query": "runing houzes", "fields": ["title^2", "story"]}},
    "a misspelt word and a filter": {
        "bool": {"must": [{"match": {"title": "heaxt moon moon"}}], "filter": [{"range": {"number": {"lt": 100}}}]}
    },
    "all words wanted": {"match": {"story": {"query": "running red cat", "operator": "and"}}},
    "several fields": {"multi_match": {"query": "running houses heart", "fields": ["title^3", "story", "title.plain"]}},
    "all fields": {"multi_match": {"query": "red running pair"}},
    "cross fields": {"multi_match": {"query": "red heart", "fields": ["title", "story"], "type": "cross_fields"}},
    "combined fields": {"combined_fields": {"query": "running heart", "fields": ["story", "title.plain"]}},
    "a beginning": {"match_bool_prefix": {"story": "running he"}},
    "Chinese": {"match": {"zh": "红色的熊猫"}},
    "Chinese in several fields": {"multi_match": {"query": "红色 cat 心形", "fields": ["zh", "story"]}},
    "an analyser of its own": {"match": {"code": "redcat heart"}},
    "a number": {"match": {"number": 7}},
    "an exact value": {"term": {"kind": {"value": "red", "boost": 2.0}}},
    "a phrase": {"match_phrase": {"story": "running red"}},
    "operators": {
        "simple_query_string": {"query": '"the red" +heart -clock | moon* cat~1', "fields": ["story", "title^2"]}
    },
    "more operators": {
        "query_string": {"query": 'story:running AND (red OR "a cat") NOT moon !fish', "fields": ["story"]}
    },
    "too much of operators": {"query_string": {"query": "story:(running red)"}},
    "clauses": {
        "bool": {
            "must": {"match": {"story": "running red"}},
            "should": [{"match_phrase": {"title": "red cat"}}, {"term": {"kind": "cat"}}],
            "filter": {"range": {"number": {"gte": 3}}},
            "must_not": {"term": {"kind": "face"}},
        }
    },
    "boosted clauses": {"bool": {"must": [{"match": {"story": "running red"}}], "boost": 2.0}},
    "nested": {"nested": {"path": "parts", "query": {"match": {"parts.name": "red clock"}}, "score_mode": "max"}},
    "of which nothing can be told": {"constant_score": {"filter": {"match": {"story": "red"}}}},
    "nothing": {"match": {"story": "zyzzyva"}},
    "what is copied": {"match": {"all": "running heart"}},
    "many words": {"match": {"story": " ".join([*WORDS, *"abcdefghijklmnopqrstuvwxyz", "red red running"])}},
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_any_query_is_judged_as_the_python_side_judges_it(compared: Compared, query: dict[str, Any]) -> None:
    compared.expect_same("red heart", query)


@pytest.mark.parametrize(
    "text", ["red heart", "the running cat", "红色的猫", "zyzzyva", "runing heaxt", "a clock in the moon of houses"]
)
def test_evidence_is_the_default_and_the_same_on_both_sides(compared: Compared, text: str) -> None:
    expected = compared.expect_same(text)
    assert expected.normalizer == "evidence"
    assert all(0 <= hit.score <= 1 for hit in expected.hits)


def test_words_are_taken_as_typed_where_that_is_asked_for(compared: Compared) -> None:
    typed = compared.expect_same("red heaxt", {"match": {"title": "red heaxt"}}, spelling=False)
    otherwise = compared.expected("red heaxt", {"match": {"title": "red heaxt"}})
    assert not any(hit.parts["keyword"].respelt for hit in typed.hits)
    assert any(hit.parts["keyword"].respelt for hit in otherwise.hits)


def test_documents_without_vectors_yet_are_not_held_back(compared: Compared) -> None:
    query = {"match": {"title": {"query": "red flag houses"}}}
    expected = compared.expect_same("red flag", query)
    new = [hit for hit in expected.hits if int(hit.id) >= 120]
    assert new
    assert all(hit.parts["title_vector"].lacking for hit in new)
    named = compared.expect_same("red flag", query, complete=False)
    assert [hit.score for hit in named.hits] == [hit.score for hit in expected.hits]


def test_a_filter_may_leave_three_documents(compared: Compared) -> None:
    expected = compared.expect_same("red heart", filter={"terms": {"number": [7, 57, 121]}})
    assert len(expected.hits) == 3


def test_few_documents_are_compared_with_whole_floats(compared: Compared) -> None:
    few = {"filter": {"terms": {"number": [5, 7, 9, 11, 13]}}}
    found = compared.expect_same("red heart", **few)
    exact = compared.expected("red heart", **few, oversample=2.0)
    assert [hit.score for hit in found.hits] == pytest.approx([hit.score for hit in exact.hits], abs=1e-6)
    assert [hit.id for hit in found.hits] == [hit.id for hit in exact.hits]


def test_sources_may_be_said(compared: Compared) -> None:
    together = {"photo_vector": "everything", "keyword": "everything"}
    said = compared.expect_same("red heart", sources=together)
    assert said.sources["photo_vector"] == "everything" != said.sources["title_vector"]
    otherwise = compared.expected("red heart")
    assert [hit.score for hit in said.hits] != [hit.score for hit in otherwise.hits]
    compared.expect_same("red heart", sources={"more_vector": said.sources["title_vector"]})


@pytest.mark.parametrize(
    "weights", [{"photo_vector": 2.0}, {"keyword": 0.5, "title_vector": 0.0}, dict.fromkeys(("keyword", *FIELDS), 1.0)]
)
def test_a_weight_that_is_not_given_is_not_one(compared: Compared, weights: dict[str, float]) -> None:
    compared.expect_same("red heart", weights=weights)


def test_two_indices_are_read_as_one(plugged: Plugged, index: str, demo_encoder: Encoder) -> None:
    other = made(plugged, demo_encoder)
    Compared(plugged, f"{index},{other}", demo_encoder).expect_same("the running heart")


def test_an_explanation_says_it_in_words(compared: Compared) -> None:
    text = "red heart flag"
    expected = {hit.id: hit for hit in compared.expected(text).hits}
    answer = compared.answer(text, explain=True)
    plain = compared.answer(text)
    assert [hit["_score"] for hit in answer["hits"]["hits"]] == [hit["_score"] for hit in plain["hits"]["hits"]]
    seen = set()
    for hit in answer["hits"]["hits"]:
        told = parts_of(hit)
        assert sum(part["value"] for part in told) == pytest.approx(hit["_score"], abs=1e-6)
        if hit["_id"] not in expected:
            continue
        wanted = expected[hit["_id"]]
        for part, name in zip(told, ("keyword", *FIELDS), strict=True):
            mine = wanted.parts[name]
            assert part["value"] == pytest.approx(mine.weighted, abs=APART)
            if mine.raw is None:
                assert part["description"].startswith(f"[{name}] has no score of this document: ")
            else:
                raw = float(part["description"].split("of raw ")[1].split(":")[0])
                assert raw == pytest.approx(mine.raw, abs=1e-5)
            # Python tells apart two legs of one kind by their names, which are told here anyway.
            said = part["description"].split(": ", 1)[1]
            assert any(sentence.removeprefix(f"{name}: ") == said for sentence in wanted.explanation), said
            seen.add(said.split(" ")[0])
    assert {"the", "about", "its", "it"} <= seen


def test_a_child_that_is_a_fusion_reads_something_of_its_own(plugged: Plugged, index: str) -> None:
    inner = retriever(legs("red heart", WINDOW, "photo_vector"), {}, window=WINDOW)["retriever"]
    words = legs("red heart", WINDOW)["keyword"]
    outer = retriever({"fused": inner, "keyword": words}, {}, window=WINDOW)
    answer = plugged.http.ok("POST", f"{index}/_search", {**outer, "size": 20, "explain": True})
    for hit in answer["hits"]["hits"]:
        assert "would do as well by chance" in str(parts_of(hit)[0]) or "not among" in str(parts_of(hit)[0])
        assert 0 <= hit["_score"] <= 1


def test_an_empty_source_is_refused(plugged: Plugged, index: str) -> None:
    body = retriever(legs("red heart", WINDOW, "photo_vector"), {}, window=WINDOW)
    body["retriever"]["crosslens"]["retrievers"][0]["source"] = " "
    status, answer = plugged.http("POST", f"{index}/_search", body)
    assert status == 400
    assert "[source] must not be empty" in str(answer)
