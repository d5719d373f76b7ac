"""Preprocessing: the same pixels as transformers' PIL processors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crosslens.errors import ModelError
from crosslens.ingest.model.transform import parse_transform

CLIP = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 56},
    "do_center_crop": True,
    "crop_size": {"height": 56, "width": 56},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
SIGLIP = {
    **CLIP,
    "image_processor_type": "SiglipImageProcessor",
    "size": {"height": 48, "width": 64},
    "do_center_crop": False,
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}
ALIGN = {
    **SIGLIP,
    "image_processor_type": "EfficientNetImageProcessor",
    "size": {"height": 60, "width": 60},
    "do_center_crop": True,
    "crop_size": {"height": 49, "width": 51},
    "resample": 2,
    "rescale_factor": 1 / 127.5,
    "rescale_offset": True,
    "include_top": True,
}
SMALLER_THAN_CROP = {**CLIP, "size": {"shortest_edge": 31}}


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="session")
def processors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    transformers = pytest.importorskip("transformers", reason="the extra 'export' is not installed")
    loaded = {}
    for name, config in (("clip", CLIP), ("siglip", SIGLIP), ("align", ALIGN), ("padded", SMALLER_THAN_CROP)):
        folder = tmp_path_factory.mktemp(name)
        (folder / "preprocessor_config.json").write_text(json.dumps(config))
        loaded[name] = (config, transformers.AutoImageProcessor.from_pretrained(folder, backend="pil"))
    return loaded


@pytest.mark.parametrize("name", ["clip", "siglip", "align", "padded"])
@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 200), height=st.integers(1, 200), seed=st.integers(0, 99))
def test_pixels_differ_from_transformers_by_at_most_one_level(
    processors: dict[str, object], name: str, width: int, height: int, seed: int
) -> None:
    config, processor = processors[name]  # type: ignore[misc]
    source = picture(width, height, seed)
    if max(width, height) > 40 * min(width, height):
        return
    expected = np.asarray(processor(source, return_tensors="np")["pixel_values"][0])
    got = parse_transform(config)(source)
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    level = float(config["rescale_factor"]) / min(config["image_std"]) ** (2 if name == "align" else 1)
    assert np.abs(got - expected).max() <= level


def test_a_bare_number_as_size_means_the_shortest_edge_for_clip_and_a_square_elsewhere() -> None:
    clip = parse_transform({**CLIP, "size": 56, "crop_size": 56})
    square = parse_transform({**SIGLIP, "size": 48})
    assert (clip.shortest_edge, clip.output_size) == (56, (56, 56))
    assert square.size == (48, 48)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"do_center_crop": False}, "no fixed size"),
        ({"size": {"longest_edge": 20, "shortest_edge": 10}}, "not one that crosslens knows"),
        ({"image_mean": [0.5]}, "three numbers"),
        ({"image_processor_type": "Siglip2ImageProcessor"}, "patches of varying number; export the checkpoint"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        parse_transform({**CLIP, **change})
