"""Giving the documents of an index the vectors they lack, and bringing those that it has up to date."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from elasticsearch import Elasticsearch

from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.fields import agree, choose
from crosslens.ingest.contract.record import vector_fields
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.run.filling import fill
from crosslens.ingest.run.report import Failure, Listener, Report
from crosslens.ingest.run.run import Events, Options, Run


def add_vectors(
    client: Elasticsearch,
    index: str,
    encoder: VectorEncoder | Encoders | Sequence[VectorEncoder],
    targets: Sequence[Target],
    options: Options | None = None,
    *,
    progress: Listener = lambda _: None,
    failed: Callable[[Failure], None] = lambda _: None,
) -> Report:
    """Gives the documents of ``index`` (a name, alias, pattern or data stream) the vectors they lack.

    Of two encoders, a text model and one that encodes pictures as well, the first makes text fields, the other image
    fields.

    Puts the mapping first. Documents whose image can't be opened get their error recorded, and the run goes on; those
    with an empty source are recorded as skipped. A document that changes while it runs is taken up again, so that at
    the end none has a vector of an older source. ``progress`` gets the growing report after every batch, ``failed``
    each failure. On KeyboardInterrupt what is encoded is still written, and the report says ``interrupted``.

    Raises `MappingError` when index, sources or vector fields don't fit (see `check_target`), `BlockedError`
    when an index refuses writes, `ConnectionFailedError` when the server stays away, and `ModelError` when none of the
    encoders, or several, could make a field.
    """
    run = Run.begin(client, index, options, Events(progress, failed))
    mappings = run.mappings()
    used = Encoders.of(encoder)
    run = run.making(agree(run.client, index, mappings, targets, used), used, mappings)
    run.put_fields(mappings)
    return fill(run)


def reindex(
    client: Elasticsearch,
    index: str,
    encoders: VectorEncoder | Encoders | Sequence[VectorEncoder] | None = None,
    options: Options | None = None,
    *,
    targets: Sequence[Target] = (),
    fields: Sequence[str] | None = None,
    progress: Listener = lambda _: None,
    failed: Callable[[Failure], None] = lambda _: None,
) -> Report:
    """Brings the vector fields that ``index`` has (``fields``: only those) up to date, as ``options.selection`` says.

    ``targets`` are further fields, made by the encoders given as `add_vectors` chooses them. ``encoders`` None means
    the models that this machine remembers. Otherwise as `add_vectors`; raises `ModelError` when a field's model isn't
    at hand.
    """
    run = Run.begin(client, index, options, Events(progress, failed))
    mappings = run.mappings()
    used = Encoders.of(encoders)
    new = {each.field: each for each in agree(run.client, index, mappings, targets, used)} if targets else {}
    known = any(vector_fields(mapping) for mapping in mappings.values()) or not targets
    present = choose(index, mappings, fields) if known else {}
    fields_made = {**present, **new}
    used.check([*(choose(index, mappings, None) if known else {}).values(), *new.values()], index)
    run = run.making(fields_made.values(), used, mappings)
    run.put_fields(mappings)
    return fill(run)
