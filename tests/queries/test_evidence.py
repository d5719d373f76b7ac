"""Fusion by evidence: worked numbers, edge cases, and what holds of any scores."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crosslens.errors import QueryError
from crosslens.queries.fusion.evidence import by_coverage, by_tail, combine, covered, default_weights, evidences
from crosslens.queries.fusion.fuse import fuse
from crosslens.queries.fusion.scores import Scores

FLOATS = st.floats(0.01, 100, allow_nan=False)
COSINES = st.floats(-1, 1, allow_nan=False)
# As servers print them; what differs in its 17th digit is no scale.
PRINTED = st.integers(-1000, 1000).map(lambda n: n / 1000)
DOCS = st.sampled_from([f"d{i}" for i in range(12)])


def leg(source: str | None = None, attainable: float | None = None, depth: int = 100, **raw: float) -> Scores[str]:
    return Scores(raw, -1.0 if attainable is None else 0.0, depth=depth, attainable=attainable, source=source)


def sure(chance: float, depth: int = 100) -> float:
    """1 / (1 + E), less what a document gets that isn't found; a doubt of 0.01 at E = 1."""
    return 1 - (1 - 1 / (1 + chance)) * (1 + 1 / depth)


def chances(logs: dict[str, float]) -> dict[str, float]:
    return {key: math.exp(log) for key, log in logs.items()}


# --- the tail of a vector leg


def test_the_tail_gives_the_fifth_5_and_the_last_as_many_as_there_are() -> None:
    window = {str(i): 0.3 - 0.001 * i**0.5 for i in range(100)}
    found = chances(by_tail(window))
    assert found["4"] == pytest.approx(5)
    assert found["99"] == pytest.approx(100)
    assert 5 < found["30"] < 100
    assert found["0"] < 5


def test_the_tail_of_a_worked_example() -> None:
    # 20 documents: s_5 = 0.4, s_20 = 0.4 - ln 4, so that b = 1.
    window = {f"d{i}": 0.4 - math.log(4) * max(i - 4, 0) / 15 for i in range(4, 20)}
    window |= {"first": 2.4, "second": 1.4, "third": 0.9, "fourth": 0.4}
    m = math.log(4) ** 2 / sum(1 / i**2 for i in range(5, 20))
    found = chances(by_tail(window))
    assert found["first"] == pytest.approx(5 * (1 + 2 / m) ** -m)
    assert found["first"] == pytest.approx(0.7929, abs=1e-4)
    assert found["d4"] == pytest.approx(5)
    assert found["d19"] == pytest.approx(20)
    # Halfway down in score, so the geometric mean of 5 and 20.
    assert found["d11"] == pytest.approx(5 * 4 ** (7 / 15))


def test_one_hit_is_one_that_chance_would_find_too() -> None:
    assert chances(by_tail({"a": 0.3})) == {"a": 1.0}
    assert by_tail({}) == {}


def test_of_two_hits_the_second_is_the_one_that_chance_finds() -> None:
    assert chances(by_tail({"a": 0.9, "b": 0.1})) == pytest.approx({"a": 1.0, "b": 2.0})


def test_equal_scores_tell_no_more_than_how_many_there_are() -> None:
    assert chances(by_tail(dict.fromkeys("abcd", 0.3))) == pytest.approx(dict.fromkeys("abcd", 4.0))


def test_one_above_equal_ones_stands_out_as_the_first_of_them() -> None:
    assert chances(by_tail({"a": 0.9, **{str(i): 0.3 for i in range(9)}}))["a"] == pytest.approx(1.0)


def test_ties_at_the_top_share_one_chance() -> None:
    window = {str(i): 0.5 if i < 7 else 0.2 - 0.001 * i for i in range(40)}
    found = chances(by_tail(window))
    assert {round(found[str(i)], 9) for i in range(7)} == {5.0}


def test_three_documents_never_make_one_look_sure() -> None:
    # The filter left three: a scale from two neighbours says little, however far the first is ahead.
    assert chances(by_tail({"a": 0.9, "b": 0.30001, "c": 0.3}))["a"] > 1e-4
    assert fuse({"v": leg(a=0.9, b=0.31, c=0.29)}, {})["a"][0] < 0.9


