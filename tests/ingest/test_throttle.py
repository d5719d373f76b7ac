"""The throttle of bulk requests, and shares of several workers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crosslens.ingest.run.reading import Share
from crosslens.ingest.run.throttle import Throttle

MB = 1 << 20
TOOK = st.floats(0, 60, allow_nan=False)


def test_requests_grow_while_the_server_keeps_up() -> None:
    throttle = Throttle()
    limits = [throttle.limit]
    for _ in range(40):
        assert throttle.answered(throttle.limit, 0.1) == 0
        limits.append(throttle.limit)
    assert limits == sorted(limits)
    assert limits[-1] == 8 * MB


def test_a_refusal_halves_the_requests() -> None:
    throttle = Throttle(limit=4 * MB)
    throttle.refused()
    assert throttle.limit == 2 * MB


def test_answers_that_get_slow_halve_the_requests_and_earn_a_rest() -> None:
    throttle = Throttle(limit=MB)
    for _ in range(10):
        assert throttle.answered(MB, 0.45) == 0
    before = throttle.limit
    assert throttle.answered(MB, 2.0) == 2.0
    assert throttle.limit == before // 2


def test_a_server_that_is_slower_for_good_is_not_rested_for_for_good() -> None:
    throttle = Throttle()
    for _ in range(10):
        throttle.answered(MB, 0.2)
    rests = [throttle.answered(MB, 1.0) for _ in range(60)]
    assert rests[0] == 1.0
    assert rests[-10:] == [0.0] * 10


def test_small_requests_do_not_pass_for_slow_ones() -> None:
    throttle = Throttle()
    throttle.answered(4 * MB, 0.4)
    assert throttle.answered(2_000, 0.02) == 0


@given(st.lists(st.tuples(st.integers(0, 20 * MB), TOOK, st.booleans())))
def test_the_throttle_stays_within_its_bounds_whatever_the_server_does(answers: list[tuple[int, float, bool]]) -> None:
    throttle = Throttle()
    for size, seconds, refused in answers:
        if refused:
            throttle.refused()
        else:
            assert 0 <= throttle.answered(size, seconds) <= 5
        assert 64 << 10 <= throttle.limit <= 8 * MB


@given(st.text(), st.integers(1, 50))
def test_every_document_belongs_to_exactly_one_share(id: str, parts: int) -> None:
    assert sum(Share(part, parts).holds(id) for part in range(1, parts + 1)) == 1
