"""Label files, the rule by which labels are given, thresholds by examples, and what documents say of their labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslens.errors import LabelError
from crosslens.ingest.contract.examples import (
    Counts,
    best_threshold,
    counted,
    cross_validated,
    read_examples,
)
from crosslens.ingest.contract.label_set import Kind, LabelSet, Noise, noise_of, stored_numbers, threshold
from crosslens.ingest.contract.labelled import labelled, unlabelled, why_not
from crosslens.ingest.contract.labels import (
    Label,
    ancestors,
    check_templates,
    checked_labels,
    prompted,
    read_captions,
    read_labels,
)
from crosslens.ingest.contract.pipeline_labels import gives_labels, label_steps
from crosslens.ingest.contract.record import LabelEntry, Record, VectorField, meta_update, read_record, with_labels

Written = dict[str, Any]


def file(folder: Path, *lines: str | bytes) -> Path:
    path = folder / "labels.txt"
    path.write_bytes(b"\n".join(each if isinstance(each, bytes) else each.encode() for each in lines))
    return path


def test_labels_are_lines_or_json_and_both_in_one_file(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        b"\xef\xbb\xbfcat",
        "",
        '  {"label": "dog", "texts": ["a dog", "a puppy"], "parent": "animal"}\r',
        '{"name": "große Katze", "phrasings": "a lion"}',
    )
    assert read_labels(path) == [
        Label("cat"),
        Label("dog", ("a dog", "a puppy"), "animal"),
        Label("große Katze", ("a lion",)),
    ]
    assert checked_labels([" cat ", Label("dog")]) == [Label("cat"), Label("dog")]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["", "  "], "labels.txt holds no label; write one a line"),
        (["cat", "dog", "", "cat"], "labels.txt:4 gives the label 'cat' again, which line 1 gave"),
        (["cat", '{"label": "cat"}'], "labels.txt:2 gives the label 'cat' again, which line 1 gave"),
        (["cat", '{"label": '], "labels.txt:2 begins like a JSON object, but can't be read as one"),
        (["{" * 100_000], "labels.txt:1 begins like a JSON object, but can't be read as one"),
        (['{"texts": ["a cat"]}'], "labels.txt:1: label and parent must be texts, and a label is needed"),
        (['{"label": "cat", "colour": "red"}'], "labels.txt:1 has 'colour'; a label has label, name, texts"),
        (['{"label": "cat", "texts": [1]}'], "labels.txt:1: texts must be a list of texts that aren't empty"),
        (['{"label": "cat", "texts": [" "]}'], "labels.txt:1: texts must be a list of texts that aren't empty"),
        (['{"label": " "}'], "labels.txt:1 is an empty label"),
        (['{"label": "\\ud800"}'], r"labels.txt:1 holds half a character"),
        (["cat", b"k\xe4tzchen"], "labels.txt:2 is not UTF-8 text"),
        (["x" * 1_001], "labels.txt:1 is 1001 characters long; a label or caption may have 1000"),
        ([f"label {i}" for i in range(10_001)], "labels.txt:10001: more than 10000 labels"),
        (['{"label": "a", "parent": "b"}', '{"label": "b", "parent": "a"}'], "'a' is above itself: a > b > a"),
        (
            [json.dumps({"label": f"{i}", "parent": f"{i + 1}"}) for i in range(10_000)],
            "the label '0' lies more than 32 labels deep",
        ),
        ([json.dumps({"label": "cat", "texts": [f"cat {i}" for i in range(101)]})], "101 texts; a label may have 100"),
    ],
)
def test_a_file_that_is_not_of_labels_is_refused_with_its_line(
    tmp_path: Path, lines: list[str | bytes], said: str
) -> None:
    with pytest.raises(LabelError) as raised:
        read_labels(file(tmp_path, *lines))
    assert said in str(raised.value)


def test_ten_thousand_labels_are_read(tmp_path: Path) -> None:
    assert len(read_labels(file(tmp_path, *(f"label {i}" for i in range(10_000))))) == 10_000


def test_captions_are_read_each_once(tmp_path: Path) -> None:
    assert read_captions(file(tmp_path, "a cat", '{"caption": "a dog"}', '{"text": "a cat", "id": 3}')) == [
        "a cat",
        "a dog",
    ]
    with pytest.raises(LabelError, match=r"labels\.txt:2 has no caption"):
        read_captions(file(tmp_path, "a cat", '{"title": "a dog"}'))


def test_examples_contradict_no_other(tmp_path: Path) -> None:
    lines = ['{"document": 17, "label": "cat", "yes": true}', '{"document": "3", "label": "cat", "yes": "no"}']
    assert [(each.document, each.yes) for each in read_examples(file(tmp_path, *lines))] == [("17", True), ("3", False)]
    for last, said in (
        ('{"document": "17", "label": "cat", "yes": false}', "labels.txt:3 contradicts an earlier line"),
        ('{"document": "17", "label": "cat"}', "labels.txt:3 is not an example (KeyError: 'yes')"),
        ('{"document": "17", "label": "cat", "yes": "perhaps"}', "labels.txt:3 is not an example"),
        ("[]", "labels.txt:3 is not an example"),
    ):
        with pytest.raises(LabelError) as raised:
            read_examples(file(tmp_path, *lines, last))
        assert said in str(raised.value)


def test_every_phrasing_goes_into_every_template() -> None:
    label = Label("cat", ("a cat", "a {kitten}"))
    assert prompted(label, ("{}", "a photo of {}.")) == [
        *("a cat", "a photo of a cat."),
        *("a {kitten}", "a photo of a {kitten}."),
    ]
    with pytest.raises(LabelError, match=r"the template 'a photo' has no \{\}, where the label goes"):
        check_templates(["{}", "a photo"])
    assert ancestors([Label("cat", parent="pet"), Label("pet", parent="animal")]) == {
        "cat": ["pet", "animal"],
        "pet": ["animal"],
    }


def label_set(labels: list[Label], vectors: Any, *, kind: Kind = "keyword", at: float = 2.0) -> LabelSet:
    n = len(labels)
    noise = Noise(np.full(n, 0.1), np.full(n, 0.2), 50)
    rows = np.asarray(vectors, dtype=np.float32)
    return LabelSet("photo_vector", kind, tuple(labels), rows, noise, np.full(n, at), 0.01, "d")


def test_a_label_is_given_from_its_threshold_on_and_its_parents_with_it() -> None:
    labels = label_set([Label("cat", parent="animal"), Label("lion", parent="cat"), Label("car")], np.eye(3))
    documents = [
        np.array([[0.6, 0.8, 0.0]], dtype=np.float32),  # (0.6 - 0.1) / 0.2 = 2.5, (0.8 - 0.1) / 0.2 = 3.5
        np.array([[0.3, 0.3, 0.905]], dtype=np.float32),
        np.array([[0.0, 0.0, -1.0], [0.0, 5.0, 0.0]], dtype=np.float32),  # the second is made unit: 4.5
        np.array([[-1.0, 0.0, 0.0]], dtype=np.float32),
    ]
    given = [dict(found) for found in labels.found(documents)]
    assert given[0] == pytest.approx({"cat": 3.5, "animal": 3.5, "lion": 3.5})
    assert given[1] == pytest.approx({"car": 4.03}, abs=0.02)
    assert given[2] == pytest.approx({"lion": 4.5, "cat": 4.5, "animal": 4.5})
    assert given[3] == {}


def test_a_boolean_has_a_score_either_way_and_captions_come_best_first() -> None:
    one = label_set([Label("unsafe")], [[1.0, 0.0]], kind="boolean")
    vectors = [np.array([[1.0, 0.0]], dtype=np.float32), np.array([[0.0, 1.0]], dtype=np.float32)]
    assert list(one.found(vectors)) == [[("true", pytest.approx(4.5))], [("false", pytest.approx(-0.5))]]
    captions = label_set([Label(c) for c in "abc"], [[1, 0], [0.6, 0.8], [0, 1]], kind="caption", at=0.0)
    assert [[name for name, _ in each] for each in captions.found(vectors, most=2)] == [["a", "b"], ["c", "b"]]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30), st.integers(1, 40), st.integers(1, 60))
def test_blocks_change_no_score(sizes: list[int], count: int, cells: int) -> None:
    rng = np.random.default_rng(len(sizes) * count)
    labels = label_set([Label(str(i)) for i in range(count)], rng.normal(size=(count, 5)))
    documents = [rng.normal(size=(size, 5)).astype(np.float32) for size in sizes]
    whole = labels.best(documents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crosslens.ingest.contract.label_set._CELLS", cells)
        assert np.allclose(labels.best(documents), whole, atol=1e-12)
        expected = [[name for name, _ in each] for each in label_set([*labels.labels], labels.vectors).found(documents)]
    assert [[name for name, _ in each] for each in labels.found(documents)] == expected
    for i, document in enumerate(documents):
        assert np.allclose(whole[i], labels.scores(document).max(axis=0), atol=1e-12)


def test_the_noise_is_that_of_the_middle_whatever_stands_out() -> None:
    rng = np.random.default_rng(4)
    angles = np.concatenate([rng.normal(0.0, 0.1, 9_500), np.full(500, 1.2)])
    sample = np.stack([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
    noise = noise_of(np.array([[1.0, 0.0]], dtype=np.float32), sample)
    # Five of a hundred deserve the label; mean and deviation would be 0.046 and 0.22.
    assert noise.centre[0] == pytest.approx(0.0, abs=0.012)
    assert noise.spread[0] == pytest.approx(0.1, abs=0.012)
    same = noise_of(np.array([[1.0, 0.0]], dtype=np.float32), np.tile(sample[:1], (40, 1)))
    assert same.spread[0] > 0


def test_the_threshold_is_the_normal_quantile() -> None:
    assert threshold(0.01) == pytest.approx(2.3263, abs=1e-4)
    assert threshold(0.05) == pytest.approx(1.6449, abs=1e-4)
    # The best of 1,000: F(z)^1000 = 0.99.
    assert threshold(0.01, 1_000) == pytest.approx(4.2637, abs=1e-3)
    assert threshold(0.01, 100_000) < threshold(1e-8, 100_000) < 9


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=40).filter(lambda e: any(y for _, y in e))
)
def test_no_other_threshold_has_a_greater_f1(pairs: list[tuple[float, bool]]) -> None:
    scores, yes = [score for score, _ in pairs], [answer for _, answer in pairs]
    best = counted(scores, yes, best_threshold(scores, yes)).f1
    assert best >= max(counted(scores, yes, score).f1 for score in scores) - 1e-12


def test_thresholds_lie_between_what_they_part() -> None:
    assert best_threshold([1.0, 2.0, 4.0, 6.0], [False, False, True, True]) == 3.0
    assert best_threshold([1.0, 1.0, 1.0], [True, False, True]) == 1.0
    assert Counts(3, 4, 5).f1 == pytest.approx(2 * 0.75 * 0.6 / (0.75 + 0.6))
    scores = [*(float(i) for i in range(10)), *(float(i) for i in range(20, 25))]
    assert cross_validated(scores, [False] * 10 + [True] * 5) == Counts(5, 5, 5)
    # Labels without any relation to scores come out no better than their share.
    rng = np.random.default_rng(1)
    counts = cross_validated(list(rng.normal(size=400)), [bool(each) for each in rng.random(400) < 0.5])
    assert 0.4 < counts.right / counts.given < 0.6


def test_what_is_stored_comes_back_and_only_whole() -> None:
    labels = [Label(str(i), parent="any") for i in range(2_500)]
    made = label_set(labels, np.random.default_rng(0).normal(size=(2_500, 4)))
    sources = json.loads(json.dumps(made.as_sources()))
    assert [(len(each["labels"]), each["part"], each["parts"]) for each in sources] == [
        *((1_000, 0, 3), (1_000, 1, 3), (500, 2, 3)),
    ]
    found = stored_numbers(sources[::-1], "d")
    assert found is not None
    assert (found[0].measured, len(found[1])) == (50, 2_500)
    assert np.array_equal(found[0].spread, made.noise.spread)
    assert stored_numbers(sources[:2], "d") is None
    assert stored_numbers(sources, "other") is None
    assert stored_numbers([*sources[:2], {**sources[2], "fingerprint": "other"}], "d") is None
    captions = label_set([Label("a")], [[1.0, 0.0]], kind="caption")
    assert not {"vectors", "labels"} & captions.as_sources()[0].keys()


def give(document: Written, found: list[tuple[str, float]], kind: Kind = "keyword") -> Written:
    """The document after an update that gives it what was found."""
    return merged(document, labelled(document, "tags", kind, found, labels="f00d", vector="v"))


def merged(document: Written, update: Written) -> Written:
    """What Elasticsearch's update makes of both."""
    whole = dict(document)
    for name, value in update.items():
        inner = isinstance(value, dict) and isinstance(whole.get(name), dict)
        whole[name] = merged(whole[name], value) if inner else value
    return whole


