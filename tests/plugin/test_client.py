"""Connecting: versions, wrong addresses, and settings that contradict each other."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crosslens.client import Connection, connect, parse_version, server_version
from crosslens.errors import ConnectionFailedError, ModelError
from crosslens.ingest.model.known import DEMO_MODEL, find, remember
from tests.conftest import Server


@pytest.fixture
def other_server() -> Iterator[str]:
    """An HTTP server that isn't Elasticsearch."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("text", "version"), [("9.5.3", (9, 5, 3)), ("8.19.21-SNAPSHOT", (8, 19, 21)), ("10.0.0", (10, 0, 0))]
)
def test_versions_compare_as_numbers(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("connection", "says"),
    [
        (Connection(url="localhost:9200"), "must start with http"),
        (Connection(url="http://127.0.0.1:9"), "no Elasticsearch answers at http://127.0.0.1:9"),
        (Connection(url="http://127.0.0.1:9", api_key="k", user="u"), "either an API key or a user"),
        (Connection(url="http://127.0.0.1:9", user="u"), "user u needs a password"),
        (Connection(url="https://127.0.0.1:9", ca_certs=Path("/no/ca.pem")), "/no/ca.pem doesn't exist"),
    ],
)
def test_what_cannot_connect_says_why(connection: Connection, says: str) -> None:
    with pytest.raises(ConnectionFailedError, match=says):
        connect(connection)


def test_a_server_of_another_kind_is_not_taken_for_elasticsearch(other_server: str) -> None:
    with pytest.raises(ConnectionFailedError, match=other_server):
        connect(Connection(url=other_server))


@pytest.mark.node
def test_one_client_speaks_to_both_versions(server: Server) -> None:
    assert server_version(server.client) == parse_version(server.version)
    assert server.client.cluster.health()["status"] in ("green", "yellow")


def test_a_model_used_once_is_found_by_its_fingerprint(models: Path) -> None:
    from crosslens.ingest.model.folder import open_model

    folder = open_model(models / "small")
    with pytest.raises(ModelError, match=r"no folder with that model is known .*; name the folder") as unknown:
        find(folder.fingerprint + "0", "small")
    assert unknown.value.parameter == "model"
    remember(models / "small", folder.fingerprint)
    assert find(folder.fingerprint, "small") == (models / "small").resolve()


def test_the_demos_model_is_always_known() -> None:
    from crosslens.ingest.model.folder import open_model

    assert find(open_model(DEMO_MODEL).fingerprint, "demo") == DEMO_MODEL
