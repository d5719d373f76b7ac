"""What errors show to those who search and index: the model and the file, and not where the node keeps them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crosslens.ingest.model.known import DEMO_MODEL
from tests.server.conftest import Plugged

pytestmark = pytest.mark.node
_GRAPH = Path("onnx/text_model.onnx")


def without_manifest(folder: Path) -> None:
    (folder / "crosslens.json").unlink()


def changed(folder: Path) -> None:
    graph = folder / _GRAPH
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")


def unloadable(folder: Path) -> None:
    """A graph that reads as a protocol buffer, of which ONNX Runtime can make nothing."""
    without_manifest(folder)
    (folder / _GRAPH).write_bytes(b"\x08\x08\x12\x03abc")


def rewritten(name: str, data: bytes | None) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        without_manifest(folder)
        if data is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(data)

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "changed": (changed, "damaged/onnx/text_model.onnx has been changed since its export"),
    "unloadable": (unloadable, "damaged/onnx/text_model.onnx can't be loaded by ONNX Runtime"),
    "no graph": (rewritten(str(_GRAPH), None), "damaged has no onnx/text_model.onnx"),
    "cut graph": (rewritten(str(_GRAPH), b"\x3a\xff\x0f"), "damaged/onnx/text_model.onnx isn't an ONNX graph"),
    "pointer": (
        rewritten(str(_GRAPH), b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
        "damaged/onnx/text_model.onnx is a Git LFS pointer",
    ),
    "configuration": (rewritten("config.json", b"{"), "damaged/config.json can't be read as a JSON object"),
    "preprocessor": (rewritten("preprocessor_config.json", None), "damaged/preprocessor_config.json is missing"),
    "tokenizer": (rewritten("tokenizer.json", b"{}"), "damaged/tokenizer.json can't be read as a tokenizer"),
}


@pytest.fixture(scope="module")
def empty(plugged: Plugged) -> Iterator[str]:
    field = {"type": "dense_vector", "dims": 192, "index": True, "similarity": "cosine"}
    name = plugged.server.new_index({"properties": {"v": field}}, [{"title": "one"}])
    yield name
    plugged.server.client.indices.delete(index=name)


def searched(plugged: Plugged, index: str, model: str | None) -> tuple[int, str]:
    builder = {"text": "a red heart", **({"model": model} if model else {})}
    knn = {"field": "v", "k": 1, "num_candidates": 1, "query_vector_builder": {"crosslens": builder}}
    status, answer = plugged.http("POST", f"{index}/_search?error_trace=true", {"knn": knn})
    return status, json.dumps(answer)


def expect_no_paths(plugged: Plugged, answer: str) -> None:
    for path in {plugged.folder, plugged.folder.resolve(), plugged.images, plugged.images.resolve()}:
        assert str(path) not in answer


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_model_is_named_without_its_place(plugged: Plugged, empty: str, kind: str) -> None:
    damage, told = DAMAGES[kind]
    folder = plugged.folder / "config" / "crosslens" / "damaged"
    shutil.copytree(DEMO_MODEL, folder)
    try:
        damage(folder)
        status, answer = searched(plugged, empty, "damaged")
        assert status == 500
        assert told in answer
        expect_no_paths(plugged, answer)
        models = json.dumps(plugged.http.ok("GET", "_crosslens/models"))
        assert told in models
        expect_no_paths(plugged, models)
        # Those who run the node find the place in its log.
        assert str(folder) in plugged.server.node.log.read_text()
    finally:
        shutil.rmtree(folder)


def test_an_unknown_model_and_an_unnamed_one_show_no_place(plugged: Plugged, empty: str) -> None:
    for model, told in (("nowhere", "no model [nowhere]"), (None, "say which [model]")):
        status, answer = searched(plugged, empty, model)
        assert status == 400
        assert told in answer
        expect_no_paths(plugged, answer)


@pytest.mark.parametrize("reference", ["missing.png", "../secret.png", "/etc/hostname", "a\0b.png", "nodir/x.png", "."])
def test_documents_say_what_is_wrong_with_their_pictures_without_the_folders_place(
    plugged: Plugged, reference: str
) -> None:
    step = {"model": "small", "field": "v", "modality": "image", "source": "photo"}
    for more in ({}, {"record_errors": True}):
        body = {
            "pipeline": {"processors": [{"crosslens": {**step, **more}}]},
            "docs": [{"_source": {"photo": reference}}],
        }
        answer = json.dumps(plugged.http.ok("POST", "_ingest/pipeline/_simulate?error_trace=true", body))
        assert "error" in answer
        expect_no_paths(plugged, answer)
