"""Evaluating and tuning: judged queries, measures, intervals, tests, and choices by cross-validation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosslens.errors import QueryError
from crosslens.ingest.contract.fields import record_search_settings
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.evaluate.judgements import Judged, read_jsonl, read_trec
from crosslens.queries.evaluate.measures import (
    Collected,
    best_single,
    collect,
    evaluate,
    interval,
    measure,
    paired_p,
    ranked,
)
from crosslens.queries.evaluate.tune import choices, ndcg_of_choices, tune
from crosslens.queries.fusion.fuse import Scores
from crosslens.queries.fusion.normalizers import Normalizer
from crosslens.queries.search.searcher import HybridSearcher
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, shop


def synthetic(count: int, noise: Sequence[float], seed: int = 3) -> list[Collected]:
    """Queries with one relevant document among 30; each leg sees it through noise of its own."""
    rng = np.random.default_rng(seed)
    made = []
    for q in range(count):
        relevant = rng.integers(0, 30)
        legs = {}
        for i, sigma in enumerate(noise):
            scores = rng.normal(0, sigma, 30)
            scores[relevant] += 1.0
            floor = float(scores.min()) - 1
            legs[f"leg{i}"] = Scores({("shop", str(d)): float(s) for d, s in enumerate(scores)}, floor)
        made.append(Collected(Judged(f"q{q}", "text", None, {str(relevant): 1.0}), legs))
    return made


def test_judged_queries_are_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    lines = [
        {"text": "blue shoe", "relevant": ["1", "2"]},
        {"id": "by picture", "image": "shoe.png", "relevant": {"3": 2, "4": 0}},
        {"text": "nothing is relevant", "relevant": []},
    ]
    path.write_text("\n\n".join(map(json.dumps, lines)), encoding="utf-8")
    first, second = read_jsonl(path)
    assert (first.id, first.text, first.relevant) == ("1", "blue shoe", {"1": 1.0, "2": 1.0})
    assert (second.id, second.image, second.relevant) == ("by picture", tmp_path / "shoe.png", {"3": 2.0})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", ":1 is no judged query"),
        ('{"text": "a"}', "KeyError: 'relevant'"),
        ('{"relevant": ["1"]}', "neither a text nor an image"),
        ('{"text": "a", "relevant": {"1": "x"}}', "could not convert"),
        ("", "no query with a relevant document"),
        ('{"id": 1, "text": "a", "relevant": ["1"]}\n{"id": 1, "text": "b", "relevant": ["1"]}', "the same id"),
    ],
)
def test_judged_queries_that_make_no_sense_say_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(QueryError, match=says):
        read_jsonl(path)


def test_trec_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("1 0 a 2\n1 0 b 0\n2 0 c 1\n")
    (tmp_path / "topics").write_text("1\tblue shoe\n2\tred hat\n3\tnot judged\n")
    read = read_trec(tmp_path / "qrels", tmp_path / "topics")
    assert [(q.id, q.text, q.relevant) for q in read] == [("1", "blue shoe", {"a": 2.0}), ("2", "red hat", {"c": 1.0})]
    (tmp_path / "topics").write_text("1\tblue shoe\n")
    with pytest.raises(QueryError, match="lacks the topics 2"):
        read_trec(tmp_path / "qrels", tmp_path / "topics")
    (tmp_path / "qrels").write_text("1 0 a\n")
    with pytest.raises(QueryError, match="is no judgement"):
        read_trec(tmp_path / "qrels", tmp_path / "topics")


def test_measures_of_a_worked_example() -> None:
    pytest.importorskip("ir_measures", reason="the extra 'evaluate' is not installed")
    judged = [Judged("1", "a", None, {"x": 1.0, "y": 1.0}), Judged("2", "b", None, {"z": 1.0})]
    row = measure("example", {"1": {"x": 3.0, "w": 2.0, "y": 1.0}, "2": {}}, judged)
    # 1 + 1/log2(4) of 1 + 1/log2(3); the second query found nothing.
    assert row.values["nDCG@10"] == pytest.approx([1.5 / (1 + 1 / np.log2(3)), 0.0])
    assert row.values["R@10"] == pytest.approx([1.0, 0.0])
    assert row.values["RR"] == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize("normalizer", ["theoretical-min-max", "min-max", "rank"])
@pytest.mark.parametrize("seed", range(4))
def test_the_fast_ndcg_of_all_choices_is_ir_measures_own_of_each(normalizer: Normalizer, seed: int) -> None:
    pytest.importorskip("ir_measures", reason="the extra 'evaluate' is not installed")
    collected = synthetic(6, [0.5, 1.0, 2.0], seed=seed)
    rng = np.random.default_rng(seed)
    # Several grades, and a leg that lacks some of the documents.
    for each in collected:
        each.judged.relevant.update({str(d): float(rng.integers(1, 4)) for d in rng.integers(0, 30, 3)})
        raw = dict(list(each.legs["leg2"].raw.items())[:12])
        each.legs["leg2"] = Scores(raw, each.legs["leg2"].floor)
    candidates = list(choices(["leg0", "leg1", "leg2"], [normalizer]))
    fast = np.array([ndcg_of_choices(each, candidates) for each in collected])
    judged = [each.judged for each in collected]
    for column in range(0, len(candidates), 7):
        ranking = ranked(collected, dict(candidates[column].weights), normalizer)
        slow = measure("x", ranking, judged).values["nDCG@10"]
        assert fast[:, column] == pytest.approx(slow, abs=1e-6)


def test_intervals_hold_the_mean_and_shrink_with_more_queries() -> None:
    rng = np.random.default_rng(1)
    few, many = rng.random(20), rng.random(2_000)
    for values in (few, many):
        low, high = interval(values)
        assert low < values.mean() < high
    assert np.diff(interval(many)) < np.diff(interval(few)) / 5


def test_the_paired_test_tells_a_difference_from_none() -> None:
    rng = np.random.default_rng(2)
    base = rng.random(60)
    assert paired_p(base, base) == 1.0
    assert paired_p(base + 0.1 + rng.normal(0, 0.05, 60), base) < 0.001
    # Without a difference p is spread evenly: it is small as seldom as it says.
    ps = [paired_p(base + rng.normal(0, 0.1, 60), base, seed=i) for i in range(60)]
    assert sum(p < 0.05 for p in ps) <= 8


def test_two_noisy_legs_are_worth_fusing_and_the_better_one_gets_more_weight() -> None:
    tuned = tune(synthetic(80, [0.35, 0.5]), ["theoretical-min-max", "rank"])
    assert tuned.worthwhile
    weights = dict(tuned.choice.weights)
    assert weights["leg0"] >= weights["leg1"] > 0
    assert tuned.single_leg == "leg0"
    assert tuned.expected.mean("nDCG@10") > tuned.single.mean("nDCG@10")


def test_a_leg_of_noise_is_said_not_to_be_worth_it() -> None:
    tuned = tune(synthetic(60, [0.2, 50.0]), ["theoretical-min-max"])
    assert not tuned.worthwhile
    assert tuned.single_leg == "leg0"
    assert dict(tuned.choice.weights)["leg0"] > 0.5


def test_what_is_expected_is_measured_on_queries_not_chosen_by() -> None:
    # Pure noise: chosen on all queries it looks better than it is.
    collected = synthetic(40, [50.0, 50.0, 50.0])
    tuned = tune(collected, ["theoretical-min-max", "min-max", "rank"])
    chosen_on_all = [ndcg_of_choices(each, [tuned.choice])[0] for each in collected]
    assert tuned.expected.mean("nDCG@10") < float(np.mean(chosen_on_all))


def test_too_few_queries_are_not_chosen_by() -> None:
    with pytest.raises(QueryError, match="19 judged queries are too few"):
        tune(synthetic(19, [0.5]), ["rank"])


def test_every_choice_has_weights_that_sum_to_one_and_each_leg_alone_is_among_them() -> None:
    found = list(choices(["a", "b", "c"], ["rank", "min-max"]))
    assert all(sum(weight for _, weight in c.weights) == pytest.approx(1) for c in found)
    assert {c.single for c in found} == {None, "a", "b", "c"}
    assert len(set(found)) == len(found)


@pytest.mark.node
def test_tuned_weights_are_noted_in_the_index_and_searches_take_them_up(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index = server.new_index(MAPPINGS, shop(60))
    add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=pictures)))
    judged = [Judged(str(i), f"number {i}", None, {str(i): 1.0}) for i in range(30)]
    searcher = HybridSearcher(server.client, index, encoder, mapping_ttl_s=0.0)
    collected = collect(searcher, judged, standardise=True)
    rows = evaluate(collected)
    assert [row.name for row in rows] == ["keyword", "photo_vector", "title_vector", "fused"]
    assert best_single(rows).name == "keyword"
    tuned = tune(collected, ["theoretical-min-max", "standardise"])
    settings: dict[str, Any] = {"weights": dict(tuned.choice.weights), "normalizer": tuned.choice.normalizer}
    before = [hit.score for hit in searcher.search("number 7").hits]
    record_search_settings(server.client, index, settings)
    by_default = searcher.search("number 7")
    given = searcher.search("number 7", weights=settings["weights"], normalizer=settings["normalizer"])
    assert [h.score for h in by_default.hits] == [h.score for h in given.hits] != before
    # A picture alone has no keyword leg; what is left of the weights counts, or all legs alike.
    assert searcher.search(image=pictures / "7.png").hits
    # A later run of add leaves the note where it is.
    add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=pictures)))
    assert searcher.settings == settings
    record_search_settings(server.client, index, None)
    assert [hit.score for hit in searcher.search("number 7").hits] == before
