"""Labels and captions in a real index."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosslens import Index
from crosslens.errors import LabelError, MappingError
from crosslens.ingest.contract.examples import Example
from crosslens.ingest.contract.labels import Label
from crosslens.ingest.contract.targets import parse_target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run import reading
from crosslens.ingest.run.copying import copy_index
from crosslens.ingest.run.label_report import LabelReport
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.status import survey
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from tests.conftest import Server
from tests.ingest.exactness import PHOTO, all_documents

pytestmark = pytest.mark.node
COUNT = 60
LABELS = [Label("red", parent="colour"), Label("tall", ("a tall thing", "a high thing")), Label("odd")]
MAPPINGS: dict[str, Any] = {
    "properties": {
        **{name: {"type": "keyword"} for name in ("photo", "tags")},
        **{name: {"type": "text"} for name in ("title", "alt")},
        "unsafe": {"type": "boolean"},
    }
}
Documents = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def shop(server: Server, encoder: Encoder, pictures: Path) -> Index:
    """An index that tests share, each labelling a field of its own; none changes a title, a picture or a vector."""
    return made(server, encoder, pictures)


@pytest.fixture
def own_shop(server: Server, encoder: Encoder, pictures: Path) -> Index:
    """An index of a test's own."""
    return made(server, encoder, pictures)


def made(server: Server, encoder: Encoder, pictures: Path) -> Index:
    documents: list[dict[str, Any]] = [{"title": f"no. {i}", "photo": f"{i}.png"} for i in range(COUNT)]
    for document in documents[::2]:
        document |= {"tags": "mine", "alt": "written by hand"}
    name = server.new_index(MAPPINGS, documents)
    add_vectors(server.client, name, encoder, [PHOTO], Options(images=ImageAccess(root=pictures)))
    return Index(name, client=server.client, model=encoder, image_root=pictures)


def give(shop: Index, labels: Any = LABELS, **changed: Any) -> LabelReport:
    return shop.label(labels, **{"field": "photo_vector", "into": "tags", "false_alarms": 0.2, **changed})


def state(document: dict[str, Any], into: str = "tags") -> dict[str, Any]:
    found: dict[str, Any] = document["crosslens"][into]
    return found


def listed(documents: Documents) -> dict[str, list[str]]:
    """Tags by id; a single one is the same whether or not it stands in an array."""
    tags = {id: document.get("tags") or [] for id, document in documents.items()}
    return {id: [each] if isinstance(each, str) else each for id, each in tags.items()}


def stood_out(documents: Documents, vector: Any, deviations: float) -> set[str]:
    """The ids of documents whose cosine lies so many deviations above the median."""
    ids = list(documents)
    cosines = np.array([documents[id]["photo_vector"] for id in ids]) @ (vector / np.linalg.norm(vector))
    apart = cosines - np.median(cosines)
    return {ids[i] for i in np.flatnonzero(apart >= deviations * 1.4826 * np.median(np.abs(apart)))}


def test_labels_follow_the_rule_and_are_taken_out_again(server: Server, shop: Index, encoder: Encoder) -> None:
    before = all_documents(server, shop.name)
    dry = give(shop, dry_run=True)
    assert all_documents(server, shop.name) == before
    report = give(shop)
    assert (report.documents, report.written, report.todo) == (COUNT, COUNT, COUNT) == (dry.documents, COUNT, dry.todo)
    assert report.labels == dry.labels
    documents = all_documents(server, shop.name)
    for label in LABELS:
        prompts = [prompt for text in label.phrasings for prompt in (text, f"a photo of a {text}.")]
        # 0.8416 is the normal quantile of 0.8.
        expected = stood_out(documents, encoder.encode_texts(prompts).mean(axis=0), 0.8416)
        assert {id for id, each in documents.items() if label.name in state(each)["found"]} == expected
    for id, tags in listed(documents).items():
        found = state(documents[id])["found"]
        assert ("red" in found) == ("colour" in found)
        assert tags == listed(before)[id] + found
        assert len(state(documents[id])["scores"]) == len(found)
    assert shop.client.count(index=shop.name, query={"term": {"tags": "red"}})["count"] == report.labels["red"] > 0
    again = give(shop)
    assert (again.documents, again.written, again.fingerprint) == (0, 0, report.fingerprint)
    assert vars(survey(shop.client, shop.name).labels["tags"]) == {"field": "photo_vector", "done": COUNT, "due": 0}
    numbers = {"bool": {"filter": [{"term": {"index": shop.name}}, {"term": {"path": "tags"}}]}}
    assert shop.client.count(index="crosslens-moments", query=numbers)["count"] == 1
    removed = shop.remove("tags")
    assert (removed.found, removed.documents) == (COUNT, COUNT)
    after = all_documents(server, shop.name)
    assert listed(after) == listed(before)
    assert [{**each, "tags": None} for each in after.values()] == [{**each, "tags": None} for each in before.values()]
    assert "tags" not in survey(shop.client, shop.name).labels
    assert shop.client.count(index="crosslens-moments", query=numbers)["count"] == 0


