"""`crosslens sync` on real nodes: what changes gets its vectors, whatever is killed meanwhile."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from crosslens.ingest.contract.record import read_record
from crosslens.ingest.contract.statistics import stored_statistics
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from tests import commands
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, expect_exact, shop
from tests.proxy import Proxy

pytestmark = pytest.mark.node
FAST = "look_s = 0.2\nthreads = 1\n"


def wait_for(condition: Callable[[], Any], limit_s: float = 90.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.05)


class Followed:
    """A filled index, a file that says to follow it, and the processes that do."""

    def __init__(self, server: Server, encoder: Encoder, pictures: Path, folder: Path, count: int = 60):
        self.server, self.encoder, self.url = server, encoder, server.node.url
        self.pictures = folder / "pictures"
        shutil.copytree(pictures, self.pictures)
        self.index = server.new_index(MAPPINGS, shop(count))
        options = Options(images=ImageAccess(root=self.pictures))
        add_vectors(server.client, self.index, encoder, [TITLE, PHOTO], options)
        self.config = folder / "sync.toml"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.processes: list[subprocess.Popen[str]] = []
        self.configure()

    def configure(self, more: str = "", *, listen: bool = True, top: str = FAST) -> None:
        where = f"127.0.0.1:{self.port}" if listen else ""
        head = f'{top}listen = "{where}"\nmodels = ["{self.encoder.folder.path}"]\n'
        root = f'image_root = "{self.pictures}"\n'
        self.config.write_text(f'{head}[[index]]\nname = "{self.index}"\n{root}{more}')

    def start(self, url: str | None = None) -> subprocess.Popen[str]:
        words = ["--log-format", "json", "sync", "--config", str(self.config), "--url", url or self.url]
        self.processes.append(commands.start(words))
        return self.processes[-1]

    def metrics(self) -> dict[str, float]:
        """Sums over all labels, by name; none while it doesn't serve."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removeprefix("crosslens_sync_")
                sums[name] = sums.get(name, 0.0) + sample.value
        return sums

    def exact(self, index: str | None = None) -> bool:
        try:
            expect_exact(self.server, index or self.index, self.encoder, self.pictures)
        except AssertionError:
            return False
        return True

    def ready(self) -> None:
        """Wait until all was looked through."""
        wait_for(lambda: self.metrics().get("documents_to_check") == 0.0 and self.metrics()["documents_read_total"] > 0)

    def end(self, process: subprocess.Popen[str], number: int = signal.SIGTERM) -> list[dict[str, Any]]:
        """The log of a process that a signal ended cleanly."""
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        return [json.loads(line) for line in errors.splitlines()]


