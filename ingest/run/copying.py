"""Copying an index into a new one, with vectors added on the way, and turning an alias to it.

The copy follows the original by its sequence numbers until nothing changes any more. To turn the alias without losing a
write, the original refuses writes for the last round (well under a second, unless its documents change faster than they
are copied), and takes them again afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from elasticsearch import ApiError, Elasticsearch

from crosslens.errors import MappingError, MigrationError
from crosslens.ingest.contract import documents
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.fields import (
    agree,
    read_mappings,
    with_path,
)
from crosslens.ingest.contract.mapping import mapping_update
from crosslens.ingest.contract.record import META, STATE, VectorField, own_paths, read_record, vector_fields
from crosslens.ingest.contract.statistics import note_moments
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.run.encoding import Prepared, Task
from crosslens.ingest.run.reading import Document, Reader, prefetched
from crosslens.ingest.run.report import Failure, Listener, Report
from crosslens.ingest.run.sending import Outcome, Write, Writer
from crosslens.ingest.run.write import Options, count_states, pipeline_for, selected
from crosslens.retrying import GO_ON, patient

_ROUNDS = 50
_SHORT_ROUND_S = 1.0
_COPY = "copy"
# Settings that belong to one index's identity, history or present condition, and not to what it is.
_OWN_SETTINGS = (
    "index.uuid",
    "index.history",
    "index.provided_name",
    "index.creation_date",
    "index.version.",
    "index.resize.",
    "index.blocks.",
    "index.verified_before_close",
    "index.routing.allocation.initial_recovery.",
    "index.lifecycle.indexing_complete",
)


@dataclass
class CopyReport(Report):
    """What a copy did: documents ``copied`` (again, when they changed), ``deleted`` since, and both indices' counts."""

    into: str = ""
    copied: int = 0
    deleted: int = 0
    count_before: int = 0
    count_after: int = 0
    alias: str | None = None
    switched: bool = False


def copy_index(
    client: Elasticsearch,
    index: str,
    into: str,
    encoders: VectorEncoder | Encoders | None,
    targets: Sequence[Target] = (),
    options: Options | None = None,
    *,
    alias: str | None = None,
    block: bool = True,
    progress: Listener = lambda _: None,
    failed: Callable[[Failure], None] = lambda _: None,
) -> CopyReport:
    """Copies ``index`` into the new index ``into``, giving documents the vectors they lack, and turns ``alias`` to it.

    ``targets`` are further vector fields; with an `Encoder` of another model than the index has, all fields are made
    by that one. Stopped at any point, the same call goes on; until the alias is turned, ``into`` follows ``index``.
    ``block`` False leaves the original writable throughout: what is written in the last moment may then be missing.

    Raises `MigrationError` when ``into`` exists and is no copy of ``index``, or the counts differ at the end, and what
    `add_vectors` raises.
    """
    options = options or Options()
    started, client = time.monotonic(), patient(client)
    old, mapping = _single(client, index)
    if old == into and _turned(client, into):
        # The name is the alias, and leads to the copy already.
        old = _noted(client, into)["of"]
        _tidy(client, old, into)
        return CopyReport(old, vector_fields(mapping), into=into, alias=alias, switched=True)
    fields = _fields(client, old, mapping, encoders, targets)
    used = Encoders.of(encoders)
    if not targets:
        used.check(fields, old)
    if alias is not None:
        _check_alias(client, alias, into)
    report = CopyReport(index=old, fields={each.field: each for each in fields}, into=into, alias=alias)
    resumed = _check_into(client, old, into)
    if resumed and _turned(client, into):
        _tidy(client, old, into)
        report.switched = True
        return report
    report.todo = report.count_before = Reader(client, old, []).count({"match_all": {}})
    if options.dry_run:
        return report
    if not resumed:
        _create(client, old, into, mapping, fields)
    copy = _Copy(client, old, into, fields, used, options, report, progress, failed, compare=resumed)
    try:
        copy.follow()
        if alias is not None and not report.interrupted:
            _turn(client, copy, alias, block)
    except KeyboardInterrupt:
        report.interrupted = True
    finally:
        copy.close()
        _tidy(client, old, into)
        copy.note_moments()
        report.seconds = time.monotonic() - started
    return report


