"""What becomes the content of a framework's document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import source_values
from crosslens.queries.show.result import Hit
from crosslens.queries.show.table import title_of
from crosslens.surrogates import mended, well_formed


def contents(hits: Sequence[Hit], field: str | None) -> list[str]:
    """Return each hit's text in ``field``, or its title for None; several values are joined by line breaks.

    ``field`` may lie within objects, as in "product.title". Raises `QueryError` when none of the hits has it.
    """
    if field is None:
        return [title_of(hit) for hit in hits]
    found = [source_values(hit.source, field) for hit in hits]
    if hits and not any(found):
        shared = ", ".join(sorted({name for hit in hits for name in hit.source})) or "none"
        raise QueryError(
            f"none of the documents found has the field {field!r}; their fields are: {shared}",
            hint="name another field for the content",
            parameter="content_field",
        )
    return [well_formed("\n".join(values)) for values in found]


def metadata(hit: Hit) -> dict[str, Any]:
    """Return the hit's source, made to be written as JSON."""
    source: dict[str, Any] = mended(hit.source)
    return source
