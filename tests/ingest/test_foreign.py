"""Model folders made elsewhere: graphs of other types and sizes, other names and places; or one sentence that says why
not, before anything is done with an index."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra 'export' is not installed")

from onnx import TensorProto, helper  # noqa: E402

from crosslens.errors import ModelError  # noqa: E402
from crosslens.ingest.model.encoder import Encoder  # noqa: E402
from crosslens.ingest.model.folder import open_model  # noqa: E402
from crosslens.ingest.model.graph import read_graph  # noqa: E402
from crosslens.ingest.model.parts import cut_out  # noqa: E402
from crosslens.ingest.model.served import check_served  # noqa: E402
from tests.commands import run  # noqa: E402

TEXTS = ["blue running shoes", "a cat", "", "a photo of a dog and a cat, and of nothing else", "shoe"]
TEXT, VISION = "onnx/text_model.onnx", "onnx/vision_model.onnx"
Change = Callable[[Any], object]


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """As another exporter would leave it: no manifest, the settings in tokenizer_config.json."""
    copy = Path(shutil.copytree(models / "small", tmp_path / "model"))
    (copy / "crosslens.json").unlink()
    settings = {"model_max_length": 77, "pad_token": "<|endoftext|>"}
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    return copy


def edited(path: Path, *changes: Change) -> None:
    model = onnx.load(str(path))
    for change in changes:
        change(model.graph)
    onnx.save(model, str(path))


def takes(kind: int) -> Change:
    """The first input as another type, cast to what the graph computes with."""

    def change(graph: Any) -> None:
        first = graph.input[0]
        was = first.type.tensor_type.elem_type
        for node in graph.node:
            node.input[:] = [f"{name}_cast" if name == first.name else name for name in node.input]
        nodes = [helper.make_node("Cast", [first.name], [f"{first.name}_cast"], to=was), *graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        first.type.tensor_type.elem_type = kind

    return change


def gives_half(graph: Any) -> None:
    (out,) = graph.output
    for node in graph.node:
        node.output[:] = [f"{name}_whole" if name == out.name else name for name in node.output]
        node.input[:] = [f"{name}_whole" if name == out.name else name for name in node.input]
    graph.node.append(helper.make_node("Cast", [f"{out.name}_whole"], [out.name], to=TensorProto.FLOAT16))
    out.type.tensor_type.elem_type = TensorProto.FLOAT16


def sized(**sizes: int) -> Change:
    """The first input's sizes, by their place: ``d0=1`` for one input at once."""

    def change(graph: Any) -> None:
        for place, size in sizes.items():
            graph.input[0].type.tensor_type.shape.dim[int(place[1:])].dim_value = size

    return change


def called(name: str, output: str) -> Change:
    def change(graph: Any) -> None:
        before, after = (graph.input[0].name, graph.output[0].name), (name, output)
        names = dict(zip(before, after, strict=True))
        for node in graph.node:
            node.input[:] = [names.get(each, each) for each in node.input]
            node.output[:] = [names.get(each, each) for each in node.output]
        graph.input[0].name, graph.output[0].name = name, output

    return change


def same_vectors(ours: Path, theirs: Path, pictures: Path, atol: float = 1e-5) -> None:
    a, b = Encoder(ours), Encoder(theirs)
    paths = [pictures / f"{i}.png" for i in range(5)]
    assert np.allclose(a.encode_texts(TEXTS), b.encode_texts(TEXTS), atol=atol)
    assert np.allclose(a.encode_images(paths), b.encode_images(paths), atol=atol)
    assert a.dims == b.dims


@pytest.mark.parametrize(
    ("text", "vision"),
    [
        ([takes(TensorProto.INT32)], [takes(TensorProto.FLOAT16)]),
        ([gives_half], [gives_half]),
        ([sized(d0=1)], [sized(d0=1)]),
        ([sized(d0=4)], [sized(d0=3)]),
        ([sized(d1=77)], []),
        ([sized(d1=20)], []),
        ([sized(d0=1, d1=77), takes(TensorProto.INT32), called("text", "embedding")], [called("image", "embedding")]),
        ([called("tokens", "anything")], [called("x", "y"), takes(TensorProto.DOUBLE)]),
    ],
)
def test_graphs_are_fed_by_what_they_say_of_their_inputs(
    models: Path, folder: Path, pictures: Path, text: list[Change], vision: list[Change]
) -> None:
    edited(folder / TEXT, *text)
    edited(folder / VISION, *vision)
    same_vectors(models / "small", folder, pictures, atol=2e-3)