@given(st.dictionaries(DOCS, PRINTED, min_size=1), st.floats(0.1, 10), st.floats(-5, 5))
def test_scale_and_sign_of_the_scores_are_no_matter(raw: dict[str, float], times: float, plus: float) -> None:
    moved = {key: score * times + plus for key, score in raw.items()}
    # Equal at the ends, rounding may make a scale where there is none.
    assume(len(set(raw.values())) == len(raw))
    assert by_tail(moved) == pytest.approx(by_tail(raw), abs=1e-4)


# --- the coverage of a keyword leg


def test_coverage_is_the_share_of_what_the_words_can_get() -> None:
    found = chances(by_coverage({"all": 6.0, "two thirds": 4.0, "half": 3.0}, 6.0))
    assert found["all"] == 0.0
    assert found["two thirds"] == pytest.approx(1.0)
    assert found["half"] == pytest.approx(4.0)


def test_a_document_better_than_the_words_alone_covers_all() -> None:
    # A phrase can be worth more than the sum of its words' best.
    assert by_coverage({"a": 8.0}, 6.0) == {"a": -math.inf}
    assert covered(8.0, 8.0, 6.0) == 1.0
    assert covered(3.0, 3.0, 6.0) == 0.5


def test_a_score_of_nothing_is_no_match() -> None:
    assert by_coverage({"a": 0.0}, 6.0) == {"a": math.inf}
    assert by_coverage({}, 0.0) == {}
    assert covered(0.0, 0.0, 0.0) == 0.0


# --- pooling and noisy-or


def test_one_leg_alone_is_sure_by_one_over_one_and_its_chance() -> None:
    (total, parts) = combine({"v": leg(a=0.3)}, {})["a"]
    # E = 1, and a doubt of 0.01.
    assert total == pytest.approx(sure(1.01), abs=1e-4)
    assert parts["v"].chance == pytest.approx(1.0)
    assert parts["v"].normalized == pytest.approx(total)
    assert parts["v"].weighted == pytest.approx(total)


def test_sources_are_different_chances_to_be_right() -> None:
    fused = combine({"words": leg("title", a=0.3), "picture": leg("photo", a=0.9)}, {})
    assert fused["a"][0] == pytest.approx(1 - (1 - sure(1.01)) ** 2, abs=1e-4)


def test_legs_of_one_source_are_two_opinions_and_no_more() -> None:
    fused = combine({"bm25": leg("title", a=0.3), "vector": leg("title", a=0.9)}, {})
    assert fused["a"][0] == pytest.approx(sure(1.01), abs=1e-4)
    # One that only one of two opinions supports is less sure than one that both support.
    torn = combine({"bm25": leg("title", a=0.3), "vector": leg("title", b=0.9)}, {})
    assert torn["a"][0] == pytest.approx(sure(math.sqrt(1.01 * 100)), abs=1e-4)


def test_two_legs_that_read_the_words_do_not_outvote_the_one_that_looks_at_the_picture() -> None:
    noise = {f"n{i}": 0.2 - 0.001 * i for i in range(60)}
    words = {"half": 3.0, **{f"w{i}": 1.0 + 0.01 * i for i in range(20)}}
    legs = {
        "keyword": leg("title", 6.0, **words),
        "title_vector": leg("title", **{"half": 0.21, **noise}),
        "photo_vector": leg("photo", **{"shoe": 0.5, **noise}),
    }
    fused = combine(legs, {})
    assert max(fused, key=lambda key: fused[key][0]) == "shoe"


