"""One source of a document being encoded: the moments that its fields have so far, and what is written of them."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crosslens.ingest.contract import documents
from crosslens.ingest.contract.documents import State
from crosslens.ingest.contract.mapping import nest
from crosslens.ingest.contract.moments import StoredMoment, Vector
from crosslens.ingest.contract.record import STATE, VectorField
from crosslens.ingest.run.media_files import Opened, lacking
from crosslens.ingest.run.reading import Document
from crosslens.ingest.run.sending import Guard, Write
from crosslens.ingest.run.tasks import Task
from crosslens.ingest.sources.hashing import content_hash

_NAMED = 3
NESTED_LIMIT = "index.mapping.nested_objects.limit"


@dataclass
class FieldWork:
    """What one field has of the files so far: their moments, their contents, what went wrong, and what held nothing.

    ``made`` counts the vectors that this run made, ``cut`` is as in `State`.
    """

    task: Task
    moments: list[StoredMoment] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    nothing: list[str] = field(default_factory=list)
    made: int = 0
    cut: float = 0.0

    def state(self, document: Document, values: Sequence[str], *, ended: bool) -> State:
        """The state to record; one that isn't ``ended`` says how many moments lack their vectors, at least 1."""
        each = self.task.field
        source = documents.source_hash(values, each)
        if not ended:
            return State(source, each.fingerprint, unfinished=max(1, len(lacking(self.moments))))
        blocked = documents.obstacle(document.source, each.path)
        if blocked is not None:
            reason = f"{blocked!r} isn't an object in this document, so {each.path!r} can't be stored in it"
            return State(source, each.fingerprint, error=reason)
        if not values:
            return State(source, each.fingerprint, skipped=f"no {each.modality} in {', '.join(each.sources)}")
        content = content_hash("\n".join(self.contents).encode())
        if self.wrong:
            more = f"; and {len(self.wrong) - _NAMED} more" if len(self.wrong) > _NAMED else ""
            return State(source, each.fingerprint, content=content, error="; ".join(self.wrong[:_NAMED]) + more)
        if not self.moments:
            return State(source, each.fingerprint, content=content, skipped="; ".join(self.nothing[:_NAMED]))
        return State(source, each.fingerprint, content=content, cut=round(self.cut, 3) or None)


class SourceWork:
    """The fields that are made of one source of a document."""

    def __init__(self, opened: Opened):
        self.document, self.values = opened.document, opened.values
        self.fields = {task.field.path: FieldWork(task) for task in opened.tasks}
        # Fields that nothing more is written of: the index refused them, or the document is gone or another one.
        self.given_up: set[str] = set()
        self.since = time.monotonic()

    def take(self, opened: Opened) -> None:
        """Takes up what a file was opened for."""
        for path, work in self.fields.items():
            work.contents.append(opened.content or "-")
            if opened.error is not None:
                several = len(self.values) > 1
                work.wrong.append(f"[{opened.position}] {opened.error}" if several else opened.error)
            elif path in opened.nothing:
                work.nothing.append(opened.nothing[path])
            else:
                work.moments += opened.moments.get(path, [])

    @property
    def begun(self) -> list[FieldWork]:
        """The fields that this run has made vectors for."""
        return [work for work in self.fields.values() if work.made]

    @property
    def blocked(self) -> bool:
        """Whether this document holds something else where the fields' state or vectors would be."""
        paths = [*self.fields, *(f"{STATE}.{path}" for path in self.fields)]
        return any(documents.obstacle(self.document.source, path) is not None for path in paths)

    def unchanged(self, work: FieldWork) -> bool:
        """Whether a field that was looked at for changes of the files' contents has none."""
        before = documents.state_of(self.document.source, work.task.field.path) or {}
        same = before.get("content") == content_hash("\n".join(work.contents).encode())
        return work.task.check and same and not work.made and not work.wrong

    def stays(self, work: FieldWork) -> bool:
        """Whether what the document has of the same source and model is fine, though its files can't be read now."""
        each = work.task.field
        before = documents.state_of(self.document.source, each.path) or {}
        same = before.get("source") == documents.source_hash(self.values, each)
        spoilt = before.get("error") or before.get("skipped") or before.get("unfinished")
        return bool(work.wrong) and same and before.get("model") == each.fingerprint and not spoilt

    def write(self, works: Sequence[FieldWork], pack: Callable[[Vector], Any], *, ended: bool) -> Write:
        """The update of the document with what there is of some fields; ``ended`` where nothing is to come."""
        states: dict[str, State] = {}
        vectors: dict[str, Any] = {}
        for work in works:
            each = work.task.field
            states[each.path] = work.state(self.document, self.values, ended=ended)
            kept = [moment for moment in work.moments if moment.vector is not None or not ended]
            if kept and documents.obstacle(self.document.source, each.path) is None:
                vectors[each.path] = [moment.body(pack) for moment in kept]
        here = self.document
        body = documents.document_update(states, vectors, here.source)
        return Write("update", here.index, here.id, here.routing, body, guard=here.guard)

    def applied(self, write: Write, guard: Guard | None) -> None:
        """Takes note of an update: the document is now as it left it."""
        self.since = time.monotonic()
        source = copy.deepcopy(self.document.source)
        for path in self.fields:
            state = documents.state_of(write.body, path)
            if state is not None:
                nest(source, f"{STATE}.{path}", state)
        self.document = replace(self.document, source=source, guard=guard or self.document.guard)

    def same_source(self, document: Document) -> bool:
        """Whether a later state of the document refers to the same files."""
        fields = [work.task.field for work in self.fields.values()]
        return all(documents.inputs(document.source, each) == list(self.values) for each in fields)


def refused(each: VectorField, moments: int, reason: str) -> str:
    """Why a document's moments weren't stored, in words that say what to do."""
    if "nested" in reason:
        return (
            f"{moments:,} moments, with the document's other nested objects, are more than the index takes "
            f"({NESTED_LIMIT}); cut {', '.join(each.sources)} into fewer moments a file, or raise that setting"
        )
    return f"{moments:,} moments weren't stored: {reason}"
