"""Building the plugin and putting it where a server finds it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import zipfile
from pathlib import Path

import pytest
import yaml

from crosslens.errors import NodeError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.node import Node
from crosslens.node.build import PLATFORMS, build_plugin
from crosslens.node.installing import home_with_plugins, install_models, install_plugin, installed_models, read_plugin
from tests.commands import run
from tests.conftest import VERSIONS
from tests.server.conftest import Http, plugin_zip

_NATIVE = (".so", ".dylib", ".dll")


def native_files(zip_file: Path, tmp_path: Path) -> list[str]:
    """The native libraries in all jars of a plugin."""
    found = []
    with zipfile.ZipFile(zip_file) as archive:
        for name in archive.namelist():
            if name.endswith(".jar"):
                with zipfile.ZipFile(archive.extract(name, tmp_path)) as jar:
                    found += [each for each in jar.namelist() if each.endswith(_NATIVE)]
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_the_zip_says_its_version_and_has_the_native_files_of_one_platform(
    version: str, zips: Path, tmp_path: Path
) -> None:
    path = plugin_zip(version, zips)
    assert read_plugin(path).elasticsearch == version
    with zipfile.ZipFile(path) as archive:
        assert {"plugin-descriptor.properties", "entitlement-policy.yaml", "LICENSE.txt", "NOTICE.txt"} <= set(
            archive.namelist()
        )
        policy = archive.read("entitlement-policy.yaml").decode()
    # No network, no processes, no writing but of shared models: what else would be granted is a reason to look twice.
    images = {"path_setting": "crosslens.image_folder", "basedir_if_relative": "config", "mode": "read"}
    models = {"relative_path": "crosslens", "relative_to": "data", "mode": "read_write"}
    assert yaml.safe_load(policy) == {"ALL-UNNAMED": ["load_native_libraries", {"files": [images, models]}]}
    names = native_files(path, tmp_path)
    assert len(names) == 4
    assert len({name.lower().split("/")[-2] for name in names} - {"cpu"}) <= 3
    assert path.stat().st_size < 20 << 20


@pytest.mark.parametrize("version", VERSIONS)
def test_whatever_the_zip_holds_has_its_notice_and_its_entry_in_the_bill_of_materials(version: str, zips: Path) -> None:
    path = plugin_zip(version, zips)
    with zipfile.ZipFile(path) as archive:
        jars = {name for name in archive.namelist() if name.endswith(".jar")}
        notice = archive.read("NOTICE.txt").decode()
    own = {name for name in jars if name.startswith("crosslens-server-")}
    assert len(own) == 1
    named = set(re.findall(r"\(([\w-]+)-\*\.jar\)", notice))
    assert named == {re.sub(r"-[\d.]+\.jar$", "", name) for name in jars - own}
    bill = json.loads(path.with_suffix(".cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert {f"{each['name']}-{each['version']}.jar" for each in bill["components"]} == jars - own
    for each in bill["components"]:
        assert each["licenses"]
        assert {"SHA-256"} <= {digest["alg"] for digest in each["hashes"]}
    assert f"{bill['metadata']['component']['name']}-{bill['metadata']['component']['version']}.jar" in own
    for file in (path, path.with_suffix(".cdx.json")):
        digest, name = file.with_name(f"{file.name}.sha256").read_text().split()
        assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
        assert name == f"*{file.name}"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_no_native_library_brings_a_client_for_the_network(platform: str, zips: Path, tmp_path: Path) -> None:
    """What runs natively is not under Elasticsearch's entitlements; newer builds of ONNX Runtime send telemetry."""
    plugin_zip(VERSIONS[0], zips)
    path = build_plugin(VERSIONS[0], tmp_path / "out", platform=platform)
    for name in native_files(path, tmp_path):
        (jar,) = [each for each in tmp_path.glob("*.jar") if name in zipfile.ZipFile(each).namelist()]
        data = zipfile.ZipFile(jar).read(name)
        for word in (b"mbedtls_ssl", b"curl_easy", b"ORT_DISABLE_TELEMETRY", b"events.data.microsoft.com"):
            assert word not in data, f"{name} holds {word!r}"


def test_another_platforms_zip_has_that_ones_files(zips: Path, tmp_path: Path) -> None:
    plugin_zip(VERSIONS[0], zips)
    path = build_plugin(VERSIONS[0], tmp_path, platform="macos-aarch64")
    assert "macos-aarch64" in path.name
    names = native_files(path, tmp_path)
    assert len(names) == 4
    assert all(name.endswith(".dylib") for name in names)


def test_an_unknown_platform_is_refused(tmp_path: Path) -> None:
    if shutil.which("mvn") is None:
        pytest.skip("needs Maven")
    with pytest.raises(NodeError, match="unknown platform 'amiga'; give one of linux-x64"):
        build_plugin(VERSIONS[0], tmp_path, platform="amiga")


