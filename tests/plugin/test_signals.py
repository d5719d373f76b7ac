"""Ending a run from outside: every signal, at any time, with and without workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.commands import start
from tests.conftest import Server

pytestmark = pytest.mark.node
MAPPINGS: dict[str, Any] = {"properties": {"title": {"type": "text"}, "photo": {"type": "keyword"}}}
COUNT = 4_000


class Run:
    """An index that is long to fill, and the command that does."""

    def __init__(self, server: Server, models: Path, pictures: Path, *more: str):
        documents = [{"title": f"shoe {i}", "photo": f"{i % 60}.png"} for i in range(COUNT)]
        self.server, self.index = server, server.new_index(MAPPINGS, documents)
        self.command = ["reindex", self.index, "--text", "title", "--image", "photo", "--model", str(models / "small")]
        self.command += ["--image-root", str(pictures), "--url", server.node.url, *more]

    def done(self) -> int:
        self.server.client.indices.refresh(index=self.index)
        found = self.server.client.count(index=self.index, query={"exists": {"field": "photo_vector"}})
        return int(found["count"])

    def wait(self, process: subprocess.Popen[str], count: int = 200) -> None:
        deadline = time.monotonic() + 120
        while self.done() < count:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def settled(self) -> int:
        """How many documents are done when no more are added."""
        before = -1
        while (now := self.done()) != before:
            before = now
            time.sleep(1.5)
        return now


def children(pid: int) -> list[int]:
    """The processes that a process started, but for multiprocessing's own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == pid and b"spawn_main" in line:
            found.append(int(entry.name))
    return found


@pytest.fixture
def sliced(server: Server, models: Path, pictures: Path) -> Run:
    return Run(server, models, pictures, "--slices", "2")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_as_ctrl_c_does(server: Server, models: Path, pictures: Path, number: int) -> None:
    run = Run(server, models, pictures)
    process = start(run.command)
    run.wait(process, 100)
    process.send_signal(number)
    if number == signal.SIGHUP:
        # A terminal that closes sends it twice.
        process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Run the same command again to go on" in output
    assert "Traceback" not in errors
    assert 100 <= run.done() < COUNT


def test_a_second_ctrl_c_ends_a_run_at_once(server: Server, models: Path, pictures: Path) -> None:
    run = Run(server, models, pictures)
    process = start(run.command)
    run.wait(process, 100)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_parent_ends_every_worker(sliced: Run, number: int) -> None:
    process = start(sliced.command)
    sliced.wait(process)
    workers = children(process.pid)
    assert len(workers) == 2
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Run the same command again to go on" in output
    assert "Traceback" not in errors
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert 200 <= sliced.settled() < COUNT


@pytest.mark.parametrize(
    ("number", "after_s"), [(signal.SIGINT, 0.0), (signal.SIGINT, 0.4), (signal.SIGINT, 1.2), (signal.SIGTERM, 0.1)]
)
def test_a_signal_while_workers_start_ends_the_run(sliced: Run, number: int, after_s: float) -> None:
    process = start(sliced.command)
    deadline = time.monotonic() + 60
    while not children(process.pid) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(after_s)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert sliced.settled() < COUNT


def test_workers_whose_parent_was_killed_stop_by_themselves(sliced: Run) -> None:
    process = start(sliced.command)
    sliced.wait(process)
    workers = children(process.pid)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert 200 <= sliced.done() < COUNT


def test_a_worker_that_is_killed_is_reported_and_the_others_finish(sliced: Run) -> None:
    process = start(sliced.command)
    sliced.wait(process)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "of 2 ended without a word; run again to go on" in errors
    assert sliced.done() > COUNT * 0.45


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_is_ignored_from_the_start_stays_ignored(
    server: Server, models: Path, pictures: Path, number: int
) -> None:
    """SIGHUP by nohup, SIGINT by a shell for what runs in its background; SIGTERM ends the run nevertheless."""
    run = Run(server, models, pictures, "--slices", "2")
    process = start(run.command, lambda: (signal.signal(number, signal.SIG_IGN), None)[1])
    run.wait(process, 100)
    os.killpg(process.pid, number)
    run.wait(process, 1_000)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert run.settled() < COUNT


def test_without_a_terminal_a_run_is_logged(server: Server, models: Path) -> None:
    index = server.new_index(MAPPINGS, [{"title": f"shoe {i}", "photo": f"{i}.png"} for i in range(30)])
    what = ["add", index, "--text", "title", "--model", str(models / "small"), "--url", server.node.url]
    process = start(what)
    _, errors = process.communicate(timeout=60)
    first, last = errors.splitlines()
    assert first.endswith(f"info: adding vectors to {index}: started")
    assert "30 documents, 30 vectors written, 0 failed" in last
    process = start(["--log-format", "json", *what, "--retry-failed", "--json"])
    output, errors = process.communicate(timeout=60)
    assert json.loads(output)["todo"] == 0
    lines = [json.loads(line) for line in errors.splitlines()]
    assert [line["level"] for line in lines] == ["info", "info"]
    assert all(line["time"].endswith("Z") and line["message"] for line in lines)
    assert lines[-1]["done"] == 0
    process = start(["--log-format", "json", "add", "absent", *what[2:]])
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, json.loads(errors.splitlines()[-1])["level"]) == (2, "error")
