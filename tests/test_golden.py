"""Python gives what the golden files say; the plugin's own tests (``GoldenTest``) hold Java to the same lines.

Where the documented rule is short it is written out here once more, from `docs/format.md` and not from our own code.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest

from crosslens.errors import CrosslensError
from crosslens.ingest.contract.label_set import LabelSet, Noise
from crosslens.ingest.contract.labels import Label
from crosslens.ingest.contract.record import META_VERSION, VectorField, meta_update, read_record
from crosslens.ingest.contract.statistics import CorpusStatistics
from crosslens.ingest.model.folder import open_model
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.model.sentences import bounds
from tests.golden import (
    FOLDER,
    PICTURES,
    Line,
    documents,
    evidence,
    fusion,
    labels,
    lines,
    models,
    passages,
    pixels,
)
from tests.golden.__main__ import FILES


def every(name: str) -> Any:
    return pytest.mark.parametrize("line", lines(name), ids=lambda line: str(line.get("case", ""))[:60] or None)


def nearly(recorded: Any) -> Any:
    """The same to 9 digits: the logarithms of two libraries may differ in the last one."""
    if isinstance(recorded, dict):
        return {key: nearly(value) for key, value in recorded.items()}
    if isinstance(recorded, list):
        return [nearly(value) for value in recorded]
    return pytest.approx(recorded, rel=1e-9, abs=1e-12) if isinstance(recorded, float) else recorded


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_every_file_is_written_by_the_script_and_has_every_case() -> None:
    assert {path.stem for path in FOLDER.glob("*.jsonl")} == set(FILES)
    made: dict[str, tuple[Callable[[Line], Any], list[Any]]] = {
        "documents": (lambda line: line["case"], [case for case, _, _ in documents.cases()]),
        "templates": (lambda line: line["case"], [case for case, _, _ in documents.templates()]),
        "fingerprints": (lambda line: line["case"], [case for case, _ in models.folders()]),
        "tokens": (lambda line: line["text"], [*models.TEXTS, *models.TEXTS, *models.WORDS]),
        "labels": (lambda line: line["case"], [case for case, _, _, _ in labels.cases()]),
        "evidence": (lambda line: (line["case"], line["legs"]), list(evidence.cases().items())),
        "fusion": (lambda line: (line["case"], line["normalizer"], line["mean"]), list(fusion.combinations())),
        "passages": (
            lambda line: (line["case"], line["text"], line["tokenizer"], line["most"]),
            list(passages.cases()),
        ),
        "pixels": (
            lambda line: (line["picture"], line["preprocessor"]),
            [(name, pixels.PREPROCESSORS[kind]) for name, kind in pixels.cases()],
        ),
    }
    assert made.keys() == FILES.keys()
    for name, (key, cases) in made.items():
        assert [key(line) for line in lines(name)] == cases, name


@every("documents")
def test_documents_give_what_is_recorded(line: Line) -> None:
    recorded = {key: line[key] for key in ("values", "inputs", "failed", "state", "vectors", "nested")}
    assert documents.taken(line["field"], line["document"]) == recorded


@every("documents")
def test_hashes_are_those_of_the_documented_rule(line: Line) -> None:
    values, state = line["inputs"], line["state"]
    text = json.dumps(values, ensure_ascii=False) if line["field"]["each"] else "".join(values)
    assert state["source"] == sha256(text.encode("utf-8", "surrogatepass"))[:32]
    assert state["model"] == open_model(DEMO_MODEL).fingerprint
    assert ("skipped" in state) == (not values)
    if "content" in state:
        contents = [sha256(data)[:32] if (data := image(value)) is not None else "-" for value in values]
        joined = sha256("\n".join(contents).encode())[:32] if line["field"]["each"] else contents[0]
        assert state["content"] == joined


def image(reference: str) -> bytes | None:
    if reference[:5].lower() != "data:":
        path = PICTURES / reference
        return path.read_bytes() if path.exists() else None
    head, _, body = reference.partition(",")
    if head.lower().endswith(";base64"):
        # What isn't of base64's alphabet is skipped, and padding too much is none.
        return base64.b64decode(unquote_to_bytes(body) + b"==")
    return unquote_to_bytes(body)


@every("templates")
def test_templates_give_what_is_recorded(line: Line) -> None:
    if line.get("refused"):
        with pytest.raises(CrosslensError):
            documents.template_text(line["template"], line["document"])
        return
    recorded = {"sources": line["sources"], "text": line["text"]}
    assert documents.template_text(line["template"], line["document"]) == recorded


@pytest.mark.parametrize("tokenizer", [None, "wordpiece.json"])
def test_passages_are_cut_as_recorded(tokenizer: str | None) -> None:
    some = [line for line in lines("passages") if line["tokenizer"] == tokenizer]
    assert len(some) > 500
    for line in some:
        made = passages.cut(line["text"], line["tokenizer"], line["most"])
        assert made == line["passages"], (line["case"], line["text"])


def test_sentences_end_where_unicodes_own_test_says() -> None:
    tried = 0
    for line in (FOLDER / "unicode" / "SentenceBreakTest.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        parts = ["".join(chr(int(c, 16)) for c in part.split(" × ")) for part in line.strip("÷ ").split(" ÷ ")]
        text = "".join(parts)
        assert [text[start:end] for start, end in bounds(text)] == parts, line
        tried += 1
    assert tried == 512


def test_both_sides_read_one_table_of_sentence_breaks() -> None:
    root = FOLDER.parent.parent
    there = root / "plugin/server/src/main/resources/org/crosslens/server/documents/sentence_breaks.txt"
    assert there.read_bytes() == (root / "ingest/model/sentence_breaks.txt").read_bytes()


@every("fusion")
def test_fusion_gives_what_is_recorded(line: Line) -> None:
    found = fusion.fused(line["legs"], line["normalizer"], line["mean"])
    assert found == {"totals": nearly(line["totals"]), "parts": nearly(line["parts"])}
    if line["mean"] == "arithmetic":
        for key, total in line["totals"].items():
            assert total == nearly(math.fsum(part[key][1] for part in line["parts"].values()))


@every("evidence")
def test_evidence_gives_what_is_recorded(line: Line) -> None:
    found = evidence.fused(line["legs"])
    assert found["totals"] == nearly(line["totals"])
    assert found["parts"] == nearly(line["parts"])


@every("fingerprints")
def test_fingerprints_are_as_recorded(line: Line) -> None:
    kept = ("fingerprint", "name", "text", "dims", "prompts", "searches")
    recorded = {key: line[key] for key in kept if key in line}
    assert models.opened(line["files"]) == recorded


@every("fingerprints")
def test_fingerprints_are_those_of_the_documented_rule(line: Line) -> None:
    files = line["files"]
    if "crosslens.json" in files:
        names = list(json.loads(files["crosslens.json"])["files"])
    else:
        onnx = "onnx/" if "onnx/text_model.onnx" in files else ""
        parts = (f"{onnx}text_model.onnx", f"{onnx}vision_model.onnx", "tokenizer.json", "preprocessor_config.json")
        names = [name for name in (*parts, "processor_config.json") if name in files]
        if "preprocessor_config.json" in files:
            names = [name for name in names if name != "processor_config.json"]
        if "onnx/audio_model.onnx" in files:
            heard = "feature_extractor" in files.get("processor_config.json", "")
            names += ["onnx/audio_model.onnx", "processor_config.json" if heard else "preprocessor_config.json"]
    names += [name for name in ("onnx/t.onnx_data", "onnx/a.onnx_data") if name in files]
    hashes = {name: sha256(files[name].encode()) for name in names}
    if "crosslens.json" not in files:
        told = line["text"]
        # A graph of a fixed length says so itself.
        length, fixed = (
            (77, "false") if line["case"] == "a graph of a fixed length" else (told["length"], told["fixed"])
        )
        settings = f"{length} {told['pad_id']} {fixed} {told['side']} false".lower()
        hashes["text"] = sha256(settings.encode())
        if "prompts" in line:
            hashes["prompts"] = sha256("\0".join((line["prompts"]["query"], line["prompts"]["passage"])).encode())
    text = "".join(f"{name} {hashes[name]}\n" for name in sorted(hashes))
    assert line["fingerprint"] == sha256(text.encode())[:16]


def test_the_demos_model_has_the_fingerprint_in_its_manifest() -> None:
    manifest = json.loads((DEMO_MODEL / "crosslens.json").read_text(encoding="utf-8"))
    assert open_model(DEMO_MODEL).fingerprint == manifest["fingerprint"] == "46271532a6604d56"


def test_tokens_are_as_recorded() -> None:
    recorded = [line for line in lines("tokens") if "tokenizer" not in line]
    assert documents.encoder().tokens([line["text"] for line in recorded]) == [line["ids"] for line in recorded]
    recorded = [line for line in lines("tokens") if "tokenizer" in line]
    assert models.wordpieces([line["text"] for line in recorded]) == [line["ids"] for line in recorded]


@every("pixels")
def test_pixels_are_as_recorded(line: Line) -> None:
    found = pixels.seen(line["picture"], line["preprocessor"])
    # What is rounded to 5 digits may fall to either side.
    np.testing.assert_allclose(found.pop("samples"), line["samples"], rtol=0, atol=max(line["within"], 1e-5))
    assert {key: line[key] for key in found} == found


def documented() -> list[Any]:
    """The examples in ``docs/format.md``: a ``_meta.crosslens``, a document, corpus statistics, and a label set."""
    text = (Path(__file__).parents[1] / "docs" / "format.md").read_text(encoding="utf-8")
    return [json.loads(block.split("```")[0]) for block in text.split("```json\n")[1:]]


def test_the_mappings_record_is_as_documented() -> None:
    meta, *_ = documented()
    record = read_record({"_meta": {"crosslens": meta}})
    assert META_VERSION == meta["version"] == 2
    assert meta_update({}, record) == {"crosslens": meta}
    kept = {"crosslens": {**meta, "more": 1}, "other": 2}
    assert meta_update({"_meta": kept}, record) == kept
    older = {**meta, "search": {"normaliser": "rank"}}
    assert read_record({"_meta": {"crosslens": older}}).search == {"normalizer": "rank"}


def test_versions_are_read_as_documented() -> None:
    bare = VectorField("v", "text", ("t",), "m", "f", 4, "flat")
    keys = ("modality", "sources", "model", "fingerprint", "dims", "index_type")
    first = {"version": 1, "fields": {"v": {key: getattr(bare, key) for key in keys}}}
    assert read_record({"_meta": {"crosslens": first}}).fields == {"v": bare}
    for version in (0, 5, None, "2"):
        with pytest.raises(CrosslensError, match=f"version {version}"):
            read_record({"_meta": {"crosslens": {**first, "version": version}}})


def test_a_document_is_as_documented() -> None:
    _, document, *_ = documented()
    by_case = {line["case"]: line for line in lines("documents")}
    views = by_case["each picture in objects"]
    assert document["crosslens"]["title_vector"] == by_case["a text"]["state"]
    assert document["crosslens"]["views"] == views["state"]
    assert [{k: v for k, v in each.items() if k != "vector"} for each in document["views"]] == views["nested"]
    assert {"title": document["title"]} == by_case["a text"]["document"]
    assert {"p": document["p"]} == views["document"]


def test_label_sets_are_packed_as_documented() -> None:
    *_, recorded = documented()
    numbers = Noise(np.array([0.2]), np.array([0.05]), 10_000)
    vectors, least = np.array([[0.6, 0.8]], dtype=np.float32), np.array([2.326])
    made = LabelSet(
        "views", "keyword", (Label("cat", parent="animal"),), vectors, numbers, least, 0.01, "5ae80e11c0ffee00"
    )
    (stored,) = made.as_sources()
    assert recorded.keys() == {"index", "uuid", "path", *stored}
    assert {key: recorded[key] for key in stored} == stored


def test_corpus_statistics_are_packed_as_documented() -> None:
    _, _, recorded, _ = documented()
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    stored = CorpusStatistics.of(rows * [[1.0], [2.0], [5.0]]).as_source()
    assert recorded.keys() == {"index", "uuid", "path", "fingerprint", *stored}
    for each in (recorded, stored):
        mean, covariance = (np.frombuffer(base64.b64decode(each[key]), "<f4") for key in ("mean", "covariance"))
        assert (each["count"], each["null"]) == (3, [])
        np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(covariance.reshape(2, 2), np.cov(rows.T, bias=True), rtol=1e-5)


@every("labels")
def test_labels_are_given_by_the_documented_rule(line: Line) -> None:
    stored, document, kind = line["set"], line["document"], line["set"]["kind"]
    case = next(each for each in labels.cases() if each[0] == line["case"])
    assert labels.update(*case[1:]) == line["update"]
    state = line["update"]["crosslens"]["look"]["tags"]
    numbers = {
        name: np.frombuffer(base64.b64decode(stored[name]), "<f8") for name in ("centre", "spread", "thresholds")
    }
    count = len(numbers["centre"])
    vectors = (
        np.frombuffer(base64.b64decode(stored["vectors"]), "<f4")
        .reshape(len(stored["labels"]), -1)
        .astype(float)[:count]
    )
    held = document[line["path"]]
    rows = np.array([entry["vector"] for entry in held] if line["each"] else [held], dtype=float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores = ((rows @ vectors.T - numbers["centre"]) / numbers["spread"]).max(axis=0)
    parents = dict(zip(stored["labels"], stored["parents"], strict=True))
    expected: dict[str, float] = {}
    for name, score, least in zip(stored["labels"], scores, numbers["thresholds"], strict=False):
        above: str | None = name
        while above is not None and score >= least:
            expected[above] = max(float(score), expected.get(above, -math.inf))
            above = parents.get(above)
    if kind == "boolean":
        expected = {"true" if scores[0] >= numbers["thresholds"][0] else "false": float(scores[0])}
    elif kind == "caption":
        best = int(np.argmax(scores))
        reached = scores[best] >= numbers["thresholds"][best]
        expected = {stored["labels"][best]: float(scores[best])} if reached else {}
    assert state["found"] == list(expected)
    assert state["scores"] == [pytest.approx(score, abs=6e-4) for score in expected.values()]
    own = document["crosslens"][line["path"]]
    hashed = "\0".join(own.get(name) or "" for name in ("source", "content", "model")).encode()
    assert state["vector"] == sha256(hashed)[:32]
    assert state["labels"] == stored["fingerprint"]