def test_a_document_whose_vector_is_yet_to_be_made_is_judged_by_its_words_alone() -> None:
    noise = {f"n{i}": 0.2 - 0.001 * i for i in range(60)}
    legs = {"keyword": leg("title", 6.0, new=6.0, known=6.0), "vector": leg("title", **noise)}
    held_against = combine(legs, {})
    assert held_against["new"][0] == pytest.approx(held_against["known"][0])
    assert held_against["new"][0] == pytest.approx(sure(math.sqrt(0.005 * 100)), abs=1e-3)
    legs["vector"] = replace(legs["vector"], lacks=frozenset({"new"}))
    fused = combine(legs, {})
    assert fused["new"][0] == pytest.approx(sure(0.005), abs=1e-3)
    assert fused["known"] == held_against["known"]
    assert fused["new"][1]["vector"].lacking
    assert fused["new"][1]["vector"].weighted == 0.0


def test_a_source_that_found_a_document_nowhere_adds_exactly_nothing() -> None:
    fused = combine({"words": leg("title", a=0.3), "picture": leg("photo", b=0.9)}, {})
    assert fused["a"][1]["picture"].weighted == 0.0
    assert fused["a"][0] == pytest.approx(sure(1.01), abs=1e-4)


def test_a_leg_that_found_nothing_leaves_the_order_to_the_others() -> None:
    vector = {f"d{i}": 0.3 - 0.01 * i for i in range(10)}
    alone = combine({"v": leg("photo", **vector)}, {})
    beside = combine({"v": leg("photo", **vector), "keyword": leg("title", 5.0)}, {})
    assert {key: total for key, (total, _) in alone.items()} == {key: total for key, (total, _) in beside.items()}
    assert combine({"keyword": leg("title", 5.0)}, {}) == {}


def test_completed_scores_are_shown_and_change_no_total() -> None:
    own = combine({"a": leg("x", p=0.5, q=0.3), "b": leg("y", r=0.7)}, {})
    completed = combine(
        {"a": replace(leg("x", p=0.5, q=0.3, r=0.1), window={"p": 0.5, "q": 0.3}), "b": leg("y", r=0.7)}, {}
    )
    assert {k: v[0] for k, v in completed.items()} == {k: v[0] for k, v in own.items()}
    assert completed["r"][1]["a"].raw == 0.1
    assert completed["r"][1]["a"].chance is None


# --- weights


def test_weights_turn_a_source_up_and_scale_does_not_matter() -> None:
    legs = {"keyword": leg("title", 6.0, a=6.0, b=1.0), "photo": leg("photo", a=0.1, b=0.9, c=0.05)}
    even, twice = combine(legs, {}), combine(legs, {"keyword": 2.0})
    assert twice["a"][0] > even["a"][0]
    times = combine(legs, {"keyword": 20.0, "photo": 10.0})
    assert {k: v[0] for k, v in times.items()} == pytest.approx({k: v[0] for k, v in twice.items()})


def test_a_weight_of_0_is_a_search_without_the_leg() -> None:
    legs = {
        "keyword": leg("title", 6.0, a=6.0),
        "vector": leg("title", a=0.3, b=0.2),
        "photo": leg("photo", c=0.9, a=0.1),
    }
    without = combine({name: scores for name, scores in legs.items() if name != "vector"}, {})
    weighed = combine(legs, {"keyword": 1.0, "vector": 0.0, "photo": 1.0})
    assert {k: v[0] for k, v in weighed.items() if v[0]} == pytest.approx({k: v[0] for k, v in without.items()})
    assert weighed["b"][0] == 0.0


def test_legs_of_one_source_share_a_weight() -> None:
    legs = {"keyword": leg("title"), "vector": leg("title"), "photo": leg("photo"), "views": leg(None)}
    assert default_weights(legs) == {"keyword": 0.5, "vector": 0.5, "photo": 1.0, "views": 1.0}


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"mean": "geometric"}, "a geometric mean is of normalized scores, which evidence doesn't take"),
        ({"weights": {"x": 1.0}}, "weights name no leg"),
        ({"weights": {"v": -1.0}}, "must be 0 or more"),
        ({"weights": {"v": 0.0}}, "at least one weight"),
    ],
)
def test_what_makes_no_sense_is_refused(how: dict[str, Any], says: str) -> None:
    with pytest.raises(QueryError, match=says):
        fuse({"v": leg(a=0.3)}, **{"weights": {}, **how})


