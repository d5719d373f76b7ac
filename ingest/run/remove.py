"""Taking vectors and their states out of an index again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from elasticsearch import Elasticsearch

from crosslens import stopping
from crosslens.errors import MappingError
from crosslens.ingest.contract.documents import without
from crosslens.ingest.contract.fields import record_change
from crosslens.ingest.contract.ingest_pipeline import follow
from crosslens.ingest.contract.label_set import Kind
from crosslens.ingest.contract.labelled import labelled_query, unlabelled
from crosslens.ingest.contract.record import STATE, Record, VectorField, read_record, with_labels
from crosslens.ingest.contract.selection import Query, any_of, vector_query
from crosslens.ingest.contract.stored_labels import delete_labels
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Reader
from crosslens.ingest.run.rounds import End, repeat
from crosslens.ingest.run.run import Run
from crosslens.ingest.run.sending import Outcome, Write, Writer
from crosslens.retrying import GO_ON
from crosslens.stopping import stoppable

_ROUNDS = 20


@dataclass
class Removal:
    """How many documents held the field, and how many were written without it; ``interrupted`` by Ctrl-C."""

    index: str
    field: str
    found: int = 0
    documents: int = 0
    interrupted: bool = False


def remove_field(
    client: Elasticsearch,
    index: str,
    name: str,
    *,
    dry_run: bool = False,
    progress: Callable[[Removal], None] = lambda _: None,
) -> Removal:
    """Takes the vector field ``name``, with what an earlier model left of it, out of every document and the record; or
    the labels that the field ``name`` was given, whose own values stay.

    Each document is written again as a whole, guarded, without running the index's default pipeline. The mapping keeps
    an empty field, since Elasticsearch can't take one out; the name can be used again for vectors of as many dims.
    Stopped at any point, the same call goes on.

    Raises `MappingError` when no index records such a field.
    """
    run = Run.begin(client, index)
    mappings = run.mappings()
    records = {each: read_record(mapping) for each, mapping in mappings.items()}
    report = Removal(index, name)
    known = sorted({f.field for record in records.values() for f in record.all_fields})
    if name not in known and any(name in record.labels for record in records.values()):
        if not dry_run:
            for each, record in records.items():
                if name in record.labels:
                    record_change(run.client, each, lambda record: _not_by_pipelines(record, name))
            follow(run.client, index, mappings)
        _remove_labels(run, records, report, dry_run, progress)
        return report
    if name not in known:
        known += sorted({into for record in records.values() for into in record.labels})
        raise MappingError(f"index {index!r} has no vectors or labels in {name!r}; it has {', '.join(known) or 'none'}")
    if not dry_run:
        # No search uses the field from here on, and no pipeline makes it; but until the last document is done, the
        # record says what is left.
        for each, record in records.items():
            if any(field.field == name for field in record.all_fields):
                record_change(run.client, each, lambda record: _retired(record, name))
        follow(run.client, index, mappings)
    for each, record in records.items():
        fields = [field for field in record.all_fields if field.field == name]
        report.found += Reader(run.client, each, []).count(_holding(fields)) if fields else 0
        if dry_run or not fields:
            continue
        strip(run, each, fields, report, progress)
        if report.interrupted:
            break
        record_change(run.client, each, lambda record: _forgotten(record, name))
    return report


def _remove_labels(
    run: Run, records: Mapping[str, Record], report: Removal, dry_run: bool, progress: Callable[[Removal], None]
) -> None:
    """Takes out what was given in the field that the report names; the record says so until the last document is done.

    Documents that a run labels meanwhile are taken up as well.
    """
    into = report.field
    for index, record in records.items():
        entry = record.labels.get(into)
        if entry is None:
            continue
        kind, query = cast(Kind, entry.kind), labelled_query(into)
        report.found += Reader(run.client, index, []).count(query)
        if dry_run:
            continue
        rewrite(run, index, query, partial(unlabelled, into=into, kind=kind), report, progress)
        if report.interrupted:
            return
        record_change(run.client, index, lambda record: with_labels(record, into, None))
        delete_labels(run.client, index, into)


def _not_by_pipelines(record: Record, into: str) -> Record:
    entry = record.labels.get(into)
    return record if entry is None else with_labels(record, into, replace(entry, model=""))


def _retired(record: Record, name: str) -> Record:
    last = record.previous.get(name) or record.fields.get(name) or record.next.get(name)
    if last is None:
        return record
    return replace(
        record,
        fields=_less(record.fields, name),
        next=_less(record.next, name),
        previous={**record.previous, name: last},
    )


def _forgotten(record: Record, name: str) -> Record:
    roots = {key: root for key, root in record.image_roots.items() if key != name}
    return replace(record, previous=_less(record.previous, name), image_roots=roots)


def _less(fields: dict[str, VectorField], name: str) -> dict[str, VectorField]:
    return {key: value for key, value in fields.items() if key != name}


def _holding(fields: Sequence[VectorField]) -> dict[str, object]:
    queries: list[dict[str, object]] = []
    for each in fields:
        queries.append({"exists": {"field": f"{STATE}.{each.path}.model"}})
        queries.append(vector_query(each))
    return any_of(queries)


@stoppable
def strip(
    run: Run,
    index: str,
    fields: Sequence[VectorField],
    report: Removal,
    progress: Callable[[Removal], None] = lambda _: None,
) -> None:
    """Writes every document of one index that holds any of ``fields`` without them, until none does.

    Raises `MappingError` when others keep writing such documents.
    """
    paths = [path for each in fields for path in (each.path, f"{STATE}.{each.path}")]
    rewrite(run, index, _holding(fields), lambda source: without(source, paths), report, progress)


@stoppable
def rewrite(
    run: Run,
    index: str,
    holding: Query,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    report: Removal,
    progress: Callable[[Removal], None],
) -> None:
    """Writes every document of one index that ``holding`` means as ``change`` makes it, until there is none.

    Raises `MappingError` when others keep writing such documents.
    """
    reader = Reader(run.client, index, None)

    def done(outcomes: list[Outcome]) -> None:
        report.documents += sum(1 for outcome in outcomes if outcome.status < 300)
        progress(report)

    writer = Writer(run.client, done)

    def strip_found() -> bool:
        reader.refresh()
        if not reader.count(holding):
            return False
        for page in prefetched(reader.pages(holding)):
            writer.put([Write("index", d.index, d.id, d.routing, change(d.source), guard=d.guard) for d in page])
        writer.flush()
        return True

    try:
        end = repeat(strip_found, _ROUNDS)
    except KeyboardInterrupt:
        report.interrupted = True
        return
    finally:
        writer.close()
    report.interrupted = stopping.asked()
    if end is End.CHANGING:
        raise MappingError(f"documents of index {index!r} kept changing through {_ROUNDS} rounds", hint=GO_ON)
