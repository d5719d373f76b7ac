"""Repeating until nothing changes, and what counts as a change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crosslens.ingest.run.rounds import End, repeat


class Rounds:
    """Finds something to do in the first ``busy`` rounds, and takes ``seconds`` for each."""

    def __init__(self, busy: int, seconds: float = 0.0):
        self.done, self.time = 0, 0.0
        self._busy, self._seconds = busy, seconds

    def __call__(self) -> bool:
        self.done += 1
        self.time += self._seconds
        return self.done <= self._busy

    def clock(self) -> float:
        return self.time


@pytest.mark.parametrize(("busy", "end", "done"), [(0, End.QUIET, 1), (3, End.QUIET, 4), (5, End.CHANGING, 5)])
def test_rounds_go_on_until_one_finds_nothing_or_there_were_too_many(busy: int, end: End, done: int) -> None:
    rounds = Rounds(busy)
    assert repeat(rounds, 5) is end
    assert rounds.done == done


@pytest.mark.parametrize(
    ("busy", "seconds", "end", "done"),
    [
        (9, 0.9, End.SHORT, 1),
        (9, 1.0, End.CHANGING, 5),
        # Nothing to do is quiet however short the round was.
        (0, 0.1, End.QUIET, 1),
    ],
)
def test_a_short_round_is_the_last_where_little_may_be_left(busy: int, seconds: float, end: End, done: int) -> None:
    rounds = Rounds(busy, seconds)
    assert repeat(rounds, 5, short_s=1.0, clock=rounds.clock) is end
    assert rounds.done == done


def test_an_interruption_ends_the_rounds_where_it_happens() -> None:
    steps: Iterator[bool] = iter([True])

    def interrupted() -> bool:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        repeat(interrupted, 5)
