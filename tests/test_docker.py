"""The container files: no engine runs here, so they are linted, and held against what they refer to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from crosslens.commands.sync import sync
from crosslens.ingest.run.sync.settings import read_settings
from crosslens.node import DEFAULT_VERSION

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DOCKER / "compose.yaml").read_text()))


@pytest.mark.parametrize("name", ["Dockerfile", "client.Dockerfile"])
def test_hadolint_has_nothing_to_say_of_the_dockerfile(name: str) -> None:
    found = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([found, str(DOCKER / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_docker_compose_understands_the_file() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("docker compose is not installed")
    command = ["docker", "compose", "-f", str(DOCKER / "compose.yaml"), "--profile", "*", "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == set(compose()["services"])


def test_what_the_image_is_made_of_is_in_the_repository_and_reaches_the_builder() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    model = re.search(r"^ARG MODEL=(.+)$", text, re.MULTILINE)
    assert model is not None
    sources = ["plugin/server", model[1]]
    assert re.findall(r"^COPY (?:--\S+ )*(\S+) ", text, re.MULTILINE) == ["plugin/server", "${MODEL}"]
    let_through = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    for source in sources:
        assert (ROOT / source).is_dir()
        assert f"!{source}" in let_through
    assert f"ARG ES_VERSION={DEFAULT_VERSION}" in text


def test_what_the_clients_image_is_made_of_reaches_the_builder() -> None:
    text = (DOCKER / "client.Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
    sources = {source for words in copied for source in words.split()[:-1]}
    rules = (DOCKER / "client.Dockerfile.dockerignore").read_text().splitlines()
    assert rules[1] == "**"
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in rules
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {path.split("/")[0] for path in project["tool"]["setuptools"]["package-dir"].values()} <= sources
    for needed in project["project"]["license-files"]:
        assert f"!{needed}" in rules
    assert re.findall(r"^USER (\d+)$", text, re.MULTILINE) == ["10001"]
    assert "sync" in project["project"]["optional-dependencies"]


def test_the_compose_file_follows_what_its_settings_say() -> None:
    settings = read_settings(DOCKER / "sync.toml")
    service = compose()["services"]["sync"]
    mounted = {volume.rsplit("}:")[-1].split(":")[0] for volume in service["volumes"]}
    assert settings.address == ("0.0.0.0", 9464)
    assert {str(Path(folder).parent) for folder in settings.models} <= mounted
    assert {each.image_root for each in settings.index} <= mounted
    assert service["read_only"] is True
    assert service["profiles"] == ["sync"]


def test_the_unit_is_understood_and_its_commands_exist(tmp_path: Path) -> None:
    text = (DOCKER / "crosslens-sync.service").read_text()
    commands = re.findall(r"^Exec(?:Start|StartPre)=/opt/crosslens/bin/crosslens (.+)$", text, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        name, *words = command.split()
        assert name == "sync"
        # Click keeps a command's help option as it is first asked for.
        context = sync.make_context("sync", words, help_option_names=["-h", "--help"])
        assert context.params["config"] == Path("/etc/crosslens/sync.toml")
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    here = tmp_path / "crosslens-sync.service"
    here.write_text(text.replace("/opt/crosslens/bin/crosslens", sys.executable))
    done = subprocess.run([found, "verify", "--man=no", str(here)], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "crosslens-sync" in line]
    assert said == []


def test_every_port_is_this_machines_own() -> None:
    services = compose()["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_security_is_on_but_for_the_development_profile() -> None:
    services = compose()["services"]
    on = {name: s["environment"].get("xpack.security.enabled") for name, s in services.items() if "data" in str(s)}
    assert on["elasticsearch"] == "true"
    assert on["elasticsearch-dev"] == "false"
    assert "profiles" not in services["elasticsearch"]
    assert services["elasticsearch-dev"]["profiles"] == ["dev"]


def test_servers_say_when_they_are_ready_and_keep_their_data() -> None:
    file = compose()
    for name in ("elasticsearch", "elasticsearch-dev", "kibana"):
        service = file["services"][name]
        assert service["healthcheck"]["test"]
        assert any(volume.split(":")[0] in file["volumes"] for volume in service["volumes"])