def test_own_values_stay_and_those_taken_away_stay_away() -> None:
    document = give({"tags": ["mine", "cat", 7]}, [("cat", 2.5), ("dog", 3.0)])
    assert document["tags"] == ["mine", "cat", 7, "dog"]
    assert document["crosslens"]["tags"]["given"] == ["dog"]
    document = give({**document, "tags": ["cat"]}, [("dog", 3.0), ("cow", 2.2)])
    assert document["tags"] == ["cat", "cow"]
    assert document["crosslens"]["tags"]["refused"] == ["dog"]
    document = give({**document, "tags": ["cat", "cow", "dog"]}, [])
    assert document["tags"] == ["cat", "dog"]
    assert document["crosslens"]["tags"]["refused"] == []
    assert unlabelled(document, "tags", "keyword") == {"tags": ["cat", "dog"]}


TAGS = st.lists(st.sampled_from(["cat", "dog", "cow", "hen"]), unique=True, max_size=4)


@given(TAGS, st.lists(TAGS, max_size=5))
def test_whatever_is_given_the_owners_values_come_back(own: list[str], rounds: list[list[str]]) -> None:
    document: Written = {"title": "x", **({"tags": own} if own else {})}
    before = dict(document)
    for found in rounds:
        document = give(document, [(name, 2.0) for name in found])
        assert set(document.get("tags") or []) == {*own, *found}
        again = labelled(document, "tags", "keyword", [(name, 2.0) for name in found], labels="f00d", vector="v")
        assert "tags" not in again
    assert unlabelled(document, "tags", "keyword") == before


