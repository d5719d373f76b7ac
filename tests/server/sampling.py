"""Counts for a folder of pictures by others, such as Pillow's own: vectors, refusals and differences on both sides.

    python -m tests.server.sampling FOLDER http://localhost:9200

The node has the server plugin and the demo's model; Pillow's pictures are in the folder Tests/images of its source.
"""

from __future__ import annotations

import argparse
import base64
import collections
from pathlib import Path

import numpy as np

from crosslens.errors import ImageError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from tests.server.conftest import Http


def outcome(encoder: Encoder, http: Http, data: bytes) -> tuple[str, str]:
    """What both sides make of a file, and why if they refuse it."""
    python = reason = None
    try:
        (python,) = encoder.encode_images([data])
    except ImageError as error:
        reason = error.message
    body = {"model": "model", "images": [base64.b64encode(data).decode()]}
    status, answer = http("POST", "_crosslens/encode", body)
    if status != 200:
        said = str(answer["error"]["reason"])
        return ("refused by both" if python is None else "refused by the plugin alone"), f"{status}: {said}"
    if python is None:
        return "refused by Python alone", str(reason)
    cosine = float(np.dot(python, answer["vectors"][0]))
    return ("the same vector" if cosine >= 0.999 else "different vectors"), f"cosine {cosine:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    asked = parser.parse_args()
    encoder, http = Encoder(DEMO_MODEL), Http(asked.url)
    counts: collections.Counter[str] = collections.Counter()
    for path in sorted(path for path in asked.folder.rglob("*") if path.is_file()):
        kind, why = outcome(encoder, http, path.read_bytes())
        counts[kind] += 1
        if kind not in ("the same vector", "refused by both"):
            print(f"{path.relative_to(asked.folder)}: {kind} ({why})")
    for kind, count in counts.most_common():
        print(f"{count:6,} {kind}")


if __name__ == "__main__":
    main()
