"""Labels: how good they are on drawings that the model never saw, and how long they take.

Quality needs no server: the vectors are made here, and the rule is that of `crosslens.ingest.contract.label_set`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from crosslens.client import Connection, connect
from crosslens.demo.build import DATA
from crosslens.demo.run import load_items
from crosslens.ingest.contract.label_set import noise_of, threshold
from crosslens.ingest.contract.labels import PICTURE_TEMPLATES, TEXT_TEMPLATES, Label, prompted
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.run.interval import interval
from crosslens.ingest.run.label import label, wanted_labels
from crosslens.node import Node
from tests.bench.clustered import FIELD, ClusteredEncoder, fill, vocabulary
from tests.bench.common import console, show
from tests.bench.tasks import concepts

# Keywords of Unicode's that name what is seen, each of at least ten drawings.
_SEEN = (
    "face animal person food hand arrow heart tool clock clothing zodiac game ball bird plant fruit building weather "
    "music drink car moon cat cloud dessert vehicle flower insect mail railway"
)
CATEGORIES = tuple(_SEEN.split())
_RATES, _USUAL = (0.01, 0.05), 0.25
_INDEX, _DIMS, _LABELS = "bench-labels", 512, 100
Matrix = NDArray[np.float64]
Truth = NDArray[np.bool_]


def main(arguments: Sequence[str] = ()) -> None:
    """Prints precision and recall on 30 categories, then the time that 100 labels take."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.labels", description=main.__doc__)
    parser.add_argument("--documents", type=int, default=100_000, help="documents to label; 0: quality alone")
    asked = parser.parse_args(arguments)
    encoder = Encoder(DEMO_MODEL)
    vectors = encoder.encode_images([DATA / item["image"] for item in load_items()])
    deserve = _deserve()
    for templates in (TEXT_TEMPLATES, PICTURE_TEMPLATES):
        _show_quality(vectors, _label_vectors(encoder, templates), deserve, templates)
    if asked.documents:
        _show_speed(asked.documents)


def _deserve() -> Truth:
    """Which picture is of which category, by Unicode's names and keywords: [pictures, categories]."""
    words = {each.id: {*each.keywords, *each.name.split()} for each in concepts()}
    return np.array([[name in words[item["id"]] for name in CATEGORIES] for item in load_items()])


def _label_vectors(encoder: Encoder, templates: Sequence[str]) -> Matrix:
    means = [encoder.encode_texts(prompted(Label(name), templates)).mean(axis=0) for name in CATEGORIES]
    return np.array([mean / np.linalg.norm(mean) for mean in means], dtype=np.float64)


def _show_quality(vectors: NDArray[np.float32], labels: Matrix, deserve: Truth, templates: Sequence[str]) -> None:
    cosines = vectors.astype(np.float64) @ labels.T
    noise = noise_of(labels.astype(np.float32), vectors)
    rows = []
    for rate in _RATES:
        standardised = (cosines - noise.centre) / noise.spread
        moments = (cosines - cosines.mean(axis=0)) / cosines.std(axis=0)
        given = standardised >= threshold(rate)
        alarms = int((given & ~deserve).sum())
        # No one knows it beforehand: chosen by the answers, so that it raises as many false alarms.
        raw = float(np.sort(cosines[~deserve])[-alarms])
        rows += [
            _row(f"median and MAD, {rate:.0%} false alarms", given, deserve),
            _row(f"mean and deviation, {rate:.0%} false alarms", moments >= threshold(rate), deserve),
            _row(f"raw cosine from {raw:.3f}, set by the answers", cosines >= raw, deserve),
        ]
    # What is often taken for ViT-B/32.
    rows.append(_row(f"raw cosine from {_USUAL}", cosines >= _USUAL, deserve))
    headings = ["a label is given by", "false alarms", "least to most", "precision", "recall", "mean recall of labels"]
    show(f"{len(CATEGORIES)} categories, {len(vectors)} unseen drawings, {' and '.join(templates)}", headings, rows)


def _row(name: str, given: Truth, deserve: Truth) -> list[str]:
    right, alarms = given & deserve, given & ~deserve
    each = alarms.sum(axis=0) / (~deserve).sum(axis=0)
    return [
        name,
        f"{alarms.sum() / (~deserve).sum():.2%}",
        f"{each.min():.1%} to {each.max():.1%}",
        _share(int(right.sum()), int(given.sum())),
        _share(int(right.sum()), int(deserve.sum())),
        f"{(right.sum(axis=0) / deserve.sum(axis=0)).mean():.2f}",
    ]


def _share(right: int, of: int) -> str:
    low, high = interval(right / of, of)
    return f"{right / of:.2f} ({low:.2f} to {high:.2f})"


def _show_speed(documents: int) -> None:
    encoder = ClusteredEncoder(_DIMS)
    names = vocabulary()[:_LABELS]
    with tempfile.TemporaryDirectory() as tmp, Node(Path(tmp) / "node", heap="2g") as node:
        client = connect(Connection(url=node.url)).options(request_timeout=600)
        fill(client, _INDEX, encoder, documents)
        console.print(f"{documents} documents of {_DIMS} dims are there")
        wanted = wanted_labels(names)
        rows = []
        # The first reads what the server then has in memory.
        for name in ("read and scored (first)", "read and scored"):
            started = time.perf_counter()
            label(client, _INDEX, encoder, FIELD, "tags", wanted, dry_run=True)
            rows.append([name, f"{time.perf_counter() - started:.1f}"])
        for k in (100, documents // 100):
            rows.append([f"the server's kNN, {k} nearest of each label", f"{_knn(client, encoder, names, k):.1f}"])
        vectors = encoder.encode_texts(vocabulary() * 8)[:10_000]
        started = time.perf_counter()
        scored = vectors.astype(np.float64) @ encoder.encode_texts(names).T
        share = documents / len(vectors)
        rows.append(["of it the product of matrices", f"{(time.perf_counter() - started) * share:.1f}"])
        assert scored.shape[1] == len(names)
        started = time.perf_counter()
        report = label(client, _INDEX, encoder, FIELD, "tags", wanted)
        rows.append([f"labelled, {report.written} documents written", f"{time.perf_counter() - started:.1f}"])
        started = time.perf_counter()
        label(client, _INDEX, encoder, FIELD, "tags", wanted)
        rows.append(["run again, with nothing to do", f"{time.perf_counter() - started:.1f}"])
        show(f"{documents} documents of {_DIMS} dims, {len(names)} labels", ["", "seconds"], rows)


def _knn(client: Elasticsearch, encoder: ClusteredEncoder, names: Sequence[str], k: int) -> float:
    started = time.perf_counter()
    for vector in encoder.encode_texts(names):
        knn = {"field": FIELD, "query_vector": vector.tolist(), "k": k, "num_candidates": min(10_000, 2 * k)}
        client.search(index=_INDEX, knn=knn, size=k, source=False)
    return time.perf_counter() - started


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