@pytest.mark.parametrize(
    ("kind", "present", "found", "expected"),
    [
        ("boolean", None, "true", True),
        ("boolean", None, "false", False),
        ("boolean", True, "false", True),
        ("boolean", "false", "true", "false"),
        ("caption", None, "a cat", "a cat"),
        ("caption", "  ", "a cat", "a cat"),
        ("caption", "by hand", "a cat", "by hand"),
    ],
)
def test_a_single_value_is_written_where_there_is_none(kind: Kind, present: Any, found: str, expected: Any) -> None:
    document = give({} if present is None else {"tags": present}, [(found, 1.0)], kind)
    assert document["tags"] == expected
    own = expected == present
    assert unlabelled(document, "tags", kind) == ({"tags": present} if own else {})
    # Corrected by hand it stays; taken away, the same isn't given again.
    corrected = "another text" if kind == "caption" else str(not expected).lower()
    assert give({**document, "tags": corrected}, [(found, 1.0)], kind)["tags"] == corrected
    if not own:
        gone = give({**document, "tags": None}, [(found, 1.0)], kind)
        assert gone["tags"] is None
        assert gone["crosslens"]["tags"]["refused"] == [found if kind == "caption" else str(expected).lower()]


def test_documents_without_room_are_named() -> None:
    assert why_not({}, "look.tags") is None
    assert why_not({"look": "red"}, "look.tags") == (
        "'look' isn't an object in this document, so 'look.tags' can't be stored in it"
    )
    assert why_not({"crosslens": 3}, "tags") == (
        "'crosslens' isn't an object in this document, so 'crosslens.tags' can't be stored in it"
    )
    assert "with dots in its keys" in (why_not({"look.tags": "red"}, "look.tags") or "")


