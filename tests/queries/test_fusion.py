"""Fusion: worked numbers, edge cases, and properties that any scores have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslens.errors import QueryError
from crosslens.queries.fusion import normalizers as normalize
from crosslens.queries.fusion.fuse import MEANS, Mean, Scores, fuse
from crosslens.queries.fusion.normalizers import theoretical_min_max as theoretical_minimum

SCORES = st.dictionaries(st.text(min_size=1, max_size=3), st.floats(-1, 50, allow_nan=False), max_size=12)


def test_worked_numbers_of_one_leg() -> None:
    assert theoretical_minimum({"a": 8.0, "b": 4.0, "c": 0.0}, 0.0) == {"a": 1.0, "b": 0.5, "c": 0.0}
    cosines = theoretical_minimum({"a": 0.5, "b": 0.2, "c": -1.0}, -1.0)
    assert cosines == pytest.approx({"a": 1.0, "b": 0.8, "c": 0.0})


def test_worked_numbers_of_a_weighted_sum() -> None:
    legs = {"keyword": Scores({"a": 6.0, "b": 3.0}, 0.0), "photo": Scores({"b": 0.6, "c": 0.2}, -1.0)}
    fused = fuse(legs, {"keyword": 1.0, "photo": 3.0}, normalizer="theoretical-min-max")
    assert fused["a"][0] == pytest.approx(0.25)
    assert fused["b"][0] == pytest.approx(0.25 * 0.5 + 0.75 * 1.0)
    assert fused["c"][0] == pytest.approx(0.75 * 1.2 / 1.6)
    keyword, photo = fused["a"][1]["keyword"], fused["a"][1]["photo"]
    assert (keyword.raw, keyword.normalized, keyword.weighted) == (6.0, 1.0, 0.25)
    assert (photo.raw, photo.normalized, photo.weighted) == (None, 0.0, 0.0)


@pytest.mark.parametrize(
    ("raw", "floor", "expected"),
    [
        ({}, 0.0, {}),
        ({"a": 3.0}, 0.0, {"a": 1.0}),
        ({"a": 3.0, "b": 3.0}, 0.0, {"a": 1.0, "b": 1.0}),
        ({"a": 0.0, "b": 0.0}, 0.0, {"a": 0.0, "b": 0.0}),
        ({"a": -1.0}, -1.0, {"a": 0.0}),
        ({"a": 2.0, "b": -2.0}, 0.0, {"a": 1.0, "b": 0.0}),
    ],
    ids=["no hit", "one hit", "equal scores", "all at the floor", "opposite cosine", "below the floor"],
)
def test_edge_cases_of_one_leg(raw: dict[str, float], floor: float, expected: dict[str, float]) -> None:
    assert theoretical_minimum(raw, floor) == expected


def test_an_empty_leg_takes_its_share_from_everyone_alike() -> None:
    legs = {"keyword": Scores[str]({}, 0.0), "photo": Scores({"a": 0.3, "b": 0.1}, -1.0)}
    fused = fuse(legs, {}, normalizer="theoretical-min-max")
    assert fused["a"][0] == pytest.approx(0.5)
    assert list(fused) == ["a", "b"]


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"keyword": -1.0}, "0 or more"),
        ({"keyword": float("nan")}, "0 or more"),
        ({"keyword": 0.0, "photo": 0.0}, "more than 0"),
        ({"foto": 1.0}, "no leg of this search: foto; its legs are keyword, photo"),
    ],
)
def test_wrong_weights_are_refused(weights: dict[str, float], says: str) -> None:
    with pytest.raises(QueryError, match=says):
        fuse({"keyword": Scores({"a": 1.0}, 0.0), "photo": Scores({"a": 0.1}, -1.0)}, weights)


@given(SCORES, st.floats(-1, 0))
def test_normalized_scores_lie_in_0_to_1_keep_their_order_and_reach_1(raw: dict[str, float], floor: float) -> None:
    scaled = theoretical_minimum(raw, floor)
    assert set(scaled) == set(raw)
    assert all(0.0 <= value <= 1.0 for value in scaled.values())
    if any(score > floor for score in raw.values()):
        assert max(scaled.values()) == 1.0
    for a in raw:
        for b in raw:
            if raw[a] < raw[b]:
                assert scaled[a] <= scaled[b]


@given(SCORES, SCORES, st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0.5, 100))
def test_totals_are_the_sum_of_parts_and_do_not_depend_on_the_weights_scale(
    a: dict[str, float], b: dict[str, float], weight_a: float, weight_b: float, factor: float
) -> None:
    legs = {"a": Scores(a, -1.0), "b": Scores(b, -1.0)}
    fused = fuse(legs, {"a": weight_a, "b": weight_b}, normalizer="theoretical-min-max")
    scaled = fuse(legs, {"a": weight_a * factor, "b": weight_b * factor}, normalizer="theoretical-min-max")
    for key, (total, parts) in fused.items():
        assert total == pytest.approx(sum(part.weighted for part in parts.values()))
        assert 0.0 <= total <= 1.0 + 1e-9
        assert scaled[key][0] == pytest.approx(total)


def given_scores(values: list[float]) -> dict[str, float]:
    return {str(i): value for i, value in enumerate(values)}


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        # OpenSearch's worked example, but for its floor of 0.001 under the last document, which ours leaves at 0.
        (normalize.min_max, [0.9, 0.7, 0.1], [1.0, 0.75, 0.0]),
        (normalize.l2, [2.0, 3.0], [0.5547, 0.8321]),
        (normalize.z_score, [1.0, 2.0, 3.0], [-1.224745, 0.0, 1.224745]),
        (normalize.rank, [5.0, 9.0, 9.0, 1.0], [61 / 63, 1.0, 1.0, 61 / 64]),
        # One hit, equal scores, none, and negative ones.
        (normalize.min_max, [3.0], [1.0]),
        (normalize.min_max, [3.0, 3.0], [1.0, 1.0]),
        (normalize.min_max, [], []),
        (normalize.min_max, [-0.5, 0.5], [0.0, 1.0]),
        (normalize.z_score, [3.0], [0.0]),
        (normalize.z_score, [0.1, 0.1, 0.1], [0.0, 0.0, 0.0]),
        (normalize.z_score, [], []),
        (normalize.l2, [3.0], [1.0]),
        (normalize.l2, [3.0, 3.0], [2**-0.5, 2**-0.5]),
        (normalize.l2, [-1.0, 0.0], [0.0, 0.0]),
        (normalize.l2, [], []),
        (normalize.rank, [3.0], [1.0]),
        (normalize.rank, [], []),
    ],
)
def test_worked_numbers_and_edge_cases_of_normalizers(
    function: Callable[[dict[str, float]], dict[str, float]], values: list[float], expected: list[float]
) -> None:
    assert list(function(given_scores(values)).values()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("mean", "total"), [("arithmetic", 0.69), ("geometric", 0.7863), ("harmonic", 0.7611)])
def test_means_are_those_of_opensearchs_worked_example(mean: Mean, total: float) -> None:
    # Scores of (1, 0, 0.6) by weights of (0.45, 0.15, 0.4): another document has the best score of the last two legs.
    legs = {
        "a": Scores({"d": 1.0}, 0.0),
        "b": Scores({"d": 0.0, "e": 1.0}, 0.0),
        "c": Scores({"d": 0.6, "e": 1.0}, 0.0),
    }
    fused = fuse(legs, {"a": 0.45, "b": 0.15, "c": 0.4}, normalizer="theoretical-min-max", mean=mean)
    assert fused["d"][0] == pytest.approx(total, abs=1e-4)


def test_ranks_fuse_by_cormacks_formula_on_random_runs() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        legs = {
            name: Scores({f"d{d}": float(rng.random()) for d in rng.choice(40, 15, replace=False)}, 0.0)
            for name in ("a", "b", "c")
        }
        fused = fuse(legs, {}, normalizer="rank")
        for key, (total, _) in fused.items():
            # Cormack's formula, by hand: a document that a leg lacks gets nothing from it.
            expected = 0.0
            for scores in legs.values():
                ordered = sorted(scores.raw, key=lambda d: -scores.raw[d])
                expected += 1 / (60 + ordered.index(key) + 1) if key in ordered else 0.0
            assert total * 3 / 61 == pytest.approx(expected)


def test_fusions_are_ranxs_on_random_runs() -> None:
    ranx = pytest.importorskip("ranx", reason="ranx is not installed")
    rng = np.random.default_rng(9)
    # A document that a leg lacks gets 0 from ranx, by z-score too, where ours gives it the least; so there none lacks.
    for normalizer, theirs, size in (("rank", None, 15), ("min-max", "min-max", 15), ("z-score", "zmuv", 40)):
        legs = {
            name: Scores({f"d{d}": float(rng.random()) for d in rng.choice(40, size, replace=False)}, 0.0)
            for name in ("a", "b")
        }
        runs = [ranx.Run({"q": dict(scores.raw)}) for scores in legs.values()]
        if normalizer == "rank":
            expected = ranx.fuse(runs, norm=None, method="rrf", params={"k": 60}).to_dict()["q"]
            ours = {key: total * 2 / 61 for key, (total, _) in fuse(legs, {}, normalizer="rank").items()}
        else:
            expected = ranx.fuse(runs, norm=theirs, method="wsum", params={"weights": (0.3, 0.7)}).to_dict()["q"]
            fused = fuse(legs, {"a": 0.3, "b": 0.7}, normalizer=normalizer)  # type: ignore[arg-type]
            ours = {key: total for key, (total, _) in fused.items()}
        assert ours == pytest.approx(expected, abs=1e-6), normalizer


def test_standardised_legs_share_one_scale_and_a_modality_gap_goes() -> None:
    # Every text lies nearer to the query than any image, and the true image stands out among images.
    legs = {
        "texts": Scores({"t1": 0.80, "t2": 0.78}, -1.0, moments=(0.70, 0.05)),
        "images": Scores({"i1": 0.33, "i2": 0.21}, -1.0, moments=(0.20, 0.03)),
    }
    parts = fuse(legs, {}, normalizer="standardise")
    assert sorted(parts, key=lambda d: -parts[d][0]) == ["i1", "t1", "t2", "i2"]
    assert parts["i1"][1]["images"].normalized == 1.0
    assert parts["t1"][1]["texts"].normalized == pytest.approx(2.0 / (0.13 / 0.03))


def test_standardised_scores_below_the_corpus_mean_count_as_nothing() -> None:
    legs = {"images": Scores({"a": 0.5, "b": 0.1}, -1.0, moments=(0.2, 0.1)), "keyword": Scores({"b": 3.0}, 0.0)}
    fused = fuse(legs, {}, normalizer="standardise")
    assert fused["b"][1]["images"].normalized == 0.0
    assert fused["b"][1]["keyword"].normalized == 1.0
    flat = {"images": Scores({"a": 0.5}, -1.0, moments=(0.2, 0.0))}
    assert fuse(flat, {}, normalizer="standardise")["a"][0] == 0.0


@pytest.mark.parametrize("normalizer", normalize.NORMALIZERS)
def test_a_keyword_leg_that_matched_nothing_gives_nothing(normalizer: normalize.Normalizer) -> None:
    legs = {"keyword": Scores({"a": 0.0, "b": 0.0}, 0.0), "photo": Scores({"a": 0.3, "b": 0.1}, -1.0, (0.0, 0.1))}
    fused = fuse(legs, {}, normalizer=normalizer)
    assert [fused[key][1]["keyword"].normalized for key in "ab"] == [0.0, 0.0]
    assert fused["a"][0] > fused["b"][0]


def test_by_z_score_a_document_that_a_leg_lacks_gets_the_least_of_it() -> None:
    legs = {"a": Scores({"x": 1.0, "y": 2.0, "z": 3.0}, 0.0), "b": Scores({"w": 5.0}, 0.0)}
    fused = fuse(legs, {}, normalizer="z-score")
    assert fused["w"][1]["a"].normalized == pytest.approx(-1.224745)


def test_ranks_are_of_what_was_found_and_not_of_what_was_completed() -> None:
    # The words found 3 and 1, the vectors 3, 2 and 1; only completions score 2 by words and 4 by vectors.
    words, vectors = {"3": 3.0, "1": 2.0}, {"3": 0.9, "1": 0.7, "2": 0.8}
    completed = {
        "words": Scores({**words, "2": 0.0}, 0.0, window=words),
        "vectors": Scores({**vectors, "4": 0.6}, -1.0, window=vectors),
    }
    fused = fuse(completed, {}, normalizer="rank")
    by_hand = {"3": 1 / 61 + 1 / 61, "1": 1 / 62 + 1 / 63, "2": 1 / 62, "4": 0.0}
    assert sorted(fused, key=lambda key: -fused[key][0]) == ["3", "1", "2", "4"]
    assert {key: total * 2 / 61 for key, (total, _) in fused.items()} == pytest.approx(by_hand)
    assert fused["2"][1]["words"].raw == 0.0


@pytest.mark.parametrize("normalizer", [each for each in normalize.NORMALIZERS if each != "evidence"])
@pytest.mark.parametrize("mean", MEANS)
def test_a_leg_that_cant_judge_a_document_is_left_out_of_its_mean(normalizer: normalize.Normalizer, mean: Mean) -> None:
    if normalizer == "z-score" and mean != "arithmetic":
        return
    vectors = {"a": 0.8, "b": 0.5, "c": 0.3}
    legs = {
        "words": Scores({"new": 7.0, "a": 3.0, "b": 0.0, "c": 0.0}, 0.0),
        "titles": Scores(vectors, -1.0, (0.1, 0.1), lacks={"new"}),
        "photos": Scores(vectors, -1.0, (0.1, 0.1), lacks={"new", "a"}),
    }
    fused = fuse(legs, {"words": 1.0, "titles": 2.0, "photos": 5.0}, normalizer=normalizer, mean=mean)
    total, parts = fused["new"]
    assert total == pytest.approx(parts["words"].normalized)
    assert total == max(total for total, _ in fused.values()) or normalizer == "z-score"
    assert [parts[name].lacking for name in legs] == [False, True, True]
    # It has a score, whatever was said of it before.
    assert not fused["a"][1]["photos"].lacking
    if mean == "arithmetic":
        assert all(total == pytest.approx(sum(p.weighted for p in parts.values())) for total, parts in fused.values())
    nothing = fuse(legs, {"words": 0.0}, normalizer=normalizer, mean=mean)
    assert nothing["new"][0] == 0.0


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"normalizer": "softmax"}, "unknown normalizer 'softmax'; one of evidence, theoretical-min-max"),
        ({"mean": "median"}, "unknown mean 'median'; one of arithmetic"),
        ({"normalizer": "z-score", "mean": "geometric"}, "a geometric mean needs scores that aren't negative"),
    ],
)
def test_fusions_that_make_no_sense_say_why(how: dict[str, Any], says: str) -> None:
    with pytest.raises(QueryError, match=says):
        fuse({"a": Scores({"x": 1.0}, 0.0)}, {}, **how)


@given(SCORES, SCORES, st.sampled_from(normalize.NORMALIZERS), st.sampled_from(MEANS))
def test_any_fusion_of_any_scores_is_finite_and_keeps_the_order_of_a_single_leg(
    a: dict[str, float], b: dict[str, float], normalizer: normalize.Normalizer, mean: Mean
) -> None:
    if normalizer in ("z-score", "evidence") and mean != "arithmetic":
        return
    fused = fuse({"a": Scores(a, -1.0, (0.5, 2.0)), "b": Scores(b, -1.0)}, {}, normalizer=normalizer, mean=mean)
    assert fused.keys() == a.keys() | b.keys()
    assert all(math.isfinite(total) for total, _ in fused.values())
    alone = fuse({"a": Scores(a, -1.0, (0.5, 2.0))}, {}, normalizer=normalizer, mean=mean)
    for x in a:
        for y in a:
            if a[x] < a[y]:
                assert alone[x][0] <= alone[y][0] + 1e-12
