"""Quantised encoders: equal inputs have equal vectors, and nothing is quantised that does harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers", reason="the extra 'export' is not installed")

import onnx
import torch
from safetensors.torch import load_file, save_file

from crosslens.demo.build import DATA
from crosslens.errors import ExportError
from crosslens.ingest.model import precision as module
from crosslens.ingest.model.calibration import default_calibration, read_calibration
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.exporting import export
from crosslens.ingest.model.folder import open_model
from crosslens.ingest.model.precision import recall
from crosslens.ingest.model.proof import golden_pictures
from crosslens.ingest.model.quantize import layers, quantise_weights, quantised
from tests import checkpoints
from tests.conftest import draw_pictures

pytestmark = pytest.mark.export
TEXTS = ["a", "a cat", "a photo of a cat and a dog", "word " * 100, "", "blue running shoes, size forty two"]


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small models of tests gain nothing by int8: what is measured elsewhere is whether it does harm."""
    monkeypatch.setattr(module, "speeds", lambda *_: ((1.0, 1.0), (3.0, 4.0)))


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    export(str(DATA / "checkpoint"), folder / "int8", precision="int8", keep_float32=True)
    return folder / "int8"


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip2", "chinese_clip", "align"])
def test_a_vector_is_the_same_alone_and_among_others(tmp_path: Path, family: str) -> None:
    export(str(getattr(checkpoints, family)(tmp_path / family)), tmp_path / "out", precision="int8")
    encoder, model = Encoder(tmp_path / "out"), onnx.load(str(tmp_path / "out/onnx/text_model.onnx"))
    assert any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    together, alone = encoder.encode_texts(TEXTS), [encoder.encode_texts([text])[0] for text in TEXTS]
    assert np.abs(together - np.stack(alone)).max() < 1e-6
    pictures = golden_pictures()
    together, alone = encoder.encode_images(pictures), [encoder.encode_images([each])[0] for each in pictures]
    assert np.abs(together - np.stack(alone)).max() < 1e-6


def test_of_a_real_model_hardly_anything_is_lost_and_the_twin_may_be_searched(int8: Path, models: Path) -> None:
    manifest = json.loads((int8 / "crosslens.json").read_text())
    exact, made = open_model(int8, variant="fp32"), open_model(int8)
    relation = manifest["relations"][exact.fingerprint]
    assert relation["search"] is True
    assert relation["recall"] >= 0.98
    assert relation["cosine_min"] >= 0.99
    assert (exact.searches, made.searches) == ({made.fingerprint}, {exact.fingerprint})
    assert open_model(models / "small").searches == set()
    texts = list(default_calibration().texts)
    a, b = Encoder(int8).encode_texts(texts), Encoder(int8, variant="fp32").encode_texts(texts)
    cosines = (a * b).sum(1)
    assert 0.999 < cosines.min() < 0.999999


def test_the_float32_variant_has_the_fingerprint_of_a_float32_export(int8: Path, tmp_path: Path) -> None:
    plain = export(str(DATA / "checkpoint"), tmp_path / "plain", precision="fp32")
    assert open_model(int8, variant="fp32").fingerprint == plain.fingerprint
    assert open_model(int8).fingerprint not in ("", plain.fingerprint)
    kept = int8 / "fp32/onnx/text_model.onnx"
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    copy = tmp_path / "copy"
    import shutil

    shutil.copytree(int8, copy)
    (copy / "fp32/onnx/text_model.onnx").write_bytes(data)
    open_model(copy)
    with pytest.raises(Exception, match=r"fp32/onnx/text_model\.onnx has been changed"):
        open_model(copy, variant="fp32")


def spoilt(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    file = folder / "model.safetensors"
    weights = dict(load_file(file))
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def outliers(weights: dict[str, torch.Tensor], layer: str = "text_model.encoder.layers.1") -> None:
    """Channels hundreds of times as large as the others, in the way that LLM.int8() found them (Dettmers et al. 2022,
    section 4): a few dimensions of what a normalisation gives, and weights that make little of them."""
    gain, matrix = weights[f"{layer}.layer_norm2.weight"], weights[f"{layer}.mlp.fc1.weight"]
    for channel in (3, 17):
        gain[channel] *= 400
        matrix[:, channel] /= 400
        weights[f"{layer}.layer_norm2.bias"][channel] *= 400


@pytest.mark.usefixtures("faster")
def test_planted_outliers_keep_their_layer_in_float32(tmp_path: Path) -> None:
    checkpoint = str(spoilt(checkpoints.clip(tmp_path / "c"), outliers))
    with pytest.raises(ExportError, match="text encoder differs from PyTorch"):
        export(checkpoint, tmp_path / "all", precision="int8")
    report = export(checkpoint, tmp_path / "out", precision="auto")
    text = next(each for each in report.choices if each.kind == "text")
    assert text.precision == "int8", text
    assert any("layers.1/mlp/fc1" in name for name in text.kept)
    assert len(text.kept) <= text.layers // 2
    assert text.loss is not None
    assert text.loss.within(module.Bounds())
    assert report.searches is not None
    assert report.searches.within(module.Bounds())


def test_auto_writes_float32_where_int8_is_no_faster_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "speeds", lambda *_: ((2.0, 2.0), (3.0, 1.9)))
    checkpoint = str(checkpoints.clip(tmp_path / "c"))
    report = export(checkpoint, tmp_path / "out", precision="auto")
    assert report.precision == "fp32"
    assert all("isn't faster on this machine" in each.why for each in report.choices)
    assert report.fingerprint == export(checkpoint, tmp_path / "plain", precision="fp32").fingerprint
    assert {p.name for p in (tmp_path / "out/onnx").iterdir()} == {"text_model.onnx", "vision_model.onnx"}