def adds_input(name: str, kind: int, shape: list[Any]) -> Change:
    return lambda graph: graph.input.append(helper.make_tensor_value_info(name, kind, shape))


def gives(name: str, kind: int, shape: list[Any]) -> Change:
    def change(graph: Any) -> None:
        graph.output[0].CopyFrom(helper.make_tensor_value_info(name, kind, shape))

    return change


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (
            TEXT,
            adds_input("position_ids", TensorProto.INT64, ["n", "t"]),
            r"inputs that crosslens doesn't know: .*position_ids",
        ),
        (
            TEXT,
            adds_input("pixel_values", TensorProto.FLOAT, ["n", 3, 48, 48]),
            r"doesn't know: .*pixel_values \(float32",
        ),
        (TEXT, takes(TensorProto.STRING), r"inputs that crosslens doesn't know: input_ids"),
        (VISION, takes(TensorProto.UINT8), r"inputs that crosslens doesn't know: pixel_values \(type 2"),
        (VISION, adds_input("boxes", TensorProto.FLOAT, ["n", 4]), r"inputs that crosslens doesn't know: .*boxes"),
        (VISION, sized(d1=1), r"inputs that crosslens doesn't know"),
        (VISION, sized(d2=224, d3=224), r"reads pictures of 224 x 224 pixels, and .* makes them 32 x 32"),
        (VISION, gives("last_hidden_state", TensorProto.FLOAT, ["n", 50, 64]), r"not one vector for each input"),
        (
            VISION,
            gives("image_embeds", TensorProto.FLOAT, ["n", 7]),
            r"text encoder gives \d+ numbers, its image encoder 7",
        ),
        (TEXT, gives("pooler_output", TensorProto.FLOAT, ["n", 192]), r"lacks its projection"),
    ],
)
def test_other_graphs_are_refused_before_anything_is_encoded(
    folder: Path, file: str, change: Change, said: str
) -> None:
    edited(folder / file, change)
    with pytest.raises(ModelError, match=said):
        open_model(folder)


def test_weights_beside_a_graph_are_part_of_the_fingerprint(folder: Path, models: Path, pictures: Path) -> None:
    alone = open_model(folder).fingerprint
    model = onnx.load(str(folder / TEXT))
    onnx.save(model, str(folder / TEXT), save_as_external_data=True, location="text_model.onnx_data", size_threshold=64)
    assert read_graph(folder / TEXT).external == {"text_model.onnx_data"}
    before = open_model(folder).fingerprint
    same_vectors(models / "small", folder, pictures)
    data = folder / "onnx/text_model.onnx_data"
    changed = bytearray(data.read_bytes())
    changed[len(changed) // 2] ^= 1
    data.write_bytes(changed)
    assert len({alone, before, open_model(folder).fingerprint}) == 3
    data.unlink()
    with pytest.raises(ModelError, match=r"text_model\.onnx_data is missing"):
        open_model(folder)


def test_weights_that_a_manifest_leaves_out_are_part_of_the_fingerprint(models: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(models / "small", tmp_path / "model"))
    model = onnx.load(str(folder / TEXT))
    onnx.save(model, str(folder / TEXT), save_as_external_data=True, location="beside", size_threshold=64)
    prints = set()
    for _ in range(2):
        prints.add(open_model(folder, verify=False).fingerprint)
        (folder / "onnx/beside").write_bytes((folder / "onnx/beside").read_bytes() + b"0")
    assert len(prints) == 2


@pytest.mark.parametrize("name", ["small", "other"])
def test_an_export_keeps_the_fingerprint_that_its_manifest_records(models: Path, name: str) -> None:
    recorded = json.loads((models / name / "crosslens.json").read_text())["fingerprint"]
    assert open_model(models / name).fingerprint == recorded


def test_the_demos_model_keeps_the_fingerprint_that_indices_record() -> None:
    from crosslens.ingest.model.known import DEMO_MODEL

    assert open_model(DEMO_MODEL).fingerprint == "46271532a6604d56"


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("tokenizer_config.json", "model_max_length", 20),
        ("tokenizer_config.json", "pad_token", "<|startoftext|>"),
        ("tokenizer_config.json", "padding_side", "left"),
        ("config.json", "model_type", "siglip"),
        ("preprocessor_config.json", "resample", 2),
    ],
)
def test_all_that_decides_a_vector_is_part_of_the_fingerprint(folder: Path, file: str, key: str, value: object) -> None:
    before = open_model(folder).fingerprint
    told = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**told, key: value}))
    assert open_model(folder).fingerprint != before


