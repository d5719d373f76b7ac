"""Label sets as they are stored, documents, and what labelling makes of each."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosslens.ingest.contract.label_set import Kind, LabelSet, Noise
from crosslens.ingest.contract.labelled import labelled, vector_identity
from crosslens.ingest.contract.labels import Label
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.statistics import vectors_of
from tests.golden import Line

FIELD = VectorField("view", "image", ("photo",), "clip", "f00d", 3, "int8_hnsw")
EACH = VectorField("views", "image", ("photos.url",), "clip", "f00d", 3, "int8_hnsw", each=True)
INTO = "look.tags"
_SEEN = {"view": {"source": "50", "content": "c0", "model": "f00d"}, "views": {"source": "51", "model": "f00d"}}


def label_set(kind: Kind = "keyword") -> LabelSet:
    """A set of labels with parents, of which one stands in another's line; of other kinds the first alone."""
    labels = (Label("lion", parent="cat"), Label("cat", parent="animal"), Label("red"), Label("Größe 7"))
    vectors = np.array([[0.6, 0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0], [0.0, -0.6, 0.8]], dtype=np.float32)
    noise = Noise(np.array([0.1, 0.2, -0.05, 0.0]), np.array([0.2, 0.1, 0.25, 0.3]), 10_000)
    count = 1 if kind == "boolean" else 4
    return LabelSet(
        "view",
        kind,
        labels[:count],
        vectors[:count],
        Noise(noise.centre[:count], noise.spread[:count], noise.measured),
        np.array([2.0, 3.5, 2.5, 1.75])[:count],
        0.01,
        "5ae80e11c0ffee00",
    )


def cases() -> list[tuple[str, Kind, VectorField, dict[str, Any]]]:
    """What each case is, the set's kind, the field, and the document."""
    lion, red, nothing = [0.6, 0.8, 0.0], [0.0, 0.0, 2.5], [-1.0, 0.0, 0.0]
    given = {"labels": "0dd", "vector": "0dd", "found": ["lion"], "scores": [3.0], "given": ["lion"], "refused": []}

    def document(vector: list[float], tags: Any = None, state: Any = None, **more: Any) -> dict[str, Any]:
        states = {**_SEEN, **({"look": {"tags": {**given, **state}}} if state is not None else {})}
        look = {"look": {"tags": tags}} if tags is not None else {}
        return {"view": vector, **look, "crosslens": states, **more}

    return [
        ("a child and those above it", "keyword", FIELD, document(lion)),
        ("none", "keyword", FIELD, document(nothing)),
        ("none where there was one", "keyword", FIELD, document(nothing, ["lion"], {})),
        ("a vector that isn't unit", "keyword", FIELD, document(red)),
        ("the owner's come first", "keyword", FIELD, document(lion, ["mine", "cat", 7, True])),
        ("a single value", "keyword", FIELD, document(lion, "mine")),
        ("given before", "keyword", FIELD, document(red, ["mine", "lion"], {})),
        ("taken away", "keyword", FIELD, document(lion, ["mine"], {})),
        ("taken away before", "keyword", FIELD, document(lion, ["mine"], {"given": [], "refused": ["cat"]})),
        ("put back by hand", "keyword", FIELD, document(red, ["cat"], {"given": [], "refused": ["cat", "red"]})),
        (
            "values that aren't texts",
            "keyword",
            FIELD,
            document(
                lion,
                [7, 1.5, 1e16, True, {"é": [None, "ü\x7f😀"]}, ["a"], "kept"],
                {
                    "given": [
                        "7",
                        "1e+16",
                        "true",
                        '{"\\u00e9": [null, "\\u00fc\\u007f\\ud83d\\ude00"]}',
                        '["a"]',
                        "gone",
                    ]
                },
            ),
        ),
        (
            "the best of several",
            "keyword",
            EACH,
            {"views": [{"vector": nothing, "position": 0}, {"vector": red, "position": 2}], "crosslens": _SEEN},
        ),
        ("true", "boolean", FIELD, document(lion)),
        ("false", "boolean", FIELD, document(red)),
        ("corrected", "boolean", FIELD, document(lion, False, {"found": ["true"], "given": ["true"]})),
        ("a caption", "caption", FIELD, document(red, " ")),
        ("a caption by hand", "caption", FIELD, document(red, "red as a rose")),
        ("no caption", "caption", FIELD, document(nothing)),
    ]


def update(kind: Kind, each: VectorField, document: dict[str, Any]) -> dict[str, Any]:
    """What labelling makes of a document."""
    labels = label_set(kind)
    (found,) = labels.found([np.asarray(vectors_of(document, each), dtype=np.float32)])
    return labelled(document, INTO, kind, found, labels=labels.fingerprint, vector=vector_identity(document, each))


def recorded() -> list[Line]:
    """Every case's set as it is stored (of captions with the names and vectors that aren't), document, and update."""
    found = []
    for case, kind, each, document in cases():
        stored = {**label_set("keyword").as_sources()[0], **label_set(kind).as_sources()[0]}
        made = update(kind, each, document)
        found.append(
            {"case": case, "path": each.path, "each": each.each, "set": stored, "document": document, "update": made}
        )
    return found
