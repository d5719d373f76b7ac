"""Images a second and peak memory of the encoder against PyTorch eager: ViT-B/32, the same weights and pixels."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from tests.bench.common import in_own_process, peak_rss_mb, rate, show, vit_b_32

_SECONDS = 12.0
_ROUNDS = 2


def main() -> None:
    """Prints a row for each batch size; the better of two alternating rounds counts for each side."""
    checkpoint, exported = vit_b_32()
    rows = []
    for batch in (1, 32):
        best: dict[str, dict[str, float]] = {}
        for _ in range(_ROUNDS):
            for peer, folder in (("crosslens", exported), ("torch", checkpoint)):
                result = in_own_process("tests.bench.images", peer, str(folder), str(batch))
                if peer not in best or result["rate"] > best[peer]["rate"]:
                    best[peer] = result
        ours, theirs = best["crosslens"], best["torch"]
        rows.append(
            [
                f"batch {batch}",
                f"{ours['rate']:.1f}",
                f"{theirs['rate']:.1f}",
                f"{ours['rate'] / theirs['rate']:.2f}x",
                f"{ours['rss']:.0f} MB",
                f"{theirs['rss']:.0f} MB",
            ]
        )
    headings = ["ViT-B/32, images/s", "crosslens", "PyTorch eager", "ratio", "peak RSS", "PyTorch's"]
    show("Image encoder", headings, rows)


def _crosslens(folder: Path, pixels: np.ndarray) -> float:
    from crosslens.ingest.model.encoder import Encoder

    encoder = Encoder(folder, verify=False)
    return rate(lambda: len(encoder.encode_pixels(pixels)), _SECONDS)


def _torch(folder: Path, pixels: np.ndarray) -> float:
    import torch
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(folder).eval()
    tensor = torch.from_numpy(pixels)

    def work() -> int:
        with torch.inference_mode():
            output = model.get_image_features(pixel_values=tensor)
            return len(output if isinstance(output, torch.Tensor) else output.pooler_output)

    return rate(work, _SECONDS)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        peer, place, size = sys.argv[1:]
        given = np.random.default_rng(0).standard_normal((int(size), 3, 224, 224), dtype=np.float32)
        run = {"crosslens": _crosslens, "torch": _torch}[peer]
        print(json.dumps({"rate": run(Path(place), given), "rss": peak_rss_mb()}))