def _single(client: Elasticsearch, index: str) -> tuple[str, dict[str, Any]]:
    mappings = read_mappings(client, index)
    if len(mappings) > 1:
        raise MigrationError(f"{index!r} stands for {', '.join(sorted(mappings))}; copy one index at a time")
    return next(iter(mappings.items()))


def _fields(
    client: Elasticsearch,
    old: str,
    mapping: dict[str, Any],
    encoders: VectorEncoder | Encoders | None,
    targets: Sequence[Target],
) -> list[VectorField]:
    """The vector fields of the copy: those that the index has, by the encoder given if any, and the targets."""
    recorded = vector_fields(mapping)
    fields = {
        name: each
        if (encoders is None or isinstance(encoders, Encoders)) or each.fingerprint == encoders.fingerprint
        else with_path(each, each.path, encoders)
        for name, each in recorded.items()
    }
    new = [target for target in targets if target.field not in fields]
    if new:
        if encoders is None or isinstance(encoders, Encoders):
            raise MappingError("name the model that new vector fields are made by")
        fields |= {each.field: each for each in agree(client, old, {old: mapping}, new, encoders)}
    if not fields:
        raise MappingError(f"index {old!r} has no vector fields yet; name sources to make them from")
    return list(fields.values())


def _check_alias(client: Elasticsearch, alias: str, into: str) -> None:
    if alias == into:
        raise MigrationError(f"the alias and the new index can't both be named {alias!r}")
    if client.indices.exists(index=alias) and not client.indices.exists_alias(name=alias):
        raise MigrationError(
            f"{alias!r} is an index, so it can't become an alias while that index is kept; choose another alias"
        )


def _check_into(client: Elasticsearch, old: str, into: str) -> bool:
    """Whether ``into`` is a copy of ``old`` that was begun already."""
    if not client.indices.exists(index=into):
        return False
    if _noted(client, into).get("of") != old:
        raise MigrationError(f"{into!r} exists already and is no unfinished copy of {old!r}; choose another name")
    return True


def _create(client: Elasticsearch, old: str, into: str, mapping: dict[str, Any], fields: Sequence[VectorField]) -> None:
    settings = client.indices.get_settings(index=old, flat_settings=True)[old]["settings"]
    kept = {key: value for key, value in settings.items() if not key.startswith(_OWN_SETTINGS)}
    record = read_record(mapping).with_fields(fields)
    properties = dict(mapping.get("properties") or {})
    for each in fields:
        # A field of other dims than before is mapped anew.
        _drop_property(properties, each.path.split("."))
    body = {**mapping, "properties": properties}
    update = mapping_update(mapping, record, fields)
    _merge(body["properties"], update["properties"])
    body["_meta"] = update["_meta"]
    body["_meta"][META][_COPY] = {"of": old}
    try:
        client.indices.create(index=into, settings=kept, mappings=body)
    except ApiError as error:
        if _noted(client, into).get("of") == old:
            # Asked for twice, after the first answer was lost.
            return
        raise MigrationError(f"the index {into!r} can't be made like {old!r}: {error}") from error


def _drop_property(properties: dict[str, Any], parts: list[str]) -> None:
    if len(parts) == 1:
        properties.pop(parts[0], None)
    elif parts[0] in properties:
        properties[parts[0]] = {**properties[parts[0]]}
        inner = properties[parts[0]]["properties"] = dict(properties[parts[0]].get("properties") or {})
        _drop_property(inner, parts[1:])


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            into[key] = dict(into[key])
            _merge(into[key], value)
        else:
            into[key] = value