# --- properties

LEGS = st.fixed_dictionaries(
    {
        "keyword": st.builds(
            lambda raw, most: Scores(raw, 0.0, attainable=most, source="title", depth=12),
            st.dictionaries(DOCS, FLOATS),
            st.one_of(st.none(), FLOATS),
        ),
        "title": st.builds(
            lambda raw, lacks: Scores(raw, -1.0, source="title", depth=12, lacks=frozenset(lacks) - raw.keys()),
            st.dictionaries(DOCS, COSINES),
            st.sets(DOCS),
        ),
        "photo": st.builds(lambda raw: Scores(raw, -1.0, source="photo", depth=12), st.dictionaries(DOCS, COSINES)),
    }
)
WEIGHTS = st.dictionaries(st.sampled_from(["keyword", "title", "photo"]), st.floats(0, 5), max_size=3)


@given(LEGS, WEIGHTS)
def test_totals_lie_from_0_to_1_and_their_parts_sum_to_them(
    legs: dict[str, Scores[str]], weights: dict[str, float]
) -> None:
    assume(any({**default_weights(legs), **weights}.values()))
    for total, parts in combine(legs, weights).values():
        assert 0 <= total <= 1
        assert math.fsum(part.weighted for part in parts.values()) == pytest.approx(total, abs=1e-12)
        assert all(part.weighted >= 0 and math.isfinite(part.normalized) for part in parts.values())


@given(LEGS, WEIGHTS, st.sampled_from(["keyword", "title", "photo"]), DOCS, st.floats(0, 3))
def test_a_higher_score_in_one_leg_never_lowers_a_documents_total(
    legs: dict[str, Scores[str]], weights: dict[str, float], name: str, doc: str, more: float
) -> None:
    assume(any({**default_weights(legs), **weights}.values()) and doc in legs[name].raw)
    before = combine(legs, weights)[doc][0]
    raised = {**legs[name].raw, doc: legs[name].raw[doc] + more}
    after = combine({**legs, name: replace(legs[name], raw=raised)}, weights)[doc][0]
    assert after >= before - 1e-9


@given(LEGS)
def test_a_document_that_no_leg_finds_changes_nothing(legs: dict[str, Scores[str]]) -> None:
    more = {name: replace(scores, lacks=frozenset(scores.lacks) | {"unfound"}) for name, scores in legs.items()}
    assert {k: v[0] for k, v in combine(more, {}).items()} == {k: v[0] for k, v in combine(legs, {}).items()}


@given(st.dictionaries(st.integers(0, 40), COSINES, min_size=1), st.one_of(st.none(), FLOATS))
def test_a_leg_alone_keeps_its_order(raw: dict[int, float], attainable: float | None) -> None:
    if attainable is not None:
        raw = {key: score + 1.001 for key, score in raw.items()}
    fused = combine({"v": Scores(raw, -1.0 if attainable is None else 0.0, attainable=attainable)}, {})
    ordered = sorted(raw, key=lambda key: raw[key])
    for lower, higher in pairwise(ordered):
        assert fused[lower][0] <= fused[higher][0]
        # Below a thousandth of the query, doubles no longer tell how little it is.
        if raw[higher] - raw[lower] > 1e-3 and (attainable is None or raw[lower] > attainable / 1000):
            assert fused[lower][0] < fused[higher][0]


@given(LEGS, st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5))
def test_many_weights_at_once_rank_as_each_by_itself(
    legs: dict[str, Scores[str]], choices: list[tuple[float, float, float]]
) -> None:
    choices = [tuple(0.0 if weight < 0.05 else weight for weight in choice) for choice in choices]  # type: ignore[misc]
    keys, found = evidences(legs, np.array(choices))
    for column, choice in enumerate(choices):
        if not any(choice):
            assert not found[:, column].any()
            continue
        fused = combine(legs, dict(zip(legs, choice, strict=True)))
        for row, key in enumerate(keys):
            assert -math.expm1(-found[row, column]) == pytest.approx(fused[key][0], abs=1e-9)
