"""The encoder's promises: unit vectors, in order, whatever the batch, from any thread."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crosslens.errors import ImageError, ModelError
from crosslens.ingest.model.encoder import Encoder


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(max_size=60), max_size=20))
def test_any_texts_give_unit_vectors_that_do_not_depend_on_the_batch(encoder: Encoder, texts: list[str]) -> None:
    vectors = encoder.encode_texts(texts)
    assert vectors.shape == (len(texts), encoder.dims)
    assert vectors.dtype == np.float32
    if texts:
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        alone = np.concatenate([encoder.encode_texts([text]) for text in texts])
        assert np.abs(alone - vectors).max() < 1e-5


def test_ten_thousand_words_are_cut_to_what_the_model_reads(encoder: Encoder) -> None:
    long = "blue running shoes " * 3_334
    assert encoder.token_counts([long]) == [77]
    assert np.allclose(encoder.encode_texts([long]), encoder.encode_texts(["blue running shoes " * 30]), atol=1e-6)


def test_a_short_text_gives_the_vector_it_has_when_padded_to_the_full_length(encoder: Encoder) -> None:
    short = ["a photo of a cat", "shoe"]
    with_long = encoder.encode_texts([*short, "word " * 200])
    assert np.abs(encoder.encode_texts(short) - with_long[:2]).max() < 1e-6


def test_images_of_any_form_and_batch_give_the_same_unit_vectors(encoder: Encoder, pictures: Path) -> None:
    paths = [pictures / f"{i}.png" for i in range(20)]
    vectors = encoder.encode_images(paths)
    assert vectors.shape == (20, encoder.dims)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    forms = [paths[0], str(paths[0]), paths[0].read_bytes(), Image.open(paths[0]), np.asarray(Image.open(paths[0]))]
    assert np.abs(encoder.encode_images(forms) - vectors[0]).max() < 1e-5
    assert np.abs(encoder.encode_images(reversed(paths))[::-1] - vectors).max() < 1e-5


def test_nothing_in_gives_nothing_out(encoder: Encoder) -> None:
    assert encoder.encode_texts([]).shape == (0, encoder.dims)
    assert encoder.encode_images([]).shape == (0, encoder.dims)


def test_any_trouble_with_one_picture_is_that_pictures_error(
    encoder: Encoder, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pillow's own limit, lowered: a real bomb would have to be decoded first.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="pixels"):
        encoder.prepare_image(pictures / "1.png")
    monkeypatch.undo()
    # More than there is memory for, in any machine.
    huge = replace(encoder.transform, shortest_edge=2**30, crop=(2**30, 2**30))
    monkeypatch.setattr(encoder, "folder", replace(encoder.folder, transform=huge))
    with pytest.raises(ImageError, match="can't be prepared"):
        encoder.prepare_image(pictures / "1.png")
    monkeypatch.undo()
    assert encoder.prepare_image(pictures / "1.png").shape[2] == 3


def test_an_unreadable_image_stops_the_call_with_its_name(encoder: Encoder, pictures: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png"):
        encoder.encode_images([pictures / "0.png", pictures / "none.png"])


def test_threads_share_one_encoder(models: Path, pictures: Path) -> None:
    encoder = Encoder(models / "small", batch_size=3)
    paths = [pictures / f"{i}.png" for i in range(12)]
    texts = [f"a photo of thing {i}" for i in range(12)]
    expected = Encoder(models / "small").encode_images(paths), Encoder(models / "small").encode_texts(texts)
    with ThreadPoolExecutor(8) as pool:
        images = [pool.submit(encoder.encode_images, paths) for _ in range(12)]
        words = [pool.submit(encoder.encode_texts, texts) for _ in range(12)]
        for done in images:
            assert np.abs(done.result() - expected[0]).max() < 1e-5
        for done in words:
            assert np.abs(done.result() - expected[1]).max() < 1e-5


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"threads": -1}])
def test_senseless_settings_are_refused(models: Path, options: dict[str, int]) -> None:
    with pytest.raises(ModelError, match="batch_size must be"):
        Encoder(models / "small", **options)  # type: ignore[arg-type]


def test_a_damaged_tokenizer_is_named(models: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(models / "small", tmp_path / "m"))
    (folder / "crosslens.json").unlink()
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0"}))
    with pytest.raises(ModelError, match=r"tokenizer\.json can't be read"):
        Encoder(folder)


def test_onnx_runtime_neither_keeps_nor_sends_telemetry(models: Path, tmp_path: Path) -> None:
    code = "import sys; from crosslens import Encoder; Encoder(sys.argv[1]).encode_texts(['a shoe'])"
    # What was set here when crosslens was imported must not hide what it does by itself.
    unset = {
        name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    environment = {**unset, "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, str(models / "small")], env=environment, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
