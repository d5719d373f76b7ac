"""Real nodes with the server plugin, of both versions."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from crosslens.client import Connection, connect
from crosslens.errors import NodeError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.node import Node
from crosslens.node.build import build_plugin
from crosslens.node.installing import install_models, install_plugin
from tests.conftest import VERSIONS, Server, require_node
from tests.golden import FOLDER

PICTURES = DEMO_MODEL.parent / "pictures"


@dataclass(frozen=True)
class Http:
    """A plain HTTP client, as any language has one."""

    url: str

    def __call__(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of the answer; ``body`` is an object, or a list for newline-delimited JSON."""
        lines = "".join(json.dumps(line) + "\n" for line in body) if isinstance(body, list) else json.dumps(body)
        kind = "application/x-ndjson" if isinstance(body, list) else "application/json"
        request = urllib.request.Request(
            f"{self.url}/{path}",
            method=method,
            data=None if body is None else lines.encode(),
            headers={"content-type": kind},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def text(self, path: str, accept: str = "*/*") -> tuple[str, str]:
        """The content type and the text of what is answered to GET."""
        request = urllib.request.Request(f"{self.url}/{path}", headers={"accept": accept})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.headers["content-type"], answer.read().decode()

    def ok(self, method: str, path: str, body: object = None) -> Any:
        status, answer = self(method, path, body)
        assert status < 300, f"{method} {path}: {status} {json.dumps(answer)[:2000]}"
        return answer


@dataclass(frozen=True)
class Plugged:
    """A node with the plugin; its folder of models and the one folder of images that documents may name."""

    server: Server
    http: Http
    images: Path

    @property
    def folder(self) -> Path:
        return self.server.node.folder

    def stats(self) -> dict[str, Any]:
        """The one node's statistics."""
        (only,) = self.http.ok("GET", "_crosslens/stats")["nodes"].values()
        return dict(only)


@cache
def built(version: str, out: Path) -> Path:
    # The plugin's own tests run in a copy of its folder, from where they don't see the repository.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROSSLENS_GOLDEN", str(FOLDER))
        return build_plugin(version, out, tests=True)


@pytest.fixture(scope="session")
def zips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plugins")


def plugin_zip(version: str, zips: Path) -> Path:
    """The plugin for ``version``, built once; skips where that can't be done here."""
    require_node(version)
    try:
        return built(version, zips)
    except NodeError as error:
        if "needs Maven" in str(error):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="session")
def demo_encoder() -> Encoder:
    return Encoder(DEMO_MODEL)


@pytest.fixture(scope="session", params=VERSIONS)
def plugged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, zips: Path, models: Path, pictures: Path
) -> Iterator[Plugged]:
    version = str(request.param)
    folder = tmp_path_factory.mktemp(f"plugged-{version}")
    install_plugin(plugin_zip(version, zips), folder)
    install_models([DEMO_MODEL, models / "small", models / "wide"], folder)
    settings = {"crosslens.image_folder": str(pictures.resolve()), "crosslens.models.upload": "true"}
    node = Node(folder, version=version, heap="1g", settings=settings)
    node.start()
    try:
        client = connect(Connection(url=node.url))
        yield Plugged(Server(node, client, version), Http(node.url), pictures)
    finally:
        node.stop()


@pytest.fixture(scope="session", params=VERSIONS)
def small(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, zips: Path, models: Path
) -> Iterator[Plugged]:
    """A node with little heap, a model that it loads by itself, and a folder of images; else all defaults."""
    version = str(request.param)
    folder, images = tmp_path_factory.mktemp(f"small-{version}"), tmp_path_factory.mktemp("images")
    install_plugin(plugin_zip(version, zips), folder)
    install_models([DEMO_MODEL, models / "small"], folder)
    settings = {"crosslens.image_folder": str(images.resolve()), "crosslens.preload": "model,absent"}
    node = Node(folder, version=version, heap="512m", settings=settings)
    node.start()
    try:
        made = Plugged(Server(node, connect(Connection(url=node.url)), version), Http(node.url), images)
        until = time.monotonic() + 60
        while not all(made.stats()["search"][kind] for kind in ("texts", "images")):
            assert time.monotonic() < until, "the model in crosslens.preload was not loaded by itself"
            time.sleep(0.2)
        yield made
    finally:
        node.stop()
