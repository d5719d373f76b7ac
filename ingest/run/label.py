"""Labels and captions for documents by the vectors that they have: see `crosslens.ingest.contract.label_set`."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch

from crosslens import stopping
from crosslens.errors import LabelError, MappingError
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.examples import Example
from crosslens.ingest.contract.fields import choose, holders
from crosslens.ingest.contract.label_set import Doubles, Kind, LabelSet, Noise, noise_of, threshold
from crosslens.ingest.contract.labels import (
    PICTURE_TEMPLATES,
    TEXT_TEMPLATES,
    Label,
    check_templates,
    checked_labels,
    prompted,
)
from crosslens.ingest.contract.mapping import flat_properties
from crosslens.ingest.contract.record import STATE, VectorField, read_record
from crosslens.ingest.contract.selection import done_query
from crosslens.ingest.contract.statistics import vectors_of
from crosslens.ingest.contract.stored_labels import check_into, find_numbers
from crosslens.ingest.model.transform import Float32Array
from crosslens.ingest.run.judging import Verdict, judged
from crosslens.ingest.run.label_report import LabelListener, LabelReport
from crosslens.ingest.run.labelling import Labelling, prepare
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Reader
from crosslens.ingest.run.run import Run
from crosslens.stopping import stoppable

DEFAULT_FALSE_ALARMS = 0.01
SAMPLE = 10_000
_FEWEST = 30
_BATCH = 256


@dataclass(frozen=True)
class Wanted:
    """Which labels documents are to be given.

    ``templates`` are what each phrasing is put into, whose vectors are averaged (None: `PICTURE_TEMPLATES` for vectors
    of pictures by a model that encodes pictures, else the bare phrasing). A label is given where its score stands out
    of the noise, which a picture reaches by chance at the rate ``false_alarms``; or reaches ``floor``; or the threshold
    that ``examples`` set. ``boolean`` writes true or false for the only label (None: where the field is boolean);
    ``captions`` are written whole, and only where the field is empty. ``anew`` measures the noise again.
    """

    labels: tuple[Label, ...]
    templates: tuple[str, ...] | None = None
    false_alarms: float = DEFAULT_FALSE_ALARMS
    floor: float | None = None
    examples: tuple[Example, ...] = ()
    boolean: bool | None = None
    captions: bool = False
    anew: bool = False


@stoppable
def label(
    client: Elasticsearch,
    index: str,
    encoder: VectorEncoder | Encoders | Sequence[VectorEncoder] | None,
    field: str,
    into: str,
    wanted: Wanted,
    *,
    dry_run: bool = False,
    progress: LabelListener = lambda _: None,
) -> LabelReport:
    """Gives the documents of ``index`` labels in their field ``into``, by their vectors in ``field``.

    Of several vectors of a document, the nearest to a label counts. The owner's own values in ``into`` stay; a label
    that somebody took away is not given again. The noise is measured once, on 10,000 vectors at most, and kept: so a
    run that is stopped is continued by the next one with the same numbers, and documents that are up to date are left
    alone.

    Raises `LabelError` for labels that can't be used, `MappingError` where there is no such vector field, too few
    vectors to know their noise, or a field ``into`` of another type, and `ModelError` when the field's model isn't at
    hand.
    """
    started = time.monotonic()
    run = Run.begin(client, index)
    mappings = run.mappings()
    each = choose(index, mappings, [field])[field]
    having = holders(mappings, field)
    kind = _kind(mappings, into, wanted)
    _check_apart(index, into, kind, mappings)
    for name in having:
        check_into(name, mappings[name], into, kind)
    report = LabelReport(index, field, into, dry_run=dry_run)
    try:
        labels, verdicts = label_set(run, having, each, Encoders.of(encoder), into, kind, wanted)
    except KeyboardInterrupt:
        report.interrupted = True
        return report
    _describe(report, labels, verdicts)
    if not dry_run:
        prepare(run, {name: mappings[name] for name in having}, each, into, labels)
    for name, here in having.items():
        if not report.interrupted:
            Labelling(run, name, here, labels, report, progress).go()
    report.seconds = time.monotonic() - started
    return report


def label_set(
    run: Run,
    holders: Mapping[str, VectorField],
    each: VectorField,
    encoders: Encoders,
    into: str,
    kind: Kind,
    wanted: Wanted,
) -> tuple[LabelSet, list[Verdict]]:
    """The labels with their numbers: those that an earlier run stored, or measured now."""
    if not 0 < wanted.false_alarms < 0.5:
        raise LabelError(f"the false-alarm rate must lie between 0 and 0.5, not {wanted.false_alarms}")
    encoder = encoders.for_field(each, searching=True)
    templates = _templates(wanted, each, encoder)
    definition = _definition(each, kind, templates, wanted)
    vectors = _encoded(wanted.labels, templates, encoder)
    kept = None if wanted.anew else _kept(run, holders, into, definition)
    noise = kept[0] if kept else noise_of(vectors, sample(run, holders, each))
    limits = kept[1] if kept else np.full(len(vectors), _threshold(wanted, len(vectors)))
    labels = LabelSet(each.field, kind, wanted.labels, vectors, noise, limits, wanted.false_alarms, definition)
    return judged(run, holders, labels, wanted.examples, keep=kept is not None) if wanted.examples else (labels, [])


def sample(run: Run, holders: Mapping[str, VectorField], each: VectorField) -> Float32Array:
    """Up to 10,000 of the field's vectors, chosen at random. Raises `MappingError` where there are fewer than 30."""
    counts = {name: Reader(run.client, name, []).count(done_query(here)) for name, here in holders.items()}
    share = min(1.0, SAMPLE / max(sum(counts.values()), 1))
    parts: list[Float32Array] = []
    for name, here in holders.items():
        reader = Reader(run.client, name, [here.path], vectors=True)
        for page in prefetched(reader.sampled(done_query(here), round(share * counts[name]))):
            # Of a document with many vectors a few, lest it be all that is seen.
            some = [vector for document in page for vector in _some(vectors_of(document.source, here))]
            parts += [np.asarray(some, dtype=np.float32)] if some else []
    count = sum(map(len, parts))
    if count < _FEWEST:
        raise MappingError(
            f"{each.field!r} has {count} vectors in {run.index!r}; what is chance shows only from {_FEWEST} on"
        )
    rows = np.concatenate(parts)
    if count > SAMPLE:
        rows = rows[np.random.default_rng().choice(count, SAMPLE, replace=False)]
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _some(vectors: list[list[float]], most: int = 8) -> list[list[float]]:
    return vectors[:: -(-len(vectors) // most)] if vectors else []


def _kind(mappings: Mapping[str, dict[str, Any]], into: str, wanted: Wanted) -> Kind:
    if wanted.captions:
        return "caption"
    types = {flat_properties(mapping).get(into, {}).get("type") for mapping in mappings.values()}
    boolean = wanted.boolean if wanted.boolean is not None else types == {"boolean"}
    if boolean and len(wanted.labels) != 1:
        raise LabelError(
            f"{into!r} is to be true or false, which is for one label; {len(wanted.labels)} were given",
            hint="give one label, or name a field of keywords",
        )
    return "boolean" if boolean else "keyword"


def _check_apart(index: str, into: str, kind: Kind, mappings: Mapping[str, dict[str, Any]]) -> None:
    """Raises `MappingError` where labels would be written over what pictures or crosslens's own state need, or into a
    field that has others of another kind."""
    records = [read_record(mapping) for mapping in mappings.values()]
    before = {record.labels[into].kind for record in records if into in record.labels} - {kind}
    if before:
        raise MappingError(
            f"{into!r} in index {index!r} has been written as a {before.pop()}, not as a {kind}",
            hint="take out first what was given, or name another field",
            verb="remove",
        )
    fields = [each for record in records for each in record.all_fields]
    taken = {STATE, *(each.path for each in fields)}
    taken |= {source for each in fields if each.refers for source in each.sources}
    if not into or any(into == path or into.startswith(f"{path}.") for path in taken):
        raise MappingError(
            f"labels can't be written to {into!r} in index {index!r}, where vectors, their state or their pictures are",
            hint="name another field",
            parameter="into",
        )


def _templates(wanted: Wanted, each: VectorField, encoder: VectorEncoder) -> tuple[str, ...]:
    if wanted.templates is not None:
        return check_templates(wanted.templates)
    pictures = each.compared_as == "image" and encoder.encodes_images and not wanted.captions
    return PICTURE_TEMPLATES if pictures else TEXT_TEMPLATES


def _threshold(wanted: Wanted, count: int) -> float:
    if wanted.floor is not None:
        return wanted.floor
    # The best of so many captions is given, so that chance has as many chances.
    return threshold(wanted.false_alarms, count if wanted.captions else 1)


def _definition(each: VectorField, kind: Kind, templates: Sequence[str], wanted: Wanted) -> str:
    """A hash over all that was asked for."""
    asked = [
        *(each.field, each.fingerprint, kind, list(templates), wanted.false_alarms, wanted.floor),
        [[one.name, list(one.texts), one.parent] for one in wanted.labels],
        sorted([one.document, one.label, one.yes] for one in wanted.examples),
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def _encoded(labels: Sequence[Label], templates: Sequence[str], encoder: VectorEncoder) -> Float32Array:
    """A unit vector of each label, [n, dims]: the direction of the mean of its prompts'."""
    sums = np.zeros((len(labels), encoder.dims))
    prompts = ((i, text) for i, one in enumerate(labels) for text in prompted(one, templates))
    while batch := list(islice(prompts, _BATCH)):
        stopping.check()
        vectors = encoder.encode_texts([text for _, text in batch], role="query")
        np.add.at(sums, [i for i, _ in batch], vectors)
    return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), dtype=np.float32)


def _kept(run: Run, holders: Mapping[str, VectorField], into: str, definition: str) -> tuple[Noise, Doubles] | None:
    return next((kept for name in holders if (kept := find_numbers(run.client, name, into, definition))), None)


def _describe(report: LabelReport, labels: LabelSet, verdicts: list[Verdict]) -> None:
    report.fingerprint, report.measured, report.verdicts = labels.fingerprint, labels.noise.measured, verdicts
    if labels.kind != "caption":
        report.thresholds = {
            one.name: round(float(limit), 3) for one, limit in zip(labels.labels, labels.thresholds, strict=True)
        }


def wanted_labels(labels: Sequence[Label | str], **settings: Any) -> Wanted:
    """What `label` takes, of labels or bare names. Raises `LabelError` as `read_labels` does."""
    return replace(Wanted(tuple(checked_labels(labels))), **settings)
