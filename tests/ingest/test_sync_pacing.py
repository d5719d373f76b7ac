"""Ranges to read, rates, and pauses that grow."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslens.ingest.run.sync.pacing import Bucket, Portion, Retries
from crosslens.ingest.run.sync.places import Place, Places
from crosslens.ingest.run.sync.position import position_in, signature
from crosslens.ingest.run.sync.segments import Segments


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 30), st.integers(-1, 30)), max_size=5),
    st.integers(1, 7),
    st.sets(st.integers(0, 30)),
)
def test_every_number_is_read_once_wherever_reading_begins(
    ranges: list[tuple[int, int, int]], size: int, gone: set[int]
) -> None:
    segments, expected, read = Segments(), Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for shard, after, until in ranges:
        segments.add(shard, after, until)
        expected.update((shard, number) for number in range(after + 1, until + 1) if number not in gone)
    assert segments.length == sum(max(0, until - after) for _, after, until in ranges)
    while segments.waiting:
        first = segments.waiting[0]
        page = [n for n in range(first.after + 1, first.until + 1) if n not in gone][:size]
        read.update((first.shard, number) for number in page)
        segments.read_up_to(page[-1] if len(page) == size else None)
    assert read == expected


def test_readers_of_one_range_begin_at_different_places() -> None:
    begun = set()
    for _ in range(50):
        segments = Segments()
        segments.add(0, -1, 1_000_000)
        begun.add(segments.waiting[0].after)
    assert len(begun) > 40


def test_a_shard_that_is_forgotten_is_read_no_more() -> None:
    segments = Segments()
    segments.add_all({0: 10, 1: 10})
    segments.forget(0)
    assert {segment.shard for segment in segments.waiting} == {1}
    assert segments.length == 11


def test_pauses_double_up_to_the_longest_and_begin_anew_when_mended() -> None:
    retries = Retries(first_s=10, most_s=60)
    now, pauses = 1_000.0, []
    retries.failed(("a", None), now)
    for _ in range(6):
        # What fails again meanwhile is no reason to try sooner, or later.
        retries.failed(("a", None), now)
        wait = retries.wait_s(now)
        assert retries.due(now + wait - 0.01, 9) == []
        now += wait
        assert retries.due(now, 9) == [("a", None)]
        pauses.append(wait)
    for pause, expected in zip(pauses, (10, 20, 40, 60, 60, 60), strict=True):
        assert 0.8 * expected <= pause <= 1.2 * expected
    retries.mended(("a", None))
    assert len(retries) == 0
    assert retries.due(now + 1_000, 9) == []
    retries.failed(("a", None), now)
    assert retries.wait_s(now) <= 12


def test_no_more_are_tried_at_once_than_asked_for_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crosslens.ingest.run.sync.pacing._KEPT", 50)
    retries = Retries(1, 10)
    for i in range(60):
        retries.failed((str(i), None), 0.0)
    assert (len(retries), retries.overflowed) == (50, True)
    assert len(retries.due(5.0, 32)) == 32
    assert len(retries.due(5.0, 32)) == 18


@pytest.mark.parametrize(("rate", "portion"), [(1.0, 32), (0.01, 32), (500.0, 32), (0.5, 1)])
def test_a_rate_is_kept_however_often_is_asked(rate: float, portion: int) -> None:
    for step in (0.1, 7.0):
        bucket, done, now = Bucket(rate, portion), 0, 5_000.0
        while now < 5_000 + 3_600:
            now += step
            if allowed := bucket.allowed(now):
                taken = min(allowed, 512)
                bucket.spend(taken)
                done += taken
        assert done <= rate * 3_600 + 1
        assert done >= min(rate, 512 / step) * 3_600 * 0.95 - portion


def test_a_rate_of_none_allows_none() -> None:
    bucket = Bucket(0.0, 32)
    assert bucket.allowed(10.0) == bucket.allowed(1e9) == 0
    assert bucket.wait_s() == float("inf")


def test_portions_shrink_where_they_take_long_and_grow_where_they_are_full_and_quick() -> None:
    portion = Portion()
    for _ in range(9):
        portion.took(portion.size, 5.0)
    assert portion.size == 16
    portion.took(3, 0.1)
    assert portion.size == 16
    for _ in range(9):
        portion.took(portion.size, 0.1)
    assert portion.size == 512


def test_a_position_counts_only_for_the_index_and_the_shards_as_they_are() -> None:
    places = Places("u", {0: Place("h", 9, 9), 1: Place("i", 4, 5)})
    good = {"uuid": "u", "signature": signature([]), "shards": {"0": ["h", 7], "1": ["i", 4]}}
    assert position_in(good, places, []) == {0: 7, 1: 4}
    for wrong in (
        {**good, "uuid": "v"},
        {**good, "signature": "other"},
        {**good, "shards": {"0": ["h", 7]}},
        {**good, "shards": {"0": ["h", 10], "1": ["i", 4]}},
        {**good, "shards": {"0": ["other", 7], "1": ["i", 4]}},
        {**good, "shards": {"0": 7, "1": 4}},
        {**good, "shards": None},
        {},
    ):
        assert position_in(wrong, places, []) is None
