"""The pace of bulk requests, and shares of several workers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crosslens.ingest.run.reading import Share
from crosslens.ingest.run.throttle import Pace

MB = 1 << 20
TOOK = st.floats(0, 60, allow_nan=False)


def test_requests_grow_while_the_server_keeps_up() -> None:
    pace = Pace()
    limits = [pace.limit]
    for _ in range(40):
        assert pace.answered(pace.limit, 0.1) == 0
        limits.append(pace.limit)
    assert limits == sorted(limits)
    assert limits[-1] == 8 * MB


def test_a_refusal_halves_the_requests() -> None:
    pace = Pace(limit=4 * MB)
    pace.refused()
    assert pace.limit == 2 * MB


def test_answers_that_get_slow_halve_the_requests_and_earn_a_rest() -> None:
    pace = Pace(limit=MB)
    for _ in range(10):
        assert pace.answered(MB, 0.45) == 0
    before = pace.limit
    assert pace.answered(MB, 2.0) == 2.0
    assert pace.limit == before // 2


def test_a_server_that_is_slower_for_good_is_not_rested_for_for_good() -> None:
    pace = Pace()
    for _ in range(10):
        pace.answered(MB, 0.2)
    rests = [pace.answered(MB, 1.0) for _ in range(60)]
    assert rests[0] == 1.0
    assert rests[-10:] == [0.0] * 10


def test_small_requests_do_not_pass_for_slow_ones() -> None:
    pace = Pace()
    pace.answered(4 * MB, 0.4)
    assert pace.answered(2_000, 0.02) == 0


@given(st.lists(st.tuples(st.integers(0, 20 * MB), TOOK, st.booleans())))
def test_the_pace_stays_within_its_bounds_whatever_the_server_does(answers: list[tuple[int, float, bool]]) -> None:
    pace = Pace()
    for size, seconds, refused in answers:
        if refused:
            pace.refused()
        else:
            assert 0 <= pace.answered(size, seconds) <= 5
        assert 64 << 10 <= pace.limit <= 8 * MB


@given(st.text(), st.integers(1, 50))
def test_every_document_belongs_to_exactly_one_share(id: str, parts: int) -> None:
    assert sum(Share(part, parts).holds(id) for part in range(1, parts + 1)) == 1
