"""Several workers on this machine, each with its share of an index's documents."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crosslens.client import Connection, connect
from crosslens.commands.options import Encoding, opened
from crosslens.errors import CrosslensError
from crosslens.ingest.run.report import Failure, Listener, Report

# A share of a document every so often is enough for a bar.
_POLL_S = 0.2


@dataclass(frozen=True)
class Job:
    """A method of `crosslens.Index` and what it is called with, in words that another process understands."""

    connection: Connection
    index: str
    model: Path | None
    encoding: Encoding
    method: str
    arguments: tuple[Any, ...] = ()
    how: dict[str, Any] = field(default_factory=dict)

    def run(self, progress: Listener, on_failure: Callable[[Failure], None]) -> Report:
        """Call it, here. Raises what it raises."""
        method = getattr(opened(self.index, connect(self.connection), self.model, self.encoding), self.method)
        report: Report = method(*self.arguments, **self.how, progress=progress, on_failure=on_failure)
        return report


@dataclass
class _Shares:
    """The reports of all workers as one."""

    reports: dict[int, Report] = field(default_factory=dict)

    def together(self) -> Report:
        first, *others = [replace(r, **_copies(r)) for r in self.reports.values()]
        for other in others:
            first.merge(other)
        return first


def _copies(report: Report) -> dict[str, Any]:
    names = ("written", "skipped", "unchanged", "failed", "failed_earlier")
    return {name: dict(getattr(report, name)) for name in names}


def run_shares(job: Job, workers: int, progress: Listener, failed: Callable[[Failure], None]) -> Report:
    """Runs ``job`` in ``workers`` processes, the cores divided among them.

    Raises `CrosslensError` when a worker can't go on; the others then finish their share.
    """
    context = multiprocessing.get_context("spawn")
    said: Any = context.Queue()
    encoding = replace(job.encoding, threads=job.encoding.threads or max(1, (os.cpu_count() or 1) // workers))
    started = []
    for part in range(1, workers + 1):
        how = {**job.how, "share": (part, workers)}
        process = context.Process(target=_work, args=(replace(job, how=how, encoding=encoding), part, said))
        process.start()
        started.append(process)
    shares, left, errors = _Shares(), set(range(1, workers + 1)), list[str]()

    def listen(timeout: float) -> None:
        kind, part, value = said.get(timeout=timeout)
        if kind == "failure":
            failed(value)
            return
        if kind == "error":
            errors.append(value)
        else:
            shares.reports[part] = value
            progress(shares.together())
        if kind in ("done", "error"):
            left.discard(part)

    while left:
        try:
            listen(_POLL_S)
        except queue.Empty:
            for part in [part for part in left if not started[part - 1].is_alive()]:
                left.discard(part)
                errors.append(f"worker {part} of {workers} ended without a word; run again to go on")
        except KeyboardInterrupt:
            # The workers got it too: each writes what it has encoded, and reports.
            continue
    for process in started:
        process.join()
    if errors:
        raise CrosslensError("; ".join(dict.fromkeys(errors)))
    return shares.together()


def _work(job: Job, part: int, said: Any) -> None:
    try:
        report = job.run(
            lambda report: said.put(("progress", part, replace(report, failures=[], **_copies(report)))),
            lambda failure: said.put(("failure", part, failure)),
        )
        said.put(("done", part, report))
    except CrosslensError as error:
        said.put(("error", part, str(error)))
    except KeyboardInterrupt:
        said.put(("error", part, "interrupted before the work began"))
