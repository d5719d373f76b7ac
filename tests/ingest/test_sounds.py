"""Models of texts and sounds: preparing sounds as transformers does, exporting, and encoding."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosslens.errors import ExportError, ModelError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.senses import AudioSettings
from crosslens.ingest.model.sounds import parse_sound

transformers = pytest.importorskip("transformers", reason="the extra 'export' is not installed")

from crosslens.ingest.model import exporting  # noqa: E402
from crosslens.ingest.model.hearing import golden_sounds  # noqa: E402
from tests import checkpoints  # noqa: E402

pytestmark = pytest.mark.export
export = partial(exporting.export, precision="fp32")
_RATE = 16_000
_READS = AudioSettings(_RATE, 2.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exported models of texts and sounds, by kind."""
    place = tmp_path_factory.mktemp("clap")
    for name, fused in (("plain", False), ("fused", True)):
        report = export(str(checkpoints.clap(place / f"checkpoint-{name}", fused=fused)), place / name)
        assert report.audio_cosine_min is not None
        assert min(report.text_cosine_min, report.audio_cosine_min) >= 0.9999
        assert report.image_cosine_min is None
    return {name: place / name for name in ("plain", "fused", "checkpoint-plain")}


@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
def test_a_sound_is_prepared_as_transformers_prepares_it(truncation: str, padding: str) -> None:
    theirs = checkpoints.clap_extractor(truncation, padding)
    ours = parse_sound(json.loads(theirs.to_json_string()))
    for sound in [*golden_sounds(_READS), np.zeros(_RATE, np.float32), np.ones(1, np.float32)]:
        expected = theirs(sound, sampling_rate=_RATE, return_tensors="np")["input_features"][0]
        got = ours(sound)
        assert got.shape == expected.shape == ours.shape
        assert np.abs(got - expected).max() < 1e-4, len(sound)


@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
def test_the_usual_preparation_is_that_of_transformers(truncation: str) -> None:
    theirs = transformers.ClapFeatureExtractor(truncation=truncation)
    ours = parse_sound(json.loads(theirs.to_json_string()))
    sound = golden_sounds(ours.settings)[2]
    expected = theirs(sound, sampling_rate=48_000, return_tensors="np")["input_features"][0]
    assert np.abs(ours(sound) - expected).max() < 1e-4


@pytest.mark.parametrize("kind", ["plain", "fused"])
def test_a_sound_has_one_vector_whatever_is_beside_it(folders: dict[str, Path], kind: str) -> None:
    encoder = Encoder(folders[kind], batch_size=3)
    assert encoder.encodes_audio
    assert not encoder.encodes_images
    assert encoder.audio == _READS
    sounds = golden_sounds(encoder.audio)
    together = encoder.encode_sounds(sounds)
    assert together.shape == (len(sounds), encoder.dims) == (len(sounds), 24)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert np.allclose(together[::-1], encoder.encode_sounds(sounds[::-1]), atol=1e-6)
    assert encoder.encode_sounds([]).shape == (0, 24)
    assert encoder.encode_queries(["a cat"], "audio").shape == (1, 24)


@pytest.mark.parametrize(
    "sound",
    [np.zeros(0, np.float32), np.zeros(32_001, np.float32), np.zeros((2, 9), np.float32), np.zeros(9, np.int16)],
)
def test_a_sound_that_cant_be_read_is_refused(folders: dict[str, Path], sound: Any) -> None:
    with pytest.raises(ModelError, match=r"a sound must be one channel of 1 to 32000 samples"):
        Encoder(folders["plain"]).encode_sounds([sound])


def test_a_sound_that_isnt_finite_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="aren't finite"):
        Encoder(folders["plain"]).encode_sounds([np.array([0, np.nan], np.float32)])


