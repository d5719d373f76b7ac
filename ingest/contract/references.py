"""The image references that documents hold."""

from __future__ import annotations

from elasticsearch import Elasticsearch

from crosslens.ingest.contract.documents import inputs
from crosslens.ingest.contract.fields import searchable_sources
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.selection import Query, has_source, narrowed
from crosslens.ingest.contract.settings import page_limits
from crosslens.ingest.sources.access import is_remote

_SAMPLE = 100


def sampled_references(client: Elasticsearch, index: str, each: VectorField, query: Query | None = None) -> list[str]:
    """The image references of some documents that have any."""
    searchable = searchable_sources(client, index, [each])
    hits = client.search(
        index=index,
        query=narrowed(has_source(each, searchable), query),
        size=min(_SAMPLE, page_limits(client, index).window),
        source_includes=list(each.sources),
        sort=["_doc"],
    )["hits"]["hits"]
    return [reference for hit in hits for reference in inputs(hit.get("_source") or {}, each)]


def is_path(reference: str) -> bool:
    """Whether a reference names a file."""
    return reference[:5].lower() != "data:" and not is_remote(reference)
