"""Pages and notebooks play the moments that hits matched."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.fusion.scores import Part
from crosslens.queries.show.moments import MatchedMoment
from crosslens.queries.show.page import write_page
from crosslens.queries.show.pictures import Pictures
from crosslens.queries.show.players import Players
from crosslens.queries.show.result import Hit, SearchResult
from crosslens.queries.show.table import result_table
from tests.ingest.footage import Film, film
from tests.queries.test_moments import HEARD, SCENES_SEEN, SOUND

FIELDS = [SOUND, HEARD, SCENES_SEEN]
MATCHED = {"scenes": {"position": 0, "start_ms": 62_000, "end_ms": 65_400, "score": 0.3}}


def hit(source: dict[str, Any], of: str = "footage", position: int = 0, text: str | None = None) -> Hit:
    moment = MatchedMoment(of, position, 62_000, 65_400, {"picture": 0.5}, text)
    return Hit("i", "1", 0.5, {"scenes": Part(0.3, 0.5, 0.5, 2.0)}, source, dict(MATCHED), moments=[moment])


def sources(made: Hit, root: Path, page: Path | None) -> list[str | None]:
    return [each.src for each in Players(FIELDS, ImageAccess(root).reader()).of(made, page)]


def test_a_page_plays_files_below_the_root_from_where_it_stands(tmp_path: Path) -> None:
    root = tmp_path / "media"
    root.mkdir()
    (root / "a b#1.mp4").write_bytes(b"...")
    made, page = hit({"footage": "a b#1.mp4"}), tmp_path / "pages" / "found.html"
    assert sources(made, root, page) == ["../media/a%20b%231.mp4#t=62.000,65.400"]
    assert sources(made, root, None) == [None]
    assert sources(hit({"footage": ["no.mp4", "a b#1.mp4"]}, position=1), root, page) == sources(made, root, page)


@pytest.mark.parametrize(
    "reference",
    ["../outside.mp4", "/etc/passwd", "absent.mp4", "javascript:alert(1)", "s3://bucket/a.mp4", "", "//h/a"],
)
def test_nothing_else_is_played(reference: str, tmp_path: Path) -> None:
    (tmp_path / "outside.mp4").write_bytes(b"...")
    (tmp_path / "root").mkdir()
    assert sources(hit({"footage": reference}), tmp_path / "root", tmp_path / "p.html") == [None]


def test_a_url_is_played_with_its_query_and_another_fragment(tmp_path: Path) -> None:
    made = hit({"footage": "HTTPS://example.org/a.mp4?k=1#old"})
    assert sources(made, tmp_path, None) == ["https://example.org/a.mp4?k=1#t=62.000,65.400"]


def test_a_page_shows_players_times_and_words(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    hits = [hit({"footage": "a.mp4"}, text="<b>dawn</b>"), hit({"clip": "https://example.org/a.ogg"}, "clip")]
    page = tmp_path / "found.html"
    write_page(page, [("q", SearchResult(hits, ["scenes"], 2))], FIELDS, ImageAccess(tmp_path).reader())
    html = page.read_text(encoding="utf-8")
    assert re.search(r'<video controls preload="none" src="a.mp4#t=62.000,65.400">', html)
    assert '<audio controls preload="none" src="https://example.org/a.ogg#t=62.000,65.400">' in html
    assert "1:02.0 to 1:05.4, by picture (50%): &lt;b&gt;dawn" in html


def test_a_page_has_a_picture_of_the_moment(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the extra 'av' is not installed")
    (tmp_path / "a.mp4").write_bytes(film(Film(seconds=2.0, sound=None)))
    made, files = hit({"footage": "a.mp4"}), ImageAccess(tmp_path).reader()
    picture = Pictures(FIELDS, files).of(made)
    assert picture.uri is not None
    assert picture.uri.startswith("data:image/webp;base64,")
    page = tmp_path / "found.html"
    write_page(page, [("q", SearchResult([made], ["scenes"], 1))], FIELDS, files)
    assert ' poster="data:image/webp;base64,' in page.read_text(encoding="utf-8")


def test_tables_and_notebooks_say_when_and_by_what() -> None:
    result = SearchResult([hit({"title": "A film", "footage": "a.mp4"}, text="at dawn")], ["scenes"], 1)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(result_table(result, "q"))
    shown = console.export_text()
    assert "footage 1:02.0 to 1:05.4, by picture (50%): at dawn" in shown
    assert "no. 0" not in shown
    assert "1:02.0 to 1:05.4, by picture (50%)" in result._repr_html_()
