"""Tables and pages: what a person reads."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from crosslens.ingest.contract import VectorField
from crosslens.ingest.sources import ImageAccess
from crosslens.queries.fusion import Part
from crosslens.queries.hybrid import Hit, SearchResult
from crosslens.queries.page import write_page
from crosslens.queries.table import result_table, side_by_side, title_of

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
