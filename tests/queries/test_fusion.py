"""Fusion: worked numbers, edge cases, and properties that any scores have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslens.errors import QueryError
from crosslens.queries.fusion import fuse, theoretical_minimum

SCORES = st.dictionaries(st.text(min_size=1, max_size=3), st.floats(-1, 50, allow_nan=False), max_size=12)


def test_worked_numbers_of_one_leg() -> None:
    assert theoretical_minimum({"a": 8.0, "b": 4.0, "c": 0.0}, 0.0) == {"a": 1.0, "b": 0.5, "c": 0.0}
    cosines = theoretical_minimum({"a": 0.5, "b": 0.2, "c": -1.0}, -1.0)
    assert cosines == pytest.approx({"a": 1.0, "b": 0.8, "c": 0.0})


def test_worked_numbers_of_a_weighted_sum() -> None:
    legs = {"keyword": ({"a": 6.0, "b": 3.0}, 0.0), "photo": ({"b": 0.6, "c": 0.2}, -1.0)}
    fused = fuse(legs, {"keyword": 1.0, "photo": 3.0})
    assert fused["a"][0] == pytest.approx(0.25)
    assert fused["b"][0] == pytest.approx(0.25 * 0.5 + 0.75 * 1.0)
    assert fused["c"][0] == pytest.approx(0.75 * 1.2 / 1.6)
    keyword, photo = fused["a"][1]["keyword"], fused["a"][1]["photo"]
    assert (keyword.raw, keyword.normalised, keyword.weighted) == (6.0, 1.0, 0.25)
    assert (photo.raw, photo.normalised, photo.weighted) == (None, 0.0, 0.0)


@pytest.mark.parametrize(
    ("raw", "floor", "expected"),
    [
        ({}, 0.0, {}),
        ({"a": 3.0}, 0.0, {"a": 1.0}),
        ({"a": 3.0, "b": 3.0}, 0.0, {"a": 1.0, "b": 1.0}),
        ({"a": 0.0, "b": 0.0}, 0.0, {"a": 1.0, "b": 1.0}),
        ({"a": -1.0}, -1.0, {"a": 1.0}),
        ({"a": 2.0, "b": -2.0}, 0.0, {"a": 1.0, "b": 0.0}),
    ],
    ids=["no hit", "one hit", "equal scores", "all at the floor", "opposite cosine", "below the floor"],
)
def test_edge_cases_of_one_leg(raw: dict[str, float], floor: float, expected: dict[str, float]) -> None:
    assert theoretical_minimum(raw, floor) == expected


def test_an_empty_leg_takes_its_share_from_everyone_alike() -> None:
    legs: dict[str, tuple[dict[str, float], float]] = {"keyword": ({}, 0.0), "photo": ({"a": 0.3, "b": 0.1}, -1.0)}
    fused = fuse(legs, {})
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
        fuse({"keyword": ({"a": 1.0}, 0.0), "photo": ({"a": 0.1}, -1.0)}, weights)


@given(SCORES, st.floats(-1, 0))
def test_normalised_scores_lie_in_0_to_1_keep_their_order_and_reach_1(raw: dict[str, float], floor: float) -> None:
    scaled = theoretical_minimum(raw, floor)
    assert set(scaled) == set(raw)
    assert all(0.0 <= value <= 1.0 for value in scaled.values())
    if raw:
        assert max(scaled.values()) == 1.0
    for a in raw:
        for b in raw:
            if raw[a] < raw[b]:
                assert scaled[a] <= scaled[b]


@given(SCORES, SCORES, st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0.5, 100))
def test_totals_are_the_sum_of_parts_and_do_not_depend_on_the_weights_scale(
    a: dict[str, float], b: dict[str, float], weight_a: float, weight_b: float, factor: float
) -> None:
    legs = {"a": (a, -1.0), "b": (b, -1.0)}
    fused = fuse(legs, {"a": weight_a, "b": weight_b})
    scaled = fuse(legs, {"a": weight_a * factor, "b": weight_b * factor})
    for key, (total, parts) in fused.items():
        assert total == pytest.approx(sum(part.weighted for part in parts.values()))
        assert 0.0 <= total <= 1.0 + 1e-9
        assert scaled[key][0] == pytest.approx(total)
