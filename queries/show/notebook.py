"""Search results in a notebook: what `SearchResult` shows of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crosslens.queries.show.templating import template

if TYPE_CHECKING:
    from crosslens.queries.show.result import SearchResult


def as_html(result: SearchResult) -> str:
    """A table of the hits: rank, document, total, each leg's part, and why each one is where it is."""
    from crosslens.queries.show.players import said
    from crosslens.queries.show.table import title_of, why

    rows = [
        {
            "title": title_of(hit),
            "id": hit.id,
            "score": hit.score,
            "parts": [hit.parts[leg].weighted for leg in result.legs],
            "why": why(hit, whole=True),
            "picture": result.pictures.of(hit) if result.pictures else None,
            "moments": result.pictures.players.of(hit) if result.pictures else said(hit),
        }
        for hit in result.hits
    ]
    html: str = template("notebook.html").render(
        rows=rows, legs=result.legs, found=result.found, pictured=result.pictures is not None
    )
    return html