@pytest.fixture
def followed(server: Server, encoder: Encoder, pictures: Path, tmp_path: Path) -> Iterator[Followed]:
    made = Followed(server, encoder, pictures, tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.communicate()


def test_what_changes_gets_its_vectors_and_signals_reload_and_end_it(followed: Followed) -> None:
    """Edits, new documents, a picture that comes late and one whose content changes; SIGHUP; SIGTERM; and a restart."""
    server, index = followed.server, followed.index
    followed.configure("retry_first_s = 1\nretry_most_s = 2\npictures_per_minute = 6000\n")
    process = followed.start()
    followed.ready()
    for i in range(10):
        server.client.update(index=index, id=str(i), doc={"title": f"green hat {i}"})
    server.client.update(index=index, id="11", doc={"photo": None})
    server.client.index(index=index, id="late", document={"title": "late", "photo": "late.png"})
    shutil.copy(followed.pictures / "3.png", followed.pictures / "4.png")
    wait_for(lambda: followed.metrics()["documents_failed"] == 1)
    shutil.copy(followed.pictures / "5.png", followed.pictures / "late.png")
    wait_for(followed.exact)
    wait_for(lambda: followed.metrics()["documents_failed"] == 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{followed.port}/healthz") as answer:
        assert json.loads(answer.read())["status"] == "ok"
    # A file that can't be read changes nothing; one that can is followed at once.
    followed.config.write_text("[[index]")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: followed.metrics()["errors_total"] == 1)
    followed.configure("pictures_per_minute = 0\n")
    process.send_signal(signal.SIGHUP)
    server.client.update(index=index, id="20", doc={"title": "after the reload"})
    wait_for(followed.exact)
    lines = followed.end(process)
    events = [line.get("event") for line in lines]
    assert [events[0], events[-1]] == ["started", "ended"]
    assert {"followed", "looked through", "reloaded"} <= set(events)
    (failed,) = [line for line in lines if line.get("id") == "late"][:1]
    assert (failed["level"], failed["field"]) == ("warning", "photo_vector")
    # What was looked through once is not again.
    server.client.update(index=index, id="21", doc={"title": "while nobody followed"})
    again = followed.start()
    wait_for(followed.exact)
    (begun,) = [line for line in followed.end(again) if line.get("event") == "followed"]
    assert begun["anew"] is False
    assert begun["operations"] < 60


def test_quiet_indices_cost_a_request_a_look(followed: Followed) -> None:
    followed.configure("pictures_per_minute = 0\n")
    with Proxy(int(followed.url.rsplit(":", 1)[1])) as proxy:
        followed.start(proxy.url)
        followed.ready()
        before, looks = proxy.requests, followed.metrics()["looks_total"]
        wait_for(lambda: followed.metrics()["looks_total"] >= looks + 20)
        made = proxy.requests - before
        looked = followed.metrics()["looks_total"] - looks
    # The mapping is read once a minute as well, and storing the position takes two requests.
    assert made <= looked + 4


def test_two_followers_share_the_work_and_outlive_each_other_and_their_connections(followed: Followed) -> None:
    server, index = followed.server, followed.index
    followed.configure("pictures_per_minute = 0\n", listen=False)
    ended = threading.Event()

    def edit() -> None:
        for i in range(300):
            server.client.update(index=index, id=str(i % 60), doc={"title": f"hat {i}", "photo": f"{i * 7 % 60}.png"})
            time.sleep(0.01)
        ended.set()

    with Proxy(int(followed.url.rsplit(":", 1)[1]), seed=3, cut_every=15) as proxy:
        first, second = followed.start(proxy.url), followed.start(proxy.url)
        wait_for(lambda: proxy.requests > 30)
        editor = threading.Thread(target=edit)
        editor.start()
        time.sleep(1)
        first.kill()
        third = followed.start(proxy.url)
        wait_for(ended.is_set)
        editor.join()
        wait_for(followed.exact)
        assert proxy.cuts > 3
    for process in (second, third):
        followed.end(process)


def test_an_index_that_is_blocked_or_gone_holds_up_no_other(followed: Followed) -> None:
    server = followed.server
    blocked = server.new_index(MAPPINGS, shop(5))
    options = Options(images=ImageAccess(root=followed.pictures))
    add_vectors(server.client, blocked, followed.encoder, [TITLE, PHOTO], options)
    root = f'image_root = "{followed.pictures}"\n'
    more = f'[[index]]\nname = "{blocked}"\n{root}[[index]]\nname = "absent-{followed.index}"\n'
    followed.configure(f"pictures_per_minute = 0\n{more}")
    process = followed.start()
    followed.ready()
    process.send_signal(signal.SIGSTOP)
    server.client.update(index=blocked, id="1", doc={"title": "blocked"})
    server.client.indices.add_block(index=blocked, block="write")
    process.send_signal(signal.SIGCONT)
    server.client.update(index=followed.index, id="1", doc={"title": "open"})
    wait_for(followed.exact)
    wait_for(lambda: followed.metrics()["up"] == 1)
    server.client.indices.put_settings(index=blocked, settings={"index.blocks.write": None})
    server.client.update(index=blocked, id="2", doc={"title": "open again"})
    wait_for(lambda: followed.exact(blocked))


def test_edits_do_not_count_twice_in_the_statistics(followed: Followed) -> None:
    server, index = followed.server, followed.index
    followed.configure("pictures_per_minute = 0\n")
    process = followed.start()
    followed.ready()
    for i in range(20):
        server.client.update(index=index, id=str(i), doc={"title": f"other {i}"})
    server.client.index(index=index, id="new", document={"title": "new"})
    wait_for(followed.exact)
    followed.end(process)
    fields = read_record(server.client.indices.get_mapping(index=index)[index]["mappings"]).fields
    statistics = stored_statistics(server.client, index, fields["title_vector"])
    assert statistics is not None
    assert statistics.count == 61


def test_init_writes_what_the_index_records_and_never_over_a_file(followed: Followed, tmp_path: Path) -> None:
    config = tmp_path / "new.toml"
    words = ["sync", "--init", followed.index, "--config", str(config), "--url", followed.url]
    done = commands.run(*words, env={"CROSSLENS_DATA": str(tmp_path / "data")})
    assert done.returncode == 0, done.stderr
    text = config.read_text()
    assert f'image_root = "{followed.pictures}"' in text
    assert "no folder is known here of" in text
    assert done.stdout == ""
    again = commands.run(*words)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert commands.run("sync", "--check", "--config", str(config)).returncode == 0
    for wrong in (["sync", followed.index], ["sync", "--init"]):
        assert commands.run(*wrong).returncode == 2


def test_a_port_that_is_taken_is_said(followed: Followed) -> None:
    with socket.create_server(("127.0.0.1", followed.port)):
        process = followed.start()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "metrics can't be served" in errors
