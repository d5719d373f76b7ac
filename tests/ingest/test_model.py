"""Model folders: whole, altered, incomplete, and made elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from crosslens.errors import ModelError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.folder import open_model, text_settings
from crosslens.ingest.model.sharing import served_files

FILES = ["onnx/text_model.onnx", "onnx/vision_model.onnx", "tokenizer.json", "preprocessor_config.json", "config.json"]


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(models / "small", tmp_path / "model"))


def foreign(folder: Path) -> Path:
    """The folder as another exporter would leave it: no manifest, the settings in tokenizer_config.json."""
    (folder / "crosslens.json").unlink()
    settings = {"model_max_length": 77, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_in_any_file_is_found_and_named(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ModelError, match=f"{name}.* has been changed|can't be read as JSON"):
        open_model(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=Path(name).name):
        open_model(folder)


@pytest.mark.parametrize("name", ["../secret", "onnx/../../secret", "/etc/hostname"])
def test_a_manifest_that_names_files_elsewhere_is_refused(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_text("x")
    manifest = json.loads((folder / "crosslens.json").read_text())
    manifest["files"][name] = "0"
    (folder / "crosslens.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="names a file outside of the model's folder"):
        open_model(folder)


def test_only_what_the_plugin_reads_is_handed_to_a_cluster(folder: Path) -> None:
    for stray in ("README.md", "onnx/text_model_quantized.onnx", ".git"):
        (folder / stray).write_text("x")
    made = {"config.json", "crosslens.json", "onnx/text_model.onnx", "onnx/vision_model.onnx", "tokenizer.json"}
    names = served_files(open_model(folder))
    assert made <= set(names) <= made | {"preprocessor_config.json", "tokenizer_config.json"}
    assert names == sorted(names)


def test_no_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a model folder; export a checkpoint"):
        open_model(tmp_path / "none")


def test_the_fingerprint_is_of_what_shapes_vectors(models: Path, folder: Path) -> None:
    assert open_model(folder).fingerprint == open_model(models / "small").fingerprint
    assert open_model(folder).fingerprint != open_model(models / "other").fingerprint


def test_a_folder_made_elsewhere_gives_the_same_vectors(models: Path, folder: Path) -> None:
    ours, theirs = Encoder(models / "small"), Encoder(foreign(folder))
    texts = ["blue running shoes", "a cat", ""]
    assert np.allclose(ours.encode_texts(texts), theirs.encode_texts(texts), atol=1e-6)
    assert theirs.name == "model"


def test_graphs_beside_the_config_and_quantised_twins_are_found(folder: Path) -> None:
    foreign(folder)
    for name in ("text_model", "vision_model"):
        shutil.copy(folder / f"onnx/{name}.onnx", folder / f"onnx/{name}_quantized.onnx")
        shutil.move(folder / f"onnx/{name}.onnx", folder / f"{name}.onnx")
    assert open_model(folder).text_model == folder / "text_model.onnx"
    assert open_model(folder, variant="quantized").text_model == folder / "onnx/text_model_quantized.onnx"
    with pytest.raises(ModelError, match=r"no onnx/text_model_fp16\.onnx; it has .*quantized"):
        open_model(folder, variant="fp16")


def test_a_damaged_graph_is_named(folder: Path) -> None:
    foreign(folder)
    (folder / "onnx/text_model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match="text_model"):
        Encoder(folder).encode_texts(["a"])


@pytest.mark.parametrize(
    ("config", "tokenizer", "length", "fixed"),
    [
        ({"model_type": "clip", "text_config": {"max_position_embeddings": 77}}, {"model_max_length": 1e30}, 77, False),
        ({"model_type": "clip"}, {"model_max_length": 52}, 52, False),
        ({"model_type": "siglip", "text_config": {}}, {}, 64, True),
        ({"model_type": "siglip2", "text_config": {"max_position_embeddings": 64}}, {}, 64, True),
    ],
)
def test_text_settings_follow_the_family(
    config: dict[str, object], tokenizer: dict[str, object], length: int, fixed: bool
) -> None:
    settings = text_settings(config, tokenizer, 3)
    assert (settings.length, settings.fixed, settings.pad_id) == (length, fixed, 3)
