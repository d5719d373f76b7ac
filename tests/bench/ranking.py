"""How every fusion ranks on every task that the repository's data allow: nDCG@10, untuned, and tuned as the ceiling.

Options: names of tasks to run (None: all), in whole or in part.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from elasticsearch import Elasticsearch, helpers

from crosslens.client import Connection, connect
from crosslens.demo.build import DATA
from crosslens.ingest.encoder import Encoder
from crosslens.ingest.sources import ImageAccess
from crosslens.ingest.write import Options, add_vectors
from crosslens.models import DEMO_MODEL
from crosslens.node import Node
from crosslens.queries.evaluate import best_single, collect, evaluate, measure, paired_p, ranked
from crosslens.queries.hybrid import HybridSearcher
from crosslens.queries.normalise import Normaliser
from crosslens.queries.tune import LEAST_QUERIES, tune
from tests.bench.common import console, show
from tests.bench.tasks import Corpus, Task, tasks

_KEY = "nDCG@10"
_FORMER: Normaliser = "theoretical-min-max"
_SHOWN: list[Normaliser] = ["rank", "min-max", _FORMER, "z-score", "evidence"]
_TUNED: list[Normaliser] = ["evidence", _FORMER, "min-max", "rank"]
_TEXTS, _KEYWORDS = ("name", "keywords", "caption"), ("sku", "category", "image")


def main() -> None:
    """Prints a row for each task, and whether evidence differs from the best leg and from the default of 0.3."""
    wanted = sys.argv[1:] if __name__ == "__main__" else []
    encoder = Encoder(DEMO_MODEL)
    rows = []
    with tempfile.TemporaryDirectory() as tmp, Node(Path(tmp) / "node", heap="1g") as node:
        client = connect(Connection(url=node.url))
        for task in tasks():
            if not wanted or any(each in task.name for each in wanted):
                rows.append(_row(client, encoder, task))
                console.print(" | ".join(rows[-1]), highlight=False)
    headings = ["task (queries)", "best leg", *_SHOWN, "tuned", "p to best leg", "p to 0.3"]
    show(f"{_KEY} by task; tuned is cross-validated", headings, rows)


def _row(client: Elasticsearch, encoder: Encoder, task: Task) -> list[str]:
    _index(client, encoder, task.corpus)
    fields = list(task.corpus.keyword_fields)
    searcher = HybridSearcher(client, task.corpus.name, encoder, text_fields=fields)
    collected = collect(searcher, task.judged)
    measured = evaluate(collected)
    single, fused = best_single(measured), measured[-1]
    untuned = {each: measure(each, ranked(collected, {}, each), task.judged) for each in _SHOWN}
    tuned = tune(collected, _TUNED).expected.mean(_KEY) if len(collected) >= LEAST_QUERIES else float("nan")
    return [
        f"{task.name} ({len(task.judged)})",
        f"{single.mean(_KEY):.3f} {single.name.removesuffix(' alone')}",
        *(f"{row.mean(_KEY):.3f}" for row in untuned.values()),
        f"{tuned:.3f}",
        *(f"{paired_p(fused.values[_KEY], row.values[_KEY]):.4f}" for row in (single, untuned[_FORMER])),
    ]


def _index(client: Elasticsearch, encoder: Encoder, corpus: Corpus) -> None:
    """Makes the task's index, unless an earlier task had the same; late documents come after the vectors."""
    if client.indices.exists(index=corpus.name):
        return
    properties = {**{n: {"type": "text"} for n in _TEXTS}, **{n: {"type": "keyword"} for n in _KEYWORDS}}
    client.indices.create(index=corpus.name, settings={"number_of_replicas": 0}, mappings={"properties": properties})
    for ids in ([id for id in corpus.documents if id not in corpus.late], sorted(corpus.late)):
        documents = ({"_index": corpus.name, "_id": id, **corpus.documents[id]} for id in ids)
        helpers.bulk(client, documents, refresh=True)
        if ids and ids[0] not in corpus.late:
            add_vectors(client, corpus.name, encoder, list(corpus.targets), Options(images=ImageAccess(root=DATA)))


if __name__ == "__main__":
    main()
