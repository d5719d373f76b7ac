"""Preprocessing: the same pixels as transformers' PIL processors."""

from __future__ import annotations

import json
import tracemalloc

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


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (1_000_000, 1), (3, 20_000)])
@pytest.mark.parametrize("config", [CLIP, SIGLIP])
def test_a_long_picture_costs_no_more_than_its_own_size(config: dict[str, object], size: tuple[int, int]) -> None:
    tracemalloc.start()
    try:
        pixels = parse_transform(config)(picture(*size))
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert np.isfinite(pixels).all()


@pytest.mark.parametrize("size", [(4, 400), (400, 4), (10, 900), (900, 7), (57, 4000), (120, 9000)])
def test_of_a_long_picture_the_kept_part_is_what_resizing_all_of_it_gives(size: tuple[int, int]) -> None:
    source = Image.fromarray(np.asarray(picture(16, 16)).repeat(1, 0)).resize(size, Image.Resampling.BICUBIC)
    transform = parse_transform(CLIP)
    short, long = sorted(size)
    other = int(56 * long / short)
    whole = source.resize((56, other) if size[0] < size[1] else (other, 56), Image.Resampling.BICUBIC)
    left, top = (whole.width - 56) // 2, (whole.height - 56) // 2
    expected = np.asarray(whole.crop((left, top, left + 56, top + 56)), dtype=np.float32).transpose(2, 0, 1)
    mean, std = np.array(CLIP["image_mean"]).reshape(3, 1, 1), np.array(CLIP["image_std"]).reshape(3, 1, 1)
    assert np.abs((transform(source) * std + mean) * 255 - expected).max() < 2.01


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
