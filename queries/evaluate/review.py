"""A page to check by eye what a label decided: first the documents that it was least sure of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from crosslens.errors import MappingError
from crosslens.ingest.contract.fields import read_mappings, recorded_fields
from crosslens.ingest.contract.labelled import label_state
from crosslens.ingest.contract.record import STATE, read_record
from crosslens.ingest.sources.access import ImageReader
from crosslens.queries.show.page import write_page
from crosslens.queries.show.result import Hit, SearchResult

DEFAULT_REVIEWED = 200


def review(
    client: Elasticsearch, index: str, into: str, page: Path, images: ImageReader, *, most: int = DEFAULT_REVIEWED
) -> int:
    """Writes a page with the pictures of up to ``most`` documents, by how near their score is to the threshold.

    ``into`` is a field that a label made true or false. Returns how many documents the page has. Raises `MappingError`
    where the field isn't such a one.
    """
    mappings = read_mappings(client, index)
    entries = [entry for each in mappings.values() if (entry := read_record(each).labels.get(into))]
    if not entries or entries[0].kind != "boolean":
        raise MappingError(f"{into!r} in {index!r} isn't a field that a label made true or false")
    client.indices.refresh(index=index, expand_wildcards="open")
    doubtful = {
        answer: _nearest(client, index, into, answer, order, most)
        for answer, order in (("true", "asc"), ("false", "desc"))
    }
    edges = [_score(hits[0], into) for hits in doubtful.values() if hits]
    edge = sum(edges) / max(len(edges), 1)
    hits = sorted((hit for each in doubtful.values() for hit in each), key=lambda hit: abs(_score(hit, into) - edge))
    sections = [("Least sure first", SearchResult([_shown(hit, into) for hit in hits[:most]], [], len(hits)))]
    fields = recorded_fields(index, mappings).values()
    intro = f"The nearer to {edge:.2f} a score is, the less it says. Correct a document by writing {into} yourself."
    write_page(page, sections, fields, images, heading=f"{into} in {index}", intro=intro)
    return len(hits[:most])


def _nearest(client: Elasticsearch, index: str, into: str, answer: str, order: str, most: int) -> list[dict[str, Any]]:
    answer_is: dict[str, Any] = {"term": {f"{STATE}.{into}.found": answer}}
    sort = [{f"{STATE}.{into}.scores": {"order": order}}]
    found = client.search(index=index, query=answer_is, sort=sort, size=most, expand_wildcards="open")
    return list(found["hits"]["hits"])


def _score(hit: dict[str, Any], into: str) -> float:
    return float(label_state(hit["_source"], into)["scores"][0])


def _shown(hit: dict[str, Any], into: str) -> Hit:
    said, score = label_state(hit["_source"], into)["found"][0], _score(hit, into)
    return Hit(hit["_index"], hit["_id"], score, {}, hit["_source"], explanation=[f"{into}: {said}"])
