"""How good the rankings are: legs, fusions, and what most people do today, on pictures the model never saw.

Words to items of which a third has no words; words to pictures in a corpus that mixes pictures and texts; drawings of
another vendor to items; and whether queries without an answer are noticed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch, helpers
from rich.console import Console

from crosslens.client import Connection, connect
from crosslens.demo.build import DATA
from crosslens.demo.run import add, create_index, load_items
from crosslens.ingest.contract import Target
from crosslens.ingest.encoder import Encoder
from crosslens.ingest.encoders import Encoders
from crosslens.ingest.moments import calibrate, try_null_queries
from crosslens.ingest.sources import ImageAccess
from crosslens.ingest.write import Options, add_vectors
from crosslens.models import DEMO_MODEL
from crosslens.node import Node
from crosslens.queries.evaluate import Collected, Measured, collect, measure, paired_p, ranked
from crosslens.queries.hybrid import HybridSearcher
from crosslens.queries.judgements import Judged
from crosslens.queries.normalise import Normaliser
from crosslens.queries.tune import Tuned, tune
from tests.bench.common import console, show

_TESTS = Path(__file__).parent.parent / "data"
_INDEX, _MIXED, _GAPS = "bench-quality", "bench-mixed", "bench-gaps"
_WINDOW = 100
_NORMALISERS: list[Normaliser] = ["theoretical-min-max", "min-max", "rank", "standardise"]
_KEY = "nDCG@10"


def main() -> None:
    """Prints a table for each task; about five minutes."""
    names = {e["id"]: e["name"] for e in map(json.loads, (_TESTS / "names.jsonl").read_text("utf-8").splitlines())}
    encoder = Encoder(DEMO_MODEL)
    with tempfile.TemporaryDirectory() as tmp, Node(Path(tmp) / "node", heap="1g") as node:
        client = connect(Connection(url=node.url))
        create_index(client, load_items(), index=_INDEX)
        add(client, encoder, Console(quiet=True), index=_INDEX)
        searcher = HybridSearcher(client, _INDEX, encoder, window=_WINDOW)
        judged = [Judged(id, name, None, {id: 1.0}) for id, name in names.items()]
        _compare(client, searcher, judged, "Words to items, a third of them without words")
        drawings = [
            Judged(id, None, _TESTS / "noto" / f"{id}.webp", {id: 1.0})
            for id in names
            if (_TESTS / "noto" / f"{id}.webp").exists()
        ]
        _compare(client, searcher, drawings, "Another vendor's drawings to items")
        _mixed(client, encoder, names)
        _unanswered(client, encoder, names)


def _compare(client: Elasticsearch, searcher: HybridSearcher, judged: Sequence[Judged], title: str) -> None:
    complete = collect(searcher, judged, standardise=True)
    windows = [
        Collected(q, searcher.search(q.text, image=q.image, complete=False, size=0, source=False).scores)
        for q in judged
    ]
    legs = list(complete[0].legs)
    rows = [measure(f"{leg} alone", ranked(windows, {}, legs=[leg]), judged) for leg in legs]
    singles = list(rows)
    raw = measure("raw scores summed (bool + knn)", _boost_sum(client, searcher, judged), judged)
    rows.append(raw)
    for name, found, normaliser in (
        ("RRF", windows, "rank"),
        ("min-max", windows, "min-max"),
        ("theoretical-min-max, no completion", windows, "theoretical-min-max"),
        ("theoretical-min-max, completed", complete, "theoretical-min-max"),
        ("standardise, completed", complete, "standardise"),
    ):
        rows.append(measure(name, ranked(found, {}, normaliser), judged))
    tuned = tune(complete, _NORMALISERS)
    # Of the tuned search only nDCG@10 is cross-validated; the rest would be measured on what it was chosen by.
    shown = [_cells(row) for row in rows]
    low, high = tuned.expected.intervals[_KEY]
    shown.append(["tuned, cross-validated", f"{tuned.expected.mean(_KEY):.3f} [{low:.3f}, {high:.3f}]", "-"])
    show(f"{title}: {len(judged)} queries", ["ranked by", _KEY, "recall@10"], shown)
    _say(tuned, singles, raw)


def _say(tuned: Tuned, singles: Sequence[Measured], raw: Measured) -> None:
    weights = ", ".join(f"{name} {weight:g}" for name, weight in tuned.choice.weights)
    console.print(f"tuned: {tuned.choice.normaliser}, {weights}")
    for row in (*singles, raw):
        p = paired_p(tuned.expected.values[_KEY], row.values[_KEY])
        difference = tuned.expected.mean(_KEY) - row.mean(_KEY)
        console.print(f"tuned against {row.name}: {difference:+.3f} {_KEY}, p = {p:.4f}", highlight=False)


def _cells(row: Measured) -> list[str]:
    return [
        row.name,
        *(f"{row.mean(k):.3f} [{row.intervals[k][0]:.3f}, {row.intervals[k][1]:.3f}]" for k in (_KEY, "R@10")),
    ]


def _boost_sum(
    client: Elasticsearch, searcher: HybridSearcher, judged: Sequence[Judged]
) -> dict[str, dict[str, float]]:
    """One request with a query and kNN searches, whose scores the server adds up: what most people do today."""
    rankings = {}
    for each in judged:
        legs = searcher.legs(each.text, image=each.image)
        body: dict[str, Any] = {"knn": [leg.query for leg in legs if leg.kind == "knn"], "size": _WINDOW}
        for leg in legs:
            if leg.kind == "keyword":
                body["query"] = leg.query
        hits = client.search(index=_INDEX, body={**body, "_source": False})["hits"]["hits"]
        rankings[each.id] = {hit["_id"]: float(hit["_score"]) for hit in hits}
    return rankings


def _mixed(client: Elasticsearch, encoder: Encoder, names: Mapping[str, str]) -> None:
    """Half of the concepts are there as pictures, the other half as texts; a picture's name is looked for."""
    ids = np.random.default_rng(4).permutation(sorted(names))
    pictures, texts = set(ids[: len(ids) // 2]), ids[len(ids) // 2 :]
    images = {item["id"]: item["image"] for item in load_items()}
    documents = [{"_id": id, "image": images[id]} for id in pictures] + [
        {"_id": id, "caption": names[id]} for id in texts
    ]
    client.indices.create(index=_MIXED, settings={"number_of_shards": 3, "number_of_replicas": 0})
    helpers.bulk(client, ({"_index": _MIXED, **each} for each in documents), refresh=True)
    targets = [Target("text_v", "text", ("caption",)), Target("image_v", "image", ("image",))]
    add_vectors(client, _MIXED, encoder, targets, Options(images=ImageAccess(root=DATA)))
    searcher = HybridSearcher(client, _MIXED, encoder, text_fields=[], window=_WINDOW)
    judged = [Judged(id, names[id], None, {id: 1.0}) for id in sorted(pictures)]
    found = collect(searcher, judged, standardise=True)
    cosines = {
        each.judged.id: {id: score for leg in each.legs.values() for (_, id), score in leg.raw.items()}
        for each in found
    }
    rows = []
    for name, ranking in (
        ("raw cosine", cosines),
        ("theoretical-min-max", ranked(found, {}, "theoretical-min-max")),
        ("RRF", ranked(found, {}, "rank")),
        ("standardise", ranked(found, {}, "standardise")),
    ):
        row = measure(name, ranking, judged)
        shares = []
        for scores in ranking.values():
            best = sorted(scores, key=lambda id: (-scores[id], id))[:10]
            shares.append(sum(id in pictures for id in best) / 10)
        rows.append([*_cells(row), f"{np.mean(shares):.2f}"])
    headings = ["ranked by", _KEY, "recall@10", "pictures among the first 10"]
    show(
        f"A corpus of {len(pictures)} pictures and {len(texts)} texts: {len(judged)} names of pictures", headings, rows
    )


def _unanswered(client: Elasticsearch, encoder: Encoder, names: Mapping[str, str]) -> None:
    """Names whose concept isn't in the index, half of them to set the floor by; and names whose concept is."""
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
            alarms = [searcher.search(names[id], false_alarm=rate, size=0).answered for id in absent]
            answered = [searcher.search(names[id], false_alarm=rate, size=0).answered for id in present[:400]]
            rows.append([how, f"{rate:.2f}", f"{np.mean(alarms):.3f}", f"{np.mean(answered):.3f}"])
    headings = ["floor set by", "rate asked for", "false alarms", "answered queries noticed"]
    show(f"{len(absent)} queries that nothing answers, and 400 that have an answer", headings, rows)


if __name__ == "__main__":
    main()
