"""Changing the model while searches go on, going back, and freeing the old vectors; removing; status."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crosslens.errors import MappingError, MigrationError
from crosslens.ingest.contract.record import Record, read_record
from crosslens.ingest.contract.targets import parse_target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.migrate import Migration, drop_old, migrate, rollback
from crosslens.ingest.run.remove import Removal, remove_field
from crosslens.ingest.run.report import Report
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.status import survey
from crosslens.ingest.run.write import add_vectors, reindex
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.search.searcher import HybridSearcher
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, all_documents, expect_exact, shop

pytestmark = pytest.mark.node
EXACT = [replace(TITLE, index_type="hnsw"), replace(PHOTO, index_type="hnsw")]


@pytest.fixture(scope="module")
def wide(models: Path) -> Encoder:
    """An encoder of other dims."""
    return Encoder(models / "wide", batch_size=8)


def filled(server: Server, encoder: Encoder, pictures: Path, count: int = 60) -> str:
    index = server.new_index(MAPPINGS, shop(count))
    add_vectors(server.client, index, encoder, EXACT, Options(images=ImageAccess(root=pictures)))
    return index


def change(server: Server, index: str, to: Encoder, pictures: Path, **more: Any) -> Migration:
    return migrate(server.client, index, to, Options(images=ImageAccess(root=pictures)), **more)


def record(server: Server, index: str) -> Record:
    return read_record(server.client.indices.get_mapping(index=index)[index]["mappings"])


def test_searches_go_on_during_a_change_and_follow_it_without_restart(
    server: Server, encoder: Encoder, wide: Encoder, pictures: Path
) -> None:
    index = filled(server, encoder, pictures, 200)
    searcher = HybridSearcher(server.client, index, [encoder], fields=["photo_vector"], mapping_ttl_s=0.0)
    with pytest.raises(MigrationError, match="no previous model's vectors"):
        rollback(server.client, index)
    stop, wrong, used = threading.Event(), list[Any](), set[str]()

    def search() -> None:
        n = 0
        while not stop.is_set():
            n = (n + 1) % 60
            hit = searcher.search(image=pictures / f"{n}.png", size=1).hits[0]
            used.add(searcher.fields["photo_vector"].fingerprint)
            if hit.source["photo"] != f"{n}.png" or abs((hit.parts["photo_vector"].raw or 0) - 1) > 1e-4:
                wrong.append((n, hit))

    # The new model is one that this machine knows, as after `crosslens migrate` on it.
    searcher._encoders._known[wide.fingerprint] = wide
    searching = threading.Thread(target=search)
    searching.start()
    try:
        report = change(server, index, wide, pictures)
        assert report.switched
        expect_exact(server, index, wide, pictures)
        time.sleep(0.5)
        assert rollback(server.client, index)["photo_vector"].fingerprint == encoder.fingerprint
        expect_exact(server, index, encoder, pictures)
        time.sleep(0.5)
        rollback(server.client, index)
    finally:
        stop.set()
        searching.join()
    assert wrong == []
    assert used == {encoder.fingerprint, wide.fingerprint}
    waited: list[float] = []
    removals = drop_old(server.client, index, waiting=waited.append)
    assert {each.documents for each in removals} == {200}
    assert 50 < max(waited) <= 60
    for document in expect_exact(server, index, wide, pictures).values():
        assert set(document) == {
            *("title", "photo", "price", "crosslens"),
            *(each.path for each in record(server, index).fields.values()),
        }
    assert record(server, index).previous == {}


def test_a_searcher_that_lacks_the_new_model_goes_on_with_the_old_one(
    server: Server,
    encoder: Encoder,
    wide: Encoder,
    pictures: Path,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CROSSLENS_DATA", str(tmp_path))
    index = filled(server, encoder, pictures)
    searcher = HybridSearcher(server.client, index, encoder, fields=["photo_vector"], mapping_ttl_s=0.0)
    change(server, index, wide, pictures)
    assert searcher.search(image=pictures / "3.png", size=1).hits[0].source["photo"] == "3.png"
    assert "go on with the model in use until now" in caplog.text


def test_an_interrupted_change_serves_the_old_model_and_goes_on(
    server: Server, encoder: Encoder, wide: Encoder, models: Path, pictures: Path
) -> None:
    index = filled(server, encoder, pictures, 120)

    def interrupt(report: Report) -> None:
        if report.documents >= 40:
            raise KeyboardInterrupt

    report = change(server, index, wide, pictures, progress=interrupt)
    assert report.filled is not None
    assert (report.filled.interrupted, report.switched) == (True, False)
    expect_exact(server, index, encoder, pictures)
    assert survey(server.client, index).fields["title_vector"].next == "wide-checkpoint"
    with pytest.raises(MigrationError, match=r"is being changed to wide-checkpoint .*; .*rollback") as begun:
        change(server, index, Encoder(models / "other"), pictures)
    assert (begun.value.verb, begun.value.parameter) == ("migrate", "rollback")
    # What was edited between the two is not taken for done.
    server.client.update(index=index, id="0", doc={"title": "red hat", "photo": "9.png"}, refresh=True)
    again = change(server, index, wide, pictures)
    assert again.switched
    assert again.filled is not None
    assert again.filled.documents < 120
    expect_exact(server, index, wide, pictures)


def test_a_change_that_is_given_up_is_freed(server: Server, encoder: Encoder, wide: Encoder, pictures: Path) -> None:
    index = filled(server, encoder, pictures)

    def interrupt(_: Report) -> None:
        raise KeyboardInterrupt

    change(server, index, wide, pictures, progress=interrupt)
    assert rollback(server.client, index)["title_vector"].fingerprint == encoder.fingerprint
    assert record(server, index).next == {}
    drop_old(server.client, index, grace_s=0)
    before = set(expect_exact(server, index, encoder, pictures)["0"])
    assert before == {"title", "photo", "price", "title_vector", "photo_vector", "crosslens"}
    assert change(server, index, wide, pictures).switched
    expect_exact(server, index, wide, pictures)


def test_documents_that_can_not_get_the_new_vector_stop_the_switch_unless_told_otherwise(
    server: Server, encoder: Encoder, wide: Encoder, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "gone.png").write_bytes((pictures / "0.png").read_bytes())
    documents = [{"title": "hat", "photo": "gone.png"}, {"title": "shoe"}]
    index = server.new_index(MAPPINGS, documents)
    add_vectors(server.client, index, encoder, EXACT, Options(images=ImageAccess(root=tmp_path)))
    (tmp_path / "gone.png").unlink()
    report = change(server, index, wide, tmp_path)
    assert (report.switched, report.lacking) == (False, {"photo_vector": 1})
    assert record(server, index).fields["photo_vector"].fingerprint == encoder.fingerprint
    assert change(server, index, wide, tmp_path, despite_failures=True).switched


def test_old_vectors_must_go_before_the_next_change(
    server: Server, encoder: Encoder, wide: Encoder, models: Path, pictures: Path
) -> None:
    index = filled(server, encoder, pictures, 10)
    change(server, index, wide, pictures)
    with pytest.raises(MigrationError, match="besides those in use; drop the old ones first") as kept:
        change(server, index, Encoder(models / "other"), pictures)
    assert (kept.value.verb, kept.value.parameter) == ("migrate", "drop_old")
    with pytest.raises(MigrationError, match="still has that model's vectors; go back to them by a rollback") as had:
        change(server, index, encoder, pictures)
    assert (had.value.verb, had.value.parameter) == ("migrate", "rollback")
    assert change(server, index, wide, pictures).fields == {}
    drop_old(server.client, index, grace_s=0)
    with pytest.raises(MigrationError, match="no old vectors"):
        drop_old(server.client, index)
    # The same model as at first, whose own field is empty now.
    assert change(server, index, encoder, pictures).switched
    expect_exact(server, index, encoder, pictures)


def test_documents_that_come_in_after_a_change_get_the_model_in_use(
    server: Server, encoder: Encoder, wide: Encoder, pictures: Path
) -> None:
    index = filled(server, encoder, pictures, 10)
    change(server, index, wide, pictures)
    server.client.index(index=index, id="new", document={"title": "hat", "photo": "7.png"}, refresh=True)
    report = reindex(server.client, index, wide, Options(images=ImageAccess(root=pictures)))
    assert report.written == {"title_vector": 1, "photo_vector": 1}
    expect_exact(server, index, wide, pictures)


def test_several_indices_and_several_images_change_together(
    server: Server, encoder: Encoder, wide: Encoder, pictures: Path
) -> None:
    names = [server.new_index({}, [{"photos": ["1.png", f"{i}.png"]} for i in range(8)]) for _ in range(2)]
    target = parse_target("views=photos[]", "image")
    for name in names:
        add_vectors(server.client, name, encoder, [target], Options(images=ImageAccess(root=pictures)))
    assert change(server, ",".join(names), wide, pictures).switched
    for name in names:
        assert len(expect_exact(server, name, wide, pictures)["3"][record(server, name).fields["views"].path]) == 2
    drop_old(server.client, ",".join(names), grace_s=0)
    assert "views" not in expect_exact(server, names[0], wide, pictures)["3"]
    remove_field(server.client, names[0], "views")
    assert all_documents(server, names[0])["3"] == {"photos": ["1.png", "3.png"]}


def test_only_the_fields_named_change(server: Server, encoder: Encoder, wide: Encoder, pictures: Path) -> None:
    index = filled(server, encoder, pictures, 10)
    change(server, index, wide, pictures, fields=["title_vector"], index_type="flat")
    kept = record(server, index).fields
    assert (kept["title_vector"].model, kept["photo_vector"].model) == ("wide-checkpoint", "small-checkpoint")
    assert kept["title_vector"].index_type == "flat"
    searcher = HybridSearcher(server.client, index, [encoder, wide])
    hit = searcher.search("blue running shoe number 3", size=1).hits[0]
    assert hit.parts["title_vector"].raw == pytest.approx(1.0, abs=1e-4)


def test_a_dry_run_of_a_change_counts(server: Server, encoder: Encoder, wide: Encoder, pictures: Path) -> None:
    index = filled(server, encoder, pictures, 10)
    before = server.client.indices.get_mapping(index=index).body
    report = migrate(server.client, index, wide, Options(dry_run=True))
    assert (report.lacking, report.switched) == ({"title_vector": 10, "photo_vector": 10}, False)
    assert server.client.indices.get_mapping(index=index).body == before


def test_removing_a_field_leaves_no_trace_in_documents_and_its_name_can_be_used_again(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index = filled(server, encoder, pictures, 300)
    before = {id: {k: d[k] for k in ("title", "photo", "price")} for id, d in all_documents(server, index).items()}
    edited = threading.Event()

    def edit(_: Removal) -> None:
        if not edited.is_set():
            edited.set()
            for id in range(0, 300, 10):
                server.client.update(index=index, id=str(id), doc={"price": 1_000}, retry_on_conflict=10)
                before[str(id)]["price"] = 1_000

    counted = remove_field(server.client, index, "photo_vector", dry_run=True)
    assert (counted.found, counted.documents) == (300, 0)
    remove_field(server.client, index, "photo_vector", progress=edit)
    assert edited.is_set()
    assert all(
        "photo_vector" not in d and "photo_vector" not in d["crosslens"] for d in all_documents(server, index).values()
    )
    expect_exact(server, index, encoder, pictures)
    remove_field(server.client, index, "title_vector")
    assert all_documents(server, index) == before
    with pytest.raises(MappingError, match="no vectors or labels in 'title_vector'; it has none"):
        remove_field(server.client, index, "title_vector")
    add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=pictures)))
    expect_exact(server, index, encoder, pictures)


def test_an_interrupted_removal_goes_on(server: Server, encoder: Encoder, pictures: Path) -> None:
    index = filled(server, encoder, pictures, 500)

    def interrupt(report: Removal) -> None:
        if report.documents >= 100:
            raise KeyboardInterrupt

    first = remove_field(server.client, index, "photo_vector", progress=interrupt)
    assert first.interrupted
    assert "photo_vector" not in record(server, index).fields
    second = remove_field(server.client, index, "photo_vector")
    assert 0 < second.documents < 500
    assert all("photo_vector" not in document for document in all_documents(server, index).values())
    assert record(server, index).previous == {}


def test_status_counts_what_is_done_missing_stale_failed_and_without_source(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    documents = [*shop(20), {"title": "hat", "photo": "nowhere.png"}, {"title": "no picture", "photo": ""}]
    index = server.new_index(MAPPINGS, documents)
    add_vectors(server.client, index, encoder, EXACT, Options(images=ImageAccess(root=pictures)))
    server.client.update(index=index, id="3", doc={"title": "red hat"})
    server.client.index(index=index, id="new", document={"title": "hat", "photo": "7.png"})
    server.client.index(index=index, id="bare", document={"price": 3}, refresh=True)
    found = survey(server.client, index)
    title, photo = found.fields["title_vector"], found.fields["photo_vector"]
    assert (found.documents, found.scanned) == (24, 24)
    assert (title.done, title.missing, title.stale, title.failed, title.skipped) == (21, 1, 1, 0, 0)
    assert (photo.done, photo.missing, photo.stale, photo.failed, photo.skipped) == (20, 1, 0, 1, 1)
    assert title.field.dims == 24
    # At least the floats themselves.
    assert title.bytes is not None
    assert title.bytes >= 22 * 24 * 4
    quick = survey(server.client, index, quick=True).fields["photo_vector"]
    assert (quick.done, quick.missing, quick.failed, quick.skipped, quick.bytes) == (20, 1, 1, 1, None)