def test_a_stopped_run_goes_on_and_others_may_write_meanwhile(
    server: Server, own_shop: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = own_shop
    monkeypatch.setattr(reading, "PAGE", 10)

    def stop(report: LabelReport) -> None:
        if report.documents >= 20:
            raise KeyboardInterrupt

    first = give(shop, progress=stop)
    assert first.interrupted
    assert 0 < first.written < COUNT
    touched = False

    def touch(report: LabelReport) -> None:
        nonlocal touched
        if report.documents and not touched:
            touched = True
            for i in range(COUNT):
                shop.client.update(index=shop.name, id=str(i), doc={"title": "changed"})

    second = give(shop, progress=touch)
    assert second.fingerprint == first.fingerprint
    assert first.written + second.written == COUNT
    assert second.documents > second.written
    documents = all_documents(server, shop.name)
    assert all(each["title"] == "changed" and state(each)["labels"] == first.fingerprint for each in documents.values())


def test_what_people_write_themselves_stays(server: Server, own_shop: Index) -> None:
    shop = own_shop
    report = give(shop)
    red = next(id for id, each in all_documents(server, shop.name).items() if "red" in state(each)["given"])
    bare = next(id for id, each in all_documents(server, shop.name).items() if not state(each)["found"])
    # Somebody takes a label away, somebody else gives one by hand; a picture is exchanged.
    shop.client.update(index=shop.name, id=red, doc={"tags": ["by hand"]})
    shop.client.update(index=shop.name, id=bare, doc={"tags": ["odd"], "photo": f"{red}.png"}, refresh=True)
    shop.reindex(stale=True)
    third = give(shop)
    assert (third.documents, third.written, third.fingerprint) == (1, 1, report.fingerprint)
    documents = all_documents(server, shop.name)
    assert listed(documents)[red] == ["by hand"]
    assert set(listed(documents)[bare]) >= {"odd", "red", "colour"}
    assert "odd" not in state(documents[bare])["given"]
    other = give(shop, [*LABELS[:1], "odd"])
    assert other.written == COUNT
    documents = all_documents(server, shop.name)
    assert listed(documents)[red][0] == "by hand"
    assert {"red", "colour"} & set(listed(documents)[red]) == set()
    assert {"red", "colour"} <= set(state(documents[red])["refused"])
    assert not any("tall" in each for each in listed(documents).values())
    # Without its vector a document has no labels.
    shop.client.update(index=shop.name, id=bare, doc={"photo": None}, refresh=True)
    shop.reindex(stale=True)
    give(shop, [*LABELS[:1], "odd"])
    gone = server.source(shop.name, bare)
    assert gone["tags"] == ["odd"]
    assert not gone["crosslens"].get("tags")  # type: ignore[attr-defined]


def test_moderation_is_true_or_false_and_reviewed_by_doubt(server: Server, shop: Index, tmp_path: Path) -> None:
    shop.client.update(index=shop.name, id="3", doc={"unsafe": True}, refresh=True)
    with pytest.raises(LabelError, match="which is for one label; 3 were given"):
        give(shop, into="unsafe")
    give(shop, ["red"], into="unsafe")
    documents = all_documents(server, shop.name)
    assert documents["3"]["unsafe"] is True
    assert "true" not in state(documents["3"], "unsafe")["given"]
    for id, each in documents.items():
        if id != "3":
            assert [str(each["unsafe"]).lower()] == state(each, "unsafe")["found"]
    page = tmp_path / "review.html"
    assert shop.review("unsafe", page, most=20) == 20
    shown = [float(score) for score in re.findall(r'class="score">(-?[\d.]+)<', page.read_text())]
    scores = [state(each, "unsafe")["scores"][0] for each in documents.values()]
    # 0.8416 is the normal quantile of 0.8.
    edge = (min(s for s in scores if s >= 0.8416) + max(s for s in scores if s < 0.8416)) / 2
    assert [abs(s - edge) for s in shown] == pytest.approx(sorted(abs(s - edge) for s in scores)[:20], abs=2e-3)
    assert page.read_text().count("data:image/webp") == 20
    with pytest.raises(MappingError, match="isn't a field that a label made true or false"):
        shop.review("title", page)
    # Whoever looks through the page corrects a document, and the next run leaves that alone.
    wrong = next(id for id, each in documents.items() if each["unsafe"] and id != "3")
    shop.client.update(index=shop.name, id=wrong, doc={"unsafe": False}, refresh=True)
    give(shop, ["red"], into="unsafe", anew=True, false_alarms=0.3)
    assert server.source(shop.name, wrong)["unsafe"] is False
    shop.remove("unsafe")
    left = {id: each["unsafe"] for id, each in all_documents(server, shop.name).items() if "unsafe" in each}
    assert left == {"3": True, wrong: False}


def test_examples_set_the_threshold_of_their_label(server: Server, shop: Index) -> None:
    give(shop, ["red"], into="judged")
    scores = sorted(
        (state(each, "judged")["scores"][0], id)
        for id, each in all_documents(server, shop.name).items()
        if state(each, "judged")["found"]
    )
    # By the examples, only the upper half of what stands out is red.
    deserve = {id for _, id in scores[len(scores) // 2 :]}
    assert len(deserve) >= 5
    examples = [Example(str(i), "red", str(i) in deserve) for i in range(COUNT)]
    report = give(shop, ["red", "odd"], into="judged", judged=[*examples, Example("absent", "odd", True)])
    (red, odd) = report.verdicts
    assert (red.learned, red.yes, red.examples, red.missing) == (True, len(deserve), COUNT, 0)
    assert (odd.learned, odd.missing, odd.recall) == (False, 1, None)
    documents = all_documents(server, shop.name)
    assert {id for id, each in documents.items() if "red" in (each.get("judged") or [])} == deserve
    assert report.thresholds["odd"] == pytest.approx(0.842, abs=1e-3)
    assert report.thresholds["red"] > 0.842
    with pytest.raises(LabelError, match="the examples judge 'blue', which isn't among the labels"):
        give(shop, ["red"], judged=[Example("1", "blue", True)])


def test_captions_are_suggested_and_written_only_where_there_is_none(
    server: Server, shop: Index, tmp_path: Path
) -> None:
    texts = [f"a picture of thing number {i}" for i in range(20)]
    (tmp_path / "captions.txt").write_text("\n".join(texts))
    before = all_documents(server, shop.name)
    found = shop.describe(tmp_path / "captions.txt", field="photo_vector", floor=0.5, top=2, limit=50)
    assert all_documents(server, shop.name) == before
    assert len(found) == 50
    assert any(each.captions for each in found)
    assert all(len(each.captions) <= 2 for each in found)
    assert all(score >= 0.5 for each in found for _, score in each.captions)
    nothing = shop.describe(texts, field="photo_vector", floor=99.0)
    assert len(nothing) == COUNT
    assert not any(each.captions for each in nothing)
    archive = server.new_index({"properties": {"said": {"type": "text"}}}, [{"said": text} for text in texts])
    report = shop.write_captions(caption_index=f"{archive}:said", field="photo_vector", into="alt", floor=0.5)
    assert report.written == COUNT
    documents = all_documents(server, shop.name)
    best = {each.id: each.captions[0][0] for each in found if each.captions}
    for id, each in documents.items():
        if int(id) % 2 == 0:
            assert each["alt"] == "written by hand"
        elif id in best:
            assert each["alt"] == best[id]
    with pytest.raises(MappingError, match=r"'alt' in index .* has been written as a caption, not as a keyword"):
        give(shop, into="alt")
    assert shop.remove("alt").documents == COUNT
    assert {id: each.get("alt") for id, each in all_documents(server, shop.name).items()} == {
        id: each.get("alt") for id, each in before.items()
    }


def test_the_label_of_the_best_of_several_pictures_counts(server: Server, encoder: Encoder, pictures: Path) -> None:
    documents = [{"photos": [{"url": f"{i}.png"}, {"url": f"{(i * 7) % 40}.png"}]} for i in range(40)]
    # One picture of several can't be read; the others are there to be labelled by.
    documents[3]["photos"].append({"url": "missing.png"})
    index = server.new_index({"properties": {"photos": {"properties": {"url": {"type": "keyword"}}}}}, documents)
    target = parse_target("views=photos[].url", "image")
    add_vectors(server.client, index, encoder, [target], Options(images=ImageAccess(root=pictures)))

    def label(name: str) -> LabelReport:
        opened = Index(name, client=server.client, model=encoder)
        return opened.label(["red"], field="views", into="look.tags", templates=["{}"], false_alarms=0.2)

    report = label(index)
    assert (report.written, report.still_changing, label(index).documents) == (40, False, 0)
    assert vars(survey(server.client, index).labels["look.tags"]) == {"field": "views", "done": 40, "due": 0}
    # A copy has the numbers as well.
    copy_index(server.client, index, f"{index}-copy", encoder, options=Options(images=ImageAccess(root=pictures)))
    again = label(f"{index}-copy")
    assert (again.documents, again.fingerprint) == (0, report.fingerprint)
    found = all_documents(server, index)
    vector = encoder.encode_texts(["red"])[0]
    cosines = {id: [float(vector @ np.array(view["vector"])) for view in each["views"]] for id, each in found.items()}
    middle = np.median([c for each in cosines.values() for c in each])
    spread = 1.4826 * np.median([abs(c - middle) for each in cosines.values() for c in each])
    deserve = {id for id, each in cosines.items() if max(each) >= middle + 0.8416 * spread}
    assert {id for id, each in found.items() if each.get("look", {}).get("tags") == ["red"]} == deserve
    assert 0 < len(deserve) < 40


def test_what_cannot_be_labelled_is_said_before_anything_is_written(
    server: Server, shop: Index, encoder: Encoder, pictures: Path
) -> None:
    with pytest.raises(MappingError, match=r"'title' of index .* is of type text; labels are written to keyword"):
        give(shop, into="title")
    with pytest.raises(MappingError, match="would lie inside 'title', which is of type text"):
        give(shop, into="title.tags")
    for taken in ("photo", "photo_vector", "crosslens", "crosslens.tags", ""):
        with pytest.raises(MappingError, match="where vectors, their state or their pictures are"):
            give(shop, into=taken)
    with pytest.raises(MappingError, match="no vector field other; it has photo_vector"):
        give(shop, field="other")
    with pytest.raises(MappingError, match="no vectors or labels in 'labels'; it has photo_vector"):
        shop.remove("labels")
    small = server.new_index(MAPPINGS, [{"photo": "1.png"}] * 5)
    add_vectors(server.client, small, encoder, [PHOTO], Options(images=ImageAccess(root=pictures)))
    with pytest.raises(MappingError, match=r"has 5 vectors in .*; what is chance shows only from 30 on"):
        give(Index(small, client=server.client, model=encoder))
    mapping = shop.client.indices.get_mapping(index=shop.name)[shop.name]["mappings"]
    assert "title" not in mapping["_meta"]["crosslens"].get("labels", {})
