"""Search results as one HTML page that holds its pictures, so that it can be sent and kept."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from crosslens.errors import ImageError
from crosslens.ingest.contract.documents import inputs
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.sources.access import ImageReader
from crosslens.ingest.sources.images import open_image
from crosslens.queries.show.result import Hit, SearchResult
from crosslens.queries.show.table import title_of, why
from crosslens.queries.show.templating import template

_THUMBNAIL = 192
# Distinguishable with the common colour-vision deficiencies (Okabe and Ito's palette).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def write_page(
    path: Path,
    results: Sequence[tuple[str, SearchResult]],
    fields: Iterable[VectorField],
    images: ImageReader,
    *,
    query: Path | None = None,
    heading: str = "Search results",
    intro: str = "",
) -> None:
    """Writes a page with a section for each (title, result). Pictures come from the sources of those of ``fields`` that
    hold images.

    A picture that can't be read is left blank, with the reason as its text. ``query`` is shown at the top.
    """
    image_fields = [field for field in fields if field.modality == "image"]
    legs = list(dict.fromkeys(leg for _, result in results for leg in result.legs))
    colours = {leg: _COLOURS[i % len(_COLOURS)] for i, leg in enumerate(legs)}
    page = template("page.html").render(
        heading=heading,
        intro=intro,
        colours=colours,
        query=_thumbnail(query.read_bytes()) if query else None,
        sections=[
            {"title": title, "hits": [_hit(hit, image_fields, images) for hit in result.hits]}
            for title, result in results
        ],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _hit(hit: Hit, image_fields: Sequence[VectorField], images: ImageReader) -> dict[str, Any]:
    picture, blank = None, "no picture"
    for field in image_fields:
        # Of several images the one that matched is shown.
        values = inputs(hit.source, field)
        told = [value["position"] for leg, value in hit.matched.items() if leg == field.field]
        reference = next((values[i] for i in (*told, 0) if i < len(values)), None)
        if reference is None:
            continue
        try:
            picture = _thumbnail(images.read(reference))
            break
        except ImageError as error:
            blank = str(error)
    parts = [
        {"leg": leg, "raw": part.raw, "weighted": part.weighted, "width": f"{part.weighted * 100:.1f}%"}
        for leg, part in hit.parts.items()
    ]
    return {
        "title": title_of(hit),
        "id": hit.id,
        "score": hit.score,
        "picture": picture,
        "blank": blank,
        "why": why(hit, whole=True),
        "parts": parts,
    }


def _thumbnail(data: bytes) -> str:
    picture = open_image(data, target=_THUMBNAIL)
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
