"""What the demo shows of sound and footage: a spoken name finds pictures; words, speech and drawings find moments."""

from __future__ import annotations

import importlib.util
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from rich.console import Console

from crosslens.demo.build import DATA
from crosslens.ingest.contract.targets import VideoField
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.senses import Samples
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.moments import described
from crosslens.queries.show.result import SearchResult
from crosslens.queries.show.table import title_of

FOOTAGE_INDEX = "crosslens-demo-footage"
FOOTAGE_PROPERTIES = {"title": {"type": "text"}, "footage": {"type": "keyword"}}
SPOKEN = "penguin"
_ROWS = 6


def read_wave(path: Path) -> Samples:
    """Return a WAV file of 16 bits and one channel as float32 [n]; reading it needs no decoder."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return (samples / 32768).astype(np.float32)


def spoken_query(client: Elasticsearch, encoder: Encoder, console: Console, index: str, field: str) -> list[str]:
    """Search the vectors of pictures for a spoken name, print what was found, and return the ids, best first."""
    path = DATA / "spoken" / f"{SPOKEN}.wav"
    vector = encoder.encode_sounds([read_wave(path)])[0].tolist()
    nearest = {"field": field, "query_vector": vector, "k": _ROWS, "num_candidates": 100}
    found = client.search(index=index, knn=nearest, size=_ROWS, source_includes=["name"])["hits"]["hits"]
    console.print(f"listen: {path}", highlight=False, soft_wrap=True)
    for hit in found:
        character = "".join(chr(int(code, 16)) for code in hit["_id"].split("-"))
        console.print(f"  {hit['_source']['name']} {character}  {hit['_score']:.3f}", highlight=False)
    return [str(hit["_id"]) for hit in found]


def load_films() -> list[dict[str, Any]]:
    """Return the documents of the demo's footage."""
    films = sorted((DATA / "footage").glob("*.webm"))
    return [{"id": film.stem, "title": film.stem, "footage": f"footage/{film.name}"} for film in films]


def decodes() -> bool:
    """Return whether PyAV, which decodes footage, is installed."""
    return importlib.util.find_spec("av") is not None


@dataclass(frozen=True)
class Asked:
    """A search of the footage: how it is called, and what it found."""

    title: str
    found: SearchResult


def footage(client: Elasticsearch, encoder: Encoder, console: Console, index: str = FOOTAGE_INDEX) -> list[Asked]:
    """Give every moment of the films in ``index`` a vector of a picture and one of its sound, and search them."""
    targets = [
        VideoField("footage", of="frames", name="scenes"),
        VideoField("footage", of="sound", name="heard"),
    ]
    report = add_vectors(client, index, encoder, targets, Options(images=ImageAccess(root=DATA)))
    console.print(f"{sum(report.written.values())} vectors of moments in {report.seconds:.1f} s")
    seen, heard = (HybridSearcher(client, index, encoder, fields=[name]) for name in ("scenes", "heard"))
    speech, drawing = DATA / "spoken" / f"{SPOKEN}.wav", DATA / "queries" / "guitar.png"
    asked = [
        Asked('"giraffe", by what is seen', seen.search("giraffe", size=1, legs=["scenes"])),
        Asked(f"{drawing.name}, by what is seen", seen.search(image=drawing, size=1)),
        Asked('"mushroom", by what is said', heard.search("mushroom", size=1, legs=["heard"])),
        Asked(f"{speech.name}, by what is seen", seen.search(audio=speech, size=1)),
    ]
    for each in asked:
        for hit in each.found.hits:
            moment = described(hit.moments[0]) if hit.moments else "no moment"
            console.print(f"{each.title}: {title_of(hit)}, {moment}", highlight=False)
    return asked
