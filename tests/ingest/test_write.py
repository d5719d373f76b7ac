"""The write path against real nodes: what is written, what is recorded, and what is left alone."""

from __future__ import annotations

import base64
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from PIL import Image

from crosslens.client import Connection, connect
from crosslens.errors import BlockedError, ConnectionFailedError, MappingError
from crosslens.ingest.contract.documents import standing, state_of
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.report import Report
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, shop
from tests.ingest.test_images import bomb

pytestmark = pytest.mark.node


def add(server: Server, index: str, encoder: Encoder, root: Path, **options: Any) -> Report:
    options.setdefault("images", ImageAccess(root=root))
    return add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(**options))


def check_vectors(server: Server, index: str, encoder: Encoder, root: Path, ids: list[str]) -> None:
    """Each document has exactly the vectors of its present sources."""
    for id in ids:
        document = server.source(index, id)
        text = encoder.encode_texts([str(document["title"])])[0]
        image = encoder.encode_images([root / str(document["photo"])])[0]
        assert np.allclose(_numbers(document["title_vector"]), text, atol=1e-5), id
        assert np.allclose(_numbers(document["photo_vector"]), image, atol=1e-5), id


def _numbers(vector: object) -> list[float]:
    assert isinstance(vector, list)
    return vector


def test_every_document_gets_its_vectors_and_a_second_run_finds_nothing_to_do(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index = server.new_index(MAPPINGS, shop())
    report = add(server, index, encoder, pictures)
    assert report.todo == report.documents == 60
    assert report.written == {"title_vector": 60, "photo_vector": 60}
    assert report.failures == []
    check_vectors(server, index, encoder, pictures, [str(i) for i in range(60)])
    second = add(server, index, encoder, pictures)
    assert (second.todo, second.documents, second.written) == (0, 0, {})


def test_the_rest_of_each_document_is_as_it_was(server: Server, encoder: Encoder, pictures: Path) -> None:
    index = server.new_index(MAPPINGS, shop(5))
    add(server, index, encoder, pictures)
    document = server.source(index, "3")
    assert {k: document[k] for k in ("title", "photo", "price")} == shop(5)[3]


def test_a_new_and_a_rewritten_document_are_taken_up_by_the_next_run(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index = server.new_index(MAPPINGS, shop(5))
    add(server, index, encoder, pictures)
    server.client.index(index=index, id="2", document={"title": "red hat", "photo": "50.png"}, refresh=True)
    server.client.index(index=index, id="new", document={"title": "green sock", "photo": "51.png"}, refresh=True)
    assert add(server, index, encoder, pictures).documents == 2
    check_vectors(server, index, encoder, pictures, ["2", "new"])


def test_a_second_vector_field_is_filled_without_touching_the_first(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index = server.new_index(MAPPINGS, shop(8))
    options = Options(images=ImageAccess(root=pictures))
    add_vectors(server.client, index, encoder, [TITLE], options)
    report = add_vectors(server.client, index, encoder, [TITLE, PHOTO], options)
    assert report.written == {"photo_vector": 8}


def test_bad_images_and_texts_are_recorded_one_by_one_and_the_rest_is_done(
    server: Server, encoder: Encoder, pictures: Path, tmp_path: Path
) -> None:
    whole = (pictures / "0.png").read_bytes()
    files = {
        "corrupt.png": whole[:40] + b"\0" * 40 + whole[80:],
        "truncated.png": whole[: len(whole) // 2],
        "empty.png": b"",
        "text.png": b"hello",
        "bomb.png": bomb(30_000, 30_000),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "good.png").write_bytes(whole)
    Image.new("CMYK", (20, 20), (0, 200, 200, 0)).save(tmp_path / "cmyk.jpg")
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(tmp_path / "sixteen.png")
    frames = [Image.new("RGB", (9, 9), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "really-a-jpeg.png").write_bytes((tmp_path / "cmyk.jpg").read_bytes())
    good = ["good.png", "cmyk.jpg", "sixteen.png", "moving.gif", "really-a-jpeg.png"]
    bad = [*files, "missing.png", "../outside.png", "https://example.org/x.png"]
    documents: list[dict[str, Any]] = [{"title": name, "photo": name} for name in [*good, *bad]]
    documents += [{"title": "  \n", "photo": "good.png"}, {"title": "no picture"}]
    documents += [{"title": "word " * 10_000, "photo": "good.png"}]
    index = server.new_index(MAPPINGS, documents)
    report = add(server, index, encoder, tmp_path)
    failed = {documents[int(f.id)]["photo"]: f.reason for f in report.failures}
    assert set(failed) == set(bad)
    assert {f.field for f in report.failures} == {"photo_vector"}
    assert "no such file" in failed["missing.png"]
    assert "outside the image folder" in failed["../outside.png"]
    assert "pixels" in failed["bomb.png"]
    assert report.skipped == {"title_vector": 1, "photo_vector": 1}
    assert report.written == {"title_vector": len(documents) - 1, "photo_vector": len(good) + 2}
    state = state_of(server.source(index, str(len(good))), "photo_vector")
    assert state is not None
    assert state["error"] == failed["corrupt.png"]
    again = add(server, index, encoder, tmp_path)
    assert again.todo == 0
    assert again.failed_earlier == {"photo_vector": len(bad)}


def test_failed_documents_are_taken_up_when_asked_and_their_error_goes_away(
    server: Server, encoder: Encoder, pictures: Path, tmp_path: Path
) -> None:
    index = server.new_index(MAPPINGS, [{"title": "shoe", "photo": "late.png"}])
    assert len(add(server, index, encoder, tmp_path).failures) == 1
    (tmp_path / "late.png").write_bytes((pictures / "0.png").read_bytes())
    report = add(server, index, encoder, tmp_path, selection=Selection(failed=True))
    assert report.written == {"photo_vector": 1}
    state = state_of(server.source(index, "0"), "photo_vector")
    assert state is not None
    assert state["error"] is None
    check_vectors(server, index, encoder, tmp_path, ["0"])


def test_a_reference_too_long_to_be_indexed_is_still_found(server: Server, encoder: Encoder, pictures: Path) -> None:
    uri = "data:image/png;base64," + base64.b64encode((pictures / "0.png").read_bytes()).decode()
    assert len(uri) > 256
    index = server.new_index(MAPPINGS, [{"title": "shoe", "photo": uri}])
    assert add(server, index, encoder, pictures).written == {"title_vector": 1, "photo_vector": 1}


def test_a_source_that_is_kept_but_not_mapped_is_found(server: Server, encoder: Encoder, pictures: Path) -> None:
    mappings = {"dynamic": False, "properties": {"title": {"type": "text"}}}
    index = server.new_index(mappings, [{"title": "shoe", "photo": "1.png"}, {"title": "hat"}])
    report = add(server, index, encoder, pictures)
    assert report.written == {"title_vector": 2, "photo_vector": 1}
    assert report.skipped == {"photo_vector": 1}
    assert add(server, index, encoder, pictures).todo == 0


def test_documents_under_their_own_routing_are_updated_in_place(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index = server.new_index(MAPPINGS, [])
    for i in range(10):
        document = {"title": f"shoe {i}", "photo": f"{i}.png"}
        server.client.index(index=index, id=str(i), routing=f"key-{i}", document=document)
    server.client.indices.refresh(index=index)
    assert add(server, index, encoder, pictures).written["photo_vector"] == 10
    assert server.client.count(index=index)["count"] == 10
    check_vectors(server, index, encoder, pictures, [str(i) for i in range(10)])


def test_an_alias_of_two_indices_is_filled_in_both(server: Server, encoder: Encoder, pictures: Path) -> None:
    names = [server.new_index(MAPPINGS, shop(4)) for _ in range(2)]
    for name in names:
        server.client.indices.put_alias(index=name, name=f"alias-{names[0]}")
    report = add(server, f"alias-{names[0]}", encoder, pictures)
    assert report.written == {"title_vector": 8, "photo_vector": 8}
    for name in names:
        check_vectors(server, name, encoder, pictures, ["0", "3"])


def test_documents_edited_and_deleted_while_it_runs_end_right(server: Server, encoder: Encoder, pictures: Path) -> None:
    index = server.new_index(MAPPINGS, shop())
    stop = threading.Event()
    edits = [0]

    def edit() -> None:
        rng = np.random.default_rng(5)
        while not stop.is_set():
            i = int(rng.integers(0, 50))
            server.client.update(index=index, id=str(i), doc={"title": f"edit {edits[0]}"}, retry_on_conflict=20)
            edits[0] += 1

    editor = threading.Thread(target=edit)
    deleted = [str(i) for i in range(50, 60)]

    def delete(report: Report) -> None:
        if report.documents >= 8 and deleted:
            server.client.delete(index=index, id=deleted.pop())

    editor.start()
    try:
        options = Options(images=ImageAccess(root=pictures))
        report = add_vectors(server.client, index, encoder, [TITLE, PHOTO], options, progress=delete)
    finally:
        stop.set()
        editor.join()
    assert edits[0] > 20
    assert report.caught_up > 0
    assert [f for f in report.failures if "changed" not in f.reason] == []
    server.client.indices.refresh(index=index)
    remaining = {hit["_id"] for hit in server.client.search(index=index, size=100)["hits"]["hits"]}
    assert remaining >= {str(i) for i in range(50)}
    for id in remaining - {str(i) for i in range(50)}:
        check_vectors(server, index, encoder, pictures, [id])
    # A text edited after its vector was written is stale by its hash, never silently right.
    for i in range(50):
        document = server.source(index, str(i))
        if standing(document, next(iter(report.fields.values()))) == "done":
            expected = encoder.encode_texts([str(document["title"])])[0]
            assert np.allclose(_numbers(document["title_vector"]), expected, atol=1e-5)


def test_a_document_written_between_the_first_refresh_and_the_first_read_is_not_missed(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index = server.new_index(MAPPINGS, shop(5))
    server.client.indices.put_settings(index=index, settings={"index.refresh_interval": -1})
    client = connect(Connection(url=server.node.url))
    perform = client.transport.perform_request
    written: list[str] = []

    def meanwhile(method: str, target: str, **how: Any) -> Any:
        if "/_count" in target and not written:
            # No search sees it before the run refreshes the index again.
            written.append("late")
            server.client.index(index=index, id="late", document={"title": "hat", "photo": "1.png"})
        return perform(method, target, **how)

    client.transport.perform_request = meanwhile  # type: ignore[method-assign]
    add_vectors(client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=pictures)))
    assert written
    check_vectors(server, index, encoder, pictures, ["0", "late"])


def test_two_runs_at_once_share_the_work_and_do_no_harm(server: Server, encoder: Encoder, pictures: Path) -> None:
    index = server.new_index(MAPPINGS, shop())
    reports: list[Report] = []
    runs = [threading.Thread(target=lambda: reports.append(add(server, index, encoder, pictures))) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [r.failures for r in reports] == [[], []]
    assert sum(r.written.get("photo_vector", 0) for r in reports) == 60
    check_vectors(server, index, encoder, pictures, [str(i) for i in range(60)])


def test_an_interrupted_run_is_continued_by_the_next(server: Server, encoder: Encoder, pictures: Path) -> None:
    index = server.new_index(MAPPINGS, shop())

    def interrupt(report: Report) -> None:
        if report.documents >= 24:
            raise KeyboardInterrupt

    options = Options(images=ImageAccess(root=pictures))
    first = add_vectors(server.client, index, encoder, [TITLE, PHOTO], options, progress=interrupt)
    assert first.interrupted
    done = first.written["photo_vector"]
    assert 0 < done < 60
    assert add(server, index, encoder, pictures).documents == 60 - done
    check_vectors(server, index, encoder, pictures, [str(i) for i in range(60)])


def test_a_dry_run_counts_and_changes_nothing(server: Server, encoder: Encoder, pictures: Path) -> None:
    index = server.new_index(MAPPINGS, shop(7))
    before = server.client.indices.get_mapping(index=index).body
    report = add(server, index, encoder, pictures, dry_run=True)
    assert (report.todo, report.written) == (7, {})
    assert server.client.indices.get_mapping(index=index).body == before


def test_an_index_that_blocks_writes_is_an_error_and_nothing_is_lost(server: Server, encoder: Encoder) -> None:
    index = server.new_index(MAPPINGS, shop(4))
    add_vectors(server.client, index, encoder, [TITLE], Options())
    server.client.index(index=index, id="new", document={"title": "hat", "photo": "1.png"}, refresh=True)
    server.client.indices.put_settings(index=index, settings={"index.blocks.write": True})
    with pytest.raises(BlockedError, match=rf"{index}.* blocked .*the same call again"):
        add_vectors(server.client, index, encoder, [TITLE], Options())
    server.client.indices.put_settings(index=index, settings={"index.blocks.write": False})
    assert add_vectors(server.client, index, encoder, [TITLE], Options()).written == {"title_vector": 1}


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        ([Target("v", "text", ("tittle",))], "has no field 'tittle'; it has photo, price, title"),
        ([Target("v", "image", ("price",))], "'price' .* is of type float"),
        ([Target("price", "text", ("title",))], "is of type float, not dense_vector"),
        ([TITLE, replace(TITLE, sources=("photo",))], "would share a name"),
        ([], "at least one source field"),
    ],
)
def test_fields_that_do_not_fit_are_refused_before_anything_is_written(
    server: Server, encoder: Encoder, targets: list[Target], says: str
) -> None:
    index = server.new_index(MAPPINGS, shop(2))
    before = server.client.indices.get_mapping(index=index).body
    with pytest.raises(MappingError, match=says):
        add_vectors(server.client, index, encoder, targets)
    assert server.client.indices.get_mapping(index=index).body == before


def test_an_index_that_does_not_exist_names_those_that_do(server: Server, encoder: Encoder) -> None:
    index = server.new_index(MAPPINGS, [])
    with pytest.raises(MappingError, match=rf"named '{index[:-1]}'; did you mean .*{index}"):
        add_vectors(server.client, index[:-1], encoder, [TITLE])
    with pytest.raises(MappingError, match="named 'nothing-like-it'; the cluster has test-"):
        add_vectors(server.client, "nothing-like-it", encoder, [TITLE])


def test_another_model_in_the_same_field_is_refused_with_both_names(
    server: Server, encoder: Encoder, models: Path, pictures: Path
) -> None:
    index = server.new_index(MAPPINGS, shop(2))
    add(server, index, encoder, pictures)
    with pytest.raises(MappingError, match=r"vectors of small-checkpoint .*, not of other-checkpoint"):
        add_vectors(server.client, index, Encoder(models / "other"), [TITLE])


def test_vectors_of_other_dims_are_refused(server: Server, encoder: Encoder) -> None:
    mappings = {**MAPPINGS, "properties": {**MAPPINGS["properties"], "v": {"type": "dense_vector", "dims": 3}}}
    index = server.new_index(mappings, shop(1))
    with pytest.raises(MappingError, match=r"holds vectors of 3 dims, but small-checkpoint makes 24"):
        add_vectors(server.client, index, encoder, [replace(TITLE, field="v")])


def test_an_index_without_source_is_refused(server: Server, encoder: Encoder) -> None:
    index = server.new_index({"_source": {"enabled": False}, "properties": {"title": {"type": "text"}}}, [])
    with pytest.raises(MappingError, match="keeps no _source"):
        add_vectors(server.client, index, encoder, [TITLE])


def test_a_server_that_is_gone_is_a_clear_error() -> None:
    with pytest.raises(ConnectionFailedError, match=r"no Elasticsearch answers at http://127\.0\.0\.1:9 "):
        connect(Connection(url="http://127.0.0.1:9"))


def test_the_index_type_is_what_was_asked_for(server: Server, encoder: Encoder) -> None:
    index = server.new_index(MAPPINGS, shop(3))
    add_vectors(server.client, index, encoder, [replace(TITLE, index_type="flat")])
    mapping = server.client.indices.get_mapping(index=index)[index]["mappings"]["properties"]["title_vector"]
    assert mapping["index_options"]["type"] == "flat"


def test_pictures_in_the_index_need_no_copy_in_its_source(server: Server, encoder: Encoder, pictures: Path) -> None:
    index = server.new_index(MAPPINGS, shop(1))
    add(server, index, encoder, pictures)
    kept = str({k: v for k, v in server.source(index, "0").items() if not k.endswith("_vector")})
    assert base64.b64encode((pictures / "0.png").read_bytes()[:30]).decode() not in kept


def test_a_client_of_the_callers_own_works_too(server: Server, encoder: Encoder) -> None:
    if server.version.startswith("8"):
        pytest.skip("a bare client of version 9 doesn't speak to a server of version 8")
    index = server.new_index(MAPPINGS, shop(2))
    assert add_vectors(Elasticsearch(server.node.url), index, encoder, [TITLE]).written == {"title_vector": 2}
