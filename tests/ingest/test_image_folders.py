"""The folder that images are read from: remembered by the index, and refused at once where it isn't there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from crosslens.errors import MappingError
from crosslens.ingest.contract.record import read_record
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.contract.targets import parse_target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.migrate import migrate
from crosslens.ingest.run.remove import remove_field
from crosslens.ingest.run.report import Failure, FailureLog
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors, reindex
from crosslens.ingest.sources.access import ImageAccess
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, shop

pytestmark = pytest.mark.node


def recorded(server: Server, index: str) -> dict[str, str]:
    return read_record(server.client.indices.get_mapping(index=index)[index]["mappings"]).image_roots


def test_a_folder_that_is_gone_is_named_before_a_run_starts(
    server: Server, encoder: Encoder, models: Path, pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(pictures, folder)
    index = server.new_index(MAPPINGS, shop(5))
    add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=str(folder))))
    assert recorded(server, index) == {"photo_vector": str(folder)}
    everything = Options(Selection(every=True))
    # Without a folder named, the one that is remembered serves.
    assert reindex(server.client, index, encoder, everything).written == {"title_vector": 5, "photo_vector": 5}
    folder.rename(tmp_path / "moved")
    before = server.source(index, "1")
    for again in (
        lambda: reindex(server.client, index, encoder, everything),
        lambda: add_vectors(server.client, index, encoder, [PHOTO]),
        lambda: migrate(server.client, index, Encoder(models / "wide")),
    ):
        with pytest.raises(MappingError, match=f"were last read from '{folder}', which isn't a folder") as caught:
            again()
        assert caught.value.parameter == "image_root"
    assert server.source(index, "1") == before
    # Fields that need no images aren't held up.
    assert reindex(server.client, index, encoder, everything, fields=["title_vector"]).written == {"title_vector": 5}
    moved = Options(Selection(every=True), ImageAccess(root=tmp_path / "moved"))
    assert reindex(server.client, index, encoder, moved).written == {"title_vector": 5, "photo_vector": 5}
    assert recorded(server, index) == {"photo_vector": str(tmp_path / "moved")}
    remove_field(server.client, index, "photo_vector")
    assert recorded(server, index) == {}


def test_a_folder_that_never_was_is_refused_only_for_paths(server: Server, encoder: Encoder, tmp_path: Path) -> None:
    options = Options(images=ImageAccess(root=tmp_path / "nothing"))
    index = server.new_index(MAPPINGS, shop(5))
    before = server.client.indices.get_mapping(index=index).body
    with pytest.raises(MappingError, match=r"there is no folder .*by path") as caught:
        add_vectors(server.client, index, encoder, [PHOTO], options)
    assert caught.value.parameter == "image_root"
    assert server.client.indices.get_mapping(index=index).body == before
    inline = server.new_index({}, [{"photo": "data:image/png;base64,AAAA"}])
    assert add_vectors(server.client, inline, encoder, [PHOTO], options).failed == {"photo_vector": 1}


_HALF = "\ud83d"


@pytest.mark.parametrize(
    "reference",
    [
        f"a{_HALF}.png",
        f"file:///a{_HALF}.png",
        f"data:image/png,{_HALF}",
        f"data:image/png;base64,{_HALF}",
        f"http://127.0.0.1:1/{_HALF}.png",
        f"https://{_HALF}.example/a.png",
        f"s3://{_HALF}/a.png",
    ],
)
def test_half_a_character_stops_no_run(
    server: Server, encoder: Encoder, pictures: Path, tmp_path: Path, reference: str
) -> None:
    index = server.new_index({}, [], shards=1)
    for id, document in {f"a{_HALF}": {"title": f"shoe {_HALF}", "photo": reference}, "b": {"photo": "1.png"}}.items():
        lines: Any = [{"index": {"_index": index, "_id": id}}, document]
        assert not server.client.bulk(operations=lines, refresh=True)["errors"]
    failures = tmp_path / "failures.jsonl"
    access = ImageAccess(root=pictures, allow_private_urls=True, cache=tmp_path / "cache")
    words = parse_target("words={title} " + _HALF, "text")
    targets = [TITLE, words, PHOTO, parse_target("views=photo[]", "image")]
    with FailureLog(failures, ["again"]) as log:
        report = add_vectors(server.client, index, encoder, targets, Options(images=access), failed=log.write)
    assert report.written == {"title_vector": 1, "words": 1, "photo_vector": 1, "views": 1}
    assert report.failed == {"photo_vector": 1, "views": 1}
    assert [json.loads(line)["field"] for line in failures.read_text().splitlines()] == ["photo_vector", "views"]
    again = reindex(server.client, index, encoder, Options(Selection(stale=True, contents=True), images=access))
    assert again.documents == 0 or not again.written
    assert reindex(server.client, index, encoder, Options(Selection(failed=True), images=access)).failed


def test_a_document_whose_id_leads_to_no_shard_is_a_failure(server: Server, encoder: Encoder) -> None:
    # The server shows U+FFFD in such ids, but has chosen the shard by what was sent.
    index = server.new_index({}, [], shards=3)
    lines: list[Any] = [
        line for i in range(8) for line in ({"index": {"_index": index, "_id": f"{i}{_HALF}"}}, {"title": f"shoe {i}"})
    ]
    assert not server.client.bulk(operations=lines, refresh=True)["errors"]
    report = add_vectors(server.client, index, encoder, [TITLE])
    assert report.written.get("title_vector", 0) + report.failed["document"] == 8
    assert "half a character" in report.failures[0].reason


def test_failures_can_be_printed_and_listed_whatever_they_quote(tmp_path: Path) -> None:
    failure = Failure("index", f"a{_HALF}", "photo_vector", f"{_HALF}: no such file")
    with FailureLog(tmp_path / "failures.jsonl", []) as log:
        log.write(failure)
    (line,) = (tmp_path / "failures.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["id"] == f"a{_HALF}"
    assert failure.reason == "\ufffd: no such file"
