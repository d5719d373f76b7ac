"""The container files: no engine runs here, so they are linted, and held against what they refer to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from crosslens.node import DEFAULT_VERSION

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DOCKER / "compose.yaml").read_text()))


def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    found = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([found, str(DOCKER / "Dockerfile")], capture_output=True, text=True, check=False)
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


def test_every_port_is_this_machines_own() -> None:
    services = compose()["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 3
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
