"""The page, as far as it needs no server: rendering, the form for the token, and what it loads."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from crosslens.async_index import AsyncIndex
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.fusion.scores import Part
from crosslens.queries.show.result import Hit, SearchResult
from crosslens.serving.app import application
from crosslens.serving.asked import Asked
from crosslens.serving.given import GivenPictures
from crosslens.serving.origin import COOKIE, Door
from crosslens.serving.page import Page, bars
from crosslens.serving.referred import Signer
from crosslens.serving.searching import Asking, Searches
from crosslens.serving.service import Service
from crosslens.serving.sieves import Sieves
from crosslens.serving.thumbs import ThumbsFile
from crosslens.serving.views import MARK_END, MARK_START, Presentation, shown

_HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"


def _service(folder: Path) -> Service:
    reader, given = ImageAccess(root=folder).reader(), GivenPictures(folder / "given")
    searches = {
        name: Searches(AsyncIndex(name, url="http://127.0.0.1:9"), Asking(given, reader)) for name in ("shop", "museum")
    }
    return Service(searches, Presentation(Signer()), reader, given, ThumbsFile(folder / "judged.jsonl"))


def _web(folder: Path, token: str | None = None) -> TestClient:
    return TestClient(
        application(_service(folder), Door(token=token)), base_url="http://127.0.0.1", follow_redirects=False
    )


def _tags(html: str) -> list[tuple[str, dict[str, str | None]]]:
    found: list[tuple[str, dict[str, str | None]]] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, dict(attrs)))

    Parser().feed(html)
    return found


def _rendered(folder: Path, hostile: str = _HOSTILE) -> str:
    asked = Asked(
        text=hostile,
        pictures=("0" * 64,),
        like=(("shop", hostile),),
        chosen=(("brand", hostile),),
        least=(("price", hostile),),
        weights=(("keyword", 0.5),),
    )
    parts = {"keyword": Part(2.0, 0.5, 0.25), hostile: Part(None, 0.0, 0.0)}
    source = {"title": hostile, "url": f"https://shop.example/{hostile}"}
    highlight = {"title": [f"{hostile}{MARK_START}{hostile}{MARK_END}"]}
    hit = Hit("shop", hostile, 0.25, parts, source, highlight=highlight, explanation=[hostile])
    result = SearchResult([hit], list(parts), 1, next="token")
    view = shown(result, asked, Sieves(("brand",), (("price", "number"),)), Presentation(Signer()))
    return Page(_service(folder), Door())._rendered(asked, view, None)


def test_nothing_that_a_document_or_a_url_holds_becomes_markup(tmp_path: Path) -> None:
    tags = _tags(_rendered(tmp_path))
    assert [attributes.get("src") for tag, attributes in tags if tag == "script"] == ["/static/page.js"]
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "style"]
    addresses = [value for _, each in tags for name, value in each.items() if name in ("src", "href", "action")]
    assert all(value and re.match(r"/|#results|data:,|https://shop\.example/", value) for value in addresses), addresses


def test_each_picture_and_field_has_a_name_for_those_who_do_not_see(tmp_path: Path) -> None:
    html = _rendered(tmp_path, "shoe")
    tags = _tags(html)
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    names = [attributes for tag, attributes in tags if tag == "button" and "data-thumb" in attributes]
    assert all(each.get("aria-label") for each in names)
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert 'lang="en"' in html


def test_the_empty_page_and_a_failure_each_have_a_sentence(tmp_path: Path) -> None:
    web = _web(tmp_path)
    assert "Type what you look for" in web.get("/").text
    for url, status, said in (
        ("/?q=shoe", 503, "Elasticsearch doesn&#39;t answer"),
        ("/?q=shoe&in=other", 400, "is not served here"),
        ("/?size=0", 400, "whole number from 1 to 100"),
    ):
        answer = web.get(url)
        assert (answer.status_code, said in answer.text) == (status, True), answer.text
        assert 'role="alert"' in answer.text


def test_several_indices_can_be_chosen_from(tmp_path: Path) -> None:
    assert "<option selected>museum</option>" in _web(tmp_path).get("/?in=museum").text


def test_the_token_opens_the_page_for_a_browser(tmp_path: Path) -> None:
    web = _web(tmp_path, token="s3cret")
    assert web.get("/").headers["location"] == "/login"
    assert web.post("/login", data={"token": "wrong"}).status_code == 401
    assert web.post("/login", content=b"\xff").status_code == 400
    assert web.post("/login", content=b"x" * 5_000).status_code == 400
    answer = web.post("/login", data={"token": "s3cret"})
    cookie = answer.headers["set-cookie"].lower()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert cookie.startswith(f"{COOKIE}=")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "s3cret" not in cookie
    assert web.get("/").status_code == 200


def test_what_the_page_loads_asks_no_address_outside(tmp_path: Path) -> None:
    web = _web(tmp_path)
    for name in ("page.css", "page.js"):
        answer = web.get(f"/static/{name}")
        assert answer.status_code == 200
        assert not re.search(r"https?://|@import|eval\(|innerHTML", answer.text)
    assert web.get("/static/../app.py").status_code == 404
    assert web.get("/static/app.py").status_code == 404


@pytest.mark.parametrize(
    ("weights", "widths"), [([0.25, 0.5], ["25.00", "50.00"]), ([0.75, 0.75], ["75.00", "25.00"]), ([], [])]
)
def test_bars_are_shares_of_the_whole(weights: list[float], widths: list[str]) -> None:
    hit: dict[str, Any] = {"parts": [{"weighted": each} for each in weights]}
    assert [each["width"] for each in bars(hit)] == widths
