"""The ingest processor: what pipelines make of documents is what the Python side makes of them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crosslens.ingest.contract.documents import inputs, source_hash, state_of
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from tests.server.conftest import PICTURES, Plugged

pytestmark = pytest.mark.node


def processor(field: str, source: Any, modality: str, **options: Any) -> dict[str, Any]:
    named = {} if source is None else {"source": source}
    return {"crosslens": {"model": "small", "field": field, "modality": modality, **named, **options}}


def simulated(plugged: Plugged, processors: list[dict[str, Any]], *documents: dict[str, Any]) -> list[dict[str, Any]]:
    """What a pipeline makes of documents, without nulls, which stand for absent keys; or an error in place of one."""
    body = {"pipeline": {"processors": processors}, "docs": [{"_source": document} for document in documents]}
    answer = plugged.http.ok("POST", "_ingest/pipeline/_simulate", body)
    return [without_nulls(each["doc"]["_source"]) if "doc" in each else each for each in answer["docs"]]


def without_nulls(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    return {key: without_nulls(value) for key, value in node.items() if value is not None}


def reason(answer: dict[str, Any]) -> str:
    return str(answer["error"]["root_cause"][0]["reason"])


def data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def test_the_state_is_the_one_that_python_writes(plugged: Plugged, encoder: Encoder, pictures: Path) -> None:
    documents = [
        {"title": f"shoe {i}", "brand": ["A", "B."], "photo": f"{i}.png", "all": [f"{i}.png", f"{i + 1}.png"]}
        for i in range(5)
    ]
    targets = [
        Target("title_vector", "text", ("title",)),
        Target("both_vector", "text", ("title", "brand")),
        Target("told_vector", "text", ("title", "brand"), template="{title} by {brand}, {{new}}"),
        Target("photo_vector", "image", ("photo",)),
        Target("all_vector", "image", ("all",), each=True),
        Target("deep.vector", "text", ("brand",)),
    ]
    name = plugged.server.new_index({}, documents)
    add_vectors(plugged.server.client, name, encoder, targets, Options(images=ImageAccess(root=pictures)))
    made = simulated(
        plugged,
        [
            processor("title_vector", "title", "text"),
            processor("both_vector", ["title", "brand"], "text"),
            processor("told_vector", None, "text", template="{title} by {brand}, {{new}}"),
            processor("photo_vector", "photo", "image"),
            processor("all_vector", "all", "image", each=True),
            processor("deep.vector", ["brand"], "text"),
        ],
        *documents,
    )
    for i, document in enumerate(made):
        expected = plugged.server.source(name, str(i))
        assert document["crosslens"] == expected["crosslens"]
        for field in ("title_vector", "both_vector", "told_vector", "photo_vector"):
            assert np.dot(document[field], vector(expected[field])) >= 0.99999
        assert np.dot(document["deep"]["vector"], vector(expected["deep"]["vector"])) >= 0.99999
        assert len(document["all_vector"]) == len(expected["all_vector"]) == 2
        for ours, theirs in zip(document["all_vector"], expected["all_vector"], strict=True):
            assert (ours["reference"], ours["position"]) == (theirs["reference"], theirs["position"])
            assert np.dot(ours["vector"], vector(theirs["vector"])) >= 0.99999


def vector(stored: Any) -> Any:
    """A vector as a document returns it: numbers, or base64 of big-endian floats."""
    return np.frombuffer(base64.b64decode(stored), ">f4") if isinstance(stored, str) else np.array(stored)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from([" ", " \u00a0\u2028", "a.", "\x1f b \x85", "ends..", '"\\/\b\f\n\r\t\x01'])
    # Beside what hypothesis finds itself, numbers where Python's and Java's ways of writing them differ.
    | st.sampled_from([1e16, 1e-5, 123456789012345680.0, 2e-3, 1e22, 5e-324, 0.1 + 0.2, -0.0, 1.0, 100.0, 1e23]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "a.b"]), inner, max_size=2),
    max_leaves=6,
)
_DOCUMENTS = st.dictionaries(st.sampled_from(["a", "b", "a.b", "b.a"]), _VALUES, max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=st.lists(_DOCUMENTS, min_size=5, max_size=20))
def test_any_document_has_the_same_hash_as_in_python(plugged: Plugged, encoder: Encoder, documents: list[Any]) -> None:
    fields = [
        VectorField("one", "text", ("a.b",), "small", encoder.fingerprint, 24, "flat"),
        VectorField("two", "text", ("a", "b"), "small", encoder.fingerprint, 24, "flat"),
        VectorField("three", "text", ("a", "b.a"), "small", encoder.fingerprint, 24, "flat", template="{a}  by {b.a}."),
        VectorField("four", "text", ("a",), "small", encoder.fingerprint, 24, "flat", each=True),
    ]
    processors = [
        processor(
            each.field,
            None if each.template else list(each.sources),
            "text",
            ignore_missing=True,
            each=each.each,
            **({"template": each.template} if each.template else {}),
        )
        for each in fields
    ]
    for document, made in zip(documents, simulated(plugged, processors, *documents), strict=True):
        for each in fields:
            state = state_of(made, each.field)
            if state is None:
                # Nothing was sent of the source, which may be because a part of a document was.
                assert not inputs(document, each), json.dumps(document)
                continue
            assert state["source"] == source_hash(inputs(document, each), each), json.dumps(document)
            assert state["model"] == encoder.fingerprint
            assert ("skipped" in state) == (not inputs(document, each))


@pytest.mark.parametrize("how", ["data URI", "base64", "path", "file URL"])
def test_images_come_as_data_uris_base64_or_paths_of_the_one_folder(
    plugged: Plugged, encoder: Encoder, pictures: Path, how: str
) -> None:
    path = pictures / "7.png"
    reference = {
        "data URI": data_uri(path),
        "base64": base64.b64encode(path.read_bytes()).decode(),
        "path": "7.png",
        "file URL": path.resolve().as_uri(),
    }[how]
    (made,) = simulated(plugged, [processor("v", "photo", "image")], {"photo": reference})
    assert np.dot(made["v"], encoder.encode_images([path])[0]) >= 0.99999


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("missing.png", "no such file in the image folder"),
        ("../secret.png", "lies outside the image folder"),
        ("/etc/hostname", "lies outside the image folder"),
        ("file:///etc/hostname", "lies outside the image folder"),
        ("a/../../secret.png", "lies outside the image folder"),
        ("link.png", "lies outside the image folder"),
        ("text.png", "not an image in a supported format"),
        ("https://example.org/a.png", "opens no connections"),
        ("s3://bucket/a.png", "opens no connections"),
        ("data:image/png,", "the image is empty"),
        ("data:image/png;base64,@@@", "not valid base64"),
        ("data:nothing", "a data URI without a comma"),
        ("a\0b", ": "),
    ],
)
def test_what_is_no_allowed_image_is_refused(plugged: Plugged, pictures: Path, reference: str, told: str) -> None:
    (pictures / "text.png").write_text("no picture, but longer than a signature")
    secret = pictures.parent / "secret.png"
    secret.write_bytes((pictures / "1.png").read_bytes())
    link = pictures / "link.png"
    if not link.is_symlink():
        link.symlink_to(secret)
    (answer,) = simulated(plugged, [processor("v", "photo", "image")], {"photo": reference})
    assert told in reason(answer), answer


def test_without_a_value_a_document_fails_or_passes_as_asked(plugged: Plugged) -> None:
    (failed,) = simulated(plugged, [processor("v", "title", "text")], {"other": 1})
    assert "no text in title" in reason(failed)
    (passed,) = simulated(plugged, [processor("v", "title", "text", ignore_missing=True)], {"title": " "})
    assert passed["crosslens"]["v"]["skipped"] == "no text in title"
    assert "v" not in passed
    # Perhaps a part of a document, whose state is another source's.
    (part,) = simulated(plugged, [processor("v", "title", "text", ignore_missing=True)], {"other": 1})
    assert part == {"other": 1}


def test_on_failure_and_ignore_failure_work_as_for_any_processor(plugged: Plugged) -> None:
    # The embedded node has no other processors than ours.
    handled = processor("v", "photo", "image", on_failure=[processor("instead", "title", "text")])
    ignored = processor("v", "photo", "image", ignore_failure=True)
    broken = {"photo": "missing.png", "title": "a shoe"}
    (document,) = simulated(plugged, [handled], broken)
    assert len(document["instead"]) == 24
    assert "v" not in document
    (document,) = simulated(plugged, [ignored], broken)
    assert document == broken


def test_errors_may_be_recorded_as_the_python_side_records_them(plugged: Plugged, pictures: Path) -> None:
    documents = ({"photo": "missing.png"}, {"photo": data_uri(pictures / "3.png")})
    bad, good = simulated(plugged, [processor("v", "photo", "image", record_errors=True)], *documents)
    assert "no such file" in bad["crosslens"]["v"]["error"]
    assert "v" not in bad
    assert "error" not in good["crosslens"]["v"]
    assert len(good["v"]) == 24
    (mixed,) = simulated(
        plugged,
        [processor("v", "all", "image", each=True, record_errors=True)],
        {"all": ["1.png", "missing.png", data_uri(pictures / "3.png")]},
    )
    assert [(each["position"], each.get("reference")) for each in mixed["v"]] == [(0, "1.png"), (2, None)]
    assert mixed["crosslens"]["v"]["error"].startswith("[1] missing.png: no such file")


def test_what_has_not_changed_is_not_encoded_again(plugged: Plugged, pictures: Path) -> None:
    steps = [processor("v", "title", "text"), processor("p", "photo", "image")]
    (once,) = simulated(plugged, steps, {"title": "a red shoe", "photo": "5.png"})
    before = plugged.stats()["ingest"]
    (again,) = simulated(plugged, steps, once)
    assert again == once
    after = plugged.stats()["ingest"]
    assert (after["texts"], after["images"]) == (before["texts"], before["images"])
    (edited,) = simulated(plugged, steps, {**once, "title": "a blue shoe"})
    assert edited["v"] != once["v"]
    assert plugged.stats()["ingest"]["texts"] == before["texts"] + 1
    # Another picture under the same name is another picture.
    picture = pictures / "changing.png"
    picture.write_bytes((pictures / "8.png").read_bytes())
    (first,) = simulated(plugged, steps, {"title": "a", "photo": "changing.png"})
    picture.write_bytes((pictures / "9.png").read_bytes())
    (second,) = simulated(plugged, steps, first)
    assert second["p"] != first["p"]


def test_a_vector_stays_when_its_picture_is_gone_and_errors_are_recorded(plugged: Plugged, pictures: Path) -> None:
    picture = pictures / "going.png"
    picture.write_bytes((pictures / "8.png").read_bytes())
    step = processor("p", "photo", "image", record_errors=True)
    (once,) = simulated(plugged, [step], {"photo": "going.png"})
    picture.unlink()
    (again,) = simulated(plugged, [step], once)
    assert again == once


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"modality": "sound"}, "must be text or image"),
        ({"source": ["a", "b"], "modality": "image"}, "must be one field"),
        ({"source": []}, "names no field to encode"),
        ({"template": "{a} {b"}, "goes with texts only"),
        ({"source": None, "template": "{a} {b"}, "can't be read"),
        ({"source": None, "template": "no field"}, "names no field"),
        ({"field": None}, "required property is missing"),
        ({"sorce": "a"}, "doesn't support one or more provided configuration parameters [sorce]"),
    ],
)
def test_a_wrong_pipeline_is_refused_when_it_is_put(plugged: Plugged, options: dict[str, Any], told: str) -> None:
    body = {"model": "small", "field": "v", "source": "a", "modality": "text", **options}
    step = {"crosslens": {key: value for key, value in body.items() if value is not None}}
    status, answer = plugged.http("PUT", "_ingest/pipeline/wrong", {"processors": [step]})
    assert status == 400
    assert told in str(answer)


def test_a_document_that_has_no_place_for_the_vector_is_kept_as_it_is(plugged: Plugged) -> None:
    (answer,) = simulated(plugged, [processor("a.v", "title", "text")], {"title": "x", "a": "in the way"})
    assert "[a] isn't an object in this document" in reason(answer)
    (answer,) = simulated(plugged, [processor("v", "title", "text")], {"title": "x", "crosslens": 3})
    assert "[crosslens] isn't an object" in reason(answer)


def test_pipelines_and_the_python_side_serve_one_index(plugged: Plugged, encoder: Encoder, pictures: Path) -> None:
    client = plugged.server.client
    name = plugged.server.new_index({"properties": {"title": {"type": "text"}, "photo": {"type": "keyword"}}}, [])
    targets = [Target("title_vector", "text", ("title",), "hnsw"), Target("photo_vector", "image", ("photo",), "hnsw")]
    options = Options(images=ImageAccess(root=pictures))
    add_vectors(client, name, encoder, targets, options)
    steps = [processor("title_vector", "title", "text"), processor("photo_vector", "photo", "image")]
    plugged.http.ok("PUT", f"_ingest/pipeline/{name}", {"processors": steps})
    lines: list[Any] = []
    for i in range(200):
        lines += [{"index": {"_id": str(i)}}, {"title": f"shoe number {i}", "photo": f"{i % 60}.png"}]
    answer = plugged.http.ok("POST", f"{name}/_bulk?pipeline={name}&refresh=true", lines)
    assert not answer["errors"], str(answer)[:2000]
    # Nothing is left to do for the Python side, and the vectors are those that it would have made.
    report = add_vectors(client, name, encoder, targets, options)
    assert report.documents == 0
    for id in ("0", "77", "199"):
        source: Any = plugged.server.source(name, id)
        expected = encoder.encode_texts([source["title"]])[0]
        assert np.dot(vector(source["title_vector"]), expected) >= 0.99999
        expected = encoder.encode_images([pictures / source["photo"]])[0]
        assert np.dot(vector(source["photo_vector"]), expected) >= 0.99999


def test_a_bad_picture_fails_its_own_document_of_a_bulk_with_400(plugged: Plugged) -> None:
    plugged.http.ok("PUT", "_ingest/pipeline/strict", {"processors": [processor("v", "photo", "image")]})
    name = plugged.server.new_index({"properties": {"v": {"type": "dense_vector", "dims": 24}}}, [])
    lines: list[Any] = []
    for photo in ("1.png", "data:;base64,AAAA", "2.png", "missing.png"):
        lines += [{"index": {}}, {"photo": photo}]
    answer = plugged.http.ok("POST", f"{name}/_bulk?pipeline=strict", lines)
    assert [item["index"]["status"] for item in answer["items"]] == [201, 400, 201, 400]


def test_documents_of_one_bulk_are_encoded_together(plugged: Plugged) -> None:
    plugged.http.ok("PUT", "_ingest/pipeline/demo-texts", {"processors": [processor("v", "title", "text")]})
    before = plugged.stats()["runs"]["count"]
    lines: list[Any] = []
    for i in range(500):
        lines += [{"index": {}}, {"title": f"number {i}"}]
    name = plugged.server.new_index({"properties": {"v": {"type": "dense_vector", "dims": 24}}}, [])
    answer = plugged.http.ok("POST", f"{name}/_bulk?pipeline=demo-texts", lines)
    assert not answer["errors"]
    assert plugged.stats()["runs"]["count"] - before < 250


def test_webp_pictures_of_the_demo_are_read(plugged: Plugged, demo_encoder: Encoder) -> None:
    picture = sorted(PICTURES.glob("*.webp"))[10]
    step = processor("v", "photo", "image", model="model")
    uri = "data:image/webp;base64," + base64.b64encode(picture.read_bytes()).decode()
    (made,) = simulated(plugged, [step], {"photo": uri})
    assert np.dot(made["v"], demo_encoder.encode_images([picture])[0]) >= 0.99999
