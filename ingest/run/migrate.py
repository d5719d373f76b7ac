"""Changing the model of an index's vector fields while searches go on.

A second field is filled with the new model's vectors beside the one that serves. When every document that has the old
vector has the new one too, the pointer in the mapping's ``_meta`` switches, in one request for each index, and
searchers follow as soon as they read the mapping again. The old vectors stay, for a rollback, until they are dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from elasticsearch import Elasticsearch

from crosslens.errors import MigrationError, ModelError
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder, makes
from crosslens.ingest.contract.fields import Mappings, choose, of_one_model, record_change, with_path
from crosslens.ingest.contract.ingest_pipeline import check_pipelines, follow
from crosslens.ingest.contract.mapping import check_room, flat_properties
from crosslens.ingest.contract.record import STATE, Record, VectorField, read_record
from crosslens.ingest.contract.selection import Selection, done_query
from crosslens.ingest.run.filling import fill
from crosslens.ingest.run.reading import Reader
from crosslens.ingest.run.remove import Removal, strip
from crosslens.ingest.run.report import Failure, Listener, Report
from crosslens.ingest.run.run import Events, Options, Run

# Searchers read the mapping every half minute; twice that and no search uses the old field any more.
GRACE_S = 60.0


@dataclass
class Migration:
    """What a change of model did: what was filled, for how many documents only the old vector is there (``lacking``,
    by field), and whether the pointer ``switched``."""

    index: str
    fields: dict[str, VectorField]
    filled: Report | None = None
    lacking: dict[str, int] = field(default_factory=dict)
    switched: bool = False


def migrate(
    client: Elasticsearch,
    index: str,
    encoder: VectorEncoder,
    options: Options | None = None,
    *,
    fields: Sequence[str] | None = None,
    index_type: str | None = None,
    despite_failures: bool = False,
    progress: Listener = lambda _: None,
    failed: Callable[[Failure], None] = lambda _: None,
) -> Migration:
    """Fills second fields with ``encoder``'s vectors for the vector fields of ``index`` (``fields``: only those), then
    switches their pointers. Stopped at any point, the same call goes on.

    Where a document that has the old vector can't get the new one, the pointer stays as it is, unless
    ``despite_failures``. A text model changes text fields only, where no fields are named.

    Raises `MappingError` where the fields are of several models and not named, `MigrationError` when an earlier change
    isn't finished or its old vectors aren't dropped yet, and `ModelError` when an ingest pipeline would have to encode
    with a model that nodes lack, or a text model pictures.
    """
    run = Run.begin(client, index, options, Events(progress, failed))
    mappings = run.mappings()
    old = _changing(index, mappings, encoder, fields)
    new = {
        name: with_path(each, f"{each.field}_{encoder.fingerprint[:8]}", encoder, index_type)
        for name, each in old.items()
    }
    report = Migration(index, new)
    if not new:
        return report
    for name, mapping in mappings.items():
        _check_free(name, read_record(mapping), new)
        properties = flat_properties(mapping)
        for each in new.values():
            check_room(f"the field {each.path!r} of index {name!r}", properties, each.path, "rename it")
    reader = Reader(run.client, index, [])
    if run.options.dry_run:
        report.lacking = {name: reader.count(done_query(each)) for name, each in old.items()}
        return report
    check_pipelines(run.client, index, mappings, new.values())
    run = run.making(new.values(), Encoders([encoder]), mappings)
    for name in mappings:
        record_change(run.client, name, partial(_begun, new=new, roots=run.image_roots), run.fields)
    behind = replace(run.options, selection=replace(run.options.selection, missing=True, stale=True))
    report.filled = fill(replace(run, options=behind))
    if report.filled.interrupted:
        return report
    for name, each in new.items():
        lacking = reader.count({"bool": {"filter": [done_query(old[name])], "must_not": [done_query(each)]}})
        if lacking:
            report.lacking[name] = lacking
    if report.lacking and not despite_failures:
        return report
    now = _now()
    for name in mappings:
        record_change(run.client, name, lambda record: _switched(record, old, new, now))
    report.switched = True
    follow(run.client, index, mappings)
    # What came in between the last look and the switch.
    late = replace(run, options=replace(run.options, selection=Selection()), events=Events(failed=failed))
    report.filled.merge(fill(late))
    return report


def _changing(
    index: str, mappings: Mappings, encoder: VectorEncoder, names: Sequence[str] | None
) -> dict[str, VectorField]:
    """The vector fields that are of another model than the encoder's."""
    chosen = choose(index, mappings, names)
    old = {name: each for name, each in chosen.items() if each.fingerprint != encoder.fingerprint}
    beyond = [name for name, each in old.items() if not makes(encoder, each.modality, each.part)]
    if names is not None and beyond:
        raise ModelError(
            f"{encoder.name} can't encode what {', '.join(beyond)} are made from: {old[beyond[0]].made_from}",
            hint="name other fields, or a model with an encoder for it",
            parameter="fields",
        )
    old = {name: each for name, each in old.items() if name not in beyond}
    if names is None:
        of_one_model(index, old.values())
    return old


def _begun(record: Record, new: dict[str, VectorField], roots: dict[str, str]) -> Record:
    return replace(record, next={**record.next, **new}).with_image_roots(roots)