class _Copy:
    """Keeps the copy like the original."""

    def __init__(
        self,
        client: Elasticsearch,
        old: str,
        into: str,
        fields: Sequence[VectorField],
        encoders: Encoders,
        options: Options,
        report: CopyReport,
        progress: Listener,
        failed: Callable[[Failure], None],
        *,
        compare: bool,
    ):
        self.client, self.old, self.into, self.report = client, old, into, report
        self._fields, self._progress, self._failed = fields, progress, failed
        # Whatever is copied is written anyway: so what is behind is brought up to date with it.
        self._selection = replace(options.selection, missing=True, stale=True, query=None)
        self._own = own_paths(client.indices.get_mapping(index=into)[into]["mappings"])
        self._original = Reader(client, old, None)
        # Of the copy only the sources and the states are compared.
        self._copied = Reader(client, into, None, left_out=[path for path in self._own if path != STATE])
        self._pipeline = pipeline_for(client, into, fields, encoders, options)
        self._writer = Writer(client, self._record)
        self._compare = compare
        self._conflicts: set[tuple[str, str | None]] = set()

    def follow(self) -> None:
        """Copies what isn't copied yet, and what changes meanwhile, until nothing does. Deleted documents go, too.

        Raises `MigrationError` when the original changes faster than it can be copied.
        """
        self._marks = self._original.marks()
        self._original.refresh()
        self._pass(self._original.pages({"match_all": {}}))
        self.catch_up()

    def catch_up(self, *, to_the_end: bool = False) -> None:
        """Copies what changed since the last look, until nothing does, or, unless ``to_the_end``, until little does."""
        self._compare = True
        for _ in range(_ROUNDS):
            before, self._marks = self._marks, self._original.marks()
            started = time.monotonic()
            self._original.refresh()
            quiet = self._marks.advanced_by(before) == 0 and not self._conflicts
            quiet = quiet or not self._pass(self._original.pages(before.changed_since()))
            self.report.still_changing = not quiet
            if quiet or (not to_the_end and time.monotonic() - started < _SHORT_ROUND_S):
                break
        else:
            raise MigrationError(f"index {self.old!r} changes faster than it can be copied; try when it is quieter")
        self._settle()

    def _settle(self) -> None:
        """Deletes what the original no longer has, and notes both counts."""
        self._original.refresh()
        self._copied.refresh()
        everything: dict[str, Any] = {"match_all": {}}
        if self._copied.count(everything) > self._original.count(everything):
            for page in self._copied.pages(everything):
                asked = [replace(document, index=self.old) for document in page]
                there = {(d.id, d.routing) for part in self._original.again(asked) for d in part}
                gone = [d for d in page if (d.id, d.routing) not in there]
                self._writer.put([Write("delete", self.into, d.id, d.routing, {}, guard=d.guard) for d in gone])
                self.report.deleted += len(gone)
            self._writer.flush()
            self._copied.refresh()
        self.report.count_before = self._original.count(everything)
        self.report.count_after = self._copied.count(everything)

    def note_moments(self) -> None:
        """Notes the moments of the vectors made for the copy; those that were copied are `calibrate`'s to gather."""
        moments = {(self.into, path): each for (_, path), each in self._pipeline.moments.items()}
        note_moments(self.client, self._fields, moments)

    def close(self) -> None:
        """Writes what was handed over, and ends the writer."""
        self._writer.close()

    def _pass(self, pages: Iterator[list[Document]]) -> int:
        done = 0
        for chunk in self._pipeline.run(self._work(pages)):
            self._writer.put([self._write(prepared) for prepared in chunk])
            for prepared in chunk:
                for name in prepared.truncated:
                    self.report.count(self.report.truncated, name)
                for name, reason in prepared.failed:
                    self._fail(Failure(self.into, prepared.document.id, name, reason))
            done += len(chunk)
            self.report.documents += len(chunk)
            self._progress(self.report)
        self._writer.flush()
        return done

    def _work(self, pages: Iterator[list[Document]]) -> Iterator[tuple[Document, list[Task]]]:
        """The original's documents that the copy lacks or has otherwise, with the fields to encode for it."""
        for page in prefetched(pages):
            present: dict[tuple[str, str | None], Document] = {}
            if self._compare:
                asked = [replace(document, index=self.into) for document in page]
                present = {(d.id, d.routing): d for part in self._copied.again(asked) for d in part}
            for document in page:
                copy = present.get((document.id, document.routing))
                if copy is not None and self._like(document, copy):
                    continue
                if copy is not None and (document.id, document.routing) in self._conflicts:
                    # The copy is of a higher version than the original: of an earlier document of that id.
                    document = replace(document, version=-1, guard=copy.guard)
                self._conflicts.discard((document.id, document.routing))
                yield document, selected(document, self._fields, self._selection)

    def _like(self, document: Document, copy: Document) -> bool:
        """Whether the copy is of the document as it is, vectors apart, and each vector of its present source."""
        if documents.without(document.source, self._own) != documents.without(copy.source, self._own):
            return False
        stands = {documents.standing(copy.source, each) for each in self._fields}
        return not stands & {"missing", "stale"}

    def _write(self, prepared: Prepared) -> Write:
        document = prepared.document
        body = (
            documents.with_vectors(document.source, prepared.states, prepared.vectors)
            if prepared.states
            else document.source
        )
        if document.version < 0:
            return Write("index", self.into, document.id, document.routing, body, guard=document.guard)
        return Write("index", self.into, document.id, document.routing, body, version=document.version)

    def _record(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            write = outcome.write
            if write.kind == "delete":
                continue
            if outcome.status == 409:
                self._conflicts.add((write.id, write.routing))
            elif outcome.status >= 300:
                self._fail(Failure(self.into, write.id, None, outcome.reason))
            else:
                self.report.copied += 1
                count_states(self.report, self._fields, write.body)

    def _fail(self, failure: Failure) -> None:
        self.report.fail(failure)
        self._failed(failure)


def _turn(client: Elasticsearch, copy: _Copy, alias: str, block: bool) -> None:
    """Turns the alias from the original to the copy, once both hold the same documents."""
    blocked = _blocked(client, copy.old)
    if block and (not blocked or _noted(client, copy.into).get("blocked")):
        # Noted first: whoever goes on after a kill knows whose block it is.
        _note(client, copy.into, {"of": copy.old, "turning": alias, "blocked": True})
        client.indices.add_block(index=copy.old, block="write")
    else:
        _note(client, copy.into, {"of": copy.old, "turning": alias})
    copy.catch_up(to_the_end=block or blocked)
    report = copy.report
    if report.failed.get("document"):
        raise MigrationError(f"{report.failures[0].reason}: not every document could be written to {copy.into!r}")
    if report.count_before != report.count_after:
        raise MigrationError(
            f"{copy.into!r} has {report.count_after} documents and {copy.old!r} {report.count_before}; "
            f"the alias {alias!r} stays as it is; {GO_ON}, and leave {copy.old!r} refuse writes meanwhile"
        )
    aliases = client.options(ignore_status=404).indices.get_alias(name=alias).body
    present = aliases.get(copy.old, {}).get("aliases", {}).get(alias)
    actions: list[dict[str, Any]] = [{"add": {"index": copy.into, "alias": alias, **(present or {})}}]
    if present is not None:
        actions.insert(0, {"remove": {"index": copy.old, "alias": alias}})
    client.indices.update_aliases(actions=actions)
    report.switched = True


def _blocked(client: Elasticsearch, index: str) -> bool:
    settings = client.indices.get_settings(index=index, name="index.blocks.write", flat_settings=True)
    return bool(settings.body.get(index, {}).get("settings", {}).get("index.blocks.write") == "true")


def _turned(client: Elasticsearch, into: str) -> bool:
    """Whether the alias was turned by a run that couldn't tidy up after it."""
    alias = _noted(client, into).get("turning")
    return alias is not None and bool(client.indices.exists_alias(index=into, name=alias))


def _tidy(client: Elasticsearch, old: str, into: str) -> None:
    """Takes the write block off the original again if it is ours; ends the copy if the alias was turned."""
    noted = _noted(client, into)
    if noted.get("blocked"):
        client.indices.put_settings(index=old, settings={"index.blocks.write": None})
    if _turned(client, into):
        _note(client, into, None)
    elif noted.keys() - {"of"}:
        _note(client, into, {"of": old})


def _noted(client: Elasticsearch, into: str) -> dict[str, Any]:
    """What the copy's mapping says of its making; empty for an index that isn't there or is no copy."""
    body = client.options(ignore_status=404).indices.get_mapping(index=into).body
    meta = body.get(into, {}).get("mappings", {}).get("_meta") or {}
    noted: dict[str, Any] = (meta.get(META) or {}).get(_COPY) or {}
    return noted


def _note(client: Elasticsearch, into: str, copy: dict[str, Any] | None) -> None:
    meta = dict(client.indices.get_mapping(index=into)[into]["mappings"]["_meta"])
    body = dict(meta[META])
    body.pop(_COPY, None)
    meta[META] = body if copy is None else {**body, _COPY: copy}
    client.indices.put_mapping(index=into, meta=meta)
