"""Copying an index into a new one, with vectors added on the way, and switching an alias to it.

The copy follows the original by its sequence numbers until nothing changes any more (`crosslens.ingest.run.following`).
To switch the alias without losing a write, the original refuses writes for the last round (well under a second, unless
its documents change faster than they are copied), and takes them again afterwards (`crosslens.ingest.run.switching`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from elasticsearch import Elasticsearch

from crosslens import stopping
from crosslens.errors import MappingError, MigrationError
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.fields import agree, of_one_model, read_mappings, with_path
from crosslens.ingest.contract.ingest_pipeline import check_pipelines, follow
from crosslens.ingest.contract.record import VectorField, read_record, vector_fields
from crosslens.ingest.contract.stored_labels import copy_labels
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.run.copy_state import has_switched, read_state
from crosslens.ingest.run.creating import create
from crosslens.ingest.run.filling import fill
from crosslens.ingest.run.following import Follower
from crosslens.ingest.run.reading import Reader
from crosslens.ingest.run.report import CopyReport, Failure, Listener
from crosslens.ingest.run.run import Events, Options, Run
from crosslens.ingest.run.switching import switch, tidy
from crosslens.stopping import stoppable


@stoppable
def copy_index(
    client: Elasticsearch,
    index: str,
    into: str,
    encoders: VectorEncoder | Encoders | Sequence[VectorEncoder] | None,
    targets: Sequence[Target] = (),
    options: Options | None = None,
    *,
    alias: str | None = None,
    block: bool = True,
    progress: Listener = lambda _: None,
    failed: Callable[[Failure], None] = lambda _: None,
) -> CopyReport:
    """Copies ``index`` into the new index ``into``, giving documents the vectors they lack, and switches ``alias``.

    ``targets`` are further vector fields; with encoders of other models than the index has, all fields are made by
    those, chosen as `add_vectors` chooses them. Stopped at any point, the same call goes on; until the alias is
    switched, ``into`` follows ``index``. ``block`` False leaves the original writable throughout: what is written in
    the last moment may then be missing.

    Raises `MigrationError` when ``into`` exists and isn't a copy of ``index``, or the counts differ at the end, and
    what `add_vectors` raises.
    """
    started = time.monotonic()
    run = Run.begin(client, index, options, Events(progress, failed))
    old, mapping = _single(run)
    state = read_state(run.client, into)
    if old == into and state is not None and has_switched(run.client, into):
        # The name is the alias, and leads to the copy already.
        tidy(run.client, state.of, into)
        return CopyReport(state.of, vector_fields(mapping), into=into, alias=alias, switched=True)
    used = Encoders.of(encoders)
    run = replace(run, index=old).making(_fields(run, old, mapping, used, targets), used, {old: mapping})
    if not targets:
        used.check(run.fields, old)
    if alias is not None:
        _check_alias(run, alias, into)
    report = CopyReport(index=old, fields={each.field: each for each in run.fields}, into=into, alias=alias)
    resumed = _is_resumed(run, into)
    if resumed and has_switched(run.client, into):
        tidy(run.client, old, into)
        report.switched = True
        return report
    report.todo = report.count_before = Reader(run.client, old, []).count({"match_all": {}})
    if run.options.dry_run:
        return report
    # An ingest pipeline of the alias encodes for the copy once it has switched.
    recorded = vector_fields(mapping)
    changed = [each for each in run.fields if recorded.get(each.field) != each]
    check_pipelines(run.client, old, {old: mapping}, changed)
    if not resumed:
        create(run, into, mapping)
    copy = Follower(run, into, report, compare=resumed)
    try:
        copy.follow()
        if _fill_moments(run, into, report) and not report.interrupted:
            # What changed while sound and footage were encoded.
            copy.catch_up()
        if not report.interrupted:
            copy_labels(run.client, old, into, read_record(mapping).labels)
        if alias is not None and not report.interrupted:
            switch(copy, alias, block)
            follow(run.client, alias, read_mappings(run.client, alias))
            _fill_moments(run, into, report)
    except KeyboardInterrupt:
        report.interrupted = True
    finally:
        copy.close()
        with stopping.shielded():
            tidy(run.client, old, into)
            copy.add_statistics()
        report.interrupted = report.interrupted or (stopping.asked() and not report.switched)
        report.seconds = time.monotonic() - started
    return report


def _fill_moments(run: Run, into: str, report: CopyReport) -> bool:
    """Encodes the sound and footage that the original has no vectors of, in the copy; whether there are such fields."""
    fields = tuple(each for each in run.fields if each.moments)
    if not fields:
        return False
    selection = replace(run.options.selection, missing=True, stale=True, query=None)
    filling = replace(run, index=into, fields=fields, options=replace(run.options, selection=selection))
    made = fill(filling)
    # These documents were counted when they were copied.
    report.merge(replace(made, documents=0, todo=0, caught_up=0))
    return True


def _single(run: Run) -> tuple[str, dict[str, Any]]:
    mappings = run.mappings()
    if len(mappings) > 1:
        raise MigrationError(f"{run.index!r} stands for {', '.join(sorted(mappings))}", hint="copy one index at a time")
    return next(iter(mappings.items()))


def _fields(
    run: Run, old: str, mapping: dict[str, Any], encoders: Encoders, targets: Sequence[Target]
) -> list[VectorField]:
    """The vector fields of the copy: those that the index has, by the encoders given if any, and the targets.

    Encoders of which the index has vectors already change no field.
    """
    fields = vector_fields(mapping)
    if encoders.given and not encoders.serve(fields.values()):
        of_one_model(old, fields.values())
        fields = {
            name: with_path(each, each.path, encoders.for_new(each.modality, each.part))
            for name, each in fields.items()
        }
    new = [target for target in targets if target.field not in fields]
    if new:
        fields |= {each.field: each for each in agree(run.client, old, {old: mapping}, new, encoders)}
    if not fields:
        raise MappingError(f"index {old!r} has no vector fields yet", hint="name sources to make them from")
    return list(fields.values())


def _check_alias(run: Run, alias: str, into: str) -> None:
    if alias == into:
        raise MigrationError(f"the alias and the new index can't both be named {alias!r}")
    if run.client.indices.exists(index=alias) and not run.client.indices.exists_alias(name=alias):
        raise MigrationError(
            f"{alias!r} is an index, so it can't become an alias while that index is kept", hint="choose another alias"
        )


def _is_resumed(run: Run, into: str) -> bool:
    """Whether ``into`` is a copy of the run's index that was begun already."""
    if not run.client.indices.exists(index=into):
        return False
    state = read_state(run.client, into)
    if state is None or state.of != run.index:
        raise MigrationError(
            f"{into!r} exists already and isn't an unfinished copy of {run.index!r}", hint="choose another name"
        )
    return True
