"""The demo's model in int8 against its float32 twin: recall on pictures that it never saw, cosine, and CPU time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from crosslens.demo.build import DATA
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.exporting import export
from crosslens.ingest.model.precision import recall
from crosslens.ingest.model.transform import Float32Array
from tests.bench.common import show
from tests.bench.tasks import concepts

_ROUNDS = 5


def main() -> None:
    """Prints a row for each precision. CPU time, the least of several turns, depends least on what else runs."""
    named = {each.id: each.name for each in concepts()}
    # The demo's own pictures, by a vendor that the model wasn't trained on.
    files = {file.stem: file for file in sorted((DATA / "pictures").glob("*.webp")) if file.stem in named}
    texts, pictures = [named[id] for id in files], list(files.values())
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp) / "int8"
        export(str(DATA / "checkpoint"), folder, precision="int8", keep_float32=True)
        encoders = {"float32": Encoder(folder, variant="fp32", threads=1), "int8": Encoder(folder, threads=1)}
        made = {name: (each.encode_texts(texts), each.encode_images(pictures)) for name, each in encoders.items()}
        took = {name: _times(each, texts, pictures) for name, each in encoders.items()}
    exact = made["float32"]
    rows = []
    for name, (words, seen) in made.items():
        cosines = [float((a * b).sum(1).min()) for a, b in zip(exact, (words, seen), strict=True)]
        speeds = [f"{before / now:.2f}x" for before, now in zip(took["float32"], took[name], strict=True)]
        figures = [_found(words, seen), _found(words, exact[1]), recall(*exact, words, seen), min(cosines)]
        rows.append([name, *(f"{each:.4f}" for each in figures), *speeds])
    headings = ["demo", "recall@10", "in float32's", "of its first 10", "cosine min"]
    show("Encoders", [*headings, *(f"{kind} by {n}" for kind in ("texts", "images") for n in (1, 32))], rows)


def _found(words: Float32Array, pictures: Float32Array) -> float:
    """Return how many names find their own picture among their first ten."""
    scores = words @ pictures.T
    return float(((scores > scores.diagonal()[:, None]).sum(1) < 10).mean())


def _times(encoder: Encoder, texts: list[str], pictures: list[Path]) -> list[float]:
    """Return the CPU seconds of a text, of 32, of a picture, and of 32, prepared."""
    pixels = [encoder.prepare_image(picture) for picture in pictures[:32]]
    return [
        *(_least(lambda n=n: encoder.encode_texts(texts[:n])) for n in (1, 32)),
        *(_least(lambda n=n: encoder.encode_pixels(np.stack(pixels[:n]))) for n in (1, 32)),
    ]


def _least(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


if __name__ == "__main__":
    main()
