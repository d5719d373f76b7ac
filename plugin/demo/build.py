"""Builds the demo's data from the vendors' packages: pictures, catalogue, query pictures, test drawings.

    python -m crosslens.demo.build [--cache CACHE] [--out DATA]

The catalogue resembles real ones: some items have a name and keywords, others only a stock number.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from crosslens.demo import vendors

# Resolved, since an editable install may link each file, and images must really lie below the folder.
DATA = Path(__file__).resolve().parent / "data"
_SIDE = 128
_QUERY_SIDE = 96
_TEST_SIDE = 64
_SEED = 11
# A third of the items have no words at all, some a name without keywords.
_SPARSE, _NO_KEYWORDS = 0.30, 0.15
# These are searched for in the demo, and lie among the items without words.
WORDLESS = ("1f427", "1f3b8", "1f682", "1f344", "1f97e", "1f45f", "1f6b2", "2602")
QUERY_PICTURES = {"penguin": "1f427", "guitar": "1f3b8", "bicycle": "1f6b2", "mushroom": "1f344"}


def build(out: Path, cache: Path) -> int:
    """Write the data below ``out`` and return the number of items in the catalogue."""
    concepts = vendors.concepts(cache)
    read, query = vendors.open_vendor(vendors.HELD_OUT, cache), vendors.open_vendor(vendors.QUERY_VENDOR, cache)
    rng = np.random.default_rng(_SEED)
    for folder in ("pictures", "queries"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    items: list[dict[str, object]] = []
    for number, concept in enumerate(concepts, 1):
        fate = rng.random()
        picture = read(concept)
        if picture is None:
            continue
        file = f"pictures/{concept.key}.webp"
        _shrink(picture, _SIDE).save(out / file, "WEBP", quality=80, method=6)
        item: dict[str, object] = {
            "id": concept.key,
            "sku": f"EM-{number:04d}",
            "category": concept.category,
            "image": file,
        }
        if fate < _SPARSE or concept.key in WORDLESS:
            item["name"] = f"Item EM-{number:04d}"
        else:
            item["name"] = concept.name
            if fate > _SPARSE + _NO_KEYWORDS:
                item["keywords"] = ", ".join(concept.keywords)
        items.append(item)
    _write_lines(out / "catalogue.jsonl", items)
    for name, key in QUERY_PICTURES.items():
        concept = next(c for c in concepts if c.key == key)
        drawing = query(concept)
        assert drawing is not None
        _shrink(drawing, _QUERY_SIDE).save(out / "queries" / f"{name}.png", optimize=True)
    return len(items)


def build_test_drawings(out: Path, cache: Path) -> int:
    """Write another vendor's drawing of every item with its true name, for the tests' measurements of recall."""
    concepts = vendors.concepts(cache)
    query, read = vendors.open_vendor(vendors.QUERY_VENDOR, cache), vendors.open_vendor(vendors.HELD_OUT, cache)
    (out / "noto").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for concept in concepts:
        if read(concept) is None:
            continue
        drawing = query(concept)
        if drawing is not None:
            _shrink(drawing, _TEST_SIDE).save(out / "noto" / f"{concept.key}.webp", "WEBP", quality=85, method=6)
        rows.append({"id": concept.key, "name": concept.name, "keywords": list(concept.keywords)})
    _write_lines(out / "names.jsonl", rows)
    return len(rows)


def _shrink(picture: Image.Image, side: int) -> Image.Image:
    if max(picture.size) <= side:
        return picture
    return picture.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)


def _write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Run this module's command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "crosslens" / "emoji")
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--test-out", type=Path, help="also write the tests' drawings here (tests/data)")
    arguments = parser.parse_args()
    print(f"{build(arguments.out, arguments.cache)} items in {arguments.out}")
    if arguments.test_out:
        print(f"{build_test_drawings(arguments.test_out, arguments.cache)} names in {arguments.test_out}")


if __name__ == "__main__":
    main()
