"""`crosslens sync` under edits and kills, for as long as is wished, and what it costs when nothing changes.

    python -m tests.bench.follow [--minutes 10] [--edits 20] [--replicas 2] [--version 9.5.3]

Documents are edited, made and deleted at a steady rate, while followers are killed and started again, the node is, and
connections are cut. Of each edit it is measured how long its document was behind. In the end every vector is compared
with one made now; then one follower is left alone for a minute, and its requests and processor time are counted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch, NotFoundError

from crosslens.client import Connection, connect
from crosslens.ingest.contract.documents import standing
from crosslens.ingest.contract.record import VectorField, read_record
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.exporting import export
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.node import Node
from tests import checkpoints
from tests.bench.common import percentile
from tests.conftest import Server, draw_pictures
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, all_documents, expect_exact, shop
from tests.proxy import Proxy

_DOCUMENTS = 500
_WATCH_S = 0.25
_IDLE_S = 60.0
_SETTLE_S = 300.0
_CUT_EVERY = 40


@dataclass
class Following:
    """What editor, watcher and killers share; ``behind`` are documents and since when, ``waits`` seconds."""

    client: Elasticsearch
    index: str
    proxy: Proxy
    settings: Path
    logs: Path
    followers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)
    behind: dict[str, float] = field(default_factory=dict)
    waits: list[tuple[float, float]] = field(default_factory=list)
    faults: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> subprocess.Popen[bytes]:
        """Start another follower, by way of the proxy."""
        command = [sys.executable, "-m", "crosslens.cli", "--log-format", "json", "sync"]
        with self.logs.open("ab") as log:
            words = [*command, "--config", str(self.settings), "--url", self.proxy.url]
            return subprocess.Popen(words, stderr=log)

    def fault(self, what: str) -> None:
        """Note that something was killed or cut now."""
        self.faults.append(time.monotonic())
        self.counts[what] += 1


def edit(following: Following, rng: random.Random) -> None:
    """One edit; a document counts as behind from when it was acknowledged."""
    id, kind = str(rng.randrange(_DOCUMENTS)), rng.random()
    source: dict[str, Any] = {"title": f"{rng.choice(['red', 'blue'])} shoe {rng.randrange(10**6)}"}
    if kind < 0.4:
        source["photo"] = f"{rng.randrange(60)}.png"
    try:
        if kind > 0.95:
            following.client.delete(index=following.index, id=id)
            with following.lock:
                following.behind.pop(id, None)
            following.counts["deleted"] += 1
            return
        if kind > 0.7:
            source["photo"] = f"{rng.randrange(60)}.png"
            following.client.index(index=following.index, id=id, document=source)
        else:
            following.client.update(index=following.index, id=id, doc=source)
    except NotFoundError:
        return
    except (ApiError, TransportError) as error:
        # Whether it was done isn't known; in the end the document has to be right either way.
        following.counts[f"edit: {type(error).__name__}"] += 1
        return
    with following.lock:
        following.behind.setdefault(id, time.monotonic())
    following.counts["edited"] += 1


def editing(following: Following, each_s: float) -> None:
    """Edits at a steady rate, however long each takes."""
    rng, due = random.Random(5), time.monotonic()
    while not following.end.is_set():
        due += each_s
        edit(following, rng)
        if (left := due - time.monotonic()) > 0:
            time.sleep(left)
        else:
            due = time.monotonic()


def watch(following: Following, fields: list[VectorField]) -> None:
    """One look at the documents that are behind: those that are right by now waited so long."""
    with following.lock:
        asked = dict(following.behind)
    if not asked:
        return
    found = following.client.mget(index=following.index, ids=list(asked))["docs"]
    now = time.monotonic()
    with following.lock:
        for each in found:
            source = each.get("_source")
            if source is not None and any(standing(source, one) in ("missing", "stale") for one in fields):
                continue
            # Edited again since it was asked for, it is behind since then.
            if following.behind.get(each["_id"]) == asked[each["_id"]]:
                del following.behind[each["_id"]]
                following.waits.append((asked[each["_id"]], now - asked[each["_id"]]))


def watching(following: Following, fields: list[VectorField], over: threading.Event) -> None:
    """Looks, until ``over``."""
    while not over.wait(_WATCH_S):
        with contextlib.suppress(ApiError, TransportError):
            watch(following, fields)


def killing(following: Following, node: Node, until: float, rng: random.Random) -> None:
    """Kills a follower every 20 s or so, the node twice, and lets the proxy cut connections in between."""
    started = time.monotonic()
    node_at = [started + (until - started) * share for share in (0.35, 0.7)]
    while time.monotonic() < until - 5:
        time.sleep(rng.uniform(10, 25))
        if node_at and time.monotonic() > node_at[0]:
            node_at.pop(0)
            status = node.status()
            assert status is not None
            os.kill(status.pid, signal.SIGKILL)
            following.fault("node killed")
            while (found := node.status()) is not None and found.running:
                time.sleep(0.05)
            node.start()
            following.fault("node started")
        elif rng.random() < 0.7:
            which = rng.randrange(len(following.followers))
            following.followers[which].kill()
            following.followers[which].wait()
            following.fault("follower killed")
            time.sleep(rng.uniform(0, 3))
            following.followers[which] = following.start()
        else:
            following.proxy.cut_every = 0 if following.proxy.cut_every else _CUT_EVERY
            following.fault("connections cut or not")


def stale(server: Server, index: str, fields: list[VectorField]) -> int:
    """How many documents there are whose vectors aren't of their present source."""
    documents = all_documents(server, index).values()
    return sum(any(standing(each, one) in ("missing", "stale") for one in fields) for each in documents)


