"""What a run did, merged from several workers, and failures in a file."""

from __future__ import annotations

import json
from pathlib import Path

from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.run.estimate import estimated_bytes
from crosslens.ingest.run.report import Failure, FailureLog, Report

FIELD = VectorField("v", "text", ("title",), "m", "f", 512, "int8_hnsw")


def test_reports_of_several_workers_add_up() -> None:
    first = Report("shop", {"v": FIELD}, todo=5, documents=5, written={"v": 4}, failed={"v": 1}, seconds=2.0)
    first.failures.append(Failure("shop", "1", "v", "broken"))
    second = Report("shop", {"v": FIELD}, todo=3, documents=3, written={"v": 3}, skipped={"v": 1}, seconds=3.0)
    second.interrupted = True
    first.merge(second)
    assert (first.todo, first.documents, first.written, first.skipped) == (8, 8, {"v": 7}, {"v": 1})
    assert (first.failed, len(first.failures), first.seconds, first.interrupted) == ({"v": 1}, 1, 3.0, True)


def test_a_million_failures_are_counted_and_a_thousand_kept() -> None:
    report = Report("shop", {})
    for n in range(5_000):
        report.fail(Failure("shop", str(n), "v", "broken"))
    assert report.failed == {"v": 5_000}
    assert len(report.failures) == 1_000


def test_failures_are_listed_as_they_happen_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "out" / "failed.jsonl"
    with FailureLog(path, ["crosslens", "reindex", "my index", "--failed"]) as log:
        assert not path.exists()
        log.write(Failure("shop", "1", "v", "größer"))
        assert json.loads(path.read_text(encoding="utf-8")) == {
            "index": "shop",
            "id": "1",
            "field": "v",
            "reason": "größer",
            "retry": "crosslens reindex 'my index' --failed",
        }
    assert log.written == 1


def test_the_space_that_vectors_take_follows_their_index_type() -> None:
    sizes = {
        kind: estimated_bytes(VectorField("v", "text", ("t",), "m", "f", 512, kind), 1_000)
        for kind in ("flat", "hnsw", "int8_flat", "int8_hnsw", "int4_hnsw", "bbq_hnsw")
    }
    assert sizes["flat"] == 1_000 * 512 * 4
    assert sizes["hnsw"] == sizes["flat"] + 64_000
    assert sizes["int8_flat"] == 1_000 * 512 * 5
    assert sizes["flat"] < sizes["bbq_hnsw"] < sizes["int4_hnsw"] < sizes["int8_hnsw"]
