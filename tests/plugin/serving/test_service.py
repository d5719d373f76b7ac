"""The service on real nodes, through its own application."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from PIL import Image
from rich.console import Console
from starlette.testclient import TestClient

from crosslens.async_index import AsyncIndex
from crosslens.demo.build import DATA
from crosslens.demo.run import add, create_index, load_items
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.sources.access import ImageAccess
from crosslens.serving.app import application
from crosslens.serving.given import GivenPictures
from crosslens.serving.origin import Door
from crosslens.serving.rates import Rate
from crosslens.serving.referred import Signer
from crosslens.serving.searching import Asking, Searches
from crosslens.serving.service import Service
from crosslens.serving.thumbs import ThumbsFile
from crosslens.serving.views import Presentation
from tests import commands
from tests.conftest import Server

pytestmark = pytest.mark.node
_INDEX = "test-serving"


@dataclass
class Running:
    web: TestClient
    server: Server
    thumbs: Path


def _service(url: str, index: str, folder: Path, encoder: Encoder) -> Service:
    access = ImageAccess(root=DATA)
    reader, given = access.reader(), GivenPictures(folder / "given")
    searched = AsyncIndex(index, url=url, model=encoder, images=access)
    return Service(
        {index: Searches(searched, Asking(given, reader))},
        Presentation(Signer()),
        reader,
        given,
        ThumbsFile(folder / "judged.jsonl"),
    )


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(DEMO_MODEL)


@pytest.fixture(scope="module")
def running(server: Server, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("serving")
    create_index(server.client, load_items()[:120], _INDEX)
    add(server.client, encoder, Console(quiet=True), _INDEX)
    server.client.indices.refresh(index=_INDEX)
    app = application(_service(server.node.url, _INDEX, folder, encoder), Door(), Rate(1000, 1000))
    with TestClient(app, base_url="http://127.0.0.1") as web:
        yield Running(web, server, folder / "judged.jsonl")
    server.client.indices.delete(index=_INDEX)


def _found(running: Running, url: str) -> dict[str, Any]:
    answer = running.web.get(f"/api/v1/search?{url}")
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


def test_a_search_and_its_next_page_share_no_document(running: Running) -> None:
    first = _found(running, "q=face&size=5")
    assert len(first["hits"]) == 5
    assert first["hits"][0]["why"]
    second = _found(running, first["next"])
    assert second["hits"]
    assert not {hit["id"] for hit in first["hits"]} & {hit["id"] for hit in second["hits"]}


def test_a_thumbnail_comes_from_its_address_and_from_no_other(running: Running) -> None:
    path = _found(running, "q=face")["hits"][0]["picture"]
    answer = running.web.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    assert Image.open(io.BytesIO(answer.content)).size <= (320, 320)
    assert running.web.get(path[:-2] + "AA").status_code == 404
    assert running.web.get(path.replace("/pictures/", "/files/")).status_code == 404


def test_a_given_picture_finds_itself_and_more_like_this_finds_others(running: Running) -> None:
    hit = _found(running, "q=face")["hits"][0]
    item = next(each for each in load_items() if each["id"] == hit["id"])
    given = running.web.post("/api/v1/pictures", content=(DATA / item["image"]).read_bytes())
    assert given.status_code == 201, given.text
    assert _found(running, f"picture={given.json()['id']}")["hits"][0]["id"] == hit["id"]
    assert running.web.get(given.json()["address"]).headers["content-type"] == "image/webp"
    assert hit["id"] not in {each["id"] for each in _found(running, hit["like"])["hits"]}
    away = {each["id"]: each["score"] for each in _found(running, hit["less"])["hits"]}
    assert away.get(hit["id"], 0) < hit["score"]


def test_facets_narrow_down(running: Running) -> None:
    (facet,) = _found(running, "q=face")["facets"]
    assert facet["field"] == "category"
    value = facet["values"][-1]
    narrowed = _found(running, urlencode({"q": "face", "f.category": value["value"], "sort": "sku:asc"}))
    assert {each["value"] for each in narrowed["facets"][0]["values"] if each["count"]} == {value["value"]}


def test_a_thumb_is_written_for_the_search_that_it_judges(running: Running) -> None:
    hit = _found(running, "q=face")["hits"][0]
    judged = {"url": "q=face", "document": hit["id"], "way": "up"}
    assert running.web.post("/api/v1/thumbs", json=judged).status_code == 204
    assert hit["id"] in running.thumbs.read_text()
    foreign = {"origin": "https://evil.example"}
    assert running.web.post("/api/v1/thumbs", json=judged, headers=foreign).status_code == 403
    for wrong in ({}, [], {**judged, "way": "sideways"}, {**judged, "url": "f.x=1"}, {**judged, "more": 1}):
        assert running.web.post("/api/v1/thumbs", json=wrong).status_code == 400


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("", 400, "nothing is looked for"),
        ("q=a&in=other", 400, "'other' is not served here"),
        ("q=a&f.name=x", 400, "not a field to narrow down"),
        ("q=a&page=rubbish", 400, "token"),
        (f"picture={'0' * 64}", 400, "give it again"),
        ("like=.secret/1", 400, "not an index that is served"),
        ("q=a&less=.secret/1", 400, "not an index that is served"),
        (f"q=a&less={_INDEX}/nothing", 400, "not there any more"),
    ],
)
def test_what_goes_wrong_has_a_sentence(running: Running, url: str, status: int, said: str) -> None:
    answer = running.web.get(f"/api/v1/search?{url}")
    assert (answer.status_code, said in answer.json()["error"]["message"]) == (status, True), answer.text


def test_whoever_watches_sees_what_was_asked(running: Running) -> None:
    _found(running, "q=face")
    assert running.web.get("/healthz").json() == running.web.get("/readyz").json() == {"status": "ok"}
    assert 'crosslens_serve_searches_total{outcome="found"}' in running.web.get("/metrics").text


def test_every_answer_is_as_the_description_says(running: Running) -> None:
    described = running.web.get("/api/v1/openapi.json").json()
    schemas = described["components"]["schemas"]
    _conforms(_found(running, "q=face"), schemas["SearchResult"], schemas)
    _conforms(running.web.get("/api/v1/search").json(), schemas["Failure"], schemas)


def test_a_server_that_is_gone_is_a_sentence_and_not_ready(encoder: Encoder, tmp_path: Path) -> None:
    app = application(_service("http://127.0.0.1:9", "shop", tmp_path, encoder), Door())
    with TestClient(app, base_url="http://127.0.0.1") as web:
        answer = web.get("/api/v1/search?q=a")
        assert (answer.status_code, answer.json()["error"]["message"]) == (503, "Elasticsearch doesn't answer")
        assert web.get("/readyz").status_code == 503
        assert web.get("/healthz").status_code == 200


def test_the_command_serves_until_it_is_ended(running: Running) -> None:
    arguments = ["serve", _INDEX, "--port", "0", "--url", running.server.node.url, "--image-root", str(DATA)]
    process = commands.start([*arguments, "--model", str(DEMO_MODEL)])
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        page = httpx.get(f"{url}?q=face", timeout=60)
        assert (page.status_code, "<article" in page.text) == (200, True)
        assert "server" not in page.headers
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (0, False), said


def _conforms(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Whether a value is as a schema of the few kinds that the description uses says."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        assert value in schema["enum"]
        return
    kinds: dict[str, Any] = {
        "string": str,
        "number": (int, float),
        "integer": int,
        "boolean": bool,
        "null": type(None),
        "array": list,
        "object": dict,
    }
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    assert any(isinstance(value, kinds[name]) for name in names), (value, schema)
    if isinstance(value, list):
        for each in value:
            _conforms(each, schema["items"], schemas)
    if isinstance(value, dict):
        assert set(value) == set(schema["properties"])
        for name, each in value.items():
            _conforms(each, schema["properties"][name], schemas)
