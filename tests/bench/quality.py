"""How good the rankings are: each leg alone, what most people do today, every normalizer, and weights tuned.

On pictures the model never saw, for all the tasks of `tests.bench.tasks`; and whether queries without an answer are
noticed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch, helpers

from crosslens.client import Connection, connect
from crosslens.demo.build import DATA
from crosslens.demo.run import IMAGE_VECTOR, TEXT_VECTOR, load_items
from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.run.calibrate import calibrate, try_null_queries
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.node import Node
from crosslens.queries.evaluate.measures import Measured, as_json, collect, measure, paired_p, ranked
from crosslens.queries.evaluate.tune import Tuned, tune
from crosslens.queries.fusion.normalizers import Normalizer
from crosslens.queries.search.legs import KEYWORD
from crosslens.queries.search.searcher import HybridSearcher
from tests.bench.common import console, show
from tests.bench.tasks import MAPPING, Corpus, Task, concepts, tasks

_GAPS = "bench-gaps"
_WINDOW = 100
_KEY = "nDCG@10"
_DEFAULT, _FORMER, _TUNED, _SUM = "evidence", "theoretical-min-max", "tuned", "raw sum"
# How each is used: by itself on what every leg found (False), or on completed scores (True).
_COMPLETED: dict[Normalizer, bool] = {
    "rank": False,
    "min-max": False,
    "z-score": False,
    "theoretical-min-max": True,
    "standardise": True,
    "evidence": True,
}
_TRIED: list[Normalizer] = ["evidence", "theoretical-min-max", "min-max", "rank", "standardise"]
# Both corpora's legs by what they read.
_LEGS = {
    "words": (KEYWORD,),
    "texts": (TEXT_VECTOR, "text_v"),
    "pictures": (IMAGE_VECTOR, "image_v"),
}
_COLUMNS = {
    **{kind: kind for kind in _LEGS},
    _SUM: "sum",
    "rank": "RRF",
    "min-max": "mm",
    "z-score": "z",
    _FORMER: "tmm",
    "standardise": "std",
    _DEFAULT: _DEFAULT,
    _TUNED: _TUNED,
}
_LEGEND = (
    "words, texts, pictures: BM25 and the vectors' legs alone; sum: what a bool query with kNN searches gives; mm: "
    "min-max; z: z-score; tmm: theoretical-min-max, completed (the default until release 0.3); std: standardise, "
    "completed; evidence: the default; tuned: weights and normalizer chosen with judgements, cross-validated"
)


@dataclass(frozen=True)
class Outcome:
    """What a task measured, by way to rank."""

    task: Task
    rows: dict[str, Measured]
    tuned: Tuned

    @property
    def best_leg(self) -> str:
        """The leg that alone is the best, chosen on the very queries: no search could know it."""
        return max((kind for kind in _LEGS if kind in self.rows), key=lambda kind: self.rows[kind].mean(_KEY))

    def against(self, other: str) -> dict[str, float]:
        """How much better the default is than another way to rank, and the p of that difference."""
        first, second = self.rows[_DEFAULT].values[_KEY], self.rows[other].values[_KEY]
        return {"difference": float((first - second).mean()), "p": paired_p(first, second)}


def main(arguments: Sequence[str] = ()) -> None:
    """Prints a table over all tasks, and how sure the default's place in it is; a quarter of an hour or so."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.quality", description=main.__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured to this file")
    parser.add_argument("--only", default="", metavar="TEXT", help="only tasks whose name holds this text")
    asked = parser.parse_args(arguments)
    encoder = Encoder(DEMO_MODEL)
    outcomes = []
    with tempfile.TemporaryDirectory() as tmp, Node(Path(tmp) / "node", heap="1g") as node:
        client = connect(Connection(url=node.url))
        for task in tasks():
            if asked.only in task.name:
                outcomes.append(_outcome(client, encoder, task))
                console.print(f"{task.name}: {_cell(outcomes[-1].rows[_DEFAULT])}", highlight=False)
        _show_means(outcomes)
        _show_tests(outcomes)
        if asked.json:
            written = json.dumps([_told(outcome) for outcome in outcomes], indent=1)
            asked.json.write_text(written + "\n", encoding="utf-8")
        if not asked.only:
            _unanswered(client, encoder)


def _build(client: Elasticsearch, encoder: Encoder, corpus: Corpus) -> None:
    """Makes a corpus's index, unless a task before had it."""
    if client.indices.exists(index=corpus.name):
        return

    def put(ids: Iterable[str]) -> None:
        helpers.bulk(client, ({"_index": corpus.name, "_id": id, **corpus.documents[id]} for id in ids), refresh=True)

    client.indices.create(index=corpus.name, mappings=MAPPING, settings={"number_of_replicas": 0})
    put(id for id in corpus.documents if id not in corpus.late)
    add_vectors(client, corpus.name, encoder, corpus.targets, Options(images=ImageAccess(root=DATA)))
    put(corpus.late)


def _outcome(client: Elasticsearch, encoder: Encoder, task: Task) -> Outcome:
    _build(client, encoder, task.corpus)
    searcher = HybridSearcher(
        client, task.corpus.name, encoder, text_fields=list(task.corpus.keyword_fields), window=_WINDOW
    )
    judged = task.judged
    found = collect(searcher, judged, standardise=True)
    windows = [
        replace(each, legs={name: replace(leg, raw=leg.found) for name, leg in each.legs.items()}) for each in found
    ]
    names = {name for each in found for name in each.legs}
    rows = {
        kind: measure(kind, ranked(windows, {}, "min-max", legs=legs), judged)
        for kind, legs in _LEGS.items()
        if names.intersection(legs)
    }
    rows[_SUM] = measure(_SUM, _boost_sum(client, searcher, task), judged)
    for normalizer, completed in _COMPLETED.items():
        rows[normalizer] = measure(normalizer, ranked(found if completed else windows, {}, normalizer), judged)
    tuned = tune(found, _TRIED)
    rows[_TUNED] = tuned.expected
    return Outcome(task, rows, tuned)


