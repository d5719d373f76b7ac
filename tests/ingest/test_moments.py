"""Sound and footage in an index: a vector for each moment, made in pieces and gone on with where a run was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosslens import Cutting, VideoField, add_vectors
from crosslens.ingest.contract.documents import state_of
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from crosslens.ingest.sources.access import ImageAccess
from tests.conftest import Server
from tests.ingest.exactness import all_documents

pytest.importorskip("av", reason="the extra 'av' is not installed")

MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {"title": {"type": "text"}, "footage": {"type": "keyword"}},
}
CAPTIONS = """WEBVTT

00:00.500 --> 00:01.500
A penguin walks.

00:02.500 --> 00:03.500
It jumps into the sea.
"""


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small films: scenes.mp4 with captions beside it, silent.mp4, heard.wav, and broken.mp4."""
    from tests.ingest.footage import Film, film

    folder = tmp_path_factory.mktemp("films")
    (folder / "scenes.mp4").write_bytes(film(Film()))
    (folder / "scenes.vtt").write_text(CAPTIONS)
    (folder / "silent.mp4").write_bytes(film(Film(seconds=3, sound=None, scene_s=1.5)))
    (folder / "heard.wav").write_bytes(film(Film(seconds=3, format="wav", codec=None, sound="pcm_s16le")))
    (folder / "broken.mp4").write_bytes(b"\0\0\0 ftypisom" + b"nothing else" * 40)
    return folder


def options(films: Path, **more: Any) -> Options:
    return Options(images=ImageAccess(films), **more)


def test_footage_gets_a_vector_for_each_shot(server: Server, encoder: Encoder, films: Path) -> None:
    names = ["scenes.mp4", "silent.mp4", "heard.wav", "broken.mp4", None]
    documents: list[dict[str, object]] = [{"title": str(n), **({"footage": n} if n else {})} for n in names]
    index = server.new_index(MAPPINGS, documents)
    report = add_vectors(server.client, index, encoder, [VideoField("footage")], options(films))
    print(report)
    found = all_documents(server, index)
    for id, doc in found.items():
        print(id, state_of(doc, "footage_vector"), [{k: (v if k != "vector" else len(v)) for k, v in m.items()} for m in doc.get("footage_vector") or []])
    again = add_vectors(server.client, index, encoder, [VideoField("footage")], options(films))
    print(again)
    assert 0