@pytest.mark.usefixtures("faster")
def test_auto_writes_float32_where_no_half_of_the_layers_suffices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "measure", lambda *_: module.Loss(0.9, 0.5, 0.2))
    report = export(str(checkpoints.clip(tmp_path / "c")), tmp_path / "out", precision="auto")
    assert report.precision == "fp32"
    assert all("half of its layers in float32" in each.why for each in report.choices)
    assert report.searches is None


def test_only_one_encoder_may_be_quantised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def speeds(tower: module.Tower, _: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (1.0, 1.0), ((2.0, 2.0) if tower.kind == "text" else (0.5, 0.5))

    monkeypatch.setattr(module, "speeds", speeds)
    report = export(str(DATA / "checkpoint"), tmp_path / "out", precision="auto", keep_float32=True)
    assert [each.precision for each in report.choices] == ["int8", "fp32"]
    assert report.precision == "int8"
    assert not (tmp_path / "out/fp32/onnx/vision_model.onnx").exists()
    exact = Encoder(tmp_path / "out", variant="fp32")
    assert exact.fingerprint == report.fp32_fingerprint
    assert np.array_equal(
        exact.encode_images(golden_pictures()), Encoder(tmp_path / "out").encode_images(golden_pictures())
    )


def test_neighbouring_weights_never_exceed_what_sixteen_bits_hold() -> None:
    rng = np.random.default_rng(0)
    for inputs in (64, 65):
        weights = rng.standard_t(2, (inputs, 40)).astype(np.float32)
        weights[:, 7] = 0
        weights[:2, 8] = 5
        whole, scales = quantise_weights(weights)
        size = np.abs(np.pad(whole.astype(np.int32), ((0, inputs % 2), (0, 0))))
        assert (size[0::2] + size[1::2]).max() * 255 < 2**15
        assert whole.min() >= -127
        assert scales.min() > 0
        assert not whole[:, 7].any()
        # The pair of equal weights gets half of the range each, and nothing else of that column suffers for it.
        error = np.linalg.norm(whole * scales - weights) / np.linalg.norm(weights)
        assert error < 0.02


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("transposed", [0, 1])
def test_products_in_every_form_are_found(tmp_path: Path, bias: bool, transposed: int) -> None:
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(48, 32)).astype(np.float32)
    weights = numpy_helper.from_array(np.ascontiguousarray(matrix.T) if transposed else matrix, "w")
    added = numpy_helper.from_array(rng.normal(size=32).astype(np.float32), "b")
    node = helper.make_node("Gemm", ["x", "w", "b"] if bias else ["x", "w"], ["y"], transB=transposed)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 48])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 32])],
        [weights, added] if bias else [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    names = [layer.name for layer in layers(model)]
    assert names == ["y"]
    made = quantised(model, names)
    onnx.checker.check_model(made)
    from crosslens.ingest.model.devices import load_session

    paths = [tmp_path / "exact.onnx", tmp_path / "made.onnx"]
    for one, path in zip((model, made), paths, strict=True):
        onnx.save(one, str(path))
    x = rng.normal(size=(5, 48)).astype(np.float32)
    x[2] = 0
    x[3] *= 1e6
    exact, got = (load_session(path).run(["y"], {"x": x})[0] for path in paths)
    errors = np.abs(exact - got).max(1) / np.maximum(np.abs(exact).max(1), 1e-9)
    assert errors.max() < 0.03, errors


def test_recall_counts_what_both_find() -> None:
    exact = np.eye(4, dtype=np.float32)
    queries = np.array([[0.9, 0.4, 0.1, 0], [0, 0.1, 0.9, 0.4]], dtype=np.float32)
    assert recall(queries, exact, queries, exact) == 1
    # Half of four count: the second query's first two become {2, 1}, of which one is right.
    changed = np.array([[0.9, 0.4, 0.1, 0], [0, 0.5, 0.9, 0.4]], dtype=np.float32)
    assert recall(queries, exact, changed, exact) == 0.75


def test_calibration_takes_pictures_and_lines_and_leaves_out_what_it_cannot_read(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    draw_pictures(folder)
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "sub").mkdir()
    (folder / "sub/words.txt").write_text("one\n\ntwo\none\n")
    found = read_calibration(folder)
    assert (len(found.images), found.unreadable) == (60, 1)
    # Two texts are too few to measure by, so built-in ones come along.
    assert found.texts == ("one", "two", *default_calibration().texts)


def test_too_little_to_calibrate_by_is_refused(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("one\n")
    with pytest.raises(ExportError, match="1 texts and 0 pictures, too few to measure by"):
        read_calibration(tmp_path)
    with pytest.raises(ExportError, match="is not a folder"):
        read_calibration(tmp_path / "none")