def test_padding_on_the_left_that_nothing_masks_makes_no_vector_depend_on_its_batch(folder: Path) -> None:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "padding_side": "left"}))
    encoder = Encoder(folder)
    alone = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    assert np.allclose(encoder.encode_texts(TEXTS), alone, atol=1e-5)


def test_what_decides_no_vector_is_not(folder: Path) -> None:
    before = open_model(folder).fingerprint
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**told, "transformers_version": "9", "_name_or_path": "x/y"}))
    assert open_model(folder).fingerprint == before


@pytest.mark.parametrize("variants", [("fp16", "fp16"), ("fp16", "quantized")])
def test_graphs_of_one_precision_alone_are_taken(
    models: Path, folder: Path, pictures: Path, variants: tuple[str, str]
) -> None:
    for kind, variant in zip(("text_model", "vision_model"), variants, strict=True):
        (folder / f"onnx/{kind}.onnx").rename(folder / f"onnx/{kind}_{variant}.onnx")
    same_vectors(models / "small", folder, pictures)


def test_of_several_precisions_one_must_be_named(folder: Path) -> None:
    for kind in ("text_model", "vision_model"):
        shutil.copy(folder / f"onnx/{kind}.onnx", folder / f"onnx/{kind}_q4.onnx")
        (folder / f"onnx/{kind}.onnx").rename(folder / f"onnx/{kind}_fp16.onnx")
    with pytest.raises(ModelError, match=r"it has text_model_fp16\.onnx, text_model_q4\.onnx; .* variant"):
        open_model(folder)
    assert open_model(folder, variant="q4").vision_model.name == "vision_model_q4.onnx"


def joined(folder: Path, name: str, *changes: Change) -> Path:
    """The folder with one graph of both encoders, as Optimum and transformers.js make it of a whole CLIP."""
    text, vision = onnx.load(str(folder / TEXT)), onnx.load(str(folder / VISION))
    whole = onnx.compose.add_prefix(vision, "vision/", rename_inputs=False, rename_outputs=False)
    graph = text.graph
    for part in ("node", "initializer", "input", "output"):
        getattr(graph, part).extend(getattr(whole.graph, part))
    graph.node.append(helper.make_node("Transpose", ["image_embeds"], ["turned"], perm=[1, 0]))
    graph.node.append(helper.make_node("MatMul", ["text_embeds", "turned"], ["logits_per_text"]))
    for place, size in enumerate(graph.input[-1].type.tensor_type.shape.dim):
        size.dim_param = f"size{place}"
    graph.output.insert(0, helper.make_tensor_value_info("logits_per_text", TensorProto.FLOAT, ["n", "m"]))
    for change in changes:
        change(graph)
    (folder / TEXT).unlink()
    (folder / VISION).unlink()
    onnx.save(text, str(folder / name))
    return folder / name


def has(name: str) -> Change:
    """One more input, which the image encoder uses from within a branch."""

    def change(graph: Any) -> None:
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]))
        yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("", TensorProto.BOOL, [], [True]))
        out = [helper.make_tensor_value_info("chosen", TensorProto.FLOAT, None)]
        bodies = {}
        for branch in ("then", "else"):
            added = helper.make_node("Add", ["image_embeds_before", name], ["chosen"])
            bodies[f"{branch}_branch"] = helper.make_graph([added], branch, [], out)
        for node in graph.node:
            node.output[:] = ["image_embeds_before" if each == "image_embeds" else each for each in node.output]
        first = next(index for index, node in enumerate(graph.node) if "image_embeds" in node.input)
        graph.node.insert(first, helper.make_node("If", ["yes"], ["image_embeds"], **bodies))
        graph.node.insert(first, yes)

    return change


