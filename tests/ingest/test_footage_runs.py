"""Sound and footage of an index's documents: a vector for each moment, whatever happens to a run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosslens import AudioField, Cutting, VideoField, add_vectors, copy_index, migrate, reindex, remove_field, survey
from crosslens.errors import MappingError
from crosslens.ingest.contract.documents import state_of
from crosslens.ingest.contract.ingest_pipeline import put_pipeline
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run import media_pass
from crosslens.ingest.run.media_vectors import frame_side
from crosslens.ingest.run.run import Options
from crosslens.ingest.sources.access import ImageAccess
from crosslens.ingest.sources.media import open_media
from tests.conftest import Server
from tests.ingest.exactness import all_documents
from tests.plugin.test_cli import run

pytest.importorskip("av", reason="the extra 'av' is not installed")
pytestmark = [pytest.mark.node, pytest.mark.export]

MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {"title": {"type": "text"}, "footage": {"type": "keyword"}},
}
CAPTIONS = """WEBVTT

00:00.500 --> 00:01.500
A penguin walks.

00:02.500 --> 00:03.500
It jumps into the sea.
"""
FIELD = VideoField("footage")
STEPS = VideoField("footage", cutting=Cutting(shots=False, step_s=0.25))
PATH = "footage_vector"


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: scenes.mp4 with captions beside it, silent.mp4 without sound, heard.wav, and broken.mp4."""
    from tests.ingest.footage import Film, film

    folder = tmp_path_factory.mktemp("films")
    (folder / "scenes.mp4").write_bytes(film(Film()))
    (folder / "scenes.vtt").write_text(CAPTIONS)
    (folder / "silent.mp4").write_bytes(film(Film(seconds=3, sound=None, scene_s=1.5)))
    (folder / "heard.wav").write_bytes(film(Film(seconds=3, format="wav", codec=None, sound="pcm_s16le")))
    (folder / "broken.mp4").write_bytes(b"\0\0\0 ftypisom" + b"nothing else" * 40)
    return folder


def options(folder: Path, **selection: Any) -> Options:
    return Options(Selection(**selection), images=ImageAccess(folder))


def moments_of(document: dict[str, Any], path: str = PATH) -> list[dict[str, Any]]:
    return list(document.get(path) or [])


