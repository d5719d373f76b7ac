"""How an index stands with its vectors: what is done, missing, stale and failed of each field, and its size on disk.

What each document's state says is counted by queries. Whether a source changed since only a document itself shows: so
all are read, or a random sample.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from elasticsearch import ApiError, Elasticsearch

from crosslens.ingest.contract.documents import standing, state_of
from crosslens.ingest.contract.fields import recorded_fields, searchable_sources
from crosslens.ingest.contract.labelled import current_query, due_query
from crosslens.ingest.contract.record import VectorField, read_record
from crosslens.ingest.contract.selection import (
    cut_query,
    done_query,
    failed_query,
    missing_query,
    other_model_query,
    skipped_query,
)
from crosslens.ingest.run.interval import interval
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Document, Reader
from crosslens.ingest.run.run import Run
from crosslens.stopping import stoppable


@dataclass
class FieldStatus:
    """One vector field: how many documents stand how, and ``bytes`` on disk (None where that can't be asked).

    ``stale`` counts texts, references and models that changed since; where documents were only counted by queries,
    models alone. Where a sample was read, it is estimated, and with 95 % confidence within ``stale_range``. ``cut``
    counts texts that are longer than the model reads, ``lost`` sums what share of each that is (None where not every
    document was read). ``next`` and ``previous`` name the models of a change under way or not yet dropped.
    """

    field: VectorField
    done: int = 0
    missing: int = 0
    stale: int = 0
    stale_range: tuple[int, int] | None = None
    failed: int = 0
    skipped: int = 0
    bytes: int | None = None
    cut: int = 0
    lost: float | None = None
    next: str | None = None
    previous: str | None = None


@dataclass
class LabelStatus:
    """A field that labels are written to, by the vectors in ``field``: ``done`` documents have those of the last label
    set, ``due`` are those that have a vector and others, or none."""

    field: str
    done: int = 0
    due: int = 0


@dataclass
class Status:
    """An index's vector fields, and its fields of labels; of all ``documents``, ``scanned`` were read."""

    index: str
    documents: int
    scanned: int = 0
    fields: dict[str, FieldStatus] = field(default_factory=dict)
    labels: dict[str, LabelStatus] = field(default_factory=dict)

    @property
    def estimated(self) -> bool:
        """Whether what is stale was estimated from a sample."""
        return any(each.stale_range is not None for each in self.fields.values())


@stoppable
def survey(
    client: Elasticsearch,
    index: str,
    *,
    quick: bool = False,
    sample: int | None = None,
    progress: Callable[[Status], None] = lambda _: None,
) -> Status:
    """Counts by reading every document's sources and states, or with ``quick`` by queries only, without sizes.

    With a ``sample``, an index of more documents is counted by queries, and of so many documents, chosen at random, it
    is read whether their sources changed. ``progress`` is first called before anything is read.

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
    status.labels = _labels(run, mappings)
    if quick:
        _count(run, reader, status)
        return status
    progress(status)
    if sample is not None and sample < status.documents:
        _estimate(run, reader, status, sample, progress)
    else:
        for each, document in _read(reader.pages({"match_all": {}}), status, progress):
            stands = standing(document.source, each.field)
            if stands != "empty":
                setattr(each, stands, getattr(each, stands) + 1)
            share = (state_of(document.source, each.field.path) or {}).get("cut")
            if share and stands == "done":
                each.cut, each.lost = each.cut + 1, (each.lost or 0.0) + share
    sizes = disk_sizes(run.client, index)
    for each in status.fields.values():
        each.bytes = None if sizes is None else sizes.get(each.field.vector_path, 0)
    return status


def _labels(run: Run, mappings: Mapping[str, Mapping[str, Any]]) -> dict[str, LabelStatus]:
    found: dict[str, LabelStatus] = {}
    for index, mapping in mappings.items():
        record, reader = read_record(mapping), Reader(run.client, index, [])
        for into, entry in record.labels.items():
            each = found.setdefault(into, LabelStatus(entry.field))
            each.done += reader.count(current_query(into, entry.fingerprint))
            if entry.field in record.fields:
                each.due += reader.count(due_query(into, record.fields[entry.field], entry.fingerprint))
    return found


def _read(
    pages: Iterator[list[Document]], status: Status, progress: Callable[[Status], None]
) -> Iterator[tuple[FieldStatus, Document]]:
    """Every document with each vector field, while they are counted."""
    for page in prefetched(pages):
        for document in page:
            for each in status.fields.values():
                yield each, document
        status.scanned += len(page)
        progress(status)


def _estimate(run: Run, reader: Reader, status: Status, sample: int, progress: Callable[[Status], None]) -> None:
    """Count by queries, and call as large a share of it stale as changed in the sample."""
    _count(run, reader, status)
    seen: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    for each, document in _read(reader.sampled({"match_all": {}}, sample), status, progress):
        state = state_of(document.source, each.field.path)
        # Those of other models are counted by a query.
        if state is not None and state["model"] == each.field.fingerprint:
            seen[each.field.field] += 1
            changed[each.field.field] += standing(document.source, each.field) == "stale"
    for name, each in status.fields.items():
        share = changed[name] / max(seen[name], 1)
        low, high = interval(share, seen[name])
        known, others = each.done + each.failed + each.skipped, each.stale
        each.stale = others + round(share * known)
        each.stale_range = (others + math.floor(low * known), others + math.ceil(high * known))
        # Those that failed or had nothing to encode change as others do.
        each.done, each.failed, each.skipped = (
            round(count * (1 - share)) for count in (each.done, each.failed, each.skipped)
        )


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
