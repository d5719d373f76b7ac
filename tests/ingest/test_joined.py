"""EmbeddingGemma 2: texts, pictures, frames and sounds in one space, by parts that are joined."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crosslens.errors import ExportError, ModelError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.prompts import TextOptions
from crosslens.ingest.model.senses import AudioSettings, Clip, VideoSettings
from crosslens.ingest.model.served import check_served

transformers = pytest.importorskip("transformers", reason="the extra 'export' is not installed")

from crosslens.ingest.model import exporting  # noqa: E402
from crosslens.ingest.model.gemma_proof import golden_clips  # noqa: E402
from crosslens.ingest.model.hearing import golden_sounds  # noqa: E402
from tests import checkpoints  # noqa: E402

pytestmark = pytest.mark.export
export = partial(exporting.export, precision="fp32")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ``checkpoint`` and what it is exported to: ``whole``, and ``cut`` to 16 numbers."""
    place = tmp_path_factory.mktemp("gemma")
    report = export(str(checkpoints.gemma(place / "checkpoint")), place / "whole", precision="auto")
    assert report.precision == "fp32"
    least = (report.text_cosine_min, report.image_cosine_min, report.audio_cosine_min, report.video_cosine_min)
    assert min(each for each in least if each is not None) >= 0.9999
    assert None not in least
    bare = TextOptions(query_prompt="", passage_prompt="")
    assert export(str(place / "checkpoint"), place / "cut", dims=16, texts=bare).dims == 16
    return place


@pytest.fixture(scope="module")
def gemma(place: Path) -> Encoder:
    return Encoder(place / "whole", batch_size=2)


def test_it_encodes_all_kinds(gemma: Encoder) -> None:
    assert gemma.encodes_images
    assert gemma.encodes_audio
    assert gemma.encodes_video
    assert gemma.audio == AudioSettings(16_000, 30.0)
    assert gemma.video == VideoSettings(32, 1.0, 16_000)
    assert gemma.dims == 24
    for made in (gemma.encode_images([]), gemma.encode_sounds([]), gemma.encode_clips([])):
        assert made.shape == (0, 24)


def test_prompts_go_before_texts_and_count(place: Path, gemma: Encoder) -> None:
    query, passage = gemma.encode_queries(["a cat"], "image"), gemma.encode_texts(["a cat"])
    assert not np.allclose(query, passage, atol=1e-3)
    assert "config_sentence_transformers.json" in json.loads((place / "whole/crosslens.json").read_text())["files"]


def test_vectors_are_cut_and_made_unit_again(place: Path, gemma: Encoder) -> None:
    cut = Encoder(place / "cut")
    sounds = [np.sin(np.arange(8000) / 9).astype(np.float32)]
    for whole, short in (
        (gemma.encode_texts(["a cat"]), cut.encode_texts(["here: a cat"])),
        (gemma.encode_queries(["a cat"], "audio"), cut.encode_texts(["find: a cat"])),
        (gemma.encode_sounds(sounds), cut.encode_sounds(sounds)),
    ):
        kept = whole[:, :16] / np.linalg.norm(whole[:, :16], axis=1, keepdims=True)
        assert np.allclose(kept, short, atol=1e-6)
    for dims in (0, 25):
        with pytest.raises(ExportError, match=f"can't be cut to {dims}"):
            export(str(place / "checkpoint"), place / "longer", dims=dims)


def test_only_what_was_trained_to_be_cut_is_cut(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="can't be cut"):
        export(str(checkpoints.clip(tmp_path / "c")), tmp_path / "out", dims=16)


@pytest.mark.parametrize("size", [(640, 480), (37, 91), (2000, 3), (3, 2000), (1, 1), (384, 384)])
def test_a_picture_becomes_the_patches_that_transformers_makes(gemma: Encoder, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    theirs = transformers.Gemma4ImageProcessorPil(max_soft_tokens=70)
    expected = theirs([Image.fromarray(pixels)], return_tensors="np")
    joined = gemma.folder.joined
    assert joined is not None
    values, places = joined.picture.normalized(joined.picture.pixels(Image.fromarray(pixels))[np.newaxis])
    assert np.array_equal(places, expected["image_position_ids"])
    assert np.abs(values - expected["pixel_values"]).max() < 1e-6


def test_a_sound_becomes_the_frames_that_transformers_makes(gemma: Encoder) -> None:
    theirs = transformers.Gemma4AudioFeatureExtractor()
    joined = gemma.folder.joined
    assert joined is not None
    for sound in golden_sounds(AudioSettings(16_000, 3.3)):
        expected = theirs([sound], return_tensors="np")
        frames, within = joined.sound(sound)
        assert np.array_equal(within, expected["input_features_mask"][0])
        # It transforms in single precision.
        assert np.abs(frames - expected["input_features"][0]).max() < 1e-4


def test_a_frame_is_a_picture_and_any_sound_has_a_vector(gemma: Encoder) -> None:
    frame = golden_clips(16_000)[0].frames[0]
    shown = gemma.encode_pixels(gemma.prepare_frame(frame)[np.newaxis])
    assert np.allclose(shown, gemma.encode_images([Image.fromarray(frame)]), atol=1e-6)
    assert gemma.encode_sounds([np.ones(1, np.float32)]).shape == (1, 24)


def test_frames_and_sound_beyond_what_is_read_are_left_out(gemma: Encoder) -> None:
    frames = np.random.default_rng(2).integers(0, 256, (63, 32, 32, 3), np.uint8)
    sound = np.random.default_rng(3).uniform(-1, 1, 481_000).astype(np.float32)
    long, short = Clip(frames, sound), Clip(frames[::2], sound[:480_000])
    assert np.allclose(gemma.encode_clips([long]), gemma.encode_clips([short]), atol=1e-6)


@pytest.mark.parametrize(
    "frames", [np.zeros((0, 9, 9, 3), np.uint8), np.zeros((9, 9, 3), np.uint8), np.zeros((2, 9, 9, 3), np.float32)]
)
def test_a_clip_that_cant_be_read_is_refused(gemma: Encoder, frames: Any) -> None:
    with pytest.raises(ModelError, match="the frames of a clip must be uint8"):
        gemma.encode_clips([Clip(frames)])


def test_a_folder_without_its_manifest_or_with_a_part_altered_is_refused(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    shutil.copytree(place / "whole", folder)
    part = folder / "onnx/sound_tokens.onnx"
    kept = part.read_bytes()
    part.write_bytes(kept + b"\0")
    with pytest.raises(ModelError, match=r"sound_tokens\.onnx has been changed"):
        Encoder(folder)
    part.write_bytes(kept)
    stated = json.loads((folder / "joined.json").read_text())
    del stated["audio"]["hop"]
    (folder / "joined.json").write_text(json.dumps(stated))
    with pytest.raises(ModelError, match="can't be understood"):
        Encoder(folder, verify=False)
    (folder / "crosslens.json").unlink()
    (folder / "joined.json").write_text((place / "whole/joined.json").read_text())
    with pytest.raises(ModelError, match=r"joins parts without a crosslens\.json"):
        Encoder(folder)


def test_the_server_plugin_serves_its_texts(place: Path) -> None:
    check_served([place / "whole"])
    files = {file.name for file in (place / "whole").iterdir()}
    # By either of these the plugin would look for an encoder of pictures that it knows.
    assert not files & {"preprocessor_config.json", "processor_config.json"}


def test_int8_is_refused(place: Path) -> None:
    with pytest.raises(ExportError, match="can't be quantised"):
        export(str(place / "checkpoint"), place / "int8", precision="int8")
