"""Labels by the ingest processor: those that a run gives, beside the owner's values, and for good."""

from __future__ import annotations

from typing import Any

import pytest

from crosslens import Index, TextField, add_vectors, put_pipeline
from crosslens.ingest.contract.labels import Label
from crosslens.ingest.model.encoder import Encoder
from tests.server.conftest import Plugged

pytestmark = pytest.mark.node

THINGS = ("heart", "cat", "car", "tree", "fish", "moon", "house", "ball")
TITLES = [f"{colour} {thing}" for thing in THINGS for colour in ("red", "blue", "green", "yellow", "white")]
LABELS = [Label("red", parent="colour"), Label("cat", ("a cat", "kitten"), parent="animal"), Label("tree")]
MAPPINGS: dict[str, Any] = {"properties": {"title": {"type": "text"}, "tags": {"type": "keyword"}}}


def same(one: Any, other: Any) -> None:
    """Asserts that two documents were labelled alike; each has its own vector, so scores differ by a rounding."""
    states = one["crosslens"]["tags"], other["crosslens"]["tags"]
    assert one.get("tags") == other.get("tags")
    assert {**states[0], "scores": None} == {**states[1], "scores": None}
    assert states[0]["scores"] == pytest.approx(states[1]["scores"], abs=2e-3)


def test_new_documents_are_given_the_labels_of_the_last_run(plugged: Plugged, demo_encoder: Encoder) -> None:
    server, client = plugged.server, plugged.server.client
    own = [{"tags": ["mine", "cat"]} if i % 3 == 0 else {} for i in range(len(TITLES))]
    index = server.new_index(MAPPINGS, [{"title": title, **own[i]} for i, title in enumerate(TITLES)])
    add_vectors(client, index, demo_encoder, [TextField("title")])
    name, _ = put_pipeline(client, index, default=True)
    shop = Index(index, client=client, model=demo_encoder)

    def steps() -> list[str]:
        """The label sets that the pipeline names."""
        (body,) = client.ingest.get_pipeline(id=name).body.values()
        return [each["crosslens_labels"]["labels"] for each in body["processors"] if "crosslens_labels" in each]

    def label(labels: list[Label], into: str = "tags", **more: Any) -> Any:
        return shop.label(labels, field="title_vector", into=into, false_alarms=0.2, **more)

    def document(id: str) -> dict[str, Any]:
        found: dict[str, Any] = server.source(index, id)
        return found

    def write(id: str, document: dict[str, Any]) -> dict[str, Any]:
        client.index(index=index, id=id, document=document, refresh=True)
        found: dict[str, Any] = server.source(index, id)
        return found

    first = label(LABELS)
    assert steps() == [first.fingerprint]
    news = [
        line for i, title in enumerate(TITLES) for line in ({"index": {"_id": f"new {i}"}}, {"title": title, **own[i]})
    ]
    assert not client.bulk(index=index, operations=news, refresh=True)["errors"]
    for i in range(len(TITLES)):
        same(document(f"new {i}"), document(str(i)))
    labelled = [i for i in range(len(TITLES)) if "red" in document(f"new {i}")["crosslens"]["tags"]["given"]]
    assert labelled
    again = label(LABELS)
    assert (again.documents, again.fingerprint) == (0, first.fingerprint)

    # Taken away, a label stays away; a changed text has the labels of its own vector, and the owner's values stay.
    red, id = document(f"new {labelled[0]}"), f"new {labelled[0]}"
    red["tags"] = [tag for tag in red["tags"] if tag != "red"] + ["by hand"]
    assert "red" not in write(id, red)["tags"]
    other = labelled[1]
    red = write(id, {**document(id), "title": TITLES[other]})
    assert red["crosslens"]["tags"]["found"] == document(str(other))["crosslens"]["tags"]["found"]
    assert (red["crosslens"]["tags"]["refused"], "red" in red["tags"], "by hand" in red["tags"]) == (
        ["red"],
        False,
        True,
    )

    # What sees only a part of a document leaves its labels to a run, which finds nothing else to do.
    before = document("0")["crosslens"]["tags"]
    part = [{"update": {"_id": "0"}}, {"doc": {"title": TITLES[1]}, "doc_as_upsert": True}]
    answer = client.bulk(index=index, operations=part, refresh=True)
    assert not answer["errors"], answer
    changed = document("0")
    assert (changed["title"], changed["tags"][:2]) == (TITLES[1], ["mine", "cat"])
    assert changed["crosslens"]["tags"] == before
    assert label(LABELS).documents == 1

    # The pipeline follows other labels, and a second field; with the labels gone, so is the step.
    second = label([Label("blue")])
    truth = label([Label("blue")], "is_blue", boolean=True)
    assert steps() == [truth.fingerprint, second.fingerprint] != [truth.fingerprint, first.fingerprint]
    blue = write("blue", {"title": TITLES[1]})
    assert blue["crosslens"]["tags"]["labels"] == second.fingerprint
    assert (blue["is_blue"], blue.get("tags")) == (document("1")["is_blue"], document("1").get("tags"))
    assert write("not blue", {"title": TITLES[1], "is_blue": False})["is_blue"] is False
    assert label([Label("blue")]).documents == label([Label("blue")], "is_blue", boolean=True).documents == 0
    shop.remove("tags")
    assert steps() == [truth.fingerprint]
    assert "tags" not in write("later", {"title": "red cat"})["crosslens"]


def test_labels_whose_numbers_are_lost_are_given_by_the_next_run(plugged: Plugged, demo_encoder: Encoder) -> None:
    server, client = plugged.server, plugged.server.client
    index = server.new_index(MAPPINGS, [{"title": title} for title in TITLES])
    add_vectors(client, index, demo_encoder, [TextField("title")])
    shop = Index(index, client=client, model=demo_encoder)
    shop.label(["cat"], field="title_vector", into="tags", false_alarms=0.2)
    put_pipeline(client, index, default=True)
    client.delete(index="crosslens-moments", id=f"{index}/tags/labels/0")
    client.index(index=index, id="new", document={"title": "white cat", "tags": "mine"}, refresh=True)
    document: Any = server.source(index, "new")
    assert (document["tags"], sorted(document["crosslens"])) == ("mine", ["title_vector"])
    report = shop.label(["cat"], field="title_vector", into="tags", false_alarms=0.2)
    assert report.documents >= 1
    labelled: Any = server.source(index, "new")
    assert labelled["crosslens"]["tags"]["labels"] == report.fingerprint