def test_a_pipeline_gives_the_labels_that_the_plugin_can_give(caplog: pytest.LogCaptureFixture) -> None:
    photo = VectorField("photo_vector", "image", ("photo",), "clip", "f00d", 3, "int8_hnsw", path="photo_vector_2")
    title = VectorField("title_vector", "text", ("title",), "clip", "f00d", 3, "int8_hnsw")
    tags = LabelEntry("photo_vector", "keyword", "5e7", 30, 0.01, "f00d")
    labels = {
        "tags": tags,
        "unsafe": LabelEntry("photo_vector", "boolean", "b001", 1, 0.01, "f00d"),
        "alt": LabelEntry("photo_vector", "caption", "ca9", 1, 0.01, "f00d"),
        "of the model before": LabelEntry("photo_vector", "keyword", "01d", 1, 0.01, "0dd"),
        "going": replace(tags, model=""),
        "of a field that is left to runs": LabelEntry("title_vector", "keyword", "123", 1, 0.01, "f00d"),
    }
    fields = {"photo_vector": photo, "title_vector": title}

    def mapping(**changed: LabelEntry) -> Written:
        return {"_meta": meta_update({}, Record(fields=fields, labels={**labels, **changed}))}

    two = {"b": mapping(), "a": mapping()}
    step = {"index": "a", "into": "tags", "labels": "5e7", "field": "photo_vector_2", "model": "f00d"}
    steps = [{"crosslens_labels": step}, {"crosslens_labels": {**step, "into": "unsafe", "labels": "b001"}}]
    assert label_steps(two, [photo]) == steps
    assert label_steps({"b": {}, "a": mapping()}, [photo]) == steps
    assert label_steps({"b": mapping(tags=replace(tags, fingerprint="07e")), "a": mapping()}, [photo]) == steps[1:]
    assert "a, b record different labels in tags" in caplog.text