@pytest.mark.parametrize(
    ("name", "beside"), [("model.onnx", False), ("onnx/model_fp16.onnx", False), ("onnx/model.onnx", True)]
)
def test_one_graph_for_both_encoders_is_read_as_two(
    models: Path, folder: Path, pictures: Path, name: str, beside: bool
) -> None:
    path = joined(folder, name)
    if beside:
        whole = onnx.load(str(path))
        onnx.save(whole, str(path), save_as_external_data=True, location="model.onnx_data", size_threshold=64)
    same_vectors(models / "small", folder, pictures)
    found = open_model(folder)
    assert found.text_model == found.vision_model == path
    encoder = Encoder(folder)
    encoder.encode_texts(TEXTS)
    # What encodes texts has the weights and the work of texts alone.
    (session,) = encoder._graphs._sessions.values()
    assert [port.name for port in session.get_inputs()] == ["input_ids"]
    text = onnx.load_from_string(cut_out(read_graph(path), "text_embeds")).graph
    assert not [part.name for part in (*text.node, *text.initializer) if part.name.startswith("vision/")]
    if beside:
        return
    before = encoder.fingerprint
    model = onnx.load(str(path))
    model.graph.initializer[-1].raw_data = bytes(len(model.graph.initializer[-1].raw_data))
    onnx.save(model, str(path))
    assert open_model(folder).fingerprint != before


def needs_both(graph: Any) -> None:
    """A text encoder that looks at the picture, as one that fuses them does."""
    for node in graph.node:
        node.output[:] = ["text_alone" if each == "text_embeds" else each for each in node.output]
    graph.node.insert(len(graph.node) - 2, helper.make_node("Add", ["text_alone", "image_embeds"], ["text_embeds"]))


def lacks(name: str) -> Change:
    return lambda graph: graph.output.remove(next(each for each in graph.output if each.name == name))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (needs_both, "needs texts and pictures together"),
        (lacks("text_embeds"), "gives logits_per_text, image_embeds instead of text_embeds and image_embeds"),
        (has("shift"), r"inputs that crosslens doesn't know: pixel_values .*, shift"),
    ],
)
def test_one_graph_that_can_not_be_read_as_two_is_refused(folder: Path, change: Change, said: str) -> None:
    joined(folder, "onnx/model.onnx", change)
    with pytest.raises(ModelError, match=said):
        open_model(folder)


def test_of_one_graph_in_several_precisions_one_must_be_named(folder: Path) -> None:
    path = joined(folder, "onnx/model_fp16.onnx")
    shutil.copy(path, path.with_name("model_q4.onnx"))
    with pytest.raises(ModelError, match=r"has no onnx/model\.onnx; it has model_fp16\.onnx, model_q4\.onnx"):
        open_model(folder)
    assert open_model(folder, variant="q4").text_model.name == "model_q4.onnx"


def test_one_file_for_all_processors_is_read(models: Path, folder: Path, pictures: Path) -> None:
    file = folder / "preprocessor_config.json"
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": json.loads(file.read_text())}))
    file.unlink()
    same_vectors(models / "small", folder, pictures)


def immich_of(folder: Path, immich: Path, mode: str = "shortest") -> dict[str, Any]:
    """Make ``immich`` of a folder's parts, as Immich lays them out; return its preprocessing."""
    ours = json.loads((folder / "preprocessor_config.json").read_text())
    (immich / "textual").mkdir(parents=True)
    (immich / "visual").mkdir()
    edited(folder / TEXT, sized(d0=1, d1=77), takes(TensorProto.INT32), called("text", "embedding"))
    edited(folder / VISION, sized(d0=1), called("image", "embedding"))
    shutil.copy(folder / TEXT, immich / "textual/model.onnx")
    shutil.copy(folder / VISION, immich / "visual/model.onnx")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, immich / "textual" / name)
    told = {"size": [32, 32], "mode": "RGB", "mean": ours["image_mean"], "std": ours["image_std"]}
    told |= {"interpolation": "bicubic", "resize_mode": mode, "fill_color": 0}
    (immich / "visual/preprocess_cfg.json").write_text(json.dumps(told))
    (immich / "config.json").write_text(json.dumps({"embed_dim": 192, "text_cfg": {"context_length": 77}}))
    return told


@pytest.mark.parametrize("mode", ["shortest", "squash"])
def test_immichs_folders_are_read(models: Path, folder: Path, pictures: Path, tmp_path: Path, mode: str) -> None:
    immich = tmp_path / "ViT-B-32__openai"
    told = immich_of(folder, immich, mode)
    encoder = Encoder(immich)
    assert np.allclose(encoder.encode_texts(TEXTS), Encoder(models / "small").encode_texts(TEXTS), atol=1e-5)
    assert encoder.name == "ViT-B-32__openai"
    assert encoder.transform.shortest_edge == (32 if mode == "shortest" else None)
    assert np.allclose(np.linalg.norm(encoder.encode_images([pictures / "0.png"] * 2), axis=1), 1, atol=1e-5)
    before = encoder.fingerprint
    cleaned = {"context_length": 77, "tokenizer_kwargs": {"clean": "canonicalize"}}
    (immich / "config.json").write_text(json.dumps({"embed_dim": 192, "text_cfg": cleaned}))
    canonical = Encoder(immich)
    assert canonical.tokens(["A  cat, (and) a dog!"]) == encoder.tokens(["a cat and a dog"])
    assert canonical.fingerprint != before
    (immich / "visual/preprocess_cfg.json").write_text(json.dumps({**told, "resize_mode": "longest"}))
    with pytest.raises(ModelError, match="resize_mode 'longest'"):
        open_model(immich)


