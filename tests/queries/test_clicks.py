"""Clicks and thumbs: what a log of users tells, freed from the ranks at which they saw it."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crosslens.cli import cli
from crosslens.errors import QueryError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.queries.evaluate.clicks import Impressions, examine, grade, read_clicks
from crosslens.queries.evaluate.judgements import Judged, as_qrels
from crosslens.queries.evaluate.measures import Collected
from crosslens.queries.evaluate.tune import tune
from crosslens.queries.fusion.fuse import Scores
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, TITLE, shop

# How likely simulated users look at each rank; the prior, 1 / rank, is off by up to 0.35.
CURVE = np.array([1, 0.85, 0.6, 0.45, 0.35, 0.28, 0.22, 0.18, 0.15, 0.12])
Numbers = NDArray[np.float64]


def write(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def shown(text: str, documents: Sequence[str], *clicked: str, **more: Any) -> dict[str, Any]:
    return {"text": text, "shown": list(documents), "clicked": list(clicked), **more}


class Users:
    """Users who look as CURVE says and click what they like: a fifth of 20 documents a query well, the others little.

    The ranking that they see is good, so that rank and liking go together; ``change`` is how much it varies from
    list to list. ``score`` is what it goes by, ``other`` an equally good one that nobody saw.
    """

    def __init__(self, queries: int, lists: int, change: float, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        size = (queries, 20)
        good, bad = rng.uniform(0.3, 0.8, size), rng.uniform(0.01, 0.1, size)
        self.liking: Numbers = np.where(rng.random(size) < 0.2, good, bad)
        self.score: Numbers = self.liking + rng.normal(0, 0.25, size)
        self.other: Numbers = self.liking + rng.normal(0, 0.25, size)
        self.log: list[dict[str, Any]] = []
        for query in range(queries):
            for _ in range(lists):
                order = np.argsort(-(self.score[query] + rng.normal(0, change, 20)))[:10]
                clicked = order[rng.random(10) < CURVE * self.liking[query, order]]
                self.log.append(shown(f"q{query}", list(map(str, order)), *map(str, clicked)))


@pytest.fixture(scope="module")
def users() -> Users:
    return Users(queries=100, lists=60, change=0.3)


def test_the_curve_of_simulated_users_is_found_again_within_four_hundredths(users: Users, tmp_path: Path) -> None:
    _, report = read_clicks(write(tmp_path / "log.jsonl", users.log))
    found = np.array([report.examination[rank] for rank in range(1, 11)])
    assert np.abs(found - CURVE).max() < 0.04
    assert report.estimated == frozenset(range(1, 11))
    # What clicks by rank say, as the good documents stand high: a tenth rank looked at a third as often as it is.
    clicks = np.zeros(10)
    for line in users.log:
        for document in line["clicked"]:
            clicks[line["shown"].index(document)] += 1
    assert np.abs(clicks / clicks.max() - CURVE).max() > 0.15
    assert clicks[9] / clicks[0] < 0.06


def test_few_lists_a_query_don_t_bias_the_curve(tmp_path: Path) -> None:
    _, report = read_clicks(write(tmp_path / "log.jsonl", Users(queries=2_000, lists=3, change=0.3).log))
    found = np.array([report.examination[rank] for rank in range(1, 11)])
    assert np.abs(found - CURVE).max() < 0.06


def test_grades_order_documents_as_they_are_liked_where_clicks_order_them_as_they_were_shown(tmp_path: Path) -> None:
    # "best" is liked twice as much, but nine lists in ten show it last.
    rng = random.Random(4)
    lines = []
    for i in range(4_000):
        order = ["best" if i % 10 == 0 else "good", *"abcdefgh", "good" if i % 10 == 0 else "best"]
        liking = dict.fromkeys("abcdefgh", 0.02) | {"best": 0.8, "good": 0.4}
        clicked = [doc for doc, look in zip(order, CURVE, strict=True) if rng.random() < look * liking[doc]]
        lines.append(shown("shoe", order, *clicked))
    clicks = {doc: sum(doc in line["clicked"] for line in lines) for doc in ("best", "good")}
    assert clicks["good"] > 1.8 * clicks["best"]
    (query,), _ = read_clicks(write(tmp_path / "log.jsonl", lines))
    assert query.relevant == {"best": 100.0, "good": pytest.approx(50, abs=5)}


def test_a_leg_is_not_preferred_for_being_what_users_were_shown(users: Users, tmp_path: Path) -> None:
    pytest.importorskip("ir_measures", reason="the extra 'evaluate' is not installed")

    def weight_of_other(judged: Sequence[Judged]) -> float:
        collected = []
        for query in judged:
            legs = {}
            for name, scores in (("shown", users.score), ("other", users.other)):
                raw = {("shop", str(doc)): float(score) for doc, score in enumerate(scores[int(query.id[1:])])}
                legs[name] = Scores(raw, min(raw.values()) - 1)
            collected.append(Collected(query, legs))
        return dict(tune(collected, ["min-max"]).choice.weights)["other"]

    judged, _ = read_clicks(write(tmp_path / "log.jsonl", users.log))
    clicks = Counter((line["text"], doc) for line in users.log for doc in line["clicked"])
    raw = [replace(each, relevant={doc: float(clicks[each.id, doc]) for doc in each.relevant}) for each in judged]
    # Both legs see as well, so that half and half is best.
    assert weight_of_other(raw) <= 0.35
    assert weight_of_other(judged) == pytest.approx(0.5, abs=0.1)


def test_a_log_whose_lists_never_change_leaves_the_assumption_and_says_so(tmp_path: Path) -> None:
    lines = [shown("shoe", "abcd", "abcd"[i % 4]) for i in range(80)]
    (query,), report = read_clicks(write(tmp_path / "log.jsonl", lines))
    assert report.examination == pytest.approx({1: 1.0, 2: 0.5, 3: 1 / 3, 4: 0.25})
    assert report.estimated == frozenset()
    # As many clicks at rank 4 as at rank 1 are four times the liking.
    assert query.relevant == pytest.approx({"a": 25, "b": 50, "c": 75, "d": 100})
    assert str(report) == (
        "queries judged: 1, from lines: 80, clicks: 80, thumbs: 0. Rank 4 is looked at 0.25 times as often as the rank "
        "looked at most: assumed as 1 / rank, as too few documents were clicked at several ranks."
    )


def test_ranks_that_only_some_documents_changed_are_told_apart_from_the_others(tmp_path: Path) -> None:
    # The first two change places and are clicked alike at both ranks; the third never moves.
    lines = [shown("shoe", ["ab", "ba"][i % 2] + "c", "ab"[i // 2 % 2], "c") for i in range(400)]
    _, report = read_clicks(write(tmp_path / "log.jsonl", lines))
    assert report.examination[2] == pytest.approx(1.0, abs=0.05)
    assert report.estimated == frozenset({1, 2})
    assert "show for ranks 1 to 2, assumed as 1 / rank for the others" in str(report)


def test_worked_numbers_of_examination_and_grades() -> None:
    # Shown 1,000,000 times at each of two ranks: the prior's 20 clicks don't matter, and 3 of 4 clicks are at rank 1.
    twice = Impressions(np.array([0, 0]), np.array([1, 2]), np.full(2, 1e6), np.array([600_000.0, 200_000.0]))
    theta, estimated = examine(twice, np.array([1, 2]))
    assert theta == pytest.approx([1, 1 / 3], abs=1e-4)
    assert estimated.all()
    # 800,000 clicks in a million looks and a third of a million.
    assert grade(twice, np.array([1, 1 / 3])) == pytest.approx([0.6])
    # A rank hardly looked at counts as 0.05 of a look, so that a lucky click there is worth 20 and no more.
    assert grade(Impressions(np.array([0]), np.array([90]), np.ones(1), np.ones(1)), np.array([0.001])) == [20]


def test_a_later_page_s_ranks_go_on_where_the_page_before_ended(tmp_path: Path) -> None:
    lines = [shown("shoe", "ab", "a"), shown("shoe", "cd", "c", offset=2)] * 3
    _, report = read_clicks(write(tmp_path / "log.jsonl", lines))
    assert set(report.examination) == {1, 3}


def test_thumbs_judge_by_themselves_and_overrule_clicks(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"text": "hat", "up": ["1", 2], "down": ["3"]},
        {"text": "hat", "up": ["1"], "down": ["2"]},
        {"text": "hat", "up": ["1"]},
        {"text": "hat", "up": ["2"]},
        {"text": "scarf", "down": ["1"]},
        *[shown("shoe", ["x", "y", "z"], "x", "y")] * 4,
        {"text": "shoe", "down": ["x"]},
    ]
    judged, report = read_clicks(write(tmp_path / "log.jsonl", lines))
    assert {query.id: query.relevant for query in judged} == {
        "hat": {"1": 100.0, "2": pytest.approx(200 / 3)},
        "shoe": {"y": 100.0},
    }
    assert (report.lines, report.clicks, report.thumbs) == (10, 8, 9)
    assert report.dropped == {"nothing was liked": 1}


def test_as_many_thumbs_down_as_up_are_no_answer(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [{"text": "hat", "up": ["1", "2"]}, {"text": "hat", "down": ["1"]}]
    (query,), report = read_clicks(write(tmp_path / "log.jsonl", lines))
    assert query.relevant == {"2": 100.0}
    assert str(report) == "queries judged: 1, from lines: 2, clicks: 0, thumbs: 3."


def test_a_query_needs_three_clicks_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    lines = [
        *[shown("enough", "ab", "a")] * 3,
        *[shown("too few", "ab", "a")] * 2,
        shown("nothing clicked", "ab"),
        shown("nothing found", ""),
    ]
    (query,), report = read_clicks(write(tmp_path / "log.jsonl", lines))
    assert query.id == "enough"
    assert report.dropped == {"nothing was shown": 1, "fewer than 3 clicks on the query": 3}
    assert "lines left out: 1 (nothing was shown), 3 (fewer than 3 clicks on the query)" in str(report)
    with pytest.raises(QueryError, match="judges no query; one needs 3 clicks or a thumb up"):
        read_clicks(write(tmp_path / "few.jsonl", lines[3:]))


def test_stray_clicks_are_no_answers_and_whole_grades_keep_the_order(tmp_path: Path) -> None:
    # By turns at both ranks, so that each document was looked at as often: 60, 30 and 2 clicks.
    clicked = ["a"] * 60 + ["b"] * 30 + ["c"] * 2
    lines = [shown("shoe", order, doc) for order in ("abc", "bca", "cab") for doc in clicked]
    (query,), _ = read_clicks(write(tmp_path / "log.jsonl", lines))
    assert set(query.relevant) == {"a", "b"}
    assert query.relevant["b"] == pytest.approx(50, abs=1)
    assert as_qrels([query]) == {"shoe": {"a": 100, "b": 50}}


def test_queries_are_told_apart_by_id_else_by_text_and_image(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"query": 7, "text": "shoe", "up": ["a"]},
        {"text": " shoe ", "up": ["b"]},
        {"text": "shoe", "image": "red.png", "up": ["c"]},
        {"image": "red.png", "up": ["d"]},
    ]
    judged, _ = read_clicks(write(tmp_path / "log.jsonl", lines))
    assert [(query.id, query.text, query.image) for query in judged] == [
        ("7", "shoe", None),
        ("red.png", None, tmp_path / "red.png"),
        ("shoe", "shoe", None),
        ("shoe with red.png", "shoe", tmp_path / "red.png"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", ":1 is neither clicks nor thumbs: Expecting property name.*write {"),
        ("[]", "it isn't a JSON object"),
        (b"\xff\xfe\xff", ":1 is neither clicks nor thumbs"),
        ('\n{"shown": ["a"], "clicked": []}', ":2 .*neither a text nor an image"),
        ('{"text": 1, "up": ["a"]}', '"text" is not a string'),
        ('{"text": "a"}', 'either "shown" and "clicked" or "up" and "down"'),
        ('{"text": "a", "shown": ["b"], "clicked": [], "up": ["b"]}', 'either "shown" and "clicked" or "up"'),
        ('{"text": "a", "shown": ["b"]}', '"clicked" is missing'),
        ('{"text": "a", "clicked": ["b"]}', '"shown" is missing'),
        ('{"text": "a", "shown": "b", "clicked": []}', '"shown" is not a list of document ids'),
        ('{"text": "a", "shown": [true], "clicked": []}', '"shown" is not a list of document ids'),
        ('{"text": "a", "shown": ["b", "b"], "clicked": []}', "names a document twice"),
        ('{"text": "a", "shown": ["b"], "clicked": ["c"]}', '"c" was clicked, but isn\'t among those shown'),
        ('{"text": "a", "shown": ["b"], "clicked": [], "offset": -1}', '"offset" isn\'t a whole number'),
        ('{"text": "a", "shown": ["b"], "clicked": [], "offset": 1e99}', '"offset" isn\'t a whole number'),
        ('{"text": "a", "up": ["b"], "down": ["b"]}', '"b" is both up and down'),
        ('{"query": 1, "text": "a", "up": ["b"]}\n{"query": 1, "text": "c", "up": ["b"]}', ':2 gives the query "1" an'),
        ("", "judges no query"),
    ],
)
def test_lines_that_make_no_sense_say_where_and_what_to_write(tmp_path: Path, text: str | bytes, says: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(QueryError, match=says):
        read_clicks(path)


def test_memory_grows_with_what_was_clicked_and_not_with_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(20_000):
            # Other documents in each list below the first three, as a large shop has.
            documents = ["a", "b", "c", *(f"document {i} {rank}" for rank in range(20))]
            file.write(json.dumps(shown(f"q{i % 10}", documents, "abc"[i % 3])) + "\n")
    # What numpy loads when it's first used isn't the log's.
    read_clicks(write(tmp_path / "few.jsonl", [shown("q", "ab", "a")] * 3))
    tracemalloc.start()
    read_clicks(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 9_000_000
    assert most < 500_000


IDS = st.lists(st.sampled_from("abcdef"), unique=True, max_size=6)
LISTS = st.tuples(st.sampled_from(["q", "r"]), IDS, st.integers(0, 63), st.integers(0, 30)).map(
    lambda t: shown(t[0], t[1], *(doc for i, doc in enumerate(t[1]) if t[2] >> i & 1), offset=t[3])
)
THUMBS = st.tuples(st.sampled_from(["q", "s"]), IDS, st.integers(0, 6)).map(
    lambda t: {"text": t[0], "up": t[1][: t[2]], "down": t[1][t[2] :]}
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LISTS | THUMBS, max_size=30), st.randoms(use_true_random=False))
def test_whatever_the_log_grades_are_in_range_and_the_order_of_lines_is_no_matter(
    tmp_path: Path, lines: list[dict[str, Any]], order: random.Random
) -> None:
    try:
        judged, report = read_clicks(write(tmp_path / "log.jsonl", lines))
    except QueryError as error:
        assert "judges no query" in str(error)  # noqa: PT017
        return
    assert all(10 <= value <= 100 + 1e-9 for query in judged for value in query.relevant.values())
    assert all(0 < value <= 1 for value in report.examination.values())
    assert max(report.examination.values(), default=1) == 1
    clicked = {(line["text"], doc) for line in lines for doc in line.get("clicked", line.get("up", []))}
    assert {(query.id, doc) for query in judged for doc in query.relevant} <= clicked
    order.shuffle(lines)
    assert read_clicks(write(tmp_path / "log.jsonl", lines)) == (judged, report)


@pytest.mark.node
def test_a_log_of_clicks_is_evaluated_from_the_command_line(
    server: Server, encoder: Encoder, models: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ir_measures", reason="the extra 'evaluate' is not installed")
    index = server.new_index(MAPPINGS, shop(30))
    add_vectors(server.client, index, encoder, [TITLE], Options())
    lines = [shown(f"number {i}", [str(i), str((i + 1) % 30)], str(i)) for i in range(20) for _ in range(3)]
    log = str(write(tmp_path / "log.jsonl", lines))
    where = ["--url", server.node.url, "--model", str(models / "small")]
    done = CliRunner().invoke(cli, ["evaluate", index, log, "--clicks", "--json", *where], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "queries judged: 20, from lines: 60, clicks: 60, thumbs: 0" in done.stderr
    assert json.loads(done.stdout)["queries"] == 20
    both = CliRunner().invoke(cli, ["tune", index, log, "--clicks", "--topics", log, *where])
    assert (both.exit_code, "give one of them" in both.stderr) == (2, True)
