"""Real faults: connections cut and delayed by a proxy, killed processes, a full disk, a lost point in time.

After each, the next run goes on, every document has exactly the vector of its present source, and none is lost.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from crosslens.client import Connection, connect
from crosslens.errors import BlockedError, ConnectionFailedError
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.report import Report
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.node import Node
from tests.conftest import VERSIONS, Server, require_node
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, expect_exact, shop
from tests.ingest.test_reindex import Editor, check_edits
from tests.ports import own_ports
from tests.proxy import Proxy

pytestmark = pytest.mark.node


def port_of(server: Server) -> int:
    return int(server.node.url.rsplit(":", 1)[1])


def options(pictures: Path, **selection: Any) -> Options:
    return Options(Selection(**selection), ImageAccess(root=pictures))


@pytest.mark.parametrize(
    "faults",
    [{"cut_every": 7}, {"busy_every": 5}, {"cut_every": 11, "busy_every": 6, "delay_s": 0.005}],
    ids=["cuts", "429s", "cuts, 429s and delays"],
)
def test_cut_connections_and_refusals_lose_nothing_while_others_write(
    server: Server, encoder: Encoder, pictures: Path, faults: dict[str, Any]
) -> None:
    index = server.new_index(MAPPINGS, shop(600))
    with Proxy(port_of(server), seed=4, **faults) as proxy:
        client = connect(Connection(url=proxy.url))
        editor = Editor(server, index, 600, 300, seed=2)
        editor.start()
        small = Encoder(encoder.folder.path, batch_size=4, verify=False)
        for _ in range(3):
            report = add_vectors(client, index, small, [TITLE, PHOTO], options(pictures, stale=True))
            assert report.failures == []
            editor.join()
        print(f"{proxy.requests} requests, {proxy.cuts} cut, {proxy.refusals} refused")
        assert proxy.cuts >= (10 if "cut_every" in faults else 0)
        assert proxy.refusals >= (10 if "busy_every" in faults else 0)
    check_edits(expect_exact(server, index, encoder, pictures), [editor], 600)


def test_a_point_in_time_that_is_closed_under_the_run_is_opened_again(
    server: Server, encoder: Encoder, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = server.new_index(MAPPINGS, shop(4_000))
    opened: list[str] = []
    really = Elasticsearch.open_point_in_time

    def noting(self: Elasticsearch, **how: Any) -> Any:
        answer = really(self, **how)
        opened.append(answer["id"])
        return answer

    monkeypatch.setattr(Elasticsearch, "open_point_in_time", noting)
    closed: list[str] = []

    def close(report: Report) -> None:
        # Not before the run has noticed that the one before is gone; nor one that it has closed itself, at its end.
        if len(closed) < 3 and report.documents >= 8 and opened[-1] not in closed:
            freed = server.client.options(ignore_status=404).close_point_in_time(id=opened[-1])["num_freed"]
            if freed:
                closed.append(opened[-1])

    for selection in ({}, {"every": True}):
        closed.clear()
        report = add_vectors(
            server.client, index, encoder, [TITLE, PHOTO], options(pictures, **selection), progress=close
        )
        assert len(closed) == 3
        assert report.failures == []
        # What was done before isn't done again, but for what was under way.
        assert 4_000 <= report.documents < 5_000
        expect_exact(server, index, encoder, pictures)


def test_a_killed_command_is_continued_by_the_next(
    server: Server, models: Path, encoder: Encoder, pictures: Path
) -> None:
    index = server.new_index(MAPPINGS, shop(3_000))
    words = ["add", index, "--text", "title", "--image", "photo", "--model", str(models / "small")]
    command = [sys.executable, "-m", "crosslens.cli", *words, "--image-root", str(pictures), "--url", server.node.url]

    def done() -> int:
        server.client.indices.refresh(index=index)
        return int(server.client.count(index=index, query={"exists": {"field": "photo_vector"}})["count"])

    reached = 0
    for _ in range(3):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while done() < reached + 300:
            assert running.poll() is None
            time.sleep(0.01)
        running.kill()
        running.wait()
        # What was on its way is still written.
        time.sleep(1)
        reached = done()
        assert reached < 3_000
    finished = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert f'"documents": {3_000 - reached},' in finished.stdout
    expect_exact(server, index, encoder, pictures)


@pytest.fixture(scope="module", params=VERSIONS)
def own_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A node that a test may kill and fill."""
    version = str(request.param)
    require_node(version)
    node = Node(tmp_path_factory.mktemp("own") / "node", version=version, heap="512m", port=own_ports()[0])
    node.start()
    try:
        yield Server(node, connect(Connection(url=node.url)), version)
    finally:
        node.stop()


