"""Searches ranked by evidence on real nodes: the words are the server's, new documents count, and trips are few."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch, helpers

from crosslens.demo.build import DATA
from crosslens.demo.run import load_items
from crosslens.errors import QueryError
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.evaluate.judgements import Judged
from crosslens.queries.evaluate.measures import best_single, collect, evaluate
from crosslens.queries.evaluate.usefulness import looks_useless
from crosslens.queries.search.probes import MOST
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.result import SearchResult
from tests.conftest import Server
from tests.queries.trips import counted

pytestmark = pytest.mark.node

_COUNT, _NEW = 1_000, 20
_TITLED = {"title": {"type": "text"}, "photo": {"type": "keyword"}}


@dataclass(frozen=True)
class Shop:
    """The README's shop: some products without words, some without a picture, some new and without vectors."""

    index: str
    titles: dict[str, str]
    new: list[str]
    searcher: HybridSearcher


@pytest.fixture(scope="module")
def demo_encoder() -> Encoder:
    return Encoder(DEMO_MODEL)


@pytest.fixture(scope="module")
def shop(server: Server, demo_encoder: Encoder) -> Iterator[Shop]:
    items = [item for item in load_items() if not item["name"].startswith("Item ")][: _COUNT + _NEW]
    rng = np.random.default_rng(11)
    documents, titles = [], {}
    for item in items:
        titles[item["id"]] = item["name"]
        document = {"title": item["name"], "description": item.get("keywords", ""), "photo": item["image"]}
        luck = rng.random()
        if luck < 0.2:
            document["title"] = f"Product {len(documents)}"
            del document["description"]
        elif luck < 0.3:
            del document["photo"]
        documents.append({"_id": item["id"], **document})
    name = server.new_index({"properties": {**_TITLED, "description": {"type": "text"}}}, [])
    new = documents[-_NEW:]
    for document in new:
        document.setdefault("photo", "gone.webp")
        document["title"] = titles[document["_id"]]
    helpers.bulk(server.client, ({"_index": name, **each} for each in documents[:-_NEW]), refresh=True)
    targets = [Target("title_vector", "text", ("title", "description")), Target("photo_vector", "image", ("photo",))]
    add_vectors(server.client, name, demo_encoder, targets, Options(images=ImageAccess(root=DATA)))
    helpers.bulk(server.client, ({"_index": name, **each} for each in new), refresh=True)
    yield Shop(name, titles, [each["_id"] for each in new], HybridSearcher(server.client, name, demo_encoder))
    server.client.indices.delete(index=name)


def ids(result: SearchResult) -> list[str]:
    return [hit.id for hit in result.hits]


def test_the_fused_search_is_no_worse_than_its_best_leg(shop: Shop) -> None:
    pytest.importorskip("ir_measures", reason="the extra 'evaluate' is not installed")
    old = [id for id in shop.titles if id not in shop.new]
    judged = [Judged(id, shop.titles[id], None, {id: 1.0}) for id in old[::4]]
    rows = evaluate(collect(shop.searcher, judged))
    fused, single = rows[-1], best_single(rows)
    assert fused.mean("nDCG@10") > single.mean("nDCG@10")


def test_a_new_document_without_vectors_is_first_for_its_own_name(shop: Shop) -> None:
    for id in shop.new:
        result = shop.searcher.search(shop.titles[id], size=3)
        place = ids(result).index(id)
        # Only one with the same words may come before it.
        assert all((hit.parts["keyword"].covered or 0.0) > 0.99 for hit in result.hits[:place]), shop.titles[id]
        hit = result.hits[place]
        assert hit.parts["title_vector"].lacking
        assert "it has no picture to compare" in hit.explanation


def test_a_product_without_words_is_found_by_its_picture(shop: Shop) -> None:
    result = shop.searcher.search("bicycle", size=5)
    assert result.sources == {
        "keyword": "description, title",
        "title_vector": "description, title",
        "photo_vector": "photo",
    }
    for hit in result.hits:
        assert hit.score == pytest.approx(sum(part.weighted for part in hit.parts.values()))
        assert 0 <= hit.score <= 1


