"""One reindex shared by workers on several machines, of which one is killed, as is one of the cluster's three nodes.

A machine is a network namespace with an address of its own and a share of one core, as much as leaves the rest to the
nodes, which run here as well. Needs Linux, root, and the first version of control groups.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from crosslens.demo.build import DATA
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.node.process import DEFAULT_VERSION
from tests.bench.common import show
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, expect_exact
from tests.proxy import Proxy
from tests.server.clusters import NAMES, Member, running

_MACHINES, _DOCUMENTS, _CORE_SHARE = 3, 3_000, 0.2
_INDEX = "bench-machines"
_NET, _CGROUP = "10.77.0", Path("/sys/fs/cgroup/cpu")


def main() -> None:
    """Prints documents a second of one machine, of three, and what three do with one of them and a node killed."""
    if os.geteuid() or not (_CGROUP / "cpu.cfs_quota_us").exists():
        raise SystemExit("this benchmark needs root and control groups, version 1, on Linux")
    with tempfile.TemporaryDirectory() as tmp, ExitStack() as stack:
        cluster = stack.enter_context(running([Member(name, None) for name in NAMES], DEFAULT_VERSION, Path(tmp)))
        machines = stack.enter_context(_machines())
        ports = [int(node.url.rsplit(":", 1)[1]) for node in cluster.nodes]
        proxies = [stack.enter_context(Proxy(port, host=f"{_NET}.254")) for port in ports]
        urls = ",".join(proxy.url for proxy in proxies)
        client = cluster.clients[0]
        rates = []
        for count in (1, _MACHINES):
            _fill(client)
            rates.append(_rate(_start(machines[:count], urls)))
        counted = zip((1, _MACHINES), rates, strict=True)
        rows = [[f"{count}", f"{rate:.1f}", f"{rate / rates[0]:.2f}x"] for count, rate in counted]
        show("Workers on machines of their own", ["machines", "documents/s", "of one"], rows)
        _fill(client)
        workers = _start(machines, urls)
        _until(client, _DOCUMENTS // 4)
        workers[1].kill()
        os.kill(_pid(cluster.nodes[2]), signal.SIGKILL)
        _summaries([workers[0], workers[2]])
        # What Kubernetes does with a Job's pod that ended: its share is begun again.
        _summaries(_start(machines, urls, only=1))
        documents = expect_exact(Server(cluster.nodes[0], client, cluster.version), _INDEX, Encoder(DEMO_MODEL), DATA)
        print(f"a machine and a node killed: {len(documents)} documents, every vector right")


def _pid(node: Any) -> int:
    status = node.running()
    assert status is not None
    return int(status.pid)


def _fill(client: Elasticsearch) -> None:
    client.options(ignore_status=404).indices.delete(index=_INDEX)
    settings = {"number_of_shards": 3, "number_of_replicas": 1}
    client.indices.create(index=_INDEX, mappings=MAPPINGS, settings=settings, wait_for_active_shards="all")
    files = sorted(file.relative_to(DATA).as_posix() for file in (DATA / "pictures").glob("*.webp"))
    bulk(
        client,
        (
            {"_index": _INDEX, "_id": str(i), "title": f"thing number {i}", "photo": files[i % len(files)], "price": i}
            for i in range(_DOCUMENTS)
        ),
        refresh=True,
    )


def _start(machines: Sequence[str], urls: str, only: int | None = None) -> list[subprocess.Popen[str]]:
    """Start a worker on each machine, with its share; or ``only`` the one on that machine."""
    command = [sys.executable, "-m", "crosslens.cli", "reindex", _INDEX, "--url", urls, "--image", "photo"]
    command += ["--text", "title", "--model", str(DEMO_MODEL), "--image-root", str(DATA), "--threads", "1", "--json"]
    started = []
    for i, machine in enumerate(machines):
        if only is None or i == only:
            group = _CGROUP / machine / "tasks"
            enter = f'echo $$ > {group}; exec ip netns exec {machine} "$@"'
            share = ["--slice", f"{i + 1}/{len(machines)}"]
            started.append(
                subprocess.Popen(["sh", "-c", enter, "sh", *command, *share], stdout=subprocess.PIPE, text=True)
            )
    return started


def _summaries(workers: Sequence[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    found = []
    for worker in workers:
        out, _ = worker.communicate(timeout=900)
        if worker.returncode:
            raise RuntimeError(f"a worker ended with {worker.returncode}: {out}")
        found.append(json.loads(out))
    return found


def _rate(workers: Sequence[subprocess.Popen[str]]) -> float:
    """Documents a second, by the slowest worker's own clock: on so small a share a process takes seconds to start."""
    found = _summaries(workers)
    return _DOCUMENTS / max(float(each["seconds"]) for each in found)


def _until(client: Elasticsearch, done: int) -> None:
    while True:
        client.indices.refresh(index=_INDEX)
        if client.count(index=_INDEX, query={"exists": {"field": "photo_vector"}})["count"] >= done:
            return
        time.sleep(0.1)


@contextmanager
def _machines() -> Iterator[list[str]]:
    names = [f"crosslens{i + 1}" for i in range(_MACHINES)]
    with ExitStack() as stack:
        _ip("link add crosslens0 type bridge")
        stack.callback(_ip, "link del crosslens0")
        _ip(f"addr add {_NET}.254/24 dev crosslens0")
        _ip("link set crosslens0 up")
        for i, name in enumerate(names, 1):
            _ip(f"netns add {name}")
            stack.callback(_ip, f"netns del {name}")
            _ip(f"link add {name}h type veth peer name eth0 netns {name}")
            _ip(f"link set {name}h master crosslens0 up")
            _ip(f"-n {name} addr add {_NET}.{i}/24 dev eth0")
            _ip(f"-n {name} link set eth0 up")
            _ip(f"-n {name} link set lo up")
            group = _CGROUP / name
            group.mkdir()
            stack.callback(group.rmdir)
            (group / "cpu.cfs_period_us").write_text("100000")
            (group / "cpu.cfs_quota_us").write_text(str(int(100_000 * _CORE_SHARE)))
        yield names


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


if __name__ == "__main__":
    main()
