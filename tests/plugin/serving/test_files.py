"""Files that players ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from crosslens.async_index import AsyncIndex
from crosslens.ingest.sources.access import ImageAccess
from crosslens.serving.app import application
from crosslens.serving.given import GivenPictures
from crosslens.serving.origin import Door
from crosslens.serving.referred import Referred, Signer
from crosslens.serving.searching import Asking, Searches
from crosslens.serving.service import Service
from crosslens.serving.views import Presentation

_SIGNER = Signer()


@pytest.fixture
def web(tmp_path: Path) -> TestClient:
    root = tmp_path / "root"
    root.mkdir()
    (root / "film.mp4").write_bytes(bytes(range(100)))
    (root / "page.html").write_text("<script>alert(1)</script>")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (root / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    reader, given = ImageAccess(root=root).reader(), GivenPictures(tmp_path / "given")
    searches = {"films": Searches(AsyncIndex("films", url="http://127.0.0.1:9"), Asking(given, reader))}
    app = application(Service(searches, Presentation(_SIGNER), reader, given), Door())
    return TestClient(app, base_url="http://127.0.0.1")


def _path(reference: str, kind: str = "video") -> str:
    return f"/files/{_SIGNER.address(Referred(kind, reference))}"


def test_a_player_gets_the_range_that_it_asks_for(web: TestClient) -> None:
    whole = web.get(_path("film.mp4"))
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, bytes(range(100)), "bytes")
    assert whole.headers["content-type"] == "video/mp4"
    part = web.get(_path("film.mp4"), headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    assert part.headers["content-range"] == "bytes 10-19/100"
    assert web.get(_path("film.mp4"), headers={"range": "bytes=-5"}).content == bytes(range(95, 100))
    assert web.get(_path("film.mp4"), headers={"range": "bytes=500-"}).status_code == 416


@pytest.mark.parametrize(
    "reference", ["../secret.mp4", "out.mp4", "/etc/passwd", "https://films.example/a.mp4", "none"]
)
def test_no_file_outside_the_root_and_none_from_elsewhere(web: TestClient, reference: str) -> None:
    assert web.get(_path(reference)).status_code == 404


def test_a_page_below_the_root_is_never_shown_as_one(web: TestClient) -> None:
    answer = web.get(_path("page.html"))
    assert answer.headers["content-type"] == "video/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_an_address_serves_what_it_was_made_for_only(web: TestClient) -> None:
    assert web.get(_path("film.mp4", kind="picture")).status_code == 404
    assert web.get(_path("film.mp4").replace("/files/", "/pictures/")).status_code == 404
    assert web.get("/files/film.mp4").status_code == 404


def test_a_picture_that_cannot_be_decoded_says_why(web: TestClient) -> None:
    answer = web.get(_path("film.mp4", kind="picture").replace("/files/", "/pictures/"))
    assert answer.status_code == 404
    assert "not an image" in answer.json()["error"]["message"]
