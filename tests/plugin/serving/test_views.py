"""Results as the API returns them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from crosslens.errors import QueryError
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.evaluate.clicks import read_clicks
from crosslens.queries.fusion.scores import Part
from crosslens.queries.show.moments import MatchedMoment
from crosslens.queries.show.pictures import Pictures
from crosslens.queries.show.result import Hit, SearchResult
from crosslens.serving.asked import Asked
from crosslens.serving.referred import Referred, Signer
from crosslens.serving.searching import arguments_of
from crosslens.serving.sieves import Sieves
from crosslens.serving.thumbs import Thumb, ThumbsFile
from crosslens.serving.views import MARK_END, MARK_START, Presentation, marked, shown

_SIGNER = Signer(b"secret")
_HOW = Presentation(_SIGNER)
_FIELDS = [
    VectorField("photo_vector", "image", ("photos",), "clip", "f", 8, "hnsw", each=True),
    VectorField("clip_vector", "video", ("clip",), "clip", "f", 8, "hnsw", each=True, part="frames"),
]


def _hit(source: dict[str, Any], **how: Any) -> Hit:
    return Hit("shop", "1", 0.75, {"keyword": Part(3.0, 0.5, 0.75)}, source, **how)


def _shown(hit: Hit, asked: Asked | None = None, how: Presentation = _HOW) -> dict[str, Any]:
    result = SearchResult([hit], ["keyword"], 1, next="token", pictures=Pictures(_FIELDS, ImageAccess().reader()))
    view = shown(result, asked or Asked(text="shoe", weights=(("keyword", 0.5),)), Sieves(), how)
    json.dumps(view, allow_nan=False).encode()
    return view


def test_the_picture_that_matched_has_an_address_of_its_own() -> None:
    hit = _hit({"photos": ["a.png", "b.png"]}, matched={"photo_vector": {"position": 1, "reference": "b.png"}})
    (view,) = _shown(hit)["hits"]
    assert _SIGNER.read(view["picture"].removeprefix("/pictures/")) == Referred("picture", "b.png")
    assert view["matched"] == [{"leg": "photo_vector", "said": "b.png"}]
    assert _shown(_hit({}))["hits"][0]["picture"] is None


def test_a_moment_is_played_from_here_and_from_its_time() -> None:
    hit = _hit(
        {"clip": "https://films.example/a.mp4"}, moments=[MatchedMoment("clip", 0, 1500, 4000, {"picture": 1.0})]
    )
    (moment,) = _shown(hit)["hits"][0]["moments"]
    address, _, time = moment["src"].removeprefix("/files/").partition("#")
    assert _SIGNER.read(address) == Referred("video", "https://films.example/a.mp4")
    assert (time, moment["kind"]) == ("t=1.500,4.000", "video")


@pytest.mark.parametrize(
    ("source", "link"),
    [
        ({"url": "https://shop.example/1"}, "https://shop.example/1"),
        ({"url": "javascript:alert(1)", "link": " HTTP://shop.example/1 "}, "HTTP://shop.example/1"),
        ({"url": "java\nscript:alert(1)"}, None),
        ({"url": "data:text/html,x"}, None),
        ({"url": "//evil.example"}, None),
        ({"url": "http://[::1"}, None),
        ({"url": ["https://shop.example/a", "x"]}, "https://shop.example/a"),
        ({"other": "https://shop.example/1"}, None),
    ],
)
def test_a_link_is_a_web_address_or_none(source: dict[str, Any], link: str | None) -> None:
    assert _shown(_hit(source))["hits"][0]["link"] == link


def test_named_fields_come_before_guessed_ones() -> None:
    how = Presentation(_SIGNER, title="maker.name", link="maker.home")
    hit = _hit(
        {"title": "guessed", "url": "https://a.example/", "maker": {"name": "Ann", "home": "https://b.example/"}}
    )
    (view,) = _shown(hit, how=how)["hits"]
    assert (view["title"], view["link"]) == ("Ann", "https://b.example/")
    assert _shown(_hit({"title": "guessed"}), how=how)["hits"][0]["title"] == "guessed"


def test_the_next_page_and_more_like_this_are_searches_of_their_own() -> None:
    asked = Asked(text="shoe", page="now", weights=(("keyword", 0.5),))
    view = _shown(_hit({}), asked)
    assert Asked.of(parse_qsl(view["url"])) == asked
    following = Asked.of(parse_qsl(view["next"]))
    assert (following.page, following.first_page()) == ("token", asked.first_page())
    assert Asked.of(parse_qsl(view["hits"][0]["like"])) == asked.with_like(("shop", "1"))
    assert Asked.of(parse_qsl(view["hits"][0]["less"])) == asked.with_less(("shop", "1"))


def test_half_a_character_in_a_document_reaches_no_browser() -> None:
    assert "\ud800" not in json.dumps(_shown(_hit({"title": "a\ud800"})), ensure_ascii=False)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("plain <em>", [("plain <em>", False)]),
        (f"a {MARK_START}b{MARK_END} c", [("a ", False), ("b", True), (" c", False)]),
        (f"{MARK_START}b{MARK_END}", [("b", True)]),
        (f"{MARK_START}b", [("b", False)]),
        (f"{MARK_END}b", [("b", False)]),
        ("", []),
    ],
)
def test_words_that_matched_are_told_apart_without_tags(text: str, pieces: list[tuple[str, bool]]) -> None:
    assert [(each["text"], each["matched"]) for each in marked(text)] == pieces


def test_a_search_asks_for_pages_that_do_not_shift() -> None:
    arguments = arguments_of(
        Asked(text="shoe", like=(("shop", "1"),), sort=("price", True)), Sieves((), (("price", "number"),))
    )
    assert arguments["page"] is True
    assert arguments["like"] == [("shop", "1")]
    assert arguments["sort"] == [{"price": {"order": "desc"}}]
    assert arguments_of(Asked(like=(("shop", "1"),), page="token"), Sieves())["page"] == "token"
    assert arguments_of(Asked(like=(("shop", "1"),)), Sieves())["highlight"] is None


def test_thumbs_are_judgements_that_tune_reads(tmp_path: Path) -> None:
    file = ThumbsFile(tmp_path / "judged.jsonl")
    for document, way in (("1", "up"), ("2", "down"), ("1", "up")):
        file.add(Thumb(Asked(text=" shoe\n", page="token"), document, way))  # type: ignore[arg-type]
    judged, report = read_clicks(file.path)
    assert [(each.text, dict(each.relevant)) for each in judged] == [("shoe", {"1": 100.0})]
    assert report.thumbs == 3
    for asked in (Asked(), Asked(text="shoe", like=(("shop", "1"),)), Asked(pictures=("0" * 64,))):
        with pytest.raises(QueryError, match="text alone"):
            file.add(Thumb(asked, "1", "up"))
    with pytest.raises(QueryError, match="can't be written"):
        ThumbsFile(tmp_path).add(Thumb(Asked(text="shoe"), "1", "up"))