def test_the_ranking_is_the_same_with_and_without_the_second_trip(shop: Shop) -> None:
    for text in ("red apple", "running shoe", "cat face with tears of joy", "xylophone quartz"):
        completed = shop.searcher.search(text, size=100)
        alone = shop.searcher.search(text, size=100, complete=False)
        assert ids(completed) == ids(alone)
        assert [hit.score for hit in completed.hits] == [hit.score for hit in alone.hits]


def test_pictures_and_likes_are_ranked_by_evidence_too(shop: Shop, pictures: Path) -> None:
    by_picture = shop.searcher.search(image=pictures / "3.png", size=5)
    assert by_picture.legs == ["photo_vector", "title_vector"]
    assert len(set(by_picture.sources.values())) == 2
    assert by_picture.hits[0].explanation[0].endswith("by chance")
    liked = shop.searcher.search(like=next(iter(shop.titles)), size=5)
    assert liked.hits[0].parts["keyword"].covered is None
    assert all(0 <= hit.score <= 1 for hit in liked.hits)


def test_one_leg_alone_keeps_its_own_order(shop: Shop) -> None:
    text = "smiling face with heart eyes and a very long tail of other words that hardly anybody ever wrote down"
    found = shop.searcher.search(text, legs=["keyword"], size=100)
    raws = [hit.parts["keyword"].raw or 0.0 for hit in found.hits]
    assert raws == sorted(raws, reverse=True)
    near = shop.searcher.search(text, legs=["photo_vector"], size=50)
    raws = [hit.parts["photo_vector"].raw or 0.0 for hit in near.hits]
    # Ranked by int8, shown exact.
    assert np.corrcoef(np.arange(50), raws)[0, 1] < -0.9


