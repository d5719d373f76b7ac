"""The embedded node: starting, refusing to, stopping, and surviving."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from crosslens.client import Connection, connect, server_version
from crosslens.errors import NodeError
from crosslens.node import Node
from crosslens.node import jvm as java_module
from crosslens.node.home import assemble
from crosslens.node.jvm import find_java, required_release
from crosslens.node.ports import TRANSPORT_PORT, claim, claim_from, is_free
from tests.commands import run
from tests.conftest import VERSIONS, require_node
from tests.ports import own_ports

pytestmark = pytest.mark.node


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    require_node(request.param)
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "node"
    Node(tmp_path / "node").stop()


def fake_java(folder: Path, release: str, compiler: bool = True) -> Path:
    """A Java home whose only skill is to tell its version."""
    (folder / "bin").mkdir(parents=True)
    for name in ("java", *(["javac"] if compiler else [])):
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\necho 'openjdk version \"{release}\"' >&2\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_starts_answers_every_client_keeps_its_data_and_stops(version: str, folder: Path) -> None:
    with Node(folder, version=version, heap="512m") as node:
        client = connect(Connection(url=node.url))
        assert server_version(client) == tuple(map(int, version.split(".")))
        assert node.url.startswith("http://127.0.0.1:")
        client.index(index="kept", id="1", document={"a": 1}, refresh=True)
        status = node.status()
        assert status is not None
        assert status.running
        pid = status.pid
        # It answers a moment before it says so.
        wait_until(lambda: "started" in node.log.read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    with Node(folder, heap="512m") as node:
        assert connect(Connection(url=node.url)).get(index="kept", id="1")["_source"] == {"a": 1}


def test_two_starts_at_once_take_a_port_each(version: str, tmp_path: Path) -> None:
    nodes = [Node(tmp_path / name, version=version, heap="256m") for name in ("one", "two")]
    with ThreadPoolExecutor() as pool:
        try:
            first, second = pool.map(lambda node: node.start(), nodes)
            assert first.url != second.url
            names = {url: connect(Connection(url=url)).nodes.info()["nodes"] for url in (first.url, second.url)}
            assert set(names[first.url]).isdisjoint(names[second.url])
        finally:
            for node in nodes:
                node.stop()


def test_a_second_start_a_kill_and_a_restart_on_one_folder(version: str, folder: Path) -> None:
    node = Node(folder, version=version, heap="512m", port=own_ports()[0])
    status = node.start()
    with pytest.raises(NodeError, match=f"already runs in {folder} at {status.url}"):
        Node(folder, version=version).start()
    client = connect(Connection(url=node.url))
    client.index(index="kept", id="1", document={"a": 1})
    os.kill(status.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (found := node.status()) is not None and found.running and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found is not None
    assert not found.running
    with pytest.raises(NodeError, match="no node is running"):
        _ = node.url
    assert node.stop() is False
    again = Node(folder, version=version, heap="512m")
    assert again.start().url == status.url
    assert connect(Connection(url=again.url)).get(index="kept", id="1")["_source"] == {"a": 1}
    assert again.stop() is True


def test_the_node_survives_the_killing_of_the_command_that_started_it(folder: Path) -> None:
    require_node(VERSIONS[0])
    command = [sys.executable, "-m", "crosslens.cli", "node", "start", "--folder", str(folder), "--heap", "512m"]
    starter = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder / "node.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    starter.kill()
    starter.wait()
    node = Node(folder)
    while time.monotonic() < deadline:
        try:
            client = connect(Connection(url=node.url))
            break
        except Exception:  # noqa: BLE001 - not up yet
            time.sleep(0.3)
    assert client.info()["tagline"] == "You Know, for Search"
    assert node.stop() is True


def test_a_busy_default_port_gives_a_free_one_and_a_busy_explicit_port_is_refused(folder: Path) -> None:
    require_node(VERSIONS[0])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NodeError, match=f"port {port} is taken"):
            Node(folder, port=port).start()
        folder.mkdir(exist_ok=True)
        record = {"running": False, "url": f"http://127.0.0.1:{port}", "version": VERSIONS[0], "pid": 1, "data": "x"}
        (folder / "node.json").write_text(json.dumps(record))
        with Node(folder, heap="512m") as node:
            assert not node.url.endswith(f":{port}")


def test_a_node_starts_beside_a_port_that_is_taken_also_among_the_transports_own(folder: Path) -> None:
    """The transport takes the first free port from 9300, which here is the HTTP port that was asked for."""
    require_node(VERSIONS[0])
    with contextlib.ExitStack() as taken:
        port = TRANSPORT_PORT
        while not is_free(port):
            port += 1
        # The port before is taken: by us, unless it is by somebody else.
        taken.enter_context(socket.create_server(("127.0.0.1", port)))
        done = None
        # Where a node of another test takes it first, it is the next one's turn.
        while done is None or f"port {port} is taken" in done.stderr:
            port += 1
            while not is_free(port):
                port += 1
            done = run("node", "start", "--folder", str(folder), "--port", str(port), "--heap", "512m", "--json")
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
        assert json.loads(done.stdout)["url"] == f"http://127.0.0.1:{port}"
        node = connect(Connection(url=Node(folder).url)).nodes.info()["nodes"].popitem()[1]
        assert int(node["transport_address"].rpartition(":")[2]) > port


@pytest.mark.parametrize("port", [0, -1, 65536, 1 << 40])
def test_what_is_no_port_is_refused_before_anything_starts(folder: Path, port: int) -> None:
    with pytest.raises(NodeError, match=f"{port} is not a port; give a number from 1 to 65535"):
        Node(folder, port=port).start()
    assert not folder.exists()


def test_each_start_claims_ports_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the port before it, or the HTTP port itself, is what the transport would take."""
    monkeypatch.setenv("CROSSLENS_CACHE", str(tmp_path))
    first = next(port for port in range(15000, 60000) if all(is_free(p) for p in range(port, port + 4)))
    with contextlib.ExitStack() as claims, socket.create_server(("127.0.0.1", first)):
        assert not claim(first, claims)
        assert claim(first + 1, claims)
        assert claim_from(first, claims) == first + 2
        script = (
            "import contextlib, sys\n"
            "from crosslens.node.ports import claim_from\n"
            "with contextlib.ExitStack() as claims:\n"
            "    print(claim_from(int(sys.argv[1]), claims), flush=True)\n"
            "    sys.stdin.read()\n"
        )
        other = subprocess.Popen(
            [sys.executable, "-c", script, str(first)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None
        assert other.stdout.readline() == f"{first + 3}\n"
        assert not claim(first + 3, claims)
        # A claim goes with its process, however that ends; the file that stays means nothing.
        other.kill()
        other.communicate()
        assert (tmp_path / "ports" / f"{first + 3}.lock").exists()
        assert claim(first + 3, claims)


def test_a_port_taken_after_it_was_chosen_is_exchanged_for_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by another user's node, whose claims aren't seen."""
    require_node(VERSIONS[0])
    taken: list[socket.socket] = []

    def launch(node: Node, *arguments: Any) -> Any:
        if not taken:
            taken.append(socket.create_server(("127.0.0.1", arguments[-1][0])))
        return launched(node, *arguments)

    launched = Node._launch
    monkeypatch.setattr(Node, "_launch", launch)
    # A proxy of the environment is nothing to loopback.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with Node(folder, heap="512m") as node:
        assert not node.url.endswith(f":{taken[0].getsockname()[1]}")
    taken[0].close()


@pytest.mark.parametrize("parent", ["/proc/nowhere", "FILE"])
def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path, parent: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NodeError, match="the node can't be started in") as caught:
        Node(Path(parent.replace("FILE", str(tmp_path / "file"))) / "node").start()
    assert caught.value.parameter == "folder"


def test_removing_deletes_a_nodes_folder_and_no_other(folder: Path, tmp_path: Path) -> None:
    require_node(VERSIONS[0])
    with pytest.raises(NodeError, match="isn't a folder"):
        Node(folder).remove()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter").touch()
    with pytest.raises(NodeError, match="no node was ever started in"):
        Node(tmp_path / "mine").remove()
    node = Node(folder, heap="512m")
    pid = node.start().pid
    (folder / "letter").touch()
    with pytest.raises(NodeError, match="holds what isn't the node's: letter"):
        node.remove()
    assert node.running() is not None
    (folder / "letter").unlink()
    (tmp_path / "mine/big").write_bytes(b"x" * 100_000_000)
    (folder / "tmp/link").symlink_to(tmp_path / "mine")
    assert 1_000 < node.remove() < 100_000_000
    assert not folder.exists()
    assert (tmp_path / "mine/big").exists()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_an_older_version_than_the_datas_is_refused(folder: Path) -> None:
    folder.mkdir()
    record = {"running": False, "url": "http://127.0.0.1:9200", "version": "9.5.3", "pid": 1, "data": "x"}
    (folder / "node.json").write_text(json.dumps(record))
    with pytest.raises(NodeError, match=r"belongs to Elasticsearch 9\.5\.3 and can't be opened by the older 8\.19\.21"):
        Node(folder, version="8.19.21").start()


def test_a_setting_the_server_refuses_is_shown_from_its_log(folder: Path) -> None:
    require_node(VERSIONS[0])
    (folder / "config").mkdir(parents=True)
    (folder / "config/elasticsearch.yml").write_text("no.such.setting: 1\n")
    with pytest.raises(NodeError, match=r"no\.such\.setting"):
        Node(folder, heap="512m").start()
    status = Node(folder).status()
    assert status is None or not status.running


def test_settings_in_the_nodes_own_file_count_except_addresses_and_folders(folder: Path) -> None:
    require_node(VERSIONS[0])
    (folder / "config").mkdir(parents=True)
    own = "node.attr.shelf: top\nhttp.port: 1\n"
    (folder / "config/elasticsearch.yml").write_text(own)
    with Node(folder, heap="512m") as node:
        attributes = connect(Connection(url=node.url)).nodes.info(node_id="_local")["nodes"].popitem()[1]["attributes"]
        assert attributes["shelf"] == "top"
    assert (folder / "config/elasticsearch.yml").read_text() == own


@pytest.mark.parametrize("heap", ["lots", "1t", "-1g"])
def test_senseless_heaps_are_refused(folder: Path, heap: str) -> None:
    with pytest.raises(NodeError, match="not a heap size"):
        Node(folder, heap=heap).start()


def test_too_little_memory_is_said_before_anything_starts(folder: Path) -> None:
    with pytest.raises(NodeError, match="too little memory: a heap of 9216000 MB"):
        Node(folder, heap="9000g").start()


def test_senseless_versions_are_refused(folder: Path) -> None:
    with pytest.raises(NodeError, match="is not an Elasticsearch version"):
        Node(folder, version="9.x.y", java=find_java("9.5.3").home).start()


def test_java_is_taken_from_java_home_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = fake_java(tmp_path / "jdk", "25.0.1")
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert find_java("9.5.3").home == home
    assert find_java("9.5.3").release == 25


def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", "17.0.9")))
    monkeypatch.setattr(java_module, "_INSTALLED", (tmp_path / "jvm",))
    new = fake_java(tmp_path / "jvm/new", "21.0.2")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_java("9.5.3").home == new


def test_no_usable_java_says_what_was_found_and_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", "1.8.0_402")))
    monkeypatch.setattr(java_module, "_INSTALLED", (tmp_path / "jvm",))
    fake_java(tmp_path / "jvm/jre", "21.0.2", compiler=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(java_module, "_fetch", lambda _: None)
    with pytest.raises(NodeError) as caught:
        find_java("9.5.3")
    message = str(caught.value)
    assert "release 21 or newer" in message
    assert "old (Java 8)" in message
    assert "jre (Java 21, without the compiler)" in message


def test_an_explicit_java_is_taken_or_refused_never_replaced(tmp_path: Path) -> None:
    old = fake_java(tmp_path / "old", "17.0.9")
    with pytest.raises(NodeError, match=r"is Java 17, but Elasticsearch 9\.5\.3 needs .* 21 or newer"):
        find_java("9.5.3", old)
    with pytest.raises(NodeError, match="is no working Java"):
        find_java("9.5.3", tmp_path / "nothing")


def test_each_version_asks_for_its_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert (required_release("9.5.3"), required_release("8.19.21")) == (21, 17)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert (required_release("9.5.3"), required_release("8.19.21")) == (21, 21)


def test_the_first_start_without_a_network_says_so(tmp_path: Path) -> None:
    require_node(VERSIONS[0])
    script = (
        "from crosslens.node.home import assemble\n"
        "from crosslens.node.jvm import find_java\n"
        "from crosslens.errors import NodeError\n"
        "try:\n"
        "    assemble('9.5.3', find_java('9.5.3'))\n"
        "except NodeError as error:\n"
        "    print(error)\n"
    )
    proxy = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    env = {**os.environ, **proxy, "HOME": str(tmp_path), "CROSSLENS_CACHE": str(tmp_path / "cache"), "NO_PROXY": ""}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert "could not be downloaded from Maven Central" in done.stdout
    assert "needs the network" in done.stdout
    assert [p.suffix for p in (tmp_path / "cache").iterdir()] == [".lock"]


@pytest.mark.skipif(os.geteuid() != 0, reason="not root, so every other test here already runs as somebody else")
def test_it_runs_as_somebody_else_than_root_too(version: str) -> None:
    """Other tests run as whoever runs them; in containers that is root."""
    home = assemble(version, find_java(version))
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        folder, nobody = Path(name), 65534
        shutil.copytree(home, folder / "cache" / home.name)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, nobody, nobody)
        environment = {**os.environ, "CROSSLENS_CACHE": str(folder / "cache"), "HOME": name}

        def as_nobody(script: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-c", script, str(folder / "node"), version]
            options = {"user": nobody, "group": nobody, "env": environment, "cwd": folder}
            return subprocess.run(command, capture_output=True, text=True, check=False, **options)

        try:
            readable = as_nobody("import crosslens.node").returncode == 0
        except PermissionError:
            readable = False
        if not readable:
            pytest.skip("this Python, or its packages, can't be read by another user")
        done = as_nobody(
            "import sys\nfrom pathlib import Path\nfrom crosslens.node import Node\n"
            "with Node(Path(sys.argv[1]), version=sys.argv[2], heap='512m') as node:\n    print(node.url)\n"
        )
        assert done.stdout.startswith("http://127.0.0.1:"), done.stderr


def test_an_assembled_home_is_whole(version: str) -> None:
    home = assemble(version, find_java(version))
    for part in (
        f"lib/elasticsearch-{version}.jar",
        f"lib/entitlement-bridge/elasticsearch-entitlement-bridge-{version}.jar",
        "lib/entitlement-agent/agent.jar",
        "lib/tools/ansi-console/console.jar",
        "modules/transport-netty4/plugin-descriptor.properties",
        "modules/crosslens-root/root.jar",
        "launch.jar",
    ):
        assert (home / part).exists(), part
