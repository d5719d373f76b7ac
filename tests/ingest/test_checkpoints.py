"""Checkpoints that are incomplete, contradictory or degenerate are refused in one sentence; none is made up for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip("transformers", reason="the extra 'export' is not installed")

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from crosslens.errors import ExportError  # noqa: E402
from crosslens.ingest.model import exporting  # noqa: E402
from crosslens.ingest.model.encoder import Encoder  # noqa: E402
from tests import checkpoints  # noqa: E402

pytestmark = pytest.mark.export
export = partial(exporting.export, precision="fp32")
Damage = Callable[[Path], object]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 605157884\n"


def weights(change: Callable[[dict[str, torch.Tensor]], object], inside: str = "") -> Damage:
    def damage(folder: Path) -> None:
        file = folder / inside / "model.safetensors"
        loaded = dict(load_file(file))
        change(loaded)
        save_file(loaded, file, metadata={"format": "pt"})

    return damage


def without(*beginnings: str) -> Damage:
    def change(loaded: dict[str, torch.Tensor]) -> None:
        gone = [name for name in loaded if name.startswith(beginnings)]
        assert gone
        for name in gone:
            del loaded[name]

    return weights(change)


def settings(name: str, **values: Any) -> Damage:
    """Changes a JSON file; ``a__b`` reaches inside."""

    def damage(folder: Path) -> None:
        told = json.loads((folder / name).read_text())
        for key, value in values.items():
            *outer, last = key.split("__")
            inner = told
            for each in outer:
                inner = inner[each]
            inner[last] = value
        (folder / name).write_text(json.dumps(told))

    return damage


def gone(*patterns: str) -> Damage:
    def damage(folder: Path) -> None:
        for pattern in patterns:
            for file in folder.glob(pattern):
                file.unlink()

    return damage


def truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-5_000])


def no_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"what is this" * 100)


def pointer(name: str) -> Damage:
    return lambda folder: (folder / name).write_text(POINTER)


def invented(folder: Path) -> None:
    """A tokenizer that knows no word, as transformers makes one up."""
    told = json.loads((folder / "tokenizer.json").read_text())
    told["model"]["merges"] = []
    told["model"]["vocab"] = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    for token in told["added_tokens"]:
        token["id"] = told["model"]["vocab"][token["content"]]
    told["post_processor"] = {
        "type": "RobertaProcessing",
        "sep": ["<|endoftext|>", 1],
        "cls": ["<|startoftext|>", 0],
        "trim_offsets": False,
        "add_prefix_space": False,
    }
    (folder / "tokenizer.json").write_text(json.dumps(told))
    settings("config.json", text_config__eos_token_id=1, text_config__bos_token_id=0)(folder)


def zeroed(beginning: str) -> Damage:
    return weights(lambda loaded: [v.zero_() for name, v in loaded.items() if name.startswith(beginning)])


def fewer(name: str, rows: int) -> Damage:
    def change(loaded: dict[str, torch.Tensor]) -> None:
        loaded[name] = loaded[name][:rows].clone()

    return weights(change)


def all_of(*damages: Damage) -> Damage:
    return lambda folder: [damage(folder) for damage in damages]


SMALL_VOCABULARY = all_of(
    fewer("text_model.embeddings.token_embedding.weight", 300),
    settings("config.json", text_config__vocab_size=300, text_config__eos_token_id=2),
)
HEADLESS = all_of(without("vision_model.head"), settings("config.json", vision_config__vision_use_head=False))
ODD_PATCHES = all_of(
    fewer("vision_model.embeddings.position_embedding.weight", 15),
    settings("config.json", vision_config__num_patches=15),
)


def not_a_number(loaded: dict[str, torch.Tensor]) -> None:
    loaded["visual_projection.weight"][0, 0] = float("nan")


def open_clip(folder: Path) -> None:
    (folder / "config.json").rename(folder / "open_clip_config.json")
    (folder / "model.safetensors").rename(folder / "open_clip_pytorch_model.bin")


LAYER = "text_model.encoder.layers.1."
INCOMPLETE: list[tuple[str, Damage, str]] = [
    ("clip", without("text_projection"), r"lacks text_projection\.weight"),
    ("clip", without(LAYER), r"lacks text_model\.encoder\.layers\.1\..* and \d+ more"),
    ("clip", without("vision_model."), r"lacks vision_model\."),
    ("clip", without("text_model.embeddings.position"), r"lacks text_model\.embeddings\.position_embedding"),
    ("siglip", without("vision_model.head"), r"lacks vision_model\.head"),
    ("chinese_clip", without("visual_projection"), r"lacks visual_projection\.weight"),
    (
        "clip",
        settings("config.json", text_config__num_hidden_layers=1),
        r"has, beyond .* text_model\.encoder\.layers\.1",
    ),
    ("clip", settings("config.json", vision_config__num_hidden_layers=3), r"lacks vision_model\.encoder\.layers\.2"),
    (
        "clip",
        settings("config.json", projection_dim=12),
        r"another shape .* text_projection\.weight \[24, 32\] instead",
    ),
    ("clip", settings("config.json", vision_config__patch_size=16), r"another shape .* vision_model\.embeddings"),
    ("clip", settings("config.json", vision_config__num_attention_heads=3), r"can't be loaded|can't be exported"),
    ("clip", weights(not_a_number), r"aren't finite in visual_projection\.weight"),
    ("clip", truncated, r"weights in .* can't be loaded: SafetensorError"),
    ("clip", no_safetensors, r"weights in .* can't be loaded: SafetensorError"),
    ("clip", pointer("model.safetensors"), r"Git LFS pointers in place of model\.safetensors"),
    ("clip", pointer("tokenizer.json"), r"Git LFS pointers in place of tokenizer\.json"),
    ("clip", pointer("config.json"), r"Git LFS pointers in place of config\.json"),
    ("clip", open_clip, r"open_clip's own form .*open_clip_pytorch_model\.bin"),
    ("clip", gone("config.json"), r"has no config\.json"),
    ("clip", gone("tokenizer*", "vocab*", "merges*"), r"has no tokenizer"),
    ("siglip", gone("spiece.model"), r"has no tokenizer"),
    ("clip", invented, r"the texts 'cat' and 'dog' have one vector: the tokenizer knows"),
    ("clip", settings("config.json", text_config__eos_token_id=7), r"texts end with the token 7 \(eos_token_id\)"),
    ("clip", settings("config.json", text_config__vocab_size=300), r"another shape .* text_model\.embeddings\.token"),
    ("clip", gone("preprocessor_config.json"), r"how .* prepares pictures can't be loaded"),
    (
        "clip",
        settings("preprocessor_config.json", crop_size={"height": 48, "width": 48}),
        "48 x 48, the image .* 32 x 32",
    ),
    ("siglip", settings("preprocessor_config.json", size={"height": 32, "width": 48}), "32 x 48, the image .* 32 x 32"),
    ("clip", settings("preprocessor_config.json", image_std=[1e9] * 3), r"have one vector|differs from PyTorch"),
    ("clip", settings("preprocessor_config.json", size={"longest_edge": 3}), r"size .* is not one|can't be loaded"),
    ("siglip", settings("config.json", vision_config__vision_use_head=False), r"has, beyond .* vision_model\.head"),
    ("siglip", HEADLESS, r"has no head that pools its patches"),
    ("siglip2", ODD_PATCHES, r"15 positions, which don't form a square"),
    ("clip", SMALL_VOCABULARY, r"tokenizer has 669 words, the text encoder knows 300"),
    ("siglip", settings("config.json", vision_config__image_size=[32, 48]), r"can't be loaded|32 x 32, the image"),
    (
        "siglip2",
        settings("config.json", vision_config__num_patches=15),
        r"another shape .* vision_model\.embeddings\.position",
    ),
    ("clip", zeroed("text_model.encoder.layers"), r"have one vector|length zero"),
    ("clip", zeroed("vision_model.embeddings.patch_embedding"), r"golden pictures 0 and 1 have one vector"),
    ("clip", zeroed("visual_projection"), r"length zero"),
]


@pytest.mark.parametrize(("family", "damage", "said"), INCOMPLETE)
def test_what_is_incomplete_is_refused_by_name(tmp_path: Path, family: str, damage: Damage, said: str) -> None:
    checkpoint = getattr(checkpoints, family)(tmp_path / "c")
    damage(checkpoint)
    with pytest.raises(Exception, match=said) as refused:
        export(str(checkpoint), tmp_path / "out")
    assert type(refused.value).__module__ == "crosslens.errors", "a traceback, not a sentence"
    assert "\n" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]


def dense(**values: Any) -> Damage:
    return lambda folder: settings("config.json", **values)(folder / "2_Dense")


def no_dense_weight(loaded: dict[str, torch.Tensor]) -> None:
    loaded["other"] = loaded.pop("linear.weight")


def modules(*kinds: str) -> Damage:
    def damage(folder: Path) -> None:
        places = {"Transformer": "0_Transformer", "Pooling": "1_Pooling", "Dense": "2_Dense"}
        told = [{"type": f"sentence_transformers.models.{k}", "path": places.get(k, "")} for k in kinds]
        (folder / "modules.json").write_text(json.dumps(told))

    return damage


def within(place: str, damage: Damage) -> Damage:
    return lambda folder: damage(folder / place)


def prompt(folder: Path) -> None:
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"default_prompt_name": "query"}))


TOWERS: list[tuple[Damage, str]] = [
    (weights(no_dense_weight, "2_Dense"), r"2_Dense lacks weight, and has, beyond .* other"),
    (dense(out_features=12), r"2_Dense has in another shape .* weight \[24, 32\] instead of \[12, 32\]"),
    (dense(bias=True), r"2_Dense lacks bias"),
    (dense(activation_function="torch.nn.Softplus"), r"activation 'Softplus' is not exported"),
    (within("2_Dense", truncated), r"dense layer in .*2_Dense can't be read"),
    (within("2_Dense", pointer("model.safetensors")), r"2_Dense holds Git LFS pointers"),
    (within("2_Dense", gone("*.safetensors")), r"2_Dense has no safetensors"),
    (within("0_Transformer", without("transformer.layer.1")), r"0_Transformer lacks transformer\.layer\.1"),
    (within("0_Transformer", gone("tokenizer*", "vocab*")), r"0_Transformer has no tokenizer"),
    (
        within("1_Pooling", settings("config.json", pooling_mode_max_tokens=True)),
        r"mean, cls, last is exported, not by",
    ),
    (
        within("1_Pooling", settings("config.json", pooling_mode_mean_tokens=False)),
        r"mean, cls, last is exported, not by \[\]",
    ),
    (modules("Transformer", "Dense", "Pooling"), r"a Dense module is not exported there"),
    (modules("Transformer", "Dense"), r"a Dense module is not exported there"),
    (modules("Transformer"), r"names no Pooling module"),
    (modules("Transformer", "Pooling", "LayerNorm"), r"a LayerNorm module is not exported there"),
    (modules("Transformer", "Pooling"), r"gives 32 numbers, its image encoder 24"),
    (lambda folder: shutil.rmtree(folder / "1_Pooling"), r"1_Pooling is missing, which modules\.json lists"),
    (lambda folder: (folder / "modules.json").write_text("{"), r"modules\.json can't be read"),
    (prompt, r"the default prompt 'query' isn't among"),
]


@pytest.mark.parametrize(("damage", "said"), TOWERS)
def test_what_is_incomplete_in_a_text_tower_is_refused_by_name(tmp_path: Path, damage: Damage, said: str) -> None:
    clip, text = checkpoints.clip(tmp_path / "clip"), checkpoints.multilingual(tmp_path / "text")
    damage(text)
    with pytest.raises(Exception, match=said) as refused:
        export(str(text), tmp_path / "out", image_tower=str(clip))
    assert type(refused.value).__module__ == "crosslens.errors", "a traceback, not a sentence"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip", "text"]


def test_of_an_image_tower_only_the_images_side_is_needed(tmp_path: Path) -> None:
    clip, text = checkpoints.clip(tmp_path / "clip"), checkpoints.multilingual(tmp_path / "text")
    whole = export(str(text), tmp_path / "whole", image_tower=str(clip))
    without("text_model", "text_projection", "logit_scale")(clip)
    assert export(str(text), tmp_path / "out", image_tower=str(clip)).fingerprint == whole.fingerprint


def test_a_text_tower_that_lowers_texts_does_so_when_exported(tmp_path: Path) -> None:
    clip, text = checkpoints.clip(tmp_path / "clip"), checkpoints.multilingual(tmp_path / "text")
    told = json.loads((text / "0_Transformer/tokenizer.json").read_text())
    told["normalizer"]["lowercase"] = False
    (text / "0_Transformer/tokenizer.json").write_text(json.dumps(told))
    settings("sentence_bert_config.json", do_lower_case=True)(text / "0_Transformer")
    export(str(text), tmp_path / "out", image_tower=str(clip))
    vectors = Encoder(tmp_path / "out").encode_texts(["A Photo of a CAT", "a photo of a cat"])
    assert np.allclose(vectors[0], vectors[1], atol=1e-6)


def test_the_root_of_a_clip_that_sentence_transformers_saved_is_read(tmp_path: Path) -> None:
    root = tmp_path / "clip-ViT-B-32"
    checkpoints.clip(root / "0_CLIPModel")
    kinds = [{"path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}]
    (root / "modules.json").write_text(json.dumps(kinds))
    report = export(str(root), tmp_path / "out")
    assert (report.name, report.dims) == ("clip-ViT-B-32", 24)
    assert report.fingerprint == export(str(root / "0_CLIPModel"), tmp_path / "inside").fingerprint


def test_weights_that_no_vector_needs_may_lack_or_be_left_over(tmp_path: Path) -> None:
    checkpoint = checkpoints.clip(tmp_path / "c")
    whole = export(str(checkpoint), tmp_path / "whole")
    without("logit_scale")(checkpoint)
    weights(lambda loaded: loaded.update({"classifier.weight": torch.zeros(2, 24)}))(checkpoint)
    assert export(str(checkpoint), tmp_path / "out").fingerprint == whole.fingerprint


def test_an_unexpected_failure_of_pytorch_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = checkpoints.clip(tmp_path / "c")

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator\nand a long story")

    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(ExportError, match=r"can't be exported \(RuntimeError: no such operator\)"):
        export(str(checkpoint), tmp_path / "out")
