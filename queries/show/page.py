"""Search results as one HTML page that holds its pictures, so that it can be sent and kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.sources.access import ImageReader
from crosslens.queries.show.pictures import Pictures, thumbnail
from crosslens.queries.show.result import Hit, SearchResult
from crosslens.queries.show.table import title_of, why
from crosslens.queries.show.templating import template

# Distinguishable with the common colour-vision deficiencies (Okabe and Ito's palette).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def write_page(
    path: Path,
    results: Sequence[tuple[str, SearchResult]],
    fields: Iterable[VectorField],
    images: ImageReader,
    *,
    query: Path | bytes | None = None,
    heading: str = "Search results",
    intro: str = "",
) -> None:
    """Write a page with a section for each (title, result). Pictures come from the sources of those of ``fields`` that
    hold images, or from the moments of footage.

    A picture that can't be read is left blank, with the reason as its text. Moments of sounds and footage are played
    from where they are: a URL, or a file in the folder of ``images``, found from ``path``. ``query`` is shown at the
    top.
    """
    pictures = Pictures(fields, images)
    legs = list(dict.fromkeys(leg for _, result in results for leg in result.legs))
    colours = {leg: _COLOURS[i % len(_COLOURS)] for i, leg in enumerate(legs)}
    page = template("page.html").render(
        heading=heading,
        intro=intro,
        colours=colours,
        query=None if query is None else thumbnail(query if isinstance(query, bytes) else query.read_bytes()),
        sections=[
            {"title": title, "hits": [_hit(hit, pictures, path) for hit in result.hits]} for title, result in results
        ],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _hit(hit: Hit, pictures: Pictures, page: Path) -> dict[str, Any]:
    picture = pictures.of(hit)
    parts = [
        {"leg": leg, "raw": part.raw, "weighted": part.weighted, "width": f"{part.weighted * 100:.1f}%"}
        for leg, part in hit.parts.items()
    ]
    return {
        "title": title_of(hit),
        "id": hit.id,
        "score": hit.score,
        "picture": picture.uri,
        "blank": picture.blank,
        "passages": [value["text"] for value in hit.matched.values() if "text" in value and "start_ms" not in value],
        "moments": pictures.players.of(hit, page),
        "why": why(hit, whole=True),
        "parts": parts,
    }
