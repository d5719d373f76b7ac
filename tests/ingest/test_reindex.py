"""Bringing an index up to date: selections, sources, concurrent changes, and work shared among runs."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crosslens.errors import MappingError, ModelError
from crosslens.ingest.contract.documents import state_of
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.contract.targets import Target, parse_target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.reading import Share
from crosslens.ingest.run.report import Report
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors, reindex
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.search.searcher import HybridSearcher
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, all_documents, expect_exact, shop

pytestmark = pytest.mark.node
STALE = Selection(missing=False, stale=True, contents=True)


@pytest.fixture
def photos(pictures: Path, tmp_path: Path) -> Path:
    """A copy of the pictures that a test may change."""
    return Path(shutil.copytree(pictures, tmp_path / "photos"))


def filled(server: Server, encoder: Encoder, root: Path, documents: list[dict[str, Any]]) -> str:
    index = server.new_index(MAPPINGS, documents)
    add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=root)))
    return index


def bring_up(server: Server, index: str, encoder: Encoder, root: Path, selection: Selection, **more: Any) -> Report:
    return reindex(server.client, index, encoder, Options(selection, ImageAccess(root=root), **more))


def test_the_default_takes_up_what_is_missing_and_nothing_else(server: Server, encoder: Encoder, photos: Path) -> None:
    index = filled(server, encoder, photos, shop(10))
    server.client.update(index=index, id="3", doc={"title": "red hat"})
    server.client.index(index=index, id="new", document={"title": "hat", "photo": "5.png"}, refresh=True)
    report = bring_up(server, index, encoder, photos, Selection())
    assert (report.documents, report.written) == (1, {"title_vector": 1, "photo_vector": 1})


def test_stale_takes_up_changed_texts_references_and_image_contents(
    server: Server, encoder: Encoder, photos: Path
) -> None:
    index = filled(server, encoder, photos, shop(10))
    server.client.update(index=index, id="3", doc={"title": "red hat"})
    server.client.update(index=index, id="4", doc={"photo": "50.png"}, refresh=True)
    shutil.copy(photos / "40.png", photos / "5.png")
    report = bring_up(server, index, encoder, photos, STALE)
    assert report.written == {"title_vector": 1, "photo_vector": 2}
    assert report.unchanged == {"photo_vector": 8}
    expect_exact(server, index, encoder, photos)
    assert bring_up(server, index, encoder, photos, STALE).written == {}


def test_a_change_that_has_nothing_to_do_with_the_sources_is_not_stale(
    server: Server, encoder: Encoder, photos: Path
) -> None:
    index = filled(server, encoder, photos, shop(5))
    server.client.update(index=index, id="3", doc={"price": 99}, refresh=True)
    assert bring_up(server, index, encoder, photos, replace(STALE, contents=False)).documents == 0


def test_a_vector_goes_when_its_source_goes(server: Server, encoder: Encoder, photos: Path) -> None:
    index = filled(server, encoder, photos, shop(3))
    server.client.update(index=index, id="1", doc={"title": None, "photo": ""}, refresh=True)
    report = bring_up(server, index, encoder, photos, STALE)
    assert report.skipped == {"title_vector": 1, "photo_vector": 1}
    document = expect_exact(server, index, encoder, photos)["1"]
    assert document.get("photo_vector") is None
    assert "no image in photo" in str(state_of(document, "photo_vector"))


def test_an_image_that_cannot_be_read_just_now_keeps_its_vector(server: Server, encoder: Encoder, photos: Path) -> None:
    index = filled(server, encoder, photos, shop(4))
    (photos / "2.png").rename(photos / "away")
    for selection in (STALE, Selection(every=True)):
        report = bring_up(server, index, encoder, photos, selection)
        assert [(f.id, f.field) for f in report.failures] == [("2", "photo_vector")]
    (photos / "away").rename(photos / "2.png")
    expect_exact(server, index, encoder, photos)


def test_a_new_reference_that_cannot_be_read_takes_the_old_vector_away(
    server: Server, encoder: Encoder, photos: Path
) -> None:
    index = filled(server, encoder, photos, shop(2))
    server.client.update(index=index, id="1", doc={"photo": "nowhere.png"}, refresh=True)
    assert bring_up(server, index, encoder, photos, STALE).failed == {"photo_vector": 1}
    document = all_documents(server, index)["1"]
    assert document.get("photo_vector") is None
    assert "no such file" in str(state_of(document, "photo_vector"))


def test_failed_takes_up_what_failed_and_all_takes_up_everything(
    server: Server, encoder: Encoder, photos: Path
) -> None:
    documents = [*shop(6), {"title": "hat", "photo": "late.png"}]
    index = filled(server, encoder, photos, documents)
    assert bring_up(server, index, encoder, photos, Selection()).failed_earlier == {"photo_vector": 1}
    shutil.copy(photos / "1.png", photos / "late.png")
    failed = Selection(missing=False, failed=True)
    assert bring_up(server, index, encoder, photos, failed).written == {"photo_vector": 1}
    every = bring_up(server, index, encoder, photos, Selection(every=True))
    assert every.written == {"title_vector": 7, "photo_vector": 7}
    expect_exact(server, index, encoder, photos)


def test_a_query_narrows_the_selection(server: Server, encoder: Encoder, photos: Path) -> None:
    index = filled(server, encoder, photos, shop(10))
    cheap = Selection(every=True, query={"range": {"price": {"lt": 4}}})
    assert bring_up(server, index, encoder, photos, cheap).documents == 4
    one = reindex(server.client, index, encoder, Options(cheap, ImageAccess(root=photos)), fields=["title_vector"])
    assert one.written == {"title_vector": 4}
    with pytest.raises(MappingError, match="no vector field foto; it has"):
        reindex(server.client, index, encoder, fields=["foto"])


def test_vectors_of_a_model_of_the_same_dims_are_seen_to_be_another_models(
    server: Server, encoder: Encoder, photos: Path, models: Path
) -> None:
    index = filled(server, encoder, photos, shop(5))
    other = Encoder(models / "other")
    assert other.dims == encoder.dims
    with pytest.raises(ModelError, match=r"of small-checkpoint .*, not of other-checkpoint .*; .*change the index"):
        reindex(server.client, index, other)
    # As a document copied from elsewhere would be: a vector, and the state of another model.
    state = {"model": other.fingerprint, "source": "0" * 32}
    doc = {"title_vector": [1.0] * encoder.dims, "crosslens": {"title_vector": state}}
    server.client.update(index=index, id="2", doc=doc, refresh=True)
    report = bring_up(server, index, encoder, photos, replace(STALE, contents=False))
    assert report.written == {"title_vector": 1}
    expect_exact(server, index, encoder, photos)


def test_a_dry_run_tells_how_many_how_long_and_how_much(server: Server, encoder: Encoder, photos: Path) -> None:
    index = filled(server, encoder, photos, shop(300))
    server.client.update(index=index, id="3", doc={"title": "red hat"})
    shutil.copy(photos / "40.png", photos / "5.png")
    server.client.indices.refresh(index=index)
    before = all_documents(server, index)
    stale = bring_up(server, index, encoder, photos, STALE, dry_run=True)
    assert stale.estimate is not None
    assert (stale.estimate.documents, stale.written) == (6, {"title_vector": 1, "photo_vector": 5})
    assert stale.stands == {"title_vector": {"done": 299, "stale": 1}, "photo_vector": {"done": 300}}
    every = bring_up(server, index, encoder, photos, Selection(every=True), dry_run=True)
    assert every.estimate is not None
    assert every.estimate.documents == 300
    # Two vectors of 24 dims, as floats and as bytes, with their links.
    assert every.estimate.bytes == 300 * 2 * (24 * 5 + 64)
    took = bring_up(server, index, encoder, photos, Selection(every=True)).seconds
    assert 0.02 * took < every.estimate.seconds < 5 * took
    server.client.indices.refresh(index=index)
    assert all_documents(server, index).keys() == before.keys()


def test_new_fields_and_present_ones_are_brought_up_in_one_run(server: Server, encoder: Encoder, photos: Path) -> None:
    index = server.new_index(MAPPINGS, shop(6))
    options = Options(Selection(stale=True), ImageAccess(root=photos))
    first = reindex(server.client, index, encoder, options, targets=[TITLE])
    assert first.written == {"title_vector": 6}
    server.client.update(index=index, id="2", doc={"title": "red hat"}, refresh=True)
    second = reindex(server.client, index, encoder, options, targets=[PHOTO])
    assert second.written == {"title_vector": 1, "photo_vector": 6}
    expect_exact(server, index, encoder, photos)
    with pytest.raises(ModelError, match="new vector fields need a model"):
        reindex(server.client, index, None, options, targets=[replace(PHOTO, field="v")])


PHOTO_ARRAYS: list[tuple[dict[str, Any], str, Any]] = [
    ({"type": "keyword"}, "photos[]", lambda names: names),
    ({"properties": {"url": {"type": "keyword"}}}, "photos[].url", lambda names: [{"url": n} for n in names]),
    (
        {"type": "nested", "properties": {"url": {"type": "keyword"}}},
        "photos[].url",
        lambda names: [{"url": n} for n in names],
    ),
]


@pytest.mark.parametrize(("mapping", "spec", "write"), PHOTO_ARRAYS, ids=["values", "objects", "nested"])
def test_each_of_several_images_gets_its_vector_and_a_search_tells_which_matched(
    server: Server, encoder: Encoder, photos: Path, mapping: dict[str, Any], spec: str, write: Any
) -> None:
    documents: list[dict[str, Any]] = [{"photos": write([f"{3 * i + j}.png" for j in range(3)])} for i in range(15)]
    documents += [{"photos": write(["1.png", "nowhere.png"])}, {"photos": []}, {}]
    index = server.new_index({"properties": {"photos": mapping}}, documents)
    target = replace(parse_target(f"views={spec}", "image"), index_type="hnsw")
    report = add_vectors(server.client, index, encoder, [target], Options(images=ImageAccess(root=photos)))
    assert report.written == {"views": 15}
    assert [(f.id, f.reason.split(":")[0]) for f in report.failures] == [("15", "[1] nowhere.png")]
    stored = all_documents(server, index)
    assert [entry["reference"] for entry in stored["4"]["views"]] == ["12.png", "13.png", "14.png"]
    assert stored["4"]["photos"] == documents[4]["photos"]
    assert [entry["position"] for entry in stored["15"]["views"]] == [0]
    server.client.delete(index=index, id="15", refresh=True)
    assert bring_up(server, index, encoder, photos, Selection()).documents in (0, 2)
    expect_exact(server, index, encoder, photos)
    searcher = HybridSearcher(server.client, index, encoder)
    for picture in (0, 14, 31):
        hit = searcher.search(image=photos / f"{picture}.png", size=1).hits[0]
        assert hit.id == str(picture // 3)
        assert hit.matched == {"views": {"position": picture % 3, "reference": f"{picture}.png"}}
        assert hit.parts["views"].raw == pytest.approx(1.0, abs=1e-5)
        assert "views" not in hit.source
    server.client.update(index=index, id="4", doc={"photos": write(["50.png", "12.png"])}, refresh=True)
    assert bring_up(server, index, encoder, photos, STALE).written == {"views": 1}
    expect_exact(server, index, encoder, photos)


def test_each_of_several_texts_gets_its_vector(server: Server, encoder: Encoder, photos: Path) -> None:
    index = server.new_index({}, [{"tags": ["red shoe", "blue hat"]}, {"tags": "green sock"}])
    add_vectors(server.client, index, encoder, [parse_target("tags[]", "text")])
    assert len(expect_exact(server, index, encoder, photos)["0"]["tags_vector"]) == 2


def test_a_template_is_what_is_encoded(server: Server, encoder: Encoder, photos: Path) -> None:
    index = server.new_index(MAPPINGS, shop(3))
    target = parse_target("words={title} for {price} euros", "text")
    add_vectors(server.client, index, encoder, [target])
    document = expect_exact(server, index, encoder, photos)["2"]
    expected = encoder.encode_texts(["blue running shoe number 2 for 2 euros"])[0]
    assert np.allclose(document["words"], expected, atol=1e-5)
    with pytest.raises(MappingError, match=r"made from text: {title} for {price} euros, not from text: {title}"):
        add_vectors(server.client, index, encoder, [parse_target("words={title}", "text")])


def test_an_array_where_a_vector_would_lie_is_left_as_it_is(server: Server, encoder: Encoder, photos: Path) -> None:
    documents = [{"view": [{"photo": "1.png"}, {"photo": "2.png"}]}, {"view": {"photo": "3.png"}}]
    index = server.new_index({"properties": {"view": {"properties": {"photo": {"type": "keyword"}}}}}, documents)
    target = Target("view.vector", "image", ("view.photo",))
    report = add_vectors(server.client, index, encoder, [target], Options(images=ImageAccess(root=photos)))
    assert [f.id for f in report.failures] == ["0"]
    stored = all_documents(server, index)
    assert stored["0"]["view"] == documents[0]["view"]
    assert len(stored["1"]["view"]["vector"]) == encoder.dims


def test_the_indexs_own_pipeline_is_not_run_again(server: Server, encoder: Encoder, photos: Path) -> None:
    index = server.new_index(MAPPINGS, shop(3))
    server.client.indices.put_settings(index=index, settings={"index.default_pipeline": "does-not-exist"})
    report = add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=photos)))
    assert (report.written["photo_vector"], report.failures) == (3, [])


def test_an_index_that_keeps_only_a_part_of_its_source_is_refused(server: Server, encoder: Encoder) -> None:
    index = server.new_index({"_source": {"excludes": ["secret"]}, "properties": {"title": {"type": "text"}}}, [])
    with pytest.raises(MappingError, match="an update would lose the rest"):
        add_vectors(server.client, index, encoder, [TITLE])


def test_every_index_behind_a_pattern_is_brought_up_to_date(server: Server, encoder: Encoder, photos: Path) -> None:
    first = filled(server, encoder, photos, shop(4))
    second = f"{first}-more"
    server.client.indices.create(index=second, mappings=MAPPINGS)
    server.client.index(index=second, id="x", document={"title": "hat", "photo": "7.png"}, refresh=True)
    assert bring_up(server, f"{first}*", encoder, photos, Selection()).written["photo_vector"] == 1
    expect_exact(server, second, encoder, photos)


class Editor(threading.Thread):
    """Another application that edits, deletes and creates documents as fast as it can, ``count`` times."""

    def __init__(self, server: Server, index: str, ids: int, count: int, seed: int):
        super().__init__(daemon=True)
        self._server, self._index, self._ids, self._count = server, index, ids, count
        self._rng = np.random.default_rng(seed)
        self.expected: dict[str, dict[str, Any] | None] = {}

    def run(self) -> None:
        for n in range(self._count):
            id = str(self._rng.integers(0, self._ids))
            what = self._rng.random()
            document = {"title": f"edit {n} of {id}", "photo": f"{n % 60}.png", "price": n}
            if what < 0.1:
                self._server.client.options(ignore_status=404).delete(index=self._index, id=id)
                self.expected[id] = None
            elif what < 0.2 or self.expected.get(id, {}) is None:
                self._server.client.index(index=self._index, id=id, document=document)
                self.expected[id] = document
            else:
                # As an application does that knows nothing of crosslens: a part of the document.
                self._server.client.update(index=self._index, id=id, doc=document, retry_on_conflict=50)
                self.expected[id] = document


def check_edits(documents: dict[str, dict[str, Any]], editors: list[Editor], every: int) -> None:
    """No edit was lost, and nothing came or went but by the editors."""
    expected: dict[str, Any] = {id: e for editor in editors for id, e in editor.expected.items()}
    assert documents.keys() == {str(i) for i in range(every)} - {id for id, e in expected.items() if e is None} | {
        id for id, e in expected.items() if e is not None
    }
    for id, document in expected.items():
        if document is not None:
            assert {key: documents[id][key] for key in document} == document


def test_thousands_of_concurrent_edits_are_never_overwritten_and_never_keep_an_older_vector(
    server: Server, encoder: Encoder, photos: Path
) -> None:
    index = server.new_index(MAPPINGS, shop(1_500))
    editor = Editor(server, index, 1_500, 4_000, seed=1)
    editor.start()
    report = Report(index, {})
    while editor.is_alive() or report.documents:
        # Before the last round nobody edits any more.
        ended = not editor.is_alive()
        report = add_vectors(
            server.client, index, encoder, [TITLE, PHOTO], Options(Selection(stale=True), ImageAccess(root=photos))
        )
        assert report.failures == []
        if ended:
            break
    check_edits(expect_exact(server, index, encoder, photos), [editor], 1_500)


def test_what_was_edited_during_one_run_is_right_when_it_ends(server: Server, encoder: Encoder, photos: Path) -> None:
    index = server.new_index(MAPPINGS, shop(600))
    edits = iter(range(600))

    def edit(report: Report) -> None:
        # Behind the run and before it, between its batches, until the last batch but one.
        if report.documents < 560 and report.caught_up == 0:
            for n in (next(edits), 599 - next(edits)):
                doc = {"title": f"edit {n}", "photo": f"{(n + 7) % 60}.png"}
                server.client.update(index=index, id=str(n), doc=doc, retry_on_conflict=10)

    options = Options(images=ImageAccess(root=photos))
    report = add_vectors(server.client, index, encoder, [TITLE, PHOTO], options, progress=edit)
    assert report.caught_up > 20
    assert not report.still_changing
    expect_exact(server, index, encoder, photos)


def test_runs_at_once_share_the_work_and_do_no_harm(server: Server, encoder: Encoder, photos: Path) -> None:
    index = server.new_index(MAPPINGS, shop(3_000))
    reports: list[Report] = []
    options = Options(images=ImageAccess(root=photos))
    runs = [
        threading.Thread(
            target=lambda: reports.append(add_vectors(server.client, index, encoder, [TITLE, PHOTO], options))
        )
        for _ in range(2)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [r.failures for r in reports] == [[], []]
    assert sum(r.written["photo_vector"] for r in reports) == 3_000
    # Neither stood by, and little was encoded twice.
    assert min(r.written["photo_vector"] for r in reports) > 500
    assert sum(r.documents for r in reports) < 1.5 * 3_000
    expect_exact(server, index, encoder, photos)


def test_shares_are_disjoint_and_together_everything(server: Server, encoder: Encoder, photos: Path) -> None:
    index = server.new_index(MAPPINGS, shop(200))
    done = []
    for part in (3, 1, 2):
        options = Options(images=ImageAccess(root=photos), share=Share(part, 3))
        done.append(add_vectors(server.client, index, encoder, [TITLE, PHOTO], options).written["photo_vector"])
    assert sum(done) == 200
    assert min(done) > 40
    expect_exact(server, index, encoder, photos)


def test_a_single_document_is_in_some_share(server: Server, encoder: Encoder, photos: Path) -> None:
    index = server.new_index(MAPPINGS, shop(1))
    for part in range(1, 9):
        add_vectors(
            server.client,
            index,
            encoder,
            [TITLE, PHOTO],
            Options(images=ImageAccess(root=photos), share=Share(part, 8)),
        )
    expect_exact(server, index, encoder, photos)


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["title", "photo", "both", "clear", "delete", "create", "break"]), st.integers(0, 9)),
    max_size=12,
)


@given(before=OPERATIONS, during=st.lists(OPERATIONS, max_size=4), selection=st.sampled_from([Selection(), STALE]))
@settings(
    max_examples=25,
    deadline=None,
    # The node and the pictures are the same for every example; the index is not.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_interleaving_of_edits_and_batches_ends_consistent(
    server: Server,
    encoder: Encoder,
    pictures: Path,
    before: list[tuple[str, int]],
    during: list[list[tuple[str, int]]],
    selection: Selection,
) -> None:
    index = server.new_index(MAPPINGS, shop(10), shards=2)
    client = server.client
    counter = iter(range(1_000))

    def apply(operations: list[tuple[str, int]]) -> None:
        for kind, id in operations:
            n = next(counter)
            text, photo = f"edit {n}", f"{(id * 7 + n) % 60}.png"
            if kind == "delete":
                client.options(ignore_status=404).delete(index=index, id=str(id))
                continue
            if kind == "create":
                client.index(index=index, id=str(id), document={"title": text, "photo": photo})
                continue
            doc = {
                "title": {"title": text},
                "photo": {"photo": photo},
                "both": {"title": text, "photo": photo},
                "clear": {"title": "", "photo": None},
                "break": {"photo": f"nowhere-{n}.png"},
            }[kind]
            # The run writes to the same documents: an application that updates a part of one tries again.
            client.options(ignore_status=404).update(index=index, id=str(id), doc=doc, retry_on_conflict=20)

    small = Encoder(encoder.folder.path, batch_size=2, verify=False)
    options = Options(selection=replace(selection, missing=True), images=ImageAccess(root=pictures))
    add_vectors(client, index, small, [TITLE, PHOTO], Options(images=ImageAccess(root=pictures)))
    apply(before)
    client.indices.refresh(index=index)
    steps = iter(during)
    add_vectors(client, index, small, [TITLE, PHOTO], options, progress=lambda _: apply(next(steps, [])))
    for rest in steps:
        apply(rest)
    client.indices.refresh(index=index)
    # What is edited after a run is the next one's, and what failed stays noted: nothing else may be behind.
    final = Options(Selection(stale=True, failed=True), ImageAccess(root=pictures))
    report = add_vectors(client, index, small, [TITLE, PHOTO], final)
    for failure in report.failures:
        document = server.source(index, failure.id)
        assert "nowhere" in str(document["photo"])
        assert document.get("photo_vector") is None
        client.delete(index=index, id=failure.id)
    expect_exact(server, index, encoder, pictures)
    client.indices.delete(index=index)


def test_a_run_over_a_quiet_index_does_not_read_it_twice(server: Server, encoder: Encoder, photos: Path) -> None:
    index = server.new_index(MAPPINGS, shop(50))
    started = server.client.indices.stats(index=index, metric=["search"])["_all"]["total"]["search"]["query_total"]
    add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=photos)))
    ended = server.client.indices.stats(index=index, metric=["search"])["_all"]["total"]["search"]["query_total"]
    # Counts, one sizing search, a page and the empty page after it, on three shards.
    assert ended - started <= 3 * 8
