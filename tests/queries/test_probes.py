"""What a keyword query could get at most: its parts, its words, and how the answers are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslens.queries.search.analysis import Analysis
from crosslens.queries.search.probes import MOST, Probes, probes_of
from crosslens.queries.search.respelling import respelt
from crosslens.queries.search.units import fields_of
from crosslens.queries.search.words import in_words, parted, spaces_part


def at_spaces(text: str, _fields: tuple[str, ...]) -> Sequence[str]:
    return in_words(text)


def plain(query: Any) -> Any:
    """Without what only tells whether the analysis leaves anything."""
    if isinstance(query, dict):
        return {name: plain(value) for name, value in query.items() if name != "zero_terms_query"}
    return [plain(each) for each in query] if isinstance(query, list) else query


def units(query: dict[str, Any]) -> list[Any] | None:
    """The parts asked for."""
    probes = probes_of(query, at_spaces)
    if probes is None:
        return None
    asked = [search["query"] for search in probes.searches[: len(probes.times)]]
    return [plain(each["bool"]["should"][0] if "bool" in each else each) for each in asked]


def answer(score: float | None) -> dict[str, Any]:
    return {"hits": {"hits": [] if score is None else [{"_score": score}]}}


def test_each_word_is_asked_for_over_the_same_fields_and_any_may_match() -> None:
    query = {
        "multi_match": {"query": "blue shoe", "fields": ["title^2", "body"], "operator": "and", "tie_breaker": 0.3}
    }
    how = {"fields": ["title^2", "body"], "tie_breaker": 0.3}
    assert units(query) == [{"multi_match": {"query": word, **how}} for word in ("blue", "shoe")]


def test_of_alternatives_for_one_text_each_word_is_asked_for_in_all() -> None:
    def asked(text: str) -> dict[str, Any]:
        caption = {"path": "captions", "query": {"multi_match": {"query": text, "fields": ["captions.text"]}}}
        title = {"multi_match": {"query": text, "fields": ["title"]}}
        return {"dis_max": {"queries": [title, {"nested": {**caption, "score_mode": "max"}}]}}

    assert units(asked("blue shoe")) == [asked("blue"), asked("shoe")]
    assert fields_of(asked("blue")) == {"title", "captions.text"}
    other = {"match": {"title": "red"}}
    assert units({"dis_max": {"queries": [asked("blue")["dis_max"]["queries"][0], other]}}) is None
    probes = probes_of(asked("blue shoee"), at_spaces)
    assert probes is not None
    again = respelt(probes, asked("blue shoee"), [answer(1.0), answer(None), answer(None)])
    assert again is not None
    assert again.query["bool"]["should"][0] == asked("blue")
    fuzzy = again.query["bool"]["should"][1]["dis_max"]["queries"][1]["nested"]["query"]["multi_match"]
    assert fuzzy["fuzziness"] == 1


def test_words_of_nested_objects_are_spelt_otherwise_together_in_one_of_them() -> None:
    def asked(*words: dict[str, Any]) -> dict[str, Any]:
        inner = {"bool": {"should": list(words)}} if len(words) > 1 else words[0]
        return {"nested": {"path": "captions", "score_mode": "max", "query": inner}}

    def word(text: str, **how: Any) -> dict[str, Any]:
        return {"multi_match": {"query": text, "fields": ["captions.text"], **how}}

    query = asked(word("blue shoee blue"))
    probes = probes_of(query, at_spaces)
    assert probes is not None
    again = respelt(probes, query, [answer(1.0), answer(None), answer(None)])
    assert again is not None
    fuzzy = word("shoee", fuzziness=1, prefix_length=0, max_expansions=50)
    twice = {"bool": {"must": [word("blue")], "boost": 2}}
    assert again.query == asked(twice, fuzzy)
    assert again.searches[0]["query"] == asked(fuzzy)
    filtered = {"bool": {"must": [query], "filter": [{"term": {"kind": "x"}}]}}
    within = respelt(probes, filtered, [answer(1.0), answer(None), answer(None)])
    assert within is not None
    assert within.query == {"bool": {"must": [asked(twice, fuzzy)], "filter": [{"term": {"kind": "x"}}]}}


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ({"match": {"title": "blue shoe"}}, [{"match": {"title": {"query": w}}} for w in ("blue", "shoe")]),
        (
            {"match": {"title": {"query": "blue shoe", "minimum_should_match": "100%", "boost": 2}}},
            [{"match": {"title": {"query": w, "boost": 2}}} for w in ("blue", "shoe")],
        ),
        ({"match_phrase": {"title": "blue shoe"}}, [{"match_phrase": {"title": "blue shoe"}}]),
        (
            {"multi_match": {"query": "blue shoe", "fields": ["title"], "type": "phrase"}},
            [{"multi_match": {"query": "blue shoe", "fields": ["title"], "type": "phrase"}}],
        ),
        (
            {
                "bool": {
                    "must": {"match": {"title": "red"}},
                    "should": [{"term": {"brand": "acme"}}],
                    "filter": [{"term": {"x": 1}}],
                }
            },
            [{"match": {"title": {"query": "red"}}}, {"term": {"brand": "acme"}}],
        ),
        (
            {
                "simple_query_string": {
                    "query": '"red shoe" +blue -hat | sock*',
                    "fields": ["title"],
                    "default_operator": "and",
                }
            },
            [{"simple_query_string": {"query": q, "fields": ["title"]}} for q in ('"red shoe"', "blue", "sock*")],
        ),
        (
            {"query_string": {"query": 'red AND NOT hat OR brand:acme (blue "wool sock"~2)', "default_field": "title"}},
            [
                {"query_string": {"query": q, "default_field": "title"}}
                for q in ("red", "brand:acme", "blue", '"wool sock"~2')
            ],
        ),
        (
            {"nested": {"path": "offers", "query": {"match": {"offers.name": "red hat"}}}},
            [{"nested": {"path": "offers", "query": {"match": {"offers.name": {"query": w}}}}} for w in ("red", "hat")],
        ),
    ],
    ids=["match", "demands", "phrase", "multi phrase", "bool", "simple string", "query string", "nested"],
)
def test_the_parts_of_a_users_own_query(query: dict[str, Any], parts: list[Any]) -> None:
    assert units(query) == parts


@pytest.mark.parametrize(
    "query",
    [
        {"match_all": {}},
        {"function_score": {"query": {"match": {"title": "red"}}}},
        {"more_like_this": {"fields": ["title"], "like": "red"}},
        {"bool": {"filter": [{"term": {"x": 1}}]}},
        {"bool": {"must": [{"match": {"title": "red"}}, {"script_score": {}}]}},
        {"query_string": {"query": "price:[1 TO 5] /re.*/"}},
        {"multi_match": {"query": "..."}},
    ],
    ids=lambda query: next(iter(query)),
)
def test_of_other_queries_nothing_is_known(query: dict[str, Any]) -> None:
    assert probes_of(query, at_spaces) is None


def test_repeated_words_are_asked_once_and_counted_as_often_as_they_stand_there() -> None:
    probes = probes_of({"match": {"title": "shoe blue shoe"}}, at_spaces)
    assert probes is not None
    assert (len(probes.searches), probes.times, probes.words) == (3, (2, 1), 3)
    assert probes.attainable([answer(3.0), answer(1.0), answer(None)], 2.0) == pytest.approx(7.0)


def test_many_words_are_sampled_evenly_and_the_rest_is_as_good_as_they_are_on_average() -> None:
    probes = probes_of({"match": {"title": " ".join(f"w{i}" for i in range(800))}}, at_spaces)
    assert probes is not None
    assert len(probes.searches) == MOST
    assert probes.words == 800
    assert probes.attainable([answer(2.0)] * MOST, 40.0) == pytest.approx(1600.0)


def test_a_word_that_nobody_wrote_counts_as_an_average_one_and_one_that_is_none_not_at_all() -> None:
    probes = Probes(({}, {}, {}), (1, 1, 1), 3)
    assert probes.attainable([answer(4.0), answer(2.0), answer(None)], 1.0) == pytest.approx(9.0)
    # A hit of score 0: the field's analysis leaves nothing of the word.
    assert probes.attainable([answer(4.0), answer(2.0), answer(0.0)], 1.0) == pytest.approx(6.0)
    assert probes.attainable([answer(None), answer(None), answer(0.0)], 0.0) is None


def test_the_search_for_a_word_fetches_nothing_but_its_score() -> None:
    probes = probes_of({"match": {"title": "shoe"}}, at_spaces)
    assert probes is not None
    for search in probes.searches:
        assert_bare(search)


def assert_bare(search: dict[str, Any]) -> None:
    assert {k: v for k, v in search.items() if k != "query"} == {
        "size": 1,
        "_source": False,
        "stored_fields": "_none_",
        "track_total_hits": False,
    }


def test_where_the_best_document_has_every_word_no_more_can_be_attained() -> None:
    probes = probes_of({"match": {"title": "blue shoe"}}, at_spaces, [{"term": {"x": 1}}])
    assert probes is not None
    must, kept = probes.searches[-1]["query"]["bool"]["must"], probes.searches[-1]["query"]["bool"]["filter"]
    assert must == [{"match": {"title": "blue shoe"}}]
    assert kept == [
        {"match": {"title": {"query": "blue", "zero_terms_query": "all"}}},
        {"match": {"title": {"query": "shoe", "zero_terms_query": "all"}}},
        {"term": {"x": 1}},
    ]
    words = [answer(4.0), answer(2.0)]
    assert probes.attainable([*words, answer(4.5)], 4.5) == 4.5
    # A document with one word scores higher: having both words is no proof of being the best.
    assert probes.attainable([*words, answer(3.0)], 4.0) == pytest.approx(6.0)
    assert probes.attainable([*words, answer(None)], 4.0) == pytest.approx(6.0)


def test_fields_that_a_query_names() -> None:
    query = {
        "bool": {"must": [{"match": {"title": "red"}}, {"match_phrase": {"body": "a b"}}], "filter": {"term": {"x": 1}}}
    }
    assert fields_of(query) == {"title", "body"}
    assert fields_of({"multi_match": {"query": "red", "fields": ["a", "b^2"]}}) == {"a", "b^2"}
    near = {"span_near": {"clauses": [{"span_term": {"title": "red"}}], "slop": 3, "in_order": True}}
    assert fields_of(near) == {"title"}


@pytest.mark.parametrize("word", ["abc", "a" * 33, "b12345"])
def test_what_is_no_word_of_a_language_is_looked_for_in_no_other_spelling(word: str) -> None:
    probes = probes_of({"match": {"title": word}}, lambda text, _: text.split())
    assert probes is not None
    assert respelt(probes, {"match": {"title": word}}, [answer(None), answer(None)]) is None


def test_tokens_inside_others_are_no_words_of_their_own() -> None:
    text = "赤い靴 shoe"
    assert parted({"title": [(0, 1), (1, 2), (2, 3), (4, 8)]}, text) == ["赤", "い", "靴", "shoe"]
    # Pairs of characters, as the analyser cjk makes them; beginnings of words.
    assert parted({"title": [(0, 2), (1, 3), (4, 8), (4, 5), (4, 6)]}, text) == ["赤い", "い靴", "shoe"]
    assert parted({}, text) == []
    # Java counts a character beyond the first 65,536 twice.
    assert parted({"title": [(0, 2), (3, 7)]}, "👟 shoe") == ["👟", "shoe"]


@pytest.mark.parametrize(
    ("text", "yes"),
    [("blue shoe", True), ("größe", True), ("赤い靴", False), ("สวัสดี", False), ("신발 파란", True), ("обувь", True)],
)
def test_scripts_without_spaces_are_told(text: str, yes: bool) -> None:
    assert spaces_part(text) is yes


@given(st.text(max_size=40))
def test_any_text_is_parted_somehow(text: str) -> None:
    spaces_part(text)
    assert all(in_words(text))
    probes_of({"simple_query_string": {"query": text, "fields": ["a"]}}, at_spaces)
    probes_of({"query_string": {"query": text}}, at_spaces)


MAPPING = {
    "properties": {
        "title": {"type": "text"},
        "body": {"type": "text", "analyzer": "english"},
        "code": {"type": "text", "analyzer": "parts"},
        "name": {
            "type": "text",
            "analyzer": "parts",
            "search_analyzer": "standard",
            "fields": {"en": {"type": "text"}},
        },
        "brand": {"type": "keyword"},
    }
}


def test_words_are_parted_here_only_where_the_index_says_that_spaces_do() -> None:
    analysis = Analysis.of({"shop": MAPPING}, {"shop": {"index.analysis.analyzer.parts.tokenizer": "pattern"}})
    assert analysis.words("blue & shoe", ("title", "body^2", "name*")) == ["blue", "shoe"]
    assert analysis.words("blue shoe", ("title", "code")) is None
    assert analysis.words("blue shoe", ()) is None
    assert analysis.words("赤い靴", ("title",)) is None
    assert analysis.words("Acme Corp", ("brand",)) == ["Acme Corp"]
    index, body = analysis.question("blue-shoe", ("code", "name.en"))
    assert index == "shop"
    assert body["doc"] == {"code": "blue-shoe", "name": "blue-shoe"}
    assert body["per_field_analyzer"] == {"code": "parts", "name.en": "standard"}


@pytest.mark.parametrize("name", ["default", "default_search", "standard"])
def test_an_index_that_names_its_own_default_is_asked(name: str) -> None:
    analysis = Analysis.of({"shop": MAPPING}, {"shop": {f"index.analysis.analyzer.{name}.type": "custom"}})
    assert analysis.words("blue shoe", ("title",)) is None
