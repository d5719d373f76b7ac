"""Exporting: every family, each precision, and the failures that must leave nothing behind."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip("transformers", reason="the extra 'export' is not installed")

import onnx  # noqa: E402
import torch  # noqa: E402

from crosslens.demo.build import DATA  # noqa: E402
from crosslens.errors import ExportError, ModelError  # noqa: E402
from crosslens.ingest.model import export as module  # noqa: E402
from crosslens.ingest.model import exporting, storing  # noqa: E402
from crosslens.ingest.model.encoder import Encoder  # noqa: E402
from crosslens.ingest.model.proof import _batches, golden_pictures  # noqa: E402
from crosslens.ingest.model.vocabulary import siglip_tokenizer  # noqa: E402
from tests import checkpoints  # noqa: E402

pytestmark = pytest.mark.export
export = partial(exporting.export, precision="fp32")
DEMO_CHECKPOINT = DATA / "checkpoint"


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip2", "chinese_clip", "align"])
def test_every_family_reproduces_pytorch(tmp_path: Path, family: str) -> None:
    report = export(str(getattr(checkpoints, family)(tmp_path / family)), tmp_path / "out")
    assert report.text_cosine_min >= 0.9999
    assert report.image_cosine_min >= 0.9999
    assert Encoder(tmp_path / "out").dims == report.dims


@pytest.mark.parametrize("normalization", ["identity", "nmt_nfkc", "nmt_nfkc_cf"])
def test_siglips_texts_become_the_ids_that_transformers_gives_them(tmp_path: Path, normalization: str) -> None:
    checkpoint = checkpoints.siglip(tmp_path / "c", normalization)
    theirs = transformers.AutoTokenizer.from_pretrained(checkpoint)
    ours = siglip_tokenizer(checkpoint / "spiece.model")
    beginnings = [
        "",
        " ",
        "! ",
        "!",
        "- ",
        "...",
        "\n",
        "\t! ",
        '"',
        "'",
        "7 ",
        "🙂",
        "🙂 ",
        "東",
        "É",
        "▁",
        "▁ ",
        "½ ",
    ]
    beginnings += ["\u3000", "!\u00a0", "\u200b", "\ufeff", "«", "— ", "_ ", "ΟΔΟΣ ", "İ", "ß ", "\x1c", "! \x00 "]
    texts = [f"{beginning}{rest}" for beginning in beginnings for rest in ("cat", "Cat!", "a  cat, and A dog ", "")]
    wrong = [
        (text, ids, ours.encode(text).ids)
        for text in texts
        if (ids := theirs(text)["input_ids"]) != ours.encode(text).ids
    ]
    assert not wrong


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_weights_too_many_for_one_file_lie_in_a_second_that_the_manifest_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    checkpoint = str(checkpoints.clip(tmp_path / "c"))
    export(checkpoint, tmp_path / "one", precision=precision)
    monkeypatch.setattr(storing, "LARGEST", 1_000)
    real = module._trace

    def scattered(*arguments: Any) -> None:
        """As PyTorch leaves a graph of more than 2 GB: a file for each weight."""
        real(*arguments)
        path: Path = arguments[2]
        onnx.save(
            onnx.load(str(path)),
            str(path),
            save_as_external_data=True,
            all_tensors_to_one_file=False,
            size_threshold=64,
        )
        assert len(list(path.parent.iterdir())) > 5
        storing.gather(path)

    monkeypatch.setattr(module, "_trace", scattered)
    report = export(checkpoint, tmp_path / "two", precision=precision)
    graphs = {f"onnx/{kind}_model.onnx{data}" for kind in ("text", "vision") for data in ("", "_data")}
    assert {p.relative_to(tmp_path / "two").as_posix() for p in (tmp_path / "two/onnx").iterdir()} == graphs
    assert graphs < set(json.loads((tmp_path / "two/crosslens.json").read_text())["files"])
    one, two = Encoder(tmp_path / "one"), Encoder(tmp_path / "two")
    assert np.allclose(one.encode_texts(["a cat"]), two.encode_texts(["a cat"]), atol=1e-5)
    assert two.fingerprint == report.fingerprint
    data = tmp_path / "two/onnx/text_model.onnx_data"
    data.write_bytes(data.read_bytes()[:-1] + b"!")
    with pytest.raises(ModelError, match=r"text_model\.onnx_data has been changed"):
        Encoder(tmp_path / "two")


def test_clip_with_the_old_end_token_pools_at_the_same_place(tmp_path: Path) -> None:
    report = export(str(checkpoints.clip(tmp_path / "c", legacy_eos=True)), tmp_path / "out")
    assert report.text_cosine_min >= 0.9999


def test_a_multilingual_text_tower_goes_with_an_image_tower(tmp_path: Path) -> None:
    clip, text = checkpoints.clip(tmp_path / "clip"), checkpoints.multilingual(tmp_path / "text")
    report = export(str(text), tmp_path / "out", image_tower=str(clip))
    assert min(report.text_cosine_min, report.image_cosine_min) >= 0.9999
    encoder = Encoder(tmp_path / "out")
    assert encoder.encode_texts(["東京の写真"]).shape == encoder.encode_images(golden_pictures()[:1]).shape


@pytest.mark.parametrize(("precision", "of_fp32"), [("fp16", 0.55), ("int8", 0.45)])
def test_smaller_precisions_are_smaller_and_say_how_close_they_are(
    tmp_path: Path, precision: str, of_fp32: float
) -> None:
    full = export(str(DEMO_CHECKPOINT), tmp_path / "full")
    report = export(str(DEMO_CHECKPOINT), tmp_path / "out", precision=precision)
    sizes = [sum(f.stat().st_size for f in Path(r.out).glob("onnx/*")) for r in (report, full)]
    assert sizes[0] < of_fp32 * sizes[1]
    assert report.fingerprint != full.fingerprint
    exact = Encoder(tmp_path / "full").encode_texts(["running shoe"])[0]
    cosine = float(exact @ Encoder(tmp_path / "out").encode_texts(["running shoe"])[0])
    assert cosine >= min(report.text_cosine_min, report.text_cosine_mean) - 0.01


def test_the_manifest_records_where_it_came_from_and_the_proof(tmp_path: Path) -> None:
    report = export(str(checkpoints.clip(tmp_path / "mine")), tmp_path / "out")
    manifest = json.loads((tmp_path / "out/crosslens.json").read_text())
    assert manifest["name"] == "mine"
    assert manifest["fingerprint"] == report.fingerprint
    assert manifest["dims"] == 24
    assert set(manifest["files"]) == {
        "onnx/text_model.onnx",
        "onnx/vision_model.onnx",
        "tokenizer.json",
        "preprocessor_config.json",
        "config.json",
    }
    assert min(manifest["parity"].values()) >= 0.9999


def test_an_export_that_differs_from_pytorch_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = checkpoints.clip(tmp_path / "c")
    real = module.export_text

    def damaged(loaded: module.Checkpoint, path: Path) -> None:
        with torch.no_grad():
            kept = loaded.text.model.text_projection.weight.clone()
            loaded.text.model.text_projection.weight.add_(torch.randn_like(kept))
            real(loaded, path)
            loaded.text.model.text_projection.weight.copy_(kept)

    monkeypatch.setattr(module, "export_text", damaged)
    with pytest.raises(ExportError, match=r"text encoder differs from PyTorch: cosine .* nothing was written"):
        export(str(checkpoint), tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c"]


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious").write_text("x")
    with pytest.raises(ExportError, match="exists already"):
        export(str(tmp_path), tmp_path / "out")
    assert (tmp_path / "out/precious").read_text() == "x"


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = checkpoints.clip(tmp_path / "c")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ExportError, match="no safetensors"):
        export(str(folder), tmp_path / "out")


def test_an_unknown_family_is_named(tmp_path: Path) -> None:
    folder = checkpoints.clip(tmp_path / "c")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(ExportError, match=r"'gpt2' model; crosslens exports clip, siglip.*as text models.*modernbert"):
        export(str(folder), tmp_path / "out")


def test_a_text_tower_without_its_image_tower_is_a_text_model(tmp_path: Path) -> None:
    report = export(str(checkpoints.multilingual(tmp_path / "text")), tmp_path / "out")
    assert (report.dims, report.image_cosine_min) == (24, None)
    assert not Encoder(tmp_path / "out").encodes_images


@pytest.mark.parametrize(("count", "size", "batches"), [(12, 1, 12), (12, 16, 1), (8, 16, 1), (17, 16, 2), (16, 16, 1)])
def test_golden_batches_are_full_and_leave_nothing_out(count: int, size: int, batches: int) -> None:
    made = _batches(list(range(count)), size)
    assert [len(batch) for batch in made] == [size] * batches
    assert {item for batch in made for item in batch} == set(range(count))


def test_golden_pictures_are_the_same_every_time_and_of_odd_modes() -> None:
    first, second = golden_pictures(), golden_pictures()
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(first, second, strict=True))
    assert {picture.mode for picture in first} == {"RGB", "L", "RGBA", "P", "CMYK"}
