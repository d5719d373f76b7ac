"""Long texts: what passages find that cut texts don't, and what making passages costs beside encoding them.

Every document is a row of sentences about things that nobody asks for, with one sentence planted among them about the
thing that its query names. A single text of 100,000 words is encoded as well, in a process of its own, and one of a
tenth of that, whose peak memory it should not exceed by much. Needs the extra "dev" for all-MiniLM-L6-v2.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosslens.ingest.model.encoder import Encoder
from tests.bench.common import in_own_process, peak_rss_mb, show
from tests.bench.tasks import Concept, concepts
from tests.bench.words import minilm_folder

_DOCUMENTS, _SENTENCES = 200, 90
_WORDS = (10_000, 100_000)
_FRAMES = (
    "In the morning somebody mentioned {name}, which has to do with {words}.",
    "There is a note about {name}; it speaks of {words}.",
    "Later they turned to {name} and to {words}.",
    "Of {name} the report says little but {words}.",
)


@dataclass(frozen=True)
class _Texts:
    """Documents, and for each the query that its planted sentence answers."""

    documents: list[str]
    queries: list[str]


def main() -> None:
    """Prints recall@10 of planted sentences with passages and without, and passages a second."""
    encoder, texts = Encoder(minilm_folder()), _made()
    started = time.perf_counter()
    pieces = [[text[p.start : p.end] for p in encoder.passages(text)] for text in texts.documents]
    split_s = time.perf_counter() - started
    flat = [piece for row in pieces for piece in row]
    started = time.perf_counter()
    vectors = encoder.encode_texts(flat)
    encode_s = time.perf_counter() - started
    owners = np.repeat(np.arange(len(pieces)), [len(row) for row in pieces])
    queries = encoder.encode_texts(texts.queries, role="query")
    best = np.full((len(queries), len(pieces)), -1.0)
    np.maximum.at(best, (slice(None), owners), queries @ vectors.T)
    cut = queries @ encoder.encode_texts(texts.documents).T
    count = sum(len(text.split()) for text in texts.documents)
    rows = [
        ["passages", f"{_recall(best, 1):.3f}", f"{_recall(best, 10):.3f}"],
        ["cut texts", f"{_recall(cut, 1):.3f}", f"{_recall(cut, 10):.3f}"],
    ]
    title = f"{len(queries)} planted sentences in documents of {count // len(pieces)} words, exact search"
    show(title, ["vectors of", "recall@1", "recall@10"], rows)
    lost = float(np.mean(encoder.lost(texts.documents)))
    rates = [
        ["encoder alone on the same passages", f"{len(flat) / encode_s:.1f}", ""],
        [
            "making them and encoding",
            f"{len(flat) / (encode_s + split_s):.1f}",
            f"{encode_s / (encode_s + split_s):.2f}x",
        ],
    ]
    show(f"{len(flat)} passages; cut texts lose {lost:.0%}", ["all-MiniLM-L6-v2", "passages a second", "ratio"], rates)

    long = [in_own_process("tests.bench.passages", str(words)) for words in _WORDS]
    show(
        "A single text",
        ["words", "passages", "peak memory", "passages a second"],
        [
            [f"{words:,}", f"{each['passages']}", f"{each['peak_mb']:.0f} MB", f"{each['rate']:.1f}"]
            for words, each in zip(_WORDS, long, strict=True)
        ]
        + [
            [
                "ratio",
                "",
                f"{long[1]['peak_mb'] / long[0]['peak_mb']:.2f}x",
                f"{long[1]['rate'] / long[0]['rate']:.2f}x",
            ]
        ],
    )


def _long(words: int) -> None:
    """Encodes one text of so many words, and prints what it took."""
    encoder, rng = Encoder(minilm_folder()), np.random.default_rng(16)
    known = [each for each in concepts() if each.keywords]
    said: list[str] = []
    while len(said) < words:
        said += _sentence(known[rng.integers(len(known))], rng).split()
    text = " ".join(said[:words])
    started = time.perf_counter()
    vectors = encoder.encode_texts([text[p.start : p.end] for p in encoder.passages(text)])
    rate = len(vectors) / (time.perf_counter() - started)
    print(json.dumps({"passages": len(vectors), "rate": rate, "peak_mb": peak_rss_mb()}))


def _recall(scores: NDArray[np.float64], k: int) -> float:
    """The share of queries whose own document is among the ``k`` best."""
    own = scores[np.arange(len(scores)), np.arange(len(scores))]
    return float(np.mean((scores > own[:, None]).sum(axis=1) < k))


def _made() -> _Texts:
    rng = np.random.default_rng(51)
    known = [each for each in concepts() if len(each.keywords) >= 3]
    order = rng.permutation(len(known))
    asked = [known[i] for i in order[:_DOCUMENTS]]
    others = [known[i] for i in order[_DOCUMENTS:]]
    documents = []
    for each in asked:
        said = [_sentence(others[rng.integers(len(others))], rng) for _ in range(_SENTENCES)]
        said[rng.integers(_SENTENCES)] = _sentence(each, rng)
        documents.append(" ".join(said))
    return _Texts(documents, [each.name for each in asked])


def _sentence(concept: Concept, rng: np.random.Generator) -> str:
    words = ", ".join(map(str, rng.choice(concept.keywords, min(3, len(concept.keywords)), replace=False)))
    return _FRAMES[rng.integers(len(_FRAMES))].format(name=concept.name, words=words)


if __name__ == "__main__":
    _long(int(sys.argv[1])) if len(sys.argv) > 1 else main()
