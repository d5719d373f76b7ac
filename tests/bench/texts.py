"""Short texts a second at their own length against the same graph padded to CLIP's 77 tokens: ViT-B/32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crosslens.ingest.model.encoder import Encoder
from tests.bench.common import rate, show, vit_b_32

_SECONDS = 10.0
_WORDS = ("a", "photo", "of", "cat", "dog", "blue", "running", "shoes", "and", "new", "line", "thing")


def main() -> None:
    """Prints the rates and their ratio, for batches of 32 and for single queries."""
    _, exported = vit_b_32()
    encoder, padded = Encoder(exported, verify=False), Encoder(exported, verify=False)
    padded.folder = replace(padded.folder, text=replace(padded.folder.text, fixed=True))
    texts = short_texts(encoder, 256)
    lengths = encoder.token_counts(texts)
    rows = []
    for name, group in (("batches of 32", 256), ("one at a time", 16)):
        some = texts[:group]

        def run(which: Encoder, some: list[str] = some, group: int = group) -> int:
            if group == 256:
                return len(which.encode_texts(some))
            return sum(len(which.encode_texts([text])) for text in some)

        short, full = rate(lambda: run(encoder), _SECONDS), rate(lambda: run(padded), _SECONDS)
        rows.append([name, f"{short:.1f}", f"{full:.1f}", f"{short / full:.2f}x"])
    title = f"Text encoder, texts of {min(lengths)} to {max(lengths)} tokens"
    show(title, ["ViT-B/32, texts/s", "own length", "padded to 77", "ratio"], rows)


def short_texts(encoder: Encoder, count: int) -> list[str]:
    """Texts of 5 to 12 tokens, start and end included."""
    rng, found = np.random.default_rng(1), list[str]()
    while len(found) < count:
        text = " ".join(rng.choice(_WORDS, int(rng.integers(2, 11))))
        if 5 <= encoder.token_counts([text])[0] <= 12:
            found.append(text)
    return found


if __name__ == "__main__":
    main()
