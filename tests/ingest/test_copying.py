"""reindex --into: a copy with vectors that follows its original, and an alias that switches without losing a write."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import ApiError

from crosslens.errors import MappingError, MigrationError, ModelError
from crosslens.ingest.contract.record import vector_fields
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run import copying
from crosslens.ingest.run.copying import copy_index
from crosslens.ingest.run.report import CopyReport, Report
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, all_documents, expect_exact, shop
from tests.ingest.test_reindex import Editor, check_edits

pytestmark = pytest.mark.node


def new_name() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


def copy(server: Server, index: str, into: str, encoder: Encoder, root: Path, **more: Any) -> CopyReport:
    options = Options(images=ImageAccess(root=root))
    return copy_index(server.client, index, into, encoder, [TITLE, PHOTO], options, **more)


def of(server: Server, index: str, part: str) -> dict[str, Any]:
    found = {
        "mappings": lambda: server.client.indices.get_mapping(index=index)[index]["mappings"],
        "settings": lambda: server.client.indices.get_settings(index=index, flat_settings=True)[index]["settings"],
        "aliases": lambda: server.client.indices.get_alias(index=index)[index]["aliases"],
    }
    return dict(found[part]())


def test_the_copy_has_settings_mapping_documents_and_vectors_and_the_original_is_as_it_was(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index, into = server.new_index(MAPPINGS, shop(300)), new_name()
    server.client.indices.put_settings(index=index, settings={"index.refresh_interval": "7s"})
    server.client.index(index=index, id="routed", routing="a", document={"title": "hat", "photo": "1.png"})
    server.client.index(index=index, id="v", version=7, version_type="external", document=shop(1)[0], refresh=True)
    before = all_documents(server, index)
    report = copy(server, index, into, encoder, pictures)
    assert (report.copied, report.count_before, report.count_after, report.failures) == (302, 302, 302, [])
    assert not report.switched
    documents = expect_exact(server, into, encoder, pictures)
    assert {id: {k: d[k] for k in before[id]} for id, d in documents.items()} == before
    assert all_documents(server, index) == before
    assert vector_fields(of(server, index, "mappings")) == {}
    settings = of(server, into, "settings")
    assert (settings["index.refresh_interval"], settings["index.number_of_shards"]) == ("7s", "3")
    assert of(server, into, "mappings")["dynamic"] == "strict"
    assert server.client.get(index=into, id="routed", routing="a")["found"]
    # An application that numbers its versions itself goes on where it was.
    assert server.client.get(index=into, id="v")["_version"] == 7


def test_the_alias_switches_with_its_filter_and_the_original_can_be_written_again(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index, into, alias = server.new_index(MAPPINGS, shop(20)), new_name(), new_name()
    cheap = {"range": {"price": {"lt": 10}}}
    server.client.indices.put_alias(index=index, name=alias, filter=cheap, is_write_index=True)
    report = copy(server, index, into, encoder, pictures, alias=alias)
    assert report.switched
    assert of(server, into, "aliases") == {alias: {"filter": cheap, "is_write_index": True}}
    assert of(server, index, "aliases") == {}
    assert server.client.count(index=alias)["count"] == 10
    assert "index.blocks.write" not in of(server, index, "settings")
    assert "copy" not in of(server, into, "mappings")["_meta"]["crosslens"]
    with pytest.raises(MigrationError, match="isn't an unfinished copy"):
        copy(server, index, into, encoder, pictures, alias=alias)


def test_no_write_through_the_alias_is_lost_while_it_switches(server: Server, encoder: Encoder, pictures: Path) -> None:
    index, into, alias = server.new_index(MAPPINGS, shop(400)), new_name(), new_name()
    server.client.indices.put_alias(index=index, name=alias, is_write_index=True)
    stop = threading.Event()
    written: dict[str, str] = {}
    deleted: set[str] = set()
    refused: list[int] = []

    def write() -> None:
        n = 0
        while not stop.is_set():
            id, n = str(n % 500), n + 1
            try:
                if n % 7 == 0:
                    server.client.options(ignore_status=404).delete(index=alias, id=id)
                    deleted.add(id)
                    written.pop(id, None)
                else:
                    server.client.index(index=alias, id=id, document={"title": f"write {n}", "photo": f"{n % 60}.png"})
                    written[id] = f"write {n}"
                    deleted.discard(id)
            except ApiError as error:
                # The block of the last round; an application tries again.
                refused.append(error.status_code)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        report = copy(server, index, into, encoder, pictures, alias=alias)
    finally:
        stop.set()
        writer.join()
    assert report.switched
    assert len(written) + len(deleted) > 50
    assert set(refused) <= {403}
    # What was written to the copy itself after the switch has no vector yet.
    add_vectors(
        server.client,
        into,
        encoder,
        [TITLE, PHOTO],
        Options(Selection(stale=True), ImageAccess(root=pictures)),
    )
    documents = expect_exact(server, into, encoder, pictures)
    assert {id: documents[id]["title"] for id in written} == written
    assert not deleted & documents.keys()
    assert documents.keys() == written.keys() | ({str(i) for i in range(400)} - deleted)


def test_the_copy_follows_edits_and_deletions_made_meanwhile(server: Server, encoder: Encoder, pictures: Path) -> None:
    index, into = server.new_index(MAPPINGS, shop(500)), new_name()
    editor = Editor(server, index, 500, 600, seed=3)
    editor.start()
    copy(server, index, into, encoder, pictures)
    editor.join()
    report = copy(server, index, into, encoder, pictures)
    assert report.count_after == report.count_before
    check_edits(expect_exact(server, into, encoder, pictures), [editor], 500)


def test_an_interrupted_copy_goes_on_where_it_was(server: Server, encoder: Encoder, pictures: Path) -> None:
    index, into, alias = server.new_index(MAPPINGS, shop(300)), new_name(), new_name()

    def interrupt(report: Report) -> None:
        if report.documents >= 100:
            raise KeyboardInterrupt

    first = copy(server, index, into, encoder, pictures, alias=alias, progress=interrupt)
    assert first.interrupted
    assert not first.switched
    # Deleted here, and anew with another text and a lower version: not the document that was copied.
    for _ in range(3):
        server.client.index(index=index, id="0", document=shop(1)[0])
    server.client.delete(index=index, id="0")
    server.client.index(index=index, id="0", document={"title": "another", "photo": "9.png"}, refresh=True)
    second = copy(server, index, into, encoder, pictures, alias=alias)
    assert second.switched
    assert second.copied <= 201
    assert expect_exact(server, into, encoder, pictures)["0"]["title"] == "another"
    assert of(server, into, "aliases") == {alias: {}}


def test_a_run_killed_while_the_alias_switches_is_tidied_up_by_the_next(
    server: Server, encoder: Encoder, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise SystemExit

    for after_the_switch in (False, True):
        index, into, alias = server.new_index(MAPPINGS, shop(30)), new_name(), new_name()
        server.client.indices.put_alias(index=index, name=alias)
        with monkeypatch.context() as context:
            # As after kill -9: nothing is tidied up.
            context.setattr(copying, "tidy", killed)
            if not after_the_switch:
                context.setattr("elasticsearch.client.IndicesClient.update_aliases", killed)
            with pytest.raises(SystemExit):
                copy(server, index, into, encoder, pictures, alias=alias)
        assert of(server, index, "settings")["index.blocks.write"] == "true"
        assert (alias in of(server, into, "aliases")) == after_the_switch
        if after_the_switch:
            server.client.index(index=into, id="new", document={"title": "written to the copy"}, refresh=True)
        # By the alias, too, which leads to the copy after the switch.
        assert copy(server, alias, into, encoder, pictures, alias=alias).switched
        assert "index.blocks.write" not in of(server, index, "settings")
        assert alias in of(server, into, "aliases")
        assert server.client.exists(index=into, id="new").body == after_the_switch


def test_a_block_that_was_there_before_stays(server: Server, encoder: Encoder, pictures: Path) -> None:
    index, into, alias = server.new_index(MAPPINGS, shop(10)), new_name(), new_name()
    server.client.indices.put_settings(index=index, settings={"index.blocks.write": True})
    assert copy(server, index, into, encoder, pictures, alias=alias).switched
    assert of(server, index, "settings")["index.blocks.write"] == "true"
    assert "index.blocks.write" not in of(server, into, "settings")


def test_an_index_with_vectors_is_copied_with_them_and_only_what_is_behind_is_encoded(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index, into = server.new_index(MAPPINGS, shop(40)), new_name()
    add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=pictures)))
    server.client.update(index=index, id="3", doc={"title": "red hat"}, refresh=True)
    texts: list[str] = []
    encode = encoder.encode_texts
    encoder_of_copy = Encoder(encoder.folder.path, verify=False)
    encoder_of_copy.encode_texts = lambda t: (texts.extend(t), encode(t))[1]  # type: ignore[method-assign]
    report = copy_index(server.client, index, into, encoder_of_copy)
    assert texts == ["red hat"]
    assert report.copied == 40
    expect_exact(server, into, encoder, pictures)


def test_a_copy_can_be_of_another_model_with_other_dims(
    server: Server, encoder: Encoder, models: Path, pictures: Path
) -> None:
    index, into = server.new_index(MAPPINGS, shop(20)), new_name()
    add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=pictures)))
    wide = Encoder(models / "wide")
    assert wide.dims != encoder.dims
    copy_index(server.client, index, into, wide, (), Options(images=ImageAccess(root=pictures)))
    expect_exact(server, into, wide, pictures)
    expect_exact(server, index, encoder, pictures)


def test_what_can_not_be_copied_says_why(
    server: Server, encoder: Encoder, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine that knows no model yet.
    monkeypatch.setenv("CROSSLENS_DATA", str(tmp_path))
    index, other = server.new_index(MAPPINGS, shop(2)), server.new_index(MAPPINGS, shop(2))
    with pytest.raises(MigrationError, match=f"'{other}' exists already and isn't an unfinished copy of '{index}'"):
        copy(server, index, other, encoder, pictures)
    with pytest.raises(MigrationError, match=f"'{other}' is an index, so it can't become an alias"):
        copy(server, index, new_name(), encoder, pictures, alias=other)
    with pytest.raises(MigrationError, match="copy one index at a time"):
        copy(server, f"{index},{other}", new_name(), encoder, pictures)
    with pytest.raises(MappingError, match="no vector fields yet"):
        copy_index(server.client, index, new_name(), None)
    with pytest.raises(ModelError, match="new vector fields need a model; name it"):
        copy_index(server.client, index, new_name(), None, [TITLE])
    add_vectors(server.client, index, encoder, [TITLE])
    with pytest.raises(ModelError):
        copy_index(server.client, index, new_name(), None)
    with pytest.raises(MappingError, match="has no field 'tittle'"):
        copy_index(server.client, index, new_name(), encoder, [Target("v", "text", ("tittle",))])


def test_a_dry_run_of_a_copy_makes_nothing(server: Server, encoder: Encoder, pictures: Path) -> None:
    index, into = server.new_index(MAPPINGS, shop(5)), new_name()
    options = Options(images=ImageAccess(root=pictures), dry_run=True)
    report = copy_index(server.client, index, into, encoder, [TITLE, PHOTO], options)
    assert (report.todo, report.count_before, report.count_after) == (5, 5, 0)
    assert not server.client.indices.exists(index=into)
