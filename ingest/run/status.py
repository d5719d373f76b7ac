"""How an index stands with its vectors: what is done, missing, stale and failed of each field, and its size on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from elasticsearch import ApiError, Elasticsearch

from crosslens.ingest.contract.documents import standing, state_of
from crosslens.ingest.contract.fields import recorded_fields, searchable_sources
from crosslens.ingest.contract.record import VectorField, read_record
from crosslens.ingest.contract.selection import (
    cut_query,
    done_query,
    failed_query,
    missing_query,
    other_model_query,
    skipped_query,
)
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Reader
from crosslens.ingest.run.run import Run
from crosslens.stopping import stoppable


@dataclass
class FieldStatus:
    """One vector field: how many documents stand how, and ``bytes`` on disk (None where that can't be asked).

    ``stale`` counts texts, references and models that changed since; where documents were only counted by queries,
    models alone. ``cut`` counts texts that are longer than the model reads, ``lost`` sums what share of each that is
    (None where they were only counted). ``next`` and ``previous`` name the models of a change under way or not yet
    dropped.
    """

    field: VectorField
    done: int = 0
    missing: int = 0
    stale: int = 0
    failed: int = 0
    skipped: int = 0
    bytes: int | None = None
    cut: int = 0
    lost: float | None = None
    next: str | None = None
    previous: str | None = None


@dataclass
class Status:
    """An index's vector fields; ``documents`` are all there are, ``scanned`` how many were read."""

    index: str
    documents: int
    scanned: int = 0
    fields: dict[str, FieldStatus] = field(default_factory=dict)


@stoppable
def survey(
    client: Elasticsearch, index: str, *, quick: bool = False, progress: Callable[[Status], None] = lambda _: None
) -> Status:
    """Counts by reading every document's sources and states, or with ``quick`` by queries only, without sizes.

    Raises `MappingError` when there is no such index, or it has no vectors.
    """
    run = Run.begin(client, index)
    mappings = run.mappings()
    recorded = recorded_fields(index, mappings)
    run = replace(run, fields=tuple(recorded.values()))
    reader = run.reader()
    reader.refresh()
    status = Status(index, reader.count({"match_all": {}}))
    status.fields = {name: FieldStatus(each) for name, each in recorded.items()}
    for mapping in mappings.values():
        record = read_record(mapping)
        for name, each in status.fields.items():
            each.next = record.next[name].model if name in record.next else each.next
            each.previous = record.previous[name].model if name in record.previous else each.previous
    if quick:
        _count(run, reader, status)
        return status
    for page in prefetched(reader.pages({"match_all": {}})):
        for document in page:
            for each in status.fields.values():
                stands = standing(document.source, each.field)
                if stands != "empty":
                    setattr(each, stands, getattr(each, stands) + 1)
                share = (state_of(document.source, each.field.path) or {}).get("cut")
                if share and stands == "done":
                    each.cut, each.lost = each.cut + 1, (each.lost or 0.0) + share
        status.scanned += len(page)
        progress(status)
    sizes = disk_sizes(run.client, index)
    for each in status.fields.values():
        each.bytes = None if sizes is None else sizes.get(each.field.vector_path, 0)
    return status


def _count(run: Run, reader: Reader, status: Status) -> None:
    searchable = searchable_sources(run.client, run.index, run.fields)
    for each in status.fields.values():
        each.done = reader.count(done_query(each.field))
        each.missing = reader.count(missing_query(each.field, searchable))
        each.stale = reader.count(other_model_query(each.field))
        each.failed = reader.count(failed_query(each.field))
        each.skipped = reader.count(skipped_query(each.field))
        each.cut = reader.count(cut_query(each.field))


def disk_sizes(client: Elasticsearch, index: str) -> Mapping[str, int] | None:
    """Bytes on disk by vector field, of one copy of each shard; None without the right to ask (manage).

    The server flushes the index for it, and reads through its files.
    """
    try:
        answer = client.options(request_timeout=600).perform_request(
            "POST",
            f"/{index}/_disk_usage",
            params={"run_expensive_tasks": "true", "expand_wildcards": "open"},
            headers={"accept": "application/json"},
        )
    except ApiError as error:
        if error.status_code == 403:
            return None
        raise
    sizes: dict[str, int] = {}
    body: dict[str, Any] = answer.body
    for name, entry in body.items():
        for path, parts in (entry.get("fields") or {}).items() if name != "_shards" else ():
            # The length that a cosine field's vectors had is kept beside them.
            vector = path.removesuffix("._magnitude")
            sizes[vector] = sizes.get(vector, 0) + int(parts["total_in_bytes"])
    return sizes
