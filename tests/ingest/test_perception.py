"""PE-AV: footage and sounds with a text vector for each, by parts that share their encoders."""

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
from crosslens.ingest.model.perception import Perception, nearest
from crosslens.ingest.model.senses import AudioSettings, Clip, VideoSettings
from crosslens.ingest.model.served import check_served

torch = pytest.importorskip("torch", reason="the extra 'export' is not installed")
transformers = pytest.importorskip("transformers", reason="the extra 'export' is not installed")
pytest.importorskip("timm", reason="the extra 'pe-av' is not installed")

from crosslens.ingest.model import exporting  # noqa: E402
from crosslens.ingest.model.hearing import golden_sounds  # noqa: E402
from tests import checkpoints  # noqa: E402

pytestmark = pytest.mark.export
export = partial(exporting.export, precision="fp32")
_RATE, _HOP, _SIDE = 9600, 1920, 32


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ``checkpoint`` and what it is exported to, ``whole``."""
    place = tmp_path_factory.mktemp("pe-av")
    report = export(str(checkpoints.pe_av(place / "checkpoint")), place / "whole", precision="auto")
    assert report.precision == "fp32"
    least = (report.text_cosine_min, report.image_cosine_min, report.audio_cosine_min, report.video_cosine_min)
    assert min(each for each in least if each is not None) >= 0.9999
    assert None not in least
    return place


@pytest.fixture(scope="module")
def encoder(place: Path) -> Encoder:
    return Encoder(place / "whole", batch_size=3)


def _clip(seed: int, frames: int = 5, samples: int | None = 7 * _HOP) -> Clip:
    rng = np.random.default_rng(seed)
    shown = rng.integers(0, 256, (frames, _SIDE, _SIDE, 3), np.uint8)
    return Clip(shown, rng.uniform(-1, 1, samples).astype(np.float32) if samples is not None else None)


def _cosine(a: Any, b: Any) -> float:
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_it_encodes_all_kinds(encoder: Encoder) -> None:
    assert encoder.encodes_images
    assert encoder.encodes_audio
    assert encoder.encodes_video
    assert encoder.audio == AudioSettings(_RATE, 10.0)
    assert encoder.video == VideoSettings(5, 0.5, _RATE)
    assert encoder.dims == 32
    for made in (encoder.encode_images([]), encoder.encode_sounds([]), encoder.encode_clips([])):
        assert made.shape == (0, 32)


def test_each_vector_is_the_one_that_transformers_compares(place: Path, encoder: Encoder) -> None:
    """Its forward makes the six vectors that its losses compare, two by two."""
    model = transformers.PeAudioVideoModel.from_pretrained(place / "checkpoint").eval()
    tokens = transformers.AutoTokenizer.from_pretrained(place / "checkpoint")(["blue shoes"], return_tensors="pt")
    clip = _clip(1)
    pixels = torch.from_numpy((clip.frames.transpose(0, 3, 1, 2)[np.newaxis] / 255 - 0.5) / 0.5).float()
    with torch.no_grad():
        theirs = model(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            pixel_values_videos=pixels,
            input_values=torch.from_numpy(clip.samples)[None, None],
        )
        shown = model.video_model.video_head(model.video_model.video_encoder(pixels[:, :1]).pooler_output)
    for expected, got in (
        (theirs.text_video_embeds, encoder.encode_queries(["blue shoes"], "image")),
        (theirs.text_audio_embeds, encoder.encode_queries(["blue shoes"], "audio")),
        (theirs.text_audio_video_embeds, encoder.encode_queries(["blue shoes"], "video")),
        (theirs.audio_embeds, encoder.encode_sounds([clip.samples])),
        (theirs.audio_video_embeds, encoder.encode_clips([clip])),
        (shown, encoder.encode_images([Image.fromarray(clip.frames[0])])),
    ):
        assert _cosine(expected, got) >= 0.9999


def test_texts_that_are_looked_for_have_the_vectors_of_texts_that_look_for_them(encoder: Encoder) -> None:
    texts = ["a cat", "blue running shoes"]
    assert np.array_equal(encoder.encode_texts(texts), encoder.encode_queries(texts, "text"))
    # Queries are remembered by their text for both.
    assert np.array_equal(encoder.encode_queries(texts, "text"), encoder.encode_queries(texts, "image"))
    kinds = [encoder.encode_queries(texts[:1], target) for target in ("image", "audio", "video")]
    assert max(_cosine(kinds[i], kinds[i - 1]) for i in range(3)) < 0.99


@pytest.mark.parametrize("wanted", [1, 2, 7, 25, 250, 251])
def test_frames_lie_beside_the_tokens_that_pytorch_has_them_beside(wanted: int) -> None:
    for given in (1, 2, 3, 5, 7, 10, 16, 25, 32, 250, 300):
        frames = torch.arange(given, dtype=torch.float32)[None, None]
        expected = torch.nn.functional.interpolate(frames, size=wanted, mode="nearest")[0, 0]
        assert np.array_equal(nearest(given, wanted), expected.numpy().astype(int)), given


def test_a_vector_doesnt_depend_on_what_is_beside_it(encoder: Encoder) -> None:
    assert encoder.audio is not None
    sounds = golden_sounds(encoder.audio)[1:5]
    together = encoder.encode_sounds([*sounds, sounds[0]])
    assert np.allclose(together[::-1], encoder.encode_sounds([sounds[0], *sounds[::-1]]), atol=1e-6)
    assert np.allclose(together[4], together[0], atol=1e-6)
    clips = [_clip(2), _clip(3, frames=1, samples=50), _clip(4, samples=None), _clip(5, frames=2)]
    made = encoder.encode_clips(clips)
    assert np.allclose(made[::-1], encoder.encode_clips(clips[::-1]), atol=1e-6)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-6)
    assert encoder.encode_sounds([np.ones(1, np.float32)]).shape == (1, 32)


def test_frames_become_the_pixels_that_transformers_makes(place: Path, encoder: Encoder) -> None:
    theirs = transformers.AutoVideoProcessor.from_pretrained(place / "checkpoint")
    frames = np.random.default_rng(10).integers(0, 256, (2, 91, 37, 3), np.uint8)
    given = [torch.from_numpy(frames).permute(0, 3, 1, 2)]
    expected = theirs(given, do_sample_frames=False, return_tensors="np")["pixel_values_videos"][0]
    joined = encoder.folder.joined
    assert isinstance(joined, Perception)
    got = joined.picture.normalized(np.stack([encoder.prepare_frame(frame) for frame in frames]))
    # torchvision rounds in another way than Pillow.
    assert np.abs(got - expected).max() * 127.5 < 1.001


def test_order_and_sound_of_a_clip_count(encoder: Encoder) -> None:
    clip = _clip(6)
    others = [Clip(clip.frames[::-1].copy(), clip.samples), Clip(clip.frames, _clip(7).samples), Clip(clip.frames)]
    made = encoder.encode_clips([clip, *others])
    assert max(_cosine(made[0], each) for each in made[1:]) < 0.999


def test_a_clip_without_sound_is_silent(encoder: Encoder) -> None:
    clip = _clip(8, frames=4, samples=None)
    silent = Clip(clip.frames, np.zeros(8 * _RATE, np.float32))
    assert np.allclose(encoder.encode_clips([clip]), encoder.encode_clips([silent]), atol=1e-6)


def test_frames_and_sound_beyond_what_is_read_are_left_out(encoder: Encoder) -> None:
    long = _clip(9, frames=9, samples=10 * _RATE + 7)
    assert long.samples is not None
    short = Clip(long.frames[::2], long.samples[: 10 * _RATE])
    assert np.allclose(encoder.encode_clips([long]), encoder.encode_clips([short]), atol=1e-6)


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        (Clip(np.zeros((0, 9, 9, 3), np.uint8)), "the frames of a clip must be uint8"),
        (Clip(np.zeros((9, 9, 3), np.uint8)), "the frames of a clip must be uint8"),
        (Clip(np.zeros((2, 9, 9, 3), np.float32)), "the frames of a clip must be uint8"),  # type: ignore[arg-type]
        (Clip(np.zeros((2, 9, 9, 3), np.uint8), np.zeros(0, np.float32)), "a sound must be one channel"),
        (Clip(np.zeros((2, 9, 9, 3), np.uint8), np.array([np.inf], np.float32)), "aren't finite"),
    ],
)
def test_a_clip_that_cant_be_read_is_refused(encoder: Encoder, clip: Clip, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        encoder.encode_clips([clip])


def test_every_part_counts_and_is_checked(place: Path, tmp_path: Path) -> None:
    listed = json.loads((place / "whole/crosslens.json").read_text())["files"]
    graphs = {"text_model", "picture_frames", "sound_frames", "clip_model"}
    assert {f"onnx/{name}.onnx" for name in graphs} | {"joined.json"} <= listed.keys()
    folder = tmp_path / "m"
    shutil.copytree(place / "whole", folder)
    stated = json.loads((folder / "joined.json").read_text())
    part = folder / "onnx/clip_model.onnx"
    part.write_bytes(part.read_bytes() + b"\0")
    with pytest.raises(ModelError, match=r"clip_model\.onnx has been changed"):
        Encoder(folder)
    for change in ({"audio": {}}, {"video": {**stated["video"], "fps": 0}}, {"picture": None}):
        (folder / "joined.json").write_text(json.dumps({**stated, **change}))
        with pytest.raises(ModelError, match="can't be understood"):
            Encoder(folder, verify=False)


def test_the_server_plugin_doesnt_serve_it(place: Path) -> None:
    with pytest.raises(ModelError, match="its texts have another vector for each kind that they look for") as refused:
        check_served([place / "whole"])
    assert refused.value.hint == "encode with it in Python"


def test_an_export_without_timm_says_what_is_missing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.utils.is_timm_available", lambda: False)
    with pytest.raises(ExportError, match="needs the extra 'pe-av'"):
        export(str(place / "checkpoint"), tmp_path / "out")


def test_int8_is_refused(place: Path) -> None:
    with pytest.raises(ExportError, match="can't be quantised"):
        export(str(place / "checkpoint"), place / "int8", precision="int8")


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("video_preprocessor_config.json", {"num_frames": None, "do_sample_frames": False}, "reads every frame"),
        ("video_preprocessor_config.json", {"size": {"shortest_edge": 32}}, "in a way that isn't exported"),
        ("video_preprocessor_config.json", {"do_resize": False, "size": {"shortest_edge": 32}}, "isn't exported"),
        ("preprocessor_config.json", {"hop_length": 960}, "to 960 samples, the audio encoder reads 1920"),
        ("video_preprocessor_config.json", None, "how .* prepares footage can't be loaded"),
        ("preprocessor_config.json", None, "how .* prepares sounds can't be loaded"),
    ],
)
def test_preparation_that_isnt_followed_is_refused(
    place: Path, tmp_path: Path, file: str, change: dict[str, Any] | None, said: str
) -> None:
    folder = tmp_path / "c"
    shutil.copytree(place / "checkpoint", folder)
    if change is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(json.dumps({**json.loads((folder / file).read_text()), **change}))
    with pytest.raises(ExportError, match=said):
        export(str(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()
