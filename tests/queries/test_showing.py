"""Tables and pages: what a person reads."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.fusion.fuse import Part
from crosslens.queries.show.explain import explain
from crosslens.queries.show.page import write_page
from crosslens.queries.show.result import Hit, SearchResult
from crosslens.queries.show.table import facets_table, result_table, side_by_side, title_of
from crosslens.surrogates import mended

PHOTO = VectorField("photo_vector", "image", ("photo",), "clip", "f00d", 4, "int8_hnsw")


def hit(id: str, **source: object) -> Hit:
    parts = {"keyword": Part(None, 0.0, 0.0), "photo_vector": Part(0.31, 0.9, 0.45)}
    return Hit("shop", id, 0.45, parts, dict(source))


def result(*hits: Hit) -> SearchResult:
    return SearchResult(list(hits), ["keyword", "photo_vector"], len(hits), 3.0, 4.0)


def text_of(renderable: object, width: int = 110) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_the_table_shows_rank_document_total_and_the_parts_of_each_leg() -> None:
    shown = text_of(result_table(result(hit("1", title="Blue shoe"), hit("2")), "'shoe'"))
    row = next(line for line in shown.splitlines() if "Blue shoe" in line)
    assert re.search(r"1 +Blue shoe +0\.450 +█{5} +- +0\.45 \(0\.31\)", row)
    assert re.search(r"2 +2 +0\.450", shown)


def test_a_narrow_terminal_breaks_titles_and_never_numbers() -> None:
    shown = text_of(result_table(result(hit("1", title="Blue running shoes for long distances")), "q"), width=60)
    assert "0.450" in shown
    assert "0.45 (0.31)" in shown
    assert "photo_vector" in shown


def test_markup_in_a_document_is_shown_as_it_is() -> None:
    assert "[red]Sale[/red]" in text_of(result_table(result(hit("1", title="[red]Sale[/red]")), "q"))


def test_searches_side_by_side_fill_missing_rows() -> None:
    shown = text_of(side_by_side({"keyword": result(), "hybrid": result(hit("1", name="Hat"))}, "q", 2))
    assert "0.45  Hat" in shown
    assert "keyword" in shown


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ({"name": "Hat", "title": "Red hat"}, "Red hat"),
        ({"sku": "A1", "name": ["Hat", "Cap"]}, "Hat"),
        ({"note": "  ", "body": "First text"}, "First text"),
        ({"price": 3}, "id-1"),
    ],
)
def test_documents_are_called_by_what_people_call_them(source: dict[str, object], title: str) -> None:
    assert title_of(Hit("shop", "id-1", 0.0, {}, source)) == title


def test_the_page_holds_its_pictures_and_escapes_documents(tmp_path: Path) -> None:
    Image.new("RGB", (500, 400), "red").save(tmp_path / "a.png")
    hits = [hit("1", title="<script>alert(1)</script>", photo="a.png"), hit("2", title="Hat", photo="gone.png")]
    page = tmp_path / "out/found.html"
    sections = [("'shoe'", result(*hits)), ("'sock'", result())]
    write_page(page, sections, [PHOTO], ImageAccess(root=tmp_path).reader(), query=tmp_path / "a.png")
    html = page.read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html
    assert html.count("data:image/webp;base64,") == 2
    assert "gone.png: no such file" in html
    assert "Nothing was found." in html
    assert 'src="http' not in html


def explained(id: str, parts: dict[str, Part], **source: object) -> Hit:
    modalities: dict[str, Any] = {leg: {"photo_vector": "image", "title_vector": "text"}.get(leg) for leg in parts}
    return Hit("shop", id, 0.6, parts, dict(source), explanation=explain(parts, modalities, 100))


FOUND = {
    "keyword": Part(3.2, 0.5, 0.4, chance=0.25, covered=0.8),
    "photo_vector": Part(0.31, 0.3, 0.2, chance=2.1),
    "title_vector": Part(0.2, 0.0, 0.0),
}


def test_an_explanation_says_of_each_leg_what_it_knows_the_one_that_adds_most_first() -> None:
    assert explained("1", FOUND).explanation == [
        "the words cover 80 % of the query",
        "about 2 pictures would match as well by chance",
        "its text is not among the 100 nearest",
    ]


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (Part(0.3, 0.9, 0.9, chance=0.001), "next to no picture would match as well by chance"),
        (Part(0.3, 0.7, 0.7, chance=0.31), "about 0.3 pictures would match as well by chance"),
        (Part(0.3, 0.5, 0.5, chance=1.2), "about 1 picture would match as well by chance"),
        (Part(0.1, 0.0, 0.0), "its picture is not among the 100 nearest"),
        (Part(None, 0.0, 0.0, lacking=True), "it has no picture to compare"),
    ],
)
def test_chances_are_said_in_words(part: Part, says: str) -> None:
    other = Part(3.0, 0.5, 0.5, chance=8.4)
    told = explain({"keyword": other, "photo_vector": part}, {"keyword": None, "photo_vector": "image"}, 100)
    assert says in told
    assert "about 8 documents would match the words as well by chance" in told


def test_two_legs_of_one_kind_are_told_apart() -> None:
    part = Part(0.3, 0.5, 0.5, chance=1.2)
    told = explain({"front": part, "views": part}, {"front": "image", "views": "image"}, 100)
    assert told[0].startswith("front: about 1 picture")


def test_other_fusions_have_nothing_to_say_in_words() -> None:
    assert explained("1", {"keyword": Part(3.2, 0.5, 0.4), "photo_vector": Part(0.31, 0.3, 0.2)}).explanation == []


def test_the_table_says_why_of_the_legs_that_found_the_document() -> None:
    shown = text_of(
        result_table(result(explained("1", {leg: FOUND[leg] for leg in FOUND}, title="Hat")), "q"), width=200
    )
    assert "the words cover 80 % of the query; about 2 pictures would match as well by chance" in shown
    assert "not among" not in shown


def test_the_page_says_why(tmp_path: Path) -> None:
    page = tmp_path / "found.html"
    write_page(
        page, [("q", replace(result(explained("1", FOUND, title="Hat")), legs=list(FOUND)))], [], ImageAccess().reader()
    )
    assert "the words cover 80 % of the query; about 2 pictures" in page.read_text()


def test_a_notebook_shows_the_hits_and_escapes_documents() -> None:
    shown = result(explained("1", FOUND, title="<b>Hat</b>"))._repr_html_()
    assert "&lt;b&gt;Hat&lt;/b&gt;" in shown
    assert "<b>Hat" not in shown
    assert "the words cover 80 % of the query" in shown
    assert "Nothing was found." in result()._repr_html_()


def test_a_result_is_json_whatever_was_not_found() -> None:
    written = json.dumps(result(explained("1", FOUND)).as_dict(), allow_nan=False)
    assert json.loads(written)["hits"][0]["parts"]["title_vector"]["chance"] is None


@pytest.mark.parametrize("width", [60, 80])
def test_on_a_narrow_terminal_titles_stay_readable(width: int) -> None:
    parts = {leg: Part(12.31, 0.4, 0.2, chance=0.2) for leg in ("keyword", "photo_vector", "description_vector")}
    found = Hit("shop", "1", 0.61, parts, {"title": "Blue running shoes for long distances"})
    shown = text_of(result_table(replace(result(found), legs=list(parts)), "q"), width=width)
    assert "Blue running shoes for long distances" in shown
    assert "description_vector 0.20 (12.31)" in shown
    assert max(map(len, shown.splitlines())) <= width


HALF = "cut \ud83d"


def test_half_an_emoji_is_replaced_wherever_it_is_shown(tmp_path: Path) -> None:
    found = replace(hit(HALF, title=HALF, photo=HALF), highlight={"title": [f"<em>{HALF}</em>"]})
    shown = replace(result(found), aggregations={})
    for text in (
        text_of(result_table(shown, HALF)),
        text_of(result_table(result(hit(HALF)), "q"), width=60),
        text_of(facets_table("title", [{"key": HALF, "doc_count": 2}], 3)),
        shown._repr_html_(),
        json.dumps(mended(shown.as_dict()), ensure_ascii=False),
    ):
        assert "cut \ufffd" in text
        text.encode()
    page = tmp_path / "found.html"
    write_page(page, [(HALF, shown)], [PHOTO], ImageAccess(root=tmp_path).reader())
    assert page.read_text(encoding="utf-8").count("cut \ufffd") >= 2


def test_highlighted_words_are_shown_under_the_document() -> None:
    found = replace(hit("1", title="Hat"), highlight={"description": ["a <em>blue</em> hat"]})
    assert "description: a blue hat" in text_of(result_table(result(found), "q"))