def test_a_build_for_graphics_cards_is_for_platforms_that_have_one(tmp_path: Path) -> None:
    if shutil.which("mvn") is None:
        pytest.skip("needs Maven")
    with pytest.raises(NodeError, match="no build with CUDA for macos-aarch64, only for linux-x64 and windows-x64"):
        build_plugin(VERSIONS[0], tmp_path, platform="macos-aarch64", device="cuda")
    with pytest.raises(NodeError, match="unknown device 'tpu'; give one of cpu, cuda"):
        build_plugin(VERSIONS[0], tmp_path, device="tpu")


@pytest.mark.node
@pytest.mark.parametrize(
    ("device", "said"),
    [("cuda", "crosslens plugin build --device cuda"), ("tpu", r"must be one of cpu, cuda, not \[tpu\]")],
)
def test_a_node_that_is_to_use_what_its_plugin_lacks_does_not_start_and_says_so(
    device: str, said: str, zips: Path, tmp_path: Path
) -> None:
    install_plugin(plugin_zip(VERSIONS[0], zips), tmp_path)
    with pytest.raises(NodeError, match=said):
        Node(tmp_path, heap="512m", settings={"crosslens.device": device}).start()


def test_a_build_that_fails_tells_what_maven_said(tmp_path: Path) -> None:
    if shutil.which("mvn") is None:
        pytest.skip("needs Maven")
    with pytest.raises(NodeError, match=r"could not build the plugin for 9\.9\.99"):
        build_plugin("9.9.99", tmp_path)


def test_what_is_no_plugin_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("plugin-descriptor.properties", "name=analysis-icu\nversion=1\nelasticsearch.version=9.5.3\n")
    for name, told in (("text.zip", "not an Elasticsearch plugin"), ("other.zip", "'analysis-icu', not 'crosslens'")):
        with pytest.raises(NodeError, match=told):
            install_plugin(tmp_path / name, tmp_path / "node")
    with pytest.raises(NodeError, match="is not a model folder"):
        install_models([tmp_path / "nowhere"], tmp_path / "node")
    assert installed_models(tmp_path / "node") == []


def test_a_node_of_another_version_is_not_started_with_it(zips: Path, tmp_path: Path) -> None:
    install_plugin(plugin_zip(VERSIONS[0], zips), tmp_path)
    with pytest.raises(NodeError, match=rf"was built for Elasticsearch {VERSIONS[0]}, the node is {VERSIONS[1]}"):
        home_with_plugins(tmp_path / "home", tmp_path, VERSIONS[1])


def test_the_command_installs_into_an_elasticsearch_with_its_own_tool(zips: Path, tmp_path: Path) -> None:
    path = plugin_zip(VERSIONS[0], zips)
    tool = tmp_path / "es" / "bin" / "elasticsearch-plugin"
    tool.parent.mkdir(parents=True)
    jar = tmp_path / "es" / "lib" / f"elasticsearch-{VERSIONS[0]}.jar"
    jar.parent.mkdir()
    jar.touch()
    # A distribution isn't to be had here; what its tool is called with is its documented interface.
    tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n')
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    done = run("plugin", "install", str(path), "--es-home", str(tmp_path / "es"), "--model", str(DEMO_MODEL))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "called").read_text().splitlines() == ["remove crosslens", f"install --batch {path.as_uri()}"]
    assert (tmp_path / "es/config/crosslens/model/onnx/text_model.onnx").is_file()
    nowhere = run("plugin", "install", str(path), "--es-home", str(tmp_path))
    assert nowhere.returncode == 2
    assert "name the folder that Elasticsearch lies in" in nowhere.stderr
    jar.rename(jar.with_name(f"elasticsearch-{VERSIONS[1]}.jar"))
    other = run("plugin", "install", str(path), "--es-home", str(tmp_path / "es"))
    assert other.returncode == 2
    assert f"is for Elasticsearch {VERSIONS[0]}" in other.stderr
    assert len((tmp_path / "called").read_text().splitlines()) == 2


@pytest.mark.node
def test_a_node_starts_with_the_plugin_and_the_demos_model(zips: Path, tmp_path: Path) -> None:
    plugin_zip(VERSIONS[0], zips)
    built = run("plugin", "build", "--out", str(tmp_path), "--json")
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["elasticsearch"] == VERSIONS[0]
    folder = tmp_path / "node"
    started = run("node", "start", "--folder", str(folder), "--with-plugin", "--heap", "512m", "--json")
    try:
        assert started.returncode == 0, started.stderr
        url = json.loads(started.stdout)["url"]
        answer = Http(url).ok("POST", "_crosslens/encode", {"texts": ["a red heart"]})
        expected = Encoder(DEMO_MODEL).encode_texts(["a red heart"])[0]
        assert sum(a * b for a, b in zip(answer["vectors"][0], expected, strict=True)) >= 0.99999
        again = run("node", "start", "--folder", str(folder), "--with-plugin")
        assert again.returncode == 2
        assert "already runs" in again.stderr
    finally:
        Node(folder).stop()