def _check_free(index: str, record: Record, new: dict[str, VectorField]) -> None:
    for name, each in new.items():
        under_way, previous = record.next.get(name), record.previous.get(name)
        if under_way is not None and under_way.fingerprint != each.fingerprint:
            raise MigrationError(
                f"{name!r} of index {index!r} is being changed to {under_way.model} ({under_way.fingerprint})",
                hint="go on with that model, or give the change up by a rollback",
                verb="migrate",
                parameter="rollback",
            )
        if previous is not None and previous.fingerprint == each.fingerprint:
            raise MigrationError(
                f"{name!r} of index {index!r} still has that model's vectors",
                hint="go back to them by a rollback",
                verb="migrate",
                parameter="rollback",
            )
        if previous is not None:
            raise MigrationError(
                f"{name!r} of index {index!r} still has the vectors of {previous.model} ({previous.fingerprint}) "
                "besides those in use",
                hint="drop the old ones first",
                verb="migrate",
                parameter="drop_old",
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _switched(record: Record, old: dict[str, VectorField], new: dict[str, VectorField], now: str) -> Record:
    return replace(
        record,
        fields={**record.fields, **new},
        next={name: each for name, each in record.next.items() if name not in new},
        previous={**record.previous, **old},
        switched=now,
    )


def rollback(client: Elasticsearch, index: str, *, fields: Sequence[str] | None = None) -> dict[str, VectorField]:
    """Switches the pointers back to the previous model's vectors, or gives up a change that isn't finished.

    Returns the fields that serve now, by name. Twice gives the newer model again. Documents that came in since may lack
    the previous model's vector: `crosslens.ingest.run.write.reindex` fills them.

    Raises `MigrationError` when there is nothing to go back to, and `ModelError` when an ingest pipeline would have to
    encode with a model that nodes lack.
    """
    run = Run.begin(client, index)
    serving: dict[str, VectorField] = {}
    mappings = run.mappings()
    back = [each for mapping in mappings.values() for each in read_record(mapping).previous.values()]
    check_pipelines(run.client, index, mappings, [each for each in back if fields is None or each.field in fields])
    for name, mapping in mappings.items():
        record = read_record(mapping)
        chosen = [each for each in (*record.next, *record.previous) if fields is None or each in fields]
        if not chosen:
            continue
        # The goal is fixed here, so that applying it twice doesn't switch the pointer twice.
        goal = {each: record.previous[each] for each in chosen if each not in record.next and each in record.fields}
        given_up = [each for each in chosen if each in record.next]
        changed = record_change(run.client, name, partial(_back, goal=goal, given_up=given_up, now=_now()))
        serving |= {each: changed.fields[each] for each in (*goal, *given_up) if each in changed.fields}
    if not serving:
        raise MigrationError(f"index {index!r} has no previous model's vectors to go back to, and no change under way")
    follow(run.client, index, mappings)
    return serving


def _back(record: Record, goal: dict[str, VectorField], given_up: Sequence[str], now: str) -> Record:
    fields, following, previous = dict(record.fields), dict(record.next), dict(record.previous)
    for name in given_up:
        if name in following:
            # What was filled of it is freed by dropping.
            previous[name] = following.pop(name)
    for name, each in goal.items():
        if fields.get(name) != each:
            fields[name], previous[name] = each, fields[name]
    return replace(record, fields=fields, next=following, previous=previous, switched=now)


def drop_old(
    client: Elasticsearch,
    index: str,
    *,
    fields: Sequence[str] | None = None,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
    progress: Callable[[Removal], None] = lambda _: None,
    waiting: Callable[[float], Any] = time.sleep,
) -> list[Removal]:
    """Remove the vectors that no pointer leads to any more from the documents; there is no rollback after it.

    Within ``grace_s`` seconds of a switch it waits, by ``waiting``, since running searchers may not know of it yet.

    Raises `MigrationError` when there are none.
    """
    run = Run.begin(client, index)
    removals = []
    mappings = run.mappings()
    if not dry_run:
        # A pipeline that still wrote old vectors would bring them back.
        follow(run.client, index, mappings)
    for name, mapping in mappings.items():
        record = read_record(mapping)
        for key, each in record.previous.items():
            if fields is not None and key not in fields:
                continue
            report = Removal(name, each.path, found=Reader(run.client, name, []).count(_model_state(each)))
            removals.append(report)
            if dry_run:
                continue
            left = _seconds_left(record.switched, grace_s)
            if left > 0:
                waiting(left)
            strip(run, name, [each], report, progress)
            if report.interrupted:
                return removals
            record_change(run.client, name, partial(_dropped, name=key))
    if not removals:
        raise MigrationError(f"index {index!r} has no old vectors to drop")
    return removals


def _model_state(each: VectorField) -> dict[str, Any]:
    return {"exists": {"field": f"{STATE}.{each.path}.model"}}


def _seconds_left(switched: str | None, grace_s: float) -> float:
    if switched is None:
        return 0.0
    return grace_s - (datetime.now(UTC) - datetime.fromisoformat(switched)).total_seconds()


def _dropped(record: Record, name: str) -> Record:
    return replace(record, previous={key: each for key, each in record.previous.items() if key != name})