def idle(following: Following) -> tuple[float, float]:
    """Requests and processor seconds a minute of a follower that has nothing to do."""
    last = following.followers.pop()
    for other in following.followers:
        other.terminate()
        other.wait()
    following.followers = [last]
    process = psutil.Process(last.pid)
    time.sleep(5)
    requests, times = following.proxy.requests, process.cpu_times()
    time.sleep(_IDLE_S)
    used = process.cpu_times()
    seconds = used.user + used.system - times.user - times.system
    return (following.proxy.requests - requests) * 60 / _IDLE_S, seconds * 60 / _IDLE_S


def run(root: Path, minutes: float, edits: float, replicas: int, version: str) -> int:
    """Runs all of it, and prints what was seen; returns how many faults were found."""
    pictures = root / "pictures"
    pictures.mkdir()
    draw_pictures(pictures)
    export(str(checkpoints.clip(root / "checkpoint", seed=0, projection_dim=24)), root / "small", precision="fp32")
    encoder = Encoder(root / "small", batch_size=8)
    node = Node(root / "node", version=version, heap="512m")
    node.start()
    following: Following | None = None
    try:
        client = connect(Connection(url=node.url))
        server = Server(node, client, version)
        index = server.new_index(MAPPINGS, shop(_DOCUMENTS))
        add_vectors(client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=pictures)))
        settings = root / "sync.toml"
        settings.write_text(
            f'look_s = 1.0\nlisten = ""\nmodels = ["{root / "small"}"]\nthreads = 1\n'
            f'[[index]]\nname = "{index}"\nimage_root = "{pictures}"\npictures_per_minute = 60\n'
        )
        with Proxy(int(node.url.rsplit(":", 1)[1]), seed=1) as proxy:
            following = Following(client, index, proxy, settings, root / "sync.log")
            return _measure(following, server, encoder, pictures, minutes, edits, replicas)
    finally:
        for follower in following.followers if following else ():
            follower.kill()
            follower.wait()
        node.stop()


def _measure(
    following: Following,
    server: Server,
    encoder: Encoder,
    pictures: Path,
    minutes: float,
    edits: float,
    replicas: int,
) -> int:
    mapping = following.client.indices.get_mapping(index=following.index)[following.index]["mappings"]
    fields, over = list(read_record(mapping).fields.values()), threading.Event()
    following.followers = [following.start() for _ in range(replicas)]
    time.sleep(10)
    until = time.monotonic() + 60 * minutes
    editor = threading.Thread(target=editing, args=(following, 1 / edits))
    watcher = threading.Thread(target=watching, args=(following, fields, over))
    editor.start()
    watcher.start()
    killing(following, server.node, until, random.Random(8))
    following.end.set()
    editor.join()
    following.proxy.cut_every = 0
    settled = time.monotonic()
    while following.behind and time.monotonic() - settled < _SETTLE_S:
        time.sleep(_WATCH_S)
    over.set()
    watcher.join()
    # Edits whose outcome nobody knows count as well.
    while (left := stale(server, following.index, fields)) and time.monotonic() - settled < _SETTLE_S:
        time.sleep(1)
    try:
        count = len(expect_exact(server, following.index, encoder, pictures))
    except AssertionError as error:
        sys.stdout.write(f"{left} documents still behind after {_SETTLE_S:g} s; not exact: {error}\n")
        sys.stdout.write(f"{following.counts}\n{following.logs.read_text()[-6000:]}\n")
        return max(left, 1)
    requests, seconds = idle(following)
    waits = [wait for _, wait in following.waits]
    quiet = [w for at, w in following.waits if not any(at - 15 < fault < at + w for fault in following.faults)]
    out = sys.stdout.write
    out(f"Elasticsearch {server.version}, {minutes:g} minutes, {edits:g} edits/s, {replicas} followers\n")
    out("".join(f"{what}: {n}\n" for what, n in sorted(following.counts.items())))
    out(f"connections cut: {following.proxy.cuts}\n")
    for what, these in (("all", waits), ("15 s after a fault or later", quiet)):
        if these:
            shown = ", ".join(f"p{p} {percentile(these, p):.2f}" for p in (50, 90, 99))
            out(f"seconds behind, {what} ({len(these)}): {shown}, at most {max(these):.2f}\n")
    out(f"documents compared: {count}; still behind: {left}\n")
    out(f"idle: {requests:.0f} requests and {seconds:.2f} s of processor time a minute\n")
    return left


def main() -> int:
    """Run from the command line; exit status 1 where documents stayed behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--edits", type=float, default=20)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--version", default="9.5.3")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        root = Path(tmp)
        os.environ["CROSSLENS_DATA"] = str(root / "data")
        left = run(root, options.minutes, options.edits, options.replicas, options.version)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