def test_a_plugin_that_gives_no_labels_is_known_by_its_processors() -> None:
    def node(*types: str) -> Written:
        return {"ingest": {"processors": [{"type": each} for each in types]}}

    assert gives_labels([node("crosslens", "crosslens_labels"), node(), {}])
    assert not gives_labels([node("crosslens", "crosslens_labels"), node("set", "crosslens")])
    assert gives_labels([node("set")])


def test_the_record_keeps_labels_beside_what_others_wrote() -> None:
    entry = LabelEntry("photo_vector", "keyword", "f00d", 30, 0.01, "c11f")
    meta = meta_update(
        {"_meta": {"crosslens": {"version": 2, "copy": {"of": "x"}}}}, with_labels(Record(), "tags", entry)
    )
    assert meta["crosslens"]["copy"] == {"of": "x"}
    assert read_record({"_meta": meta}).labels == {"tags": entry}
    later = {**meta["crosslens"]["labels"]["tags"], "of a later release": 1}
    meta["crosslens"]["labels"]["tags"] = later
    assert read_record({"_meta": meta}).labels == {"tags": entry}
    del later["model"]
    assert read_record({"_meta": meta}).labels == {"tags": replace(entry, model="")}
    assert (
        "labels"
        not in meta_update({"_meta": meta}, with_labels(read_record({"_meta": meta}), "tags", None))["crosslens"]
    )