def test_a_filter_that_leaves_three_documents_makes_none_of_them_sure(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [id for id in shop.titles if id not in shop.new][:3]
    how: dict[str, Any] = {"filter": {"ids": {"values": chosen}}, "size": 10}
    asked = counted(shop.searcher, monkeypatch)
    result = shop.searcher.search("xylophone", **how)
    assert 1 <= len(result.hits) <= 3
    assert result.hits[0].score < 0.9
    # Between three documents, what the server rounds off would decide much. So they are compared again by both fields,
    # after the windows with their probes and another spelling, and before what is shown.
    assert asked == [5, 2, 2, 1]
    exact = shop.searcher.search("xylophone", **how, oversample=2.0)
    assert [hit.id for hit in result.hits] == [hit.id for hit in exact.hits]
    assert [hit.score for hit in result.hits] == pytest.approx([hit.score for hit in exact.hits], abs=1e-6)
    assert shop.searcher.search("xylophone", filter={"ids": {"values": ["none"]}}).hits == []


def test_answered_tells_whether_anything_stands_out(shop: Shop) -> None:
    name = next(shop.titles[id] for id in shop.new)
    assert shop.searcher.search(name).answered is True
    assert shop.searcher.search(name, min_score=0.9999).answered is False
    nothing = shop.searcher.search(name, filter={"ids": {"values": ["none"]}})
    assert nothing.answered is False
    assert shop.searcher.search(name, normalizer="min-max").answered is None


def test_min_score_is_a_probability(shop: Shop) -> None:
    whole = shop.searcher.search("apple", size=100)
    bound = whole.hits[3].score
    cut = shop.searcher.search("apple", size=100, min_score=bound)
    assert ids(cut) == [hit.id for hit in whole.hits if hit.score >= bound]
    assert cut.best == whole.hits[0].score


def test_users_say_what_reads_the_same(shop: Shop) -> None:
    apart = shop.searcher.search("apple", sources={"title_vector": "meaning"})
    assert apart.sources["title_vector"] == "meaning"
    assert len(set(apart.sources.values())) == 3
    assert apart.hits[0].score != shop.searcher.search("apple").hits[0].score
    with pytest.raises(QueryError, match="sources name no leg of this search: foto"):
        shop.searcher.search("apple", sources={"foto": "x"})


def test_one_trip_decides_and_a_second_one_brings_what_is_shown(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(shop.searcher, monkeypatch)
    shop.searcher.search("red apple")
    # Three legs, two words, and both together; then the documents shown, with every leg's scores of them.
    assert asked == [6, 1]
    asked.clear()
    shop.searcher.search("red apple", complete=False)
    assert asked == [6]
    asked.clear()
    shop.searcher.search("red apple", size=0)
    assert asked == [6]
    asked.clear()
    shop.searcher.search("red apple", legs=["keyword"], source=False)
    # Nothing of what is shown is missing.
    assert asked == [4]


def test_many_words_are_bounded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(shop.searcher, monkeypatch)
    shop.searcher.search(" ".join(shop.titles.values())[:20_000], size=0)
    assert asked == [3 + MOST]


def test_a_document_deleted_between_the_trips_gives_its_place_to_the_next(
    server: Server, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shop.searcher.search("apple", size=5)
    gone = before.hits[1].id
    kept = server.source(shop.index, gone)
    really = shop.searcher._client.msearch

    def deleting(**how: Any) -> Any:
        answer = really(**how)
        server.client.options(ignore_status=404).delete(index=shop.index, id=gone, refresh=True)
        return answer

    monkeypatch.setattr(shop.searcher._client, "msearch", deleting)
    after = shop.searcher.search("apple", size=5)
    monkeypatch.undo()
    server.client.index(index=shop.index, id=gone, document=kept, refresh=True)
    assert ids(after)[:4] == [id for id in ids(before) if id != gone]
    assert len(after.hits) == 5
    assert after.found == before.found - 1


# --- the words are the server's


def coverage(
    client: Elasticsearch, index: str, encoder: Encoder, text: str | None, **how: Any
) -> dict[str, float | None]:
    result = HybridSearcher(client, index, encoder).search(text, legs=["keyword"], size=50, **how)
    return {hit.id: hit.parts["keyword"].covered for hit in result.hits}


@pytest.fixture(scope="module")
def library(server: Server, demo_encoder: Encoder) -> str:
    # What the embedded node has of analysis: no stemmers, no synonyms.
    analysis = {
        "analyzer": {
            "stopping": {"type": "standard", "stopwords": "_english_"},
            "pairing": {"type": "custom", "tokenizer": "standard", "filter": ["two"]},
        },
        "filter": {"two": {"type": "shingle", "output_unigrams": False}},
    }
    properties = {
        "title": {"type": "text"},
        "english": {"type": "text", "analyzer": "stopping"},
        "tag": {"type": "text", "analyzer": "keyword"},
        "pairs": {"type": "text", "analyzer": "pairing"},
    }
    documents: list[Mapping[str, Any]] = [
        {"title": "red shoe", "english": "the red shoe", "tag": "new york", "pairs": "red shoe sale"},
        {"title": "blue shoe", "english": "a shoe of blue", "tag": "york", "pairs": "blue shoe sale"},
        {"title": "赤い靴"},
        {"title": "赤い帽子"},
        {"title": "red hat with a blue band", "english": "a red hat"},
        *({"title": f"sock number {i}", "english": f"sock {i}", "pairs": f"sock number {i}"} for i in range(30)),
    ]
    index = f"library-{server.version}"
    server.client.options(ignore_status=404).indices.delete(index=index)
    server.client.indices.create(
        index=index, settings={"number_of_shards": 1, "analysis": analysis}, mappings={"properties": properties}
    )
    helpers.bulk(server.client, ({"_index": index, "_id": str(i), **d} for i, d in enumerate(documents)), refresh=True)
    add_vectors(server.client, index, demo_encoder, [Target("title_vector", "text", ("title",))])
    return index


def query(fields: Sequence[str], text: str) -> dict[str, Any]:
    return {"multi_match": {"query": text, "fields": list(fields)}}


def test_stop_words_are_not_held_against_a_document(server: Server, library: str, demo_encoder: Encoder) -> None:
    found = coverage(server.client, library, demo_encoder, "x", query=query(["english"], "the red green shoe"))
    without = coverage(server.client, library, demo_encoder, "x", query=query(["english"], "red green shoe"))
    assert found == pytest.approx(without)
    assert 0.4 < (found["0"] or 0) < 0.8


def test_what_an_analyser_keeps_together_is_one_word(server: Server, library: str, demo_encoder: Encoder) -> None:
    whole = coverage(server.client, library, demo_encoder, "x", query=query(["tag"], "new york"))
    assert whole == {"0": pytest.approx(1.0)}
    # Of "red shoe sale" the field reads "red shoe" and "shoe sale"; the second document has one of the two.
    found = coverage(server.client, library, demo_encoder, "x", query=query(["pairs"], "red shoe sale"))
    assert found["0"] == pytest.approx(1.0)
    assert 0.1 < (found["1"] or 0) < 0.7


def test_scripts_without_spaces_have_words(server: Server, library: str, demo_encoder: Encoder) -> None:
    found = coverage(server.client, library, demo_encoder, "x", query=query(["title"], "赤い靴"))
    assert found["2"] == pytest.approx(1.0)
    assert 0.1 < (found["3"] or 0) < 0.75


def test_phrases_and_operators_are_parts_of_the_query(server: Server, library: str, demo_encoder: Encoder) -> None:
    phrase = coverage(server.client, library, demo_encoder, "x", query={"match_phrase": {"title": "red shoe"}})
    assert phrase == {"0": pytest.approx(1.0)}
    typed = {"simple_query_string": {"query": '"red shoe" hat -band', "fields": ["title"]}}
    found = coverage(server.client, library, demo_encoder, "x", query=typed)
    assert 0.3 < (found["0"] or 0) < 0.9
    either = {"bool": {"should": [{"match": {"title": "red"}}, {"match": {"english": "hat"}}]}}
    found = coverage(server.client, library, demo_encoder, "x", query=either)
    assert max(found, key=lambda id: found[id] or 0) == "4"


def test_a_query_of_which_nothing_is_known_is_judged_by_its_tail(
    server: Server, library: str, demo_encoder: Encoder
) -> None:
    scored = {"function_score": {"query": {"match": {"title": "sock"}}}}
    result = HybridSearcher(server.client, library, demo_encoder).search("x", query=scored, size=3)
    assert result.hits[0].parts["keyword"].covered is None
    assert re.search("about [0-9]+ documents would match the words as well", " ".join(result.hits[0].explanation))


# --- words that nobody wrote


def test_a_misspelt_word_is_looked_for_with_a_letter_changed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(shop.searcher, monkeypatch)
    found = shop.searcher.search("bicycel", legs=["keyword"], size=5)
    # The leg, the word and all of it; then the leg and the word in another spelling; then what is shown.
    assert asked == [3, 2, 1]
    assert found.hits
    for hit in found.hits:
        assert hit.parts["keyword"].respelt
        assert hit.explanation == ["the words cover 100 % of the query, spelt a little otherwise"] or hit.score < 0.9
    assert "bicycle" in f"{found.hits[0].source}"
    asked.clear()
    assert shop.searcher.search("bicycel", legs=["keyword"], spelling=False).hits == []
    assert asked == [3]


def test_a_word_as_typed_counts_more_than_one_of_another_spelling(shop: Shop) -> None:
    typed = shop.searcher.search("bicycle", legs=["keyword"], size=1).hits[0]
    otherwise = shop.searcher.search("bicycel", legs=["keyword"], size=1).hits[0]
    assert typed.score > otherwise.score


# --- legs that look useless


def test_a_leg_that_is_at_odds_with_the_words_is_told_of(server: Server, shop: Shop, demo_encoder: Encoder) -> None:
    assert looks_useless(server.client, shop.index) == []
    items = load_items()[:120]
    exchanged = [
        {"title": item["name"], "photo": items[(i * 37 + 11) % 120]["image"]}
        for i, item in enumerate(items)
        if not item["name"].startswith("Item ")
    ]
    name = server.new_index({"properties": _TITLED}, exchanged)  # type: ignore[arg-type]
    targets = [Target("title_vector", "text", ("title",)), Target("photo_vector", "image", ("photo",))]
    add_vectors(server.client, name, demo_encoder, targets, Options(images=ImageAccess(root=DATA)))
    (warned,) = looks_useless(server.client, name)
    assert warned.field == "photo_vector"
    assert "don't find their own pictures" in warned.why
    assert "evaluate with judged queries" in warned.advice