def of_one_precision(folder: Path) -> None:
    for kind in ("text_model", "vision_model"):
        (folder / f"onnx/{kind}.onnx").rename(folder / f"onnx/{kind}_fp16.onnx")


def in_one_graph(folder: Path) -> None:
    joined(folder, "onnx/model.onnx")


def as_immichs(folder: Path) -> None:
    immich_of(folder, folder.parent / "immich")
    shutil.rmtree(folder)
    (folder.parent / "immich").rename(folder)


def of_other_names(folder: Path) -> None:
    edited(folder / TEXT, called("tokens", "text_embeds"))


def of_doubles(folder: Path) -> None:
    edited(folder / VISION, takes(TensorProto.DOUBLE))


def of_other_vectors(folder: Path) -> None:
    edited(folder / VISION, called("pixel_values", "embedding"))


def cleaning(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_cfg"] = {"context_length": 77, "tokenizer_kwargs": {"clean": "canonicalize"}}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (of_one_precision, "it looks for onnx/text_model.onnx, and the folder has onnx/text_model_fp16.onnx"),
        (in_one_graph, "it looks for onnx/text_model.onnx, and the folder has onnx/model.onnx"),
        (as_immichs, "it looks for onnx/text_model.onnx, and the folder has textual/model.onnx"),
        (of_other_names, "text_model.onnx calls its input tokens, not input_ids"),
        (of_doubles, "vision_model.onnx reads pixels of another type"),
        (of_other_vectors, "vision_model.onnx calls its vectors embedding, not image_embeds"),
        (cleaning, "it doesn't clean texts as open_clip does"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    ],
)
def test_a_folder_that_the_server_plugin_can_not_read_is_never_installed(
    folder: Path, tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    check_served([folder])
    change(folder)
    with pytest.raises(ModelError) as refused:
        check_served([folder])
    assert said in str(refused.value)
    if "tokenizer" not in said:
        # All that the plugin can't, this side can.
        assert Encoder(folder).encode_texts(["a"]).shape[0] == 1
    if change in (as_immichs, of_one_precision):
        node = tmp_path / "node"
        for command in (("plugin", "install"), ("node", "start", "--with-plugin")):
            done = run(*command, "--folder", str(node), "--model", str(folder))
            assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False)
            assert not node.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (TEXT, "text_model.onnx is a Git LFS pointer"),
        (VISION, "vision_model.onnx is a Git LFS pointer"),
        ("tokenizer.json", "tokenizer.json is a Git LFS pointer"),
        ("config.json", "config.json is a Git LFS pointer"),
        ("preprocessor_config.json", "preprocessor_config.json is a Git LFS pointer"),
    ],
)
def test_a_pointer_in_place_of_a_file_is_called_so(folder: Path, name: str, said: str) -> None:
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 60\n")
    with pytest.raises(ModelError, match=said):
        Encoder(folder)


@pytest.mark.parametrize("cut", [0, 1, 7, 100, 5_000, -1, -100])
def test_a_truncated_graph_is_named(folder: Path, cut: int) -> None:
    whole = (folder / VISION).read_bytes()
    (folder / VISION).write_bytes(whole[:cut])
    with pytest.raises(ModelError, match=r"vision_model\.onnx"):
        open_model(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", {"height": "a", "width": 3}),
        ("size", None),
        ("resample", "soft"),
        ("resample", 99),
        ("rescale_factor", "a"),
        ("image_mean", ["a", 1, 2]),
        ("image_std", [0, 0, 0]),
        ("crop_size", {"height": 0, "width": 0}),
        ("crop_size", {"height": -1, "width": 5}),
    ],
)
def test_senseless_preprocessing_is_one_sentence(folder: Path, key: str, value: object) -> None:
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(ModelError, match=r"preprocessor_config\.json|vision_model\.onnx"):
        open_model(folder)
