"""Models that are handed to the cluster: as announced or not at all, by those who may, and taken away again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from crosslens.errors import ModelError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.folder import open_model
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.model.sharing import drop_model, push_model, served_files
from tests.commands import run
from tests.server.conftest import Plugged
from tests.server.requests import alive, announcement, part, parts, search, vector_index

pytestmark = pytest.mark.node
_PATH = "_crosslens/models/given"


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in served_files(open_model(folder))}


def nothing_is_left(plugged: Plugged) -> None:
    """Neither in the index, nor in the node's folder, nor in its memory."""
    plugged.server.client.indices.refresh(index=".crosslens-models")
    assert plugged.server.client.count(index=".crosslens-models")["count"] == 0
    folder = plugged.folder / "data" / "crosslens"
    assert not [each for each in folder.rglob("*") if each.parent != folder]
    alive(plugged)


def test_a_pushed_model_serves_at_once_and_is_gone_once_dropped(plugged: Plugged, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    shutil.copytree(DEMO_MODEL, folder)
    where = ("--url", plugged.server.node.url)
    looked = push_model(plugged.server.client, folder, dry_run=True)
    assert looked.missing == looked.total > 6 << 20
    with pytest.raises(ModelError, match=r"has no model \[given\]"):
        drop_model(plugged.server.client, "given", dry_run=True)

    pushed = run("plugin", "push", str(folder), *where)
    assert pushed.returncode == 0, pushed.stderr
    assert "given (46271532a6604d56): is in the cluster" in pushed.stdout
    index = vector_index(plugged, 192)
    found = plugged.http.ok("POST", f"{index}/_search", search(model="given", text="a red heart"))
    assert len(found["hits"]["hits"]) == 1
    made = plugged.http.ok("POST", "_crosslens/encode", {"model": "given", "texts": ["a red heart"]})
    assert made["vectors"][0] == pytest.approx(Encoder(folder).encode_texts(["a red heart"])[0].tolist(), abs=1e-5)

    # Once more changes nothing, and another one doesn't take its place.
    again = push_model(plugged.server.client, folder)
    assert again.missing == 0
    status, answer = plugged.http("PUT", _PATH, announcement({"config.json": b"{}"}))
    assert (status, "with the fingerprint 46271532a6604d56; delete it first" in str(answer)) == (409, True), answer
    status, answer = plugged.http("PUT", f"{_PATH}/parts/0", part(b"{}"))
    assert (status, "takes no more parts" in str(answer)) == (409, True), answer

    looked = drop_model(plugged.server.client, "given", dry_run=True)
    assert [node.state for node in looked.nodes.values()] == ["installed"]
    dropped = run("plugin", "drop", "given", "--json", *where)
    assert dropped.returncode == 0, dropped.stderr
    assert [node["state"] for node in json.loads(dropped.stdout)["nodes"].values()] == ["absent"]
    status, answer = plugged.http("POST", f"{index}/_search", search(model="given", text="a red heart"))
    assert (status, "no model [given]" in str(answer)) == (400, True), answer
    nothing_is_left(plugged)


def test_an_interrupted_push_goes_on_and_a_damaged_part_is_refused(plugged: Plugged) -> None:
    files = content(DEMO_MODEL)
    said, sent = announcement(files, open_model(DEMO_MODEL).fingerprint), parts(files)
    assert plugged.http.ok("PUT", _PATH, said)["missing"] == list(range(len(sent)))
    for number in (0, 2, 3):
        plugged.http.ok("PUT", f"{_PATH}/parts/{number}", part(sent[number]))
    for number, data in ((1, sent[2]), (1, sent[1][:-1]), (1, b""), (len(sent), sent[1]), (-1, sent[1])):
        status, answer = plugged.http("PUT", f"{_PATH}/parts/{number}", part(data))
        assert status == 400, answer
    other: list[Any] = [{"data": None}, {"data": "*"}, {"data": 1}, {"other": "QQ=="}, {"data": "QQ==", "more": 1}]
    for body in other:
        status, answer = plugged.http("PUT", f"{_PATH}/parts/1", body)
        assert (status, '{\\"data\\": \\"BASE64\\"}' in json.dumps(answer)) == (400, True), answer
    status, answer = plugged.http("PUT", f"{_PATH}/parts/1", {"data": "A" * (5 << 20)})
    assert status == 413, answer
    status, answer = plugged.http("PUT", _PATH, announcement({"config.json": b"{}"}))
    assert (status, "another upload" in str(answer)) == (409, True), answer
    # A name that some file system can't tell from this one.
    status, answer = plugged.http("PUT", "_crosslens/models/GIVEN", said)
    assert (status, "can't tell from that of [GIVEN]" in str(answer)) == (409, True), answer

    pushed = push_model(plugged.server.client, DEMO_MODEL, "given")
    assert pushed.missing == pushed.total - 3 * (1 << 20)
    assert [node.state for node in pushed.nodes.values()] == ["installed"]
    drop_model(plugged.server.client, "given")
    nothing_is_left(plugged)


def test_what_is_not_the_model_announced_leaves_nothing(plugged: Plugged) -> None:
    files = content(DEMO_MODEL)
    true = open_model(DEMO_MODEL).fingerprint
    changed = {**files, "preprocessor_config.json": files["preprocessor_config.json"] + b"\n"}
    incomplete = {name: data for name, data in files.items() if name != "tokenizer.json"}
    lying = announcement(files, true)
    lying["files"][0]["sha256"] = "0" * 64
    cases = [
        (announcement(files, "0" * 16), files, f"has the fingerprint {true}, not {'0' * 16}"),
        (announcement(changed, true), changed, "preprocessor_config.json has been changed since its export"),
        (announcement(incomplete, true), incomplete, "config.json or tokenizer.json is missing"),
        (lying, files, "is damaged: its sha256 differs"),
    ]
    for said, sent, expected in cases:
        plugged.http.ok("PUT", _PATH, said)
        for number, data in enumerate(parts(sent)):
            plugged.http.ok("PUT", f"{_PATH}/parts/{number}", part(data))
        status, answer = plugged.http("PUT", _PATH, said)
        assert (status, expected in str(answer)) == (400, True), answer
        assert str(plugged.folder) not in str(answer)
        status, answer = plugged.http("PUT", f"{_PATH}/parts/0", part(parts(sent)[0]))
        assert status == 404, answer
        nothing_is_left(plugged)


def test_claims_that_cannot_be_are_refused_before_anything_is_kept(plugged: Plugged) -> None:
    good = announcement({"config.json": b"{}"})
    huge = {**good["files"][0], "name": "a.onnx", "size": 1 << 40}
    bad: list[tuple[dict[str, Any], str]] = [
        ({**good, "files": [{**good["files"][0], "name": "../config.json"}]}, "can't be the name of a model's file"),
        ({**good, "files": [huge]}, "larger than the 2147483648 bytes"),
        ({**good, "parts": []}, "1 of them for 2 bytes, not 0"),
        ({**good, "fingerprint": "x"}, "must be the model's fingerprint"),
    ]
    for body, expected in bad:
        status, answer = plugged.http("PUT", _PATH, body)
        assert (status, expected in str(answer)) == (400, True), answer
    for name in ("con", ".hidden", "a%2Fb", "..%2Fmodel"):
        status, answer = plugged.http("PUT", f"_crosslens/models/{name}", good)
        assert status == 400, answer
    for method in ("PUT", "DELETE"):
        # The fixture put it there.
        status, answer = plugged.http(method, "_crosslens/models/model", good if method == "PUT" else None)
        assert (status, "was put by hand into crosslens/" in str(answer)) == (409, True), answer
    assert plugged.http("DELETE", _PATH)[0] == 404
    alive(plugged)


def test_models_are_neither_taken_nor_deleted_unless_a_setting_says_so(small: Plugged) -> None:
    good = announcement({"config.json": b"{}"})
    requests: list[tuple[str, str, Any]] = [
        ("PUT", _PATH, good),
        ("PUT", f"{_PATH}?dry_run=true", good),
        ("PUT", f"{_PATH}/parts/0", part(b"{}")),
        ("DELETE", _PATH, None),
        ("DELETE", "_crosslens/models/model", None),
    ]
    for method, path, body in requests:
        status, answer = small.http(method, path, body)
        assert (status, "crosslens.models.upload" in str(answer)) == (403, True), answer
    with pytest.raises(ModelError, match=r"takes no models; set crosslens.models.upload to true"):
        push_model(small.server.client, DEMO_MODEL, "given")
    assert not (small.folder / "data" / "crosslens").exists()
    assert not small.server.client.indices.exists(index=".crosslens-models")


def test_a_cluster_without_the_plugin_is_told_apart(server: Any) -> None:
    with pytest.raises(ModelError, match="has no crosslens plugin that takes models"):
        push_model(server.client, DEMO_MODEL, "given")
