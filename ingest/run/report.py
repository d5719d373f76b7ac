"""What a run did, and which documents it could not do."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from crosslens.ingest.contract.documents import state_of
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.run.estimate import Estimate
from crosslens.surrogates import well_formed

# A million failures are listed in a file, not in memory.
_KEPT = 1_000


@dataclass(frozen=True)
class Failure:
    """A document that got no vector for one field (None: for any), and why."""

    index: str
    id: str
    field: str | None
    reason: str

    def __post_init__(self) -> None:
        # Reasons quote documents, which may hold half a surrogate pair; no terminal or file takes that.
        object.__setattr__(self, "reason", well_formed(self.reason))


@dataclass
class Report:
    """What a run did.

    ``todo`` documents were found to look at, ``documents`` were taken up; ``written``, ``skipped`` (nothing to encode),
    ``unchanged`` (looked at again) and ``failed`` count vector fields of documents, by field. ``failures`` are the
    first thousand. ``truncated`` counts JPEGs that were encoded though their last rows are missing, by field (see
    `crosslens.ImageAccess`). ``cut`` counts documents whose texts are longer than the field's model reads, and ``lost``
    sums what share of each that is. ``moments`` counts those of sound and footage that were encoded, ``kept`` those
    that an earlier run had, by field. ``caught_up`` documents changed during the run and were taken up again; where
    they were ``still_changing`` at the end, those of the last moments are the next run's. A dry run has an
    ``estimate``, counts what it would write, and says by field how all documents ``stands`` (see
    `crosslens.ingest.contract.documents.standing`).
    """

    index: str
    fields: dict[str, VectorField]
    todo: int = 0
    documents: int = 0
    written: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    unchanged: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    truncated: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    lost: dict[str, float] = field(default_factory=dict)
    moments: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    failed_earlier: dict[str, int] = field(default_factory=dict)
    caught_up: int = 0
    still_changing: bool = False
    seconds: float = 0.0
    interrupted: bool = False
    estimate: Estimate | None = None
    stands: dict[str, dict[str, int]] = field(default_factory=dict)

    def count(self, counts: dict[str, int], name: str) -> None:
        """One more of ``name`` in one of the report's own dictionaries."""
        counts[name] = counts.get(name, 0) + 1

    def count_cut(self, name: str, share: float | None) -> None:
        """One more document of whose text a ``share`` isn't read, if it is one."""
        if share:
            self.count(self.cut, name)
            self.lost[name] = self.lost.get(name, 0.0) + share

    def fail(self, failure: Failure) -> None:
        """Takes note of a document that failed."""
        self.count(self.failed, failure.field or "document")
        if len(self.failures) < _KEPT:
            self.failures.append(failure)

    def count_states(self, body: Mapping[str, Any]) -> None:
        """Counts what a document that was written says of the fields; failures are counted apart."""
        for each in self.fields.values():
            state = state_of(body, each.path)
            if state is not None and not state.get("error") and not state.get("unfinished"):
                self.count(self.skipped if state.get("skipped") else self.written, each.field)
                self.count_cut(each.field, state.get("cut"))

    def merge(self, other: Report) -> None:
        """Adds what another worker did to the same index."""
        for name in ("todo", "documents", "caught_up"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("written", "skipped", "unchanged", "failed", "truncated", "cut", "lost", "moments", "kept"):
            mine: dict[str, float] = getattr(self, name)
            for key, value in getattr(other, name).items():
                mine[key] = mine.get(key, 0) + value
        self.failures = (self.failures + other.failures)[:_KEPT]
        self.failed_earlier = other.failed_earlier or self.failed_earlier
        self.seconds = max(self.seconds, other.seconds)
        self.interrupted = self.interrupted or other.interrupted


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


class FailureLog:
    """A JSON Lines file of failures, made when the first one is written; each line says how to try again."""

    def __init__(self, path: Path, retry: list[str]):
        """``retry`` are the words of the command that tries again."""
        self._path, self._retry = path, shlex.join(retry)
        self._file: IO[str] | None = None
        self.written = 0

    def __enter__(self) -> FailureLog:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, failure: Failure) -> None:
        """Adds a line, at once."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Half a surrogate pair in an id becomes JSON's own escape for it, which names the document exactly.
            self._file = self._path.open("w", encoding="utf-8", errors="backslashreplace")
        self._file.write(json.dumps({**asdict(failure), "retry": self._retry}, ensure_ascii=False) + "\n")
        self._file.flush()
        self.written += 1


Listener = Callable[[Report], None]