def test_a_run_outlives_the_killing_and_restarting_of_the_node(
    own_server: Server, encoder: Encoder, pictures: Path
) -> None:
    server, node = own_server, own_server.node
    index = server.new_index(MAPPINGS, shop(900))
    status = node.status()
    assert status is not None
    pid = status.pid
    killed = threading.Event()

    def kill(report: Report) -> None:
        if report.documents >= 300 and not killed.is_set():
            killed.set()
            os.kill(pid, signal.SIGKILL)
            starter.start()

    def restart() -> None:
        while (found := node.status()) is not None and found.running:
            time.sleep(0.05)
        # Its port is asked for by what the folder says, with patience for the sockets of the dead.
        Node(node.folder, version=server.version, heap="512m").start()

    starter = threading.Thread(target=restart)
    report = add_vectors(server.client, index, encoder, [TITLE, PHOTO], options(pictures), progress=kill)
    assert killed.is_set()
    # Else the node may not be noted as running yet when it is to be stopped.
    starter.join()
    assert report.failures == []
    assert add_vectors(server.client, index, encoder, [TITLE, PHOTO], options(pictures)).todo == 0
    assert len(expect_exact(server, index, encoder, pictures)) == 900


def test_a_full_disk_ends_the_run_and_the_next_goes_on(
    own_server: Server, encoder: Encoder, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_server
    monkeypatch.setattr("crosslens.retrying._ATTEMPTS", 3)
    index = server.new_index(MAPPINGS, shop(400))
    full = threading.Event()
    watermarks = {"low": "0.1%", "high": "0.1%", "flood_stage": "0.1%"}
    name = "cluster.routing.allocation.disk"

    def fill_up(report: Report) -> None:
        if report.documents >= 100 and not full.is_set():
            # To the server the disk is full now; it blocks the index when it next looks.
            settings = {f"{name}.threshold_enabled": True, "cluster.info.update.interval": "10s"}
            settings |= {f"{name}.watermark.{key}": value for key, value in watermarks.items()}
            server.client.cluster.put_settings(persistent=settings)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not blocked(server, index):
                time.sleep(0.2)
            full.set()

    with pytest.raises(ConnectionFailedError, match=r"flood-stage watermark.* the same call again"):
        add_vectors(server.client, index, encoder, [TITLE, PHOTO], options(pictures), progress=fill_up)
    assert full.is_set()
    off = dict.fromkeys([f"{name}.watermark.{key}" for key in watermarks], None)
    server.client.cluster.put_settings(persistent={**off, f"{name}.threshold_enabled": None})
    server.client.indices.put_settings(index=index, settings={"index.blocks.read_only_allow_delete": None})
    report = add_vectors(server.client, index, encoder, [TITLE, PHOTO], options(pictures))
    assert 0 < report.documents < 400
    assert len(expect_exact(server, index, encoder, pictures)) == 400


def blocked(server: Server, index: str) -> bool:
    settings = server.client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    return settings.get("index.blocks.read_only_allow_delete") == "true"


def test_a_read_only_index_ends_the_run_at_once_and_the_next_goes_on(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index = server.new_index(MAPPINGS, shop(400))

    def block(report: Report) -> None:
        if report.documents == 104:
            server.client.indices.add_block(index=index, block="write")

    with pytest.raises(BlockedError, match=r"blocked by: .*index write.* the same call again"):
        add_vectors(server.client, index, encoder, [TITLE, PHOTO], options(pictures), progress=block)
    server.client.indices.put_settings(index=index, settings={"index.blocks.write": None})
    report = add_vectors(server.client, index, encoder, [TITLE, PHOTO], options(pictures))
    assert 0 < report.documents < 400
    expect_exact(server, index, encoder, pictures)