def expect_frames(document: dict[str, Any], file: Path, encoder: Encoder) -> None:
    """Compares the vector of every moment with one made now of the picture in its middle."""
    stored = moments_of(document)
    with open_media(file) as media:
        times = [(each["start"] + each["end"]) // 2 for each in stored]
        frames = list(media.frames(times, frame_side(encoder)))
    expected = encoder.encode_pixels(np.stack([encoder.prepare_frame(frame) for frame in frames]))
    # A key frame of the same moment serves as well: its picture is of the same scene.
    assert np.einsum("ij,ij->i", np.array([each["vector"] for each in stored]), expected).min() > 0.98


def test_footage_gets_a_vector_for_each_shot_and_its_words(server: Server, encoder: Encoder, films: Path) -> None:
    names = ["scenes.mp4", "silent.mp4", "heard.wav", "broken.mp4", None]
    index = server.new_index(MAPPINGS, [{"title": str(n), **({"footage": n} if n else {})} for n in names])
    report = add_vectors(server.client, index, encoder, [FIELD], options(films))
    assert (report.written, report.skipped, report.failed) == ({PATH: 2}, {PATH: 1}, {PATH: 1})
    assert (report.documents, report.moments) == (4, {PATH: 5})
    assert "broken.mp4: can't be opened" in report.failures[0].reason
    found = all_documents(server, index)
    spans = [(each["start"], each["end"], each.get("text")) for each in moments_of(found["0"])]
    assert spans == [(0, 2000, "A penguin walks."), (2000, 4000, "It jumps into the sea."), (4000, 6000, None)]
    expect_frames(found["0"], films / "scenes.mp4", encoder)
    assert (state_of(found["2"], PATH) or {})["skipped"] == "heard.wav: no picture that moves"
    assert state_of(found["4"], PATH) is None
    said = {"nested": {"path": PATH, "query": {"match": {f"{PATH}.text": "penguins sea"}}, "inner_hits": {}}}
    (hit,) = server.client.search(index=index, query=said)["hits"]["hits"]
    assert [inner["_source"]["start"] for inner in hit["inner_hits"][PATH]["hits"]["hits"]] == [2000]
    again = add_vectors(server.client, index, encoder, [FIELD], options(films))
    assert (again.documents, again.failed_earlier) == (0, {PATH: 1})
    stands = survey(server.client, index).fields[PATH]
    assert (stands.done, stands.missing, stands.failed, stands.skipped) == (2, 0, 1, 1)
    with pytest.raises(MappingError, match="the server plugin encodes no sound or footage"):
        put_pipeline(server.client, index, dry_run=True)


KILLED = """
import sys
from crosslens import Cutting, Encoder, VideoField, add_vectors, connect, Connection, ImageAccess, Options
from crosslens.ingest.run import media_pass
media_pass.PIECE_S = 0.0
url, index, model, folder = sys.argv[1:]
target = VideoField("footage", cutting=Cutting(shots=False, step_s=0.25))
encoder, options = Encoder(model, batch_size=1), Options(images=ImageAccess(folder))
add_vectors(connect(Connection(url=url)), index, encoder, [target], options)
"""


def test_a_run_that_is_killed_amid_a_file_goes_on_with_what_is_lacking(
    server: Server, encoder: Encoder, models: Path, films: Path
) -> None:
    index = server.new_index(MAPPINGS, [{"footage": "scenes.mp4"}], shards=1)
    words = [sys.executable, "-c", KILLED, server.node.url, index, str(models / "small"), str(films)]
    killed = subprocess.Popen(words)
    try:
        left = _unfinished(server, index, killed)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert 0 < left < 24
    assert survey(server.client, index).fields[PATH].missing == 1
    before = {each["start"]: each.get("vector") for each in moments_of(server.source(index, "0"))}
    had = [start for start, vector in before.items() if vector]
    report = add_vectors(server.client, index, encoder, [VideoField("footage")], options(films))
    assert report.kept == {PATH: len(had)}
    assert report.moments == {PATH: 24 - len(had)}
    document = server.source(index, "0")
    after = {each["start"]: each["vector"] for each in moments_of(document)}
    assert len(after) == 24
    assert all(np.allclose(after[start], before[start], atol=1e-6) for start in had)
    assert (state_of(document, PATH) or {}).get("unfinished") is None
    assert survey(server.client, index, quick=True).fields[PATH].done == 1


def _unfinished(server: Server, index: str, process: subprocess.Popen[bytes]) -> int:
    """How many moments lack their vector once some have one."""
    while process.poll() is None:
        source = server.client.get(index=index, id="0")["_source"]
        left = (state_of(source, PATH) or {}).get("unfinished")
        if left is not None and left < 24:
            return int(left)
        time.sleep(0.02)
    raise AssertionError("the run ended before it was killed")


def test_a_document_that_changes_while_its_file_is_encoded_keeps_both(
    server: Server, encoder: Encoder, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_pass, "PIECE_S", 0.0)
    index = server.new_index(MAPPINGS, [{"footage": "scenes.mp4", "title": "old"}, {"footage": "scenes.mp4"}])
    changes = iter([{"title": "new"}, {"title": "newer"}])

    def change(_: Any) -> None:
        if (doc := next(changes, None)) is not None:
            server.client.update(index=index, id="0", doc=doc)

    # The first is written to, and the second gets another film, as their moments are made.
    report = add_vectors(server.client, index, encoder, [STEPS], options(films), progress=change)
    found = all_documents(server, index)
    assert found["0"]["title"] == "newer"
    for document in found.values():
        assert len([each for each in moments_of(document) if each["vector"]]) == 24
    assert report.moments == {PATH: 48}


def test_of_several_files_only_the_one_that_changed_is_made_again(
    server: Server, encoder: Encoder, films: Path, tmp_path: Path
) -> None:
    for name in ("scenes.mp4", "scenes.vtt", "silent.mp4"):
        (tmp_path / name).write_bytes((films / name).read_bytes())
    index = server.new_index(MAPPINGS, [{"footage": ["scenes.mp4", "silent.mp4"]}, {"footage": "silent.mp4"}])
    spoken = VideoField("footage", of="captions", name="spoken")
    report = add_vectors(server.client, index, encoder, [FIELD, spoken], options(tmp_path))
    assert report.moments == {PATH: 7, "spoken": 2}
    assert report.skipped == {"spoken": 1}
    found = all_documents(server, index)
    assert [each["position"] for each in moments_of(found["0"])] == [0, 0, 0, 1, 1]
    said = [each["text"] for each in moments_of(found["0"], "spoken")]
    made = encoder.encode_texts(said)
    assert np.allclose([each["vector"] for each in moments_of(found["0"], "spoken")], made, atol=1e-5)
    stale = options(tmp_path, missing=False, stale=True, contents=True)
    same = reindex(server.client, index, encoder, stale)
    assert (same.unchanged, same.written, same.moments) == ({PATH: 2, "spoken": 2}, {}, {})
    (tmp_path / "scenes.vtt").unlink()
    changed = reindex(server.client, index, encoder, stale)
    assert changed.moments == {PATH: 3}
    found = all_documents(server, index)
    assert [each.get("text") for each in moments_of(found["0"])] == [None] * 5
    assert not moments_of(found["0"], "spoken")


def test_a_copy_and_a_change_of_model_take_moments_along(
    server: Server, encoder: Encoder, models: Path, films: Path
) -> None:
    index = server.new_index(MAPPINGS, [{"footage": "scenes.mp4"}, {"footage": "silent.mp4"}, {"title": "none"}])
    narrowed = options(films, query={"term": {"footage": "scenes.mp4"}})
    assert add_vectors(server.client, index, encoder, [FIELD], narrowed).moments == {PATH: 3}
    into = f"{index}-copy"
    copied = copy_index(server.client, index, into, encoder, [], options(films), alias=f"{index}-alias")
    assert (copied.switched, copied.moments) == (True, {PATH: 2})
    found = all_documents(server, into)
    assert [len(moments_of(found[id])) for id in "012"] == [3, 2, 0]
    moved = migrate(server.client, into, Encoder(models / "wide"), options(films))
    assert moved.switched
    path = moved.fields[PATH].path
    found = all_documents(server, into)
    assert [len(each["vector"]) for each in moments_of(found["0"], path)] == [32, 32, 32]
    remove_field(server.client, into, PATH)
    assert not any(PATH in each or path in each for each in all_documents(server, into).values())


def test_the_commands_encode_footage(server: Server, models: Path, films: Path) -> None:
    index = server.new_index(MAPPINGS, [{"footage": "scenes.mp4"}])
    how = ["--model", str(models / "small"), "--url", server.node.url, "--media-root", str(films), "--json"]
    asked = ["add", index, "--video", "footage[frames]", "--moments", "1.5", *how]
    looked = json.loads(run(*asked, "--dry-run").stdout)
    assert looked["estimate"]["documents"] == 1
    assert looked["estimate"]["bytes"] == pytest.approx(4 * (5 * 24 + 64))
    report = json.loads(run(*asked).stdout)
    assert report["moments"] == {PATH: 4}


def test_sound_gets_a_vector_for_each_window(server: Server, clap: Encoder, films: Path) -> None:
    index = server.new_index(MAPPINGS, [{"footage": "heard.wav"}, {"footage": "scenes.mp4"}, {"footage": "silent.mp4"}])
    heard = [AudioField("footage", name="steps"), VideoField("footage", of="sound", name="shots")]
    report = add_vectors(server.client, index, clap, heard, options(films))
    # Steps of 5 s and shots, none longer than the 2 s that the tower hears.
    assert report.skipped == {"steps": 1, "shots": 1}
    found = all_documents(server, index)
    assert [(each["start"], each["end"]) for each in moments_of(found["0"], "steps")] == [(0, 1500), (1500, 3000)]
    assert next((each["start"], each["end"]) for each in moments_of(found["1"], "shots")) == (0, 2000)
    assert (state_of(found["2"], "steps") or {})["skipped"] == "silent.mp4: no sound"
    with open_media(films / "heard.wav") as media:
        from crosslens.ingest.sources.media import Moment

        settings = clap.audio
        assert settings is not None
        sounds = list(media.sound([Moment(0, 1500), Moment(1500, 3000)], settings.rate))
    made = clap.encode_sounds(sounds)
    assert np.allclose([each["vector"] for each in moments_of(found["0"], "steps")], made, atol=1e-5)


@pytest.fixture(scope="session")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    from crosslens.ingest.model.exporting import export
    from tests import checkpoints

    root = tmp_path_factory.mktemp("clap")
    export(str(checkpoints.clap(root / "checkpoint")), root / "clap", precision="fp32")
    return Encoder(root / "clap", batch_size=8)
