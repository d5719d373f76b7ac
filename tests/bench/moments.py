"""Footage of known content: whether a text or a picture finds the right video, and in it the right moment.

200 clips are made of the demo's pictures, which the model never saw: six in each, every one in a clip of its own and
for three seconds, slowly growing. `add` cuts them into shots, and the demo's model encodes a frame of each. Chance
finds the right video among ten with 0.05, and the right moment first with 0.0008.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import helpers
from numpy.typing import NDArray
from PIL import Image

from crosslens import HybridSearcher, VideoField, add_vectors, connect
from crosslens.client import Connection
from crosslens.demo.build import DATA
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.run.run import Options
from crosslens.ingest.sources.access import ImageAccess
from crosslens.node import Node
from crosslens.queries.evaluate.measures import interval
from crosslens.queries.show.result import SearchResult
from tests.bench.common import show
from tests.bench.tasks import catalogue, concepts, drawings

_CLIPS, _SCENES, _SCENE_S, _FPS, _SIDE = 200, 6, 3, 8, 128
_INDEX = "bench-footage"


@dataclass(frozen=True)
class Place:
    """Where a concept is shown: in which clip, and from when to when in ms."""

    clip: str
    start_ms: int
    end_ms: int


def main(arguments: Sequence[str] = ()) -> None:
    """Prints how often the right video and the right moment are found; several minutes."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.moments", description=main.__doc__)
    parser.add_argument("--clips", type=int, default=_CLIPS, help=f"how many clips are made (default: {_CLIPS})")
    asked = parser.parse_args(arguments)
    encoder = Encoder(DEMO_MODEL)
    with tempfile.TemporaryDirectory() as tmp, Node(Path(tmp) / "node", heap="1g") as node:
        root = Path(tmp)
        places = _make(root, asked.clips)
        client = connect(Connection(url=node.url))
        client.indices.create(index=_INDEX, mappings={"properties": {"footage": {"type": "keyword"}}})
        clips = sorted({each.clip for each in places.values()})
        helpers.bulk(client, ({"_index": _INDEX, "_id": clip, "footage": clip} for clip in clips), refresh=True)
        started = time.perf_counter()
        images = Options(images=ImageAccess(root=root))
        add_vectors(client, _INDEX, encoder, [VideoField("footage", of="frames", name="scenes")], images)
        took = time.perf_counter() - started
        client.indices.refresh(index=_INDEX)
        searcher = HybridSearcher(client, _INDEX, encoder, text_fields=[])
        names = {each.id: each.name for each in concepts()}
        pictures = {each.id: each.image for each in drawings()}
        rows = [
            _row("written name", places, names, lambda name: searcher.search(name, source=False)),
            _row("drawing", places, pictures, lambda path: searcher.search(image=path, source=False)),
        ]
    seconds = len(clips) * _SCENES * _SCENE_S
    title = f"{len(clips)} clips of {_SCENES} drawings, added in {took:.0f} s ({took / seconds * 60:.2f} s a minute)"
    show(title, ["query", "queries", "right video first", "within ten", "right moment first"], rows)


def _row(
    kind: str, places: dict[str, Place], queries: dict[str, Any], search: Callable[[Any], SearchResult]
) -> list[str]:
    """How often the right video is found first and among ten, and its right moment first, with 95 % intervals."""
    found = np.array([_judged(search(queries[id]), place) for id, place in places.items() if id in queries])
    return [kind, str(len(found)), *(_cell(found[:, i]) for i in range(3))]


def _judged(result: SearchResult, place: Place) -> tuple[float, float, float]:
    ids = [hit.id for hit in result.hits[:10]]
    first = ids[:1] == [place.clip]
    moment = result.hits[0].moments[0] if first else None
    there = moment is not None and place.start_ms <= (moment.start_ms + moment.end_ms) / 2 < place.end_ms
    return float(first), float(place.clip in ids), float(there)


def _cell(values: NDArray[np.float64]) -> str:
    low, high = interval(values)
    return f"{values.mean():.3f} ({low:.3f}-{high:.3f})"


def _make(root: Path, clips: int) -> dict[str, Place]:
    """Makes the clips, and returns where each concept is shown."""
    documents = catalogue().documents
    ids = [str(id) for id in np.random.default_rng(71).permutation(sorted(documents))][: clips * _SCENES]
    places: dict[str, Place] = {}
    for number in range(len(ids) // _SCENES):
        shown = ids[number * _SCENES : (number + 1) * _SCENES]
        name = f"{number:03}.mp4"
        _write(root / name, [DATA / str(documents[id]["image"]) for id in shown])
        for i, id in enumerate(shown):
            places[id] = Place(name, i * _SCENE_S * 1000, (i + 1) * _SCENE_S * 1000)
    return places


def _write(path: Path, pictures: Sequence[Path]) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FPS)
        stream.width = stream.height = _SIDE
        stream.pix_fmt, stream.options = "yuv420p", {"preset": "veryfast", "crf": "23"}
        stream.thread_count = 1
        for number, picture in enumerate(pictures):
            drawn = Image.open(picture).convert("RGBA")
            white = Image.new("RGBA", drawn.size, "white")
            drawn = Image.alpha_composite(white, drawn).convert("RGB")
            for i in range(_SCENE_S * _FPS):
                # Ten percent larger at the end, so that no two frames are equal.
                side = round(_SIDE * (0.85 + 0.1 * i / (_SCENE_S * _FPS)))
                canvas = Image.new("RGB", (_SIDE, _SIDE), "white")
                edge = (_SIDE - side) // 2
                canvas.paste(drawn.resize((side, side), Image.Resampling.BICUBIC), (edge, edge))
                frame = av.VideoFrame.from_image(canvas)
                frame.pts, frame.time_base = number * _SCENE_S * _FPS + i, Fraction(1, _FPS)
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