def _boost_sum(client: Elasticsearch, searcher: HybridSearcher, task: Task) -> dict[str, dict[str, float]]:
    """One request with a query and kNN searches, whose scores the server adds up: what most people do today."""
    rankings = {}
    for each in task.judged:
        legs = searcher.legs(each.text, image=each.image)
        body: dict[str, Any] = {"knn": [leg.query for leg in legs if leg.kind == "knn"], "size": _WINDOW}
        for leg in legs:
            if leg.kind == "keyword":
                body["query"] = leg.query
        hits = client.search(index=task.corpus.name, body={**body, "_source": False})["hits"]["hits"]
        rankings[each.id] = {hit["_id"]: float(hit["_score"]) for hit in hits}
    return rankings


def _show_means(outcomes: Sequence[Outcome]) -> None:
    rows = [
        [
            f"{outcome.task.name} ({len(outcome.task.judged)})",
            *(_short(outcome.rows[way].mean(_KEY)) if way in outcome.rows else "-" for way in _COLUMNS),
        ]
        for outcome in outcomes
    ]
    # A way to rank that not every task has can't be compared by its mean.
    whole = [all(way in outcome.rows for outcome in outcomes) for way in _COLUMNS]
    means = [
        _short(float(np.mean([outcome.rows[way].mean(_KEY) for outcome in outcomes]))) if every else "-"
        for way, every in zip(_COLUMNS, whole, strict=True)
    ]
    show(f"{_KEY} of {len(outcomes)} tasks", ["task (queries)", *_COLUMNS.values()], [*rows, ["mean", *means]])
    console.print(_LEGEND, highlight=False)


def _show_tests(outcomes: Sequence[Outcome]) -> None:
    rows = []
    for outcome in outcomes:
        leg = outcome.best_leg
        tests = [outcome.against(other) for other in (leg, _FORMER)]
        rows.append(
            [
                outcome.task.name,
                _cell(outcome.rows[_DEFAULT]),
                f"{leg} {_short(outcome.rows[leg].mean(_KEY))}",
                *(f"{test['difference']:+.3f} p {test['p']:.4f}" for test in tests),
                _cell(outcome.rows[_TUNED]),
            ]
        )
    headings = ["task", "evidence", "best leg", "against it", "against tmm", "tuned"]
    show(f"{_KEY}, intervals of 95 % and paired randomisation tests", headings, rows)


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _cell(row: Measured) -> str:
    low, high = row.intervals[_KEY]
    return f"{_short(row.mean(_KEY))} [{_short(low)}, {_short(high)}]"


def _told(outcome: Outcome) -> dict[str, Any]:
    # Of the tuned search only nDCG@10 is cross-validated; the rest would be measured on what it was chosen by.
    rows = [
        replace(row, name=way, values={_KEY: row.values[_KEY]}) if way == _TUNED else row
        for way, row in outcome.rows.items()
    ]
    return {
        "task": outcome.task.name,
        "queries": len(outcome.task.judged),
        "ranked": as_json(rows),
        "tuned": {"normalizer": outcome.tuned.choice.normalizer, "weights": dict(outcome.tuned.choice.weights)},
        "against": {other: outcome.against(other) for other in outcome.rows if other != _DEFAULT},
        "best leg": outcome.best_leg,
    }


def _unanswered(client: Elasticsearch, encoder: Encoder) -> None:
    """Names whose concept isn't in the index, half of them to set the floor by; and names whose concept is."""
    names: Mapping[str, str] = {each.id: each.name for each in concepts()}
    ids = list(np.random.default_rng(8).permutation(sorted(names)))
    calibrating, absent, present = ids[:200], ids[200:400], ids[400:]
    images = {item["id"]: item["image"] for item in load_items()}
    client.indices.create(index=_GAPS, settings={"number_of_replicas": 0})
    helpers.bulk(client, ({"_index": _GAPS, "_id": id, "image": images[id]} for id in present), refresh=True)
    add_vectors(
        client, _GAPS, encoder, [Target("image_v", "image", ("image",))], Options(images=ImageAccess(root=DATA))
    )
    rows = []
    for how in ("normal deviates", "200 queries without answer"):
        if how != "normal deviates":
            calibrate(client, _GAPS)
            try_null_queries(client, _GAPS, [names[id] for id in calibrating], Encoders([encoder]))
        searcher = HybridSearcher(client, _GAPS, encoder)
        for rate in (0.05, 0.2):
            alarms = [_noticed(searcher, names[id], rate) for id in absent]
            answered = [_noticed(searcher, names[id], rate) for id in present[:400]]
            rows.append([how, f"{rate:.2f}", f"{np.mean(alarms):.3f}", f"{np.mean(answered):.3f}"])
    headings = ["floor set by", "rate asked for", "false alarms", "answered queries noticed"]
    show(f"{len(absent)} queries that nothing answers, and 400 that have an answer", headings, rows)


def _noticed(searcher: HybridSearcher, text: str, rate: float) -> bool:
    return bool(searcher.search(text, false_alarm=rate, size=0).answered)


if __name__ == "__main__":
    main(sys.argv[1:])