def test_a_model_without_an_audio_encoder_says_so(models: Path) -> None:
    encoder = Encoder(models / "small")
    assert not encoder.encodes_audio
    assert encoder.audio is encoder.video is None
    with pytest.raises(ModelError, match="has no encoder for sounds"):
        encoder.encode_sounds([np.zeros(9, np.float32)])
    with pytest.raises(ModelError, match="has no encoder for footage"):
        encoder.encode_clips([])


def test_the_fingerprint_covers_the_audio_encoder_and_its_settings(folders: dict[str, Path], tmp_path: Path) -> None:
    known = {Encoder(folders["plain"]).fingerprint}
    for change in ("manifest", "graph", "settings"):
        folder = tmp_path / change
        shutil.copytree(folders["plain"], folder)
        (folder / "crosslens.json").unlink()
        if change == "graph":
            shutil.copy(folders["fused"] / "onnx/audio_model.onnx", folder / "onnx/audio_model.onnx")
            shutil.copy(folders["fused"] / "preprocessor_config.json", folder)
        elif change == "settings":
            settings = json.loads((folder / "preprocessor_config.json").read_text())
            (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "padding": "pad"}))
        fingerprint = Encoder(folder).fingerprint
        assert fingerprint not in known
        known.add(fingerprint)


def test_an_altered_audio_encoder_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["plain"], tmp_path / "m")
    graph = tmp_path / "m/onnx/audio_model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(ModelError, match=r"audio_model\.onnx has been changed"):
        Encoder(tmp_path / "m")


def test_an_audio_encoder_goes_beside_others(models: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    """As the demo's does: three encoders in one space."""
    folder = tmp_path / "three"
    shutil.copytree(models / "small", folder)
    (folder / "crosslens.json").unlink()
    plain = Encoder(folder).fingerprint
    shutil.copy(folders["plain"] / "onnx/audio_model.onnx", folder / "onnx")
    with pytest.raises(ModelError, match=r"neither processor_config\.json nor preprocessor_config\.json says"):
        Encoder(folder)
    settings = json.loads((folders["plain"] / "preprocessor_config.json").read_text())
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": settings}))
    encoder = Encoder(folder)
    assert encoder.encodes_images
    assert encoder.encodes_audio
    assert encoder.fingerprint != plain
    assert np.array_equal(encoder.encode_texts(["a cat"]), Encoder(models / "small").encode_texts(["a cat"]))
    sounds = golden_sounds(_READS)
    assert np.array_equal(encoder.encode_sounds(sounds[:1]), Encoder(folders["plain"]).encode_sounds(sounds[:1]))
    frame = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    assert encoder.encode_pixels(encoder.prepare_frame(frame)[np.newaxis]).shape == (1, 24)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"top_db": 80}, "top_db"),
        ({"padding": "mirror"}, "mirror"),
        ({"feature_extractor_type": "WhisperFeatureExtractor"}, "Whisper"),
        ({"hop_length": 0}, "don't fit together"),
        ({"sampling_rate": None}, "can't be understood"),
        ({"frequency_max": 10}, "don't fit together"),
    ],
)
def test_preparation_that_isnt_known_is_refused(change: dict[str, Any], said: str) -> None:
    settings = json.loads(transformers.ClapFeatureExtractor(frequency_min=50).to_json_string())
    with pytest.raises(ModelError, match=said):
        parse_sound({**settings, **change})


def test_preparation_of_another_checkpoint_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    checkpoint = tmp_path / "c"
    shutil.copytree(folders["checkpoint-plain"], checkpoint)
    settings = json.loads((checkpoint / "preprocessor_config.json").read_text())
    (checkpoint / "preprocessor_config.json").write_text(json.dumps({**settings, "truncation": "fusion"}))
    with pytest.raises(ExportError, match="does not fuse parts"):
        export(str(checkpoint), tmp_path / "out")
    (checkpoint / "preprocessor_config.json").unlink()
    with pytest.raises(ExportError, match="prepares sounds can't be loaded"):
        export(str(checkpoint), tmp_path / "out")
    assert not (tmp_path / "out").exists()
