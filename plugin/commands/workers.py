"""Several workers on this machine, each with its share of an index's documents."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from crosslens.client import Connection, connect
from crosslens.commands import signals
from crosslens.commands.options import Encoding, opened
from crosslens.commands.saying import chosen_format, say_error, set_up
from crosslens.commands.sentences import EXPECTED, own, sentence
from crosslens.errors import CrosslensError
from crosslens.ingest.run.report import Failure, Listener, Report


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


def _copies(report: Report) -> dict[str, Any]:
    counted = ("written", "skipped", "unchanged", "failed", "failed_earlier", "truncated", "moments", "kept")
    names = (*counted, "cut", "lost")
    return {name: dict(getattr(report, name)) for name in names}


def run_shares(job: Job, workers: int, progress: Listener, failed: Callable[[Failure], None]) -> Report:
    """Run ``job`` in ``workers`` processes, the cores divided among them.

    Signals that end a run reach the workers as SIGTERM, whether they have started or still do; each then writes what it
    has encoded, and the report is ``interrupted``. A second Ctrl-C kills them. Workers whose parent died stop likewise.

    Raises the `CrosslensError` of a worker that can't go on; the others then finish their share.
    """
    crew = _Crew(job, workers, progress, failed)
    with signals.handled(crew.stop):
        crew.work()
    return crew.report()


class _Crew:
    """The workers of a run, and what they have reported."""

    def __init__(self, job: Job, workers: int, progress: Listener, failed: Callable[[Failure], None]):
        self._job, self._workers, self._progress, self._failed = job, workers, progress, failed
        self._started: list[SpawnProcess] = []
        # A pipe each: a worker that is killed takes no lock along that the others need.
        self._pipes: dict[Pipe, int] = {}
        self._reports: dict[int, Report] = {}
        self._errors: list[CrosslensError] = []
        self._stopped = self._killed = False

    def work(self) -> None:
        """Start all workers, and return when they have ended."""
        try:
            self._start()
            self._listen()
        except BaseException:
            self.stop(signal.SIGTERM)
            raise

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        threads = self._job.encoding.threads or max(1, (os.cpu_count() or 1) // self._workers)
        encoding = replace(self._job.encoding, threads=threads)
        # The first process starts it, and lets signals through on the way.
        resource_tracker.ensure_running()
        with signals.held():
            for part in range(1, self._workers + 1):
                job = replace(self._job, how={**self._job.how, "share": (part, self._workers)}, encoding=encoding)
                reader, writer = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(job, writer, chosen_format()))
                process.start()
                writer.close()
                self._started.append(process)
                self._pipes[reader] = part

    def stop(self, number: int, _: object = None) -> None:
        """Handle a signal: ask every worker to stop, or, the second time that Ctrl-C is pressed, kill them."""
        self._killed = self._killed or (self._stopped and number == signal.SIGINT)
        for process in self._started:
            if self._killed:
                process.kill()
            elif not self._stopped:
                process.terminate()
        self._stopped = True

    def _listen(self) -> None:
        while self._pipes:
            for pipe in wait(list(self._pipes)):
                assert isinstance(pipe, Pipe)
                try:
                    self._hear(self._pipes[pipe], *pipe.recv())
                except (EOFError, ConnectionError):
                    self._ended(self._pipes.pop(pipe))
                    pipe.close()
        for process in self._started:
            process.join()

    def _hear(self, part: int, kind: str, value: Any) -> None:
        if kind == "failure":
            self._failed(value)
        elif kind == "error":
            self._errors.append(value)
        else:
            self._reports[part] = value
            self._progress(self._together())

    def _ended(self, part: int) -> None:
        process = self._started[part - 1]
        process.join()
        if process.exitcode and not self._stopped:
            self._errors.append(
                CrosslensError(f"worker {part} of {self._workers} ended without a word", hint="run again to go on")
            )

    def report(self) -> Report:
        """All reports as one. Raises the error of a worker that couldn't go on, and says those of others before."""
        if self._killed:
            raise KeyboardInterrupt
        if self._errors:
            first, *others = {sentence(each): each for each in self._errors}.values()
            for error in others:
                say_error(f"Error: {sentence(error)}")
            raise first
        report = self._together()
        report.interrupted = report.interrupted or self._stopped
        return report

    def _together(self) -> Report:
        if not self._reports:
            return Report(index=self._job.index, fields={})
        first, *others = [replace(r, **_copies(r)) for r in self._reports.values()]
        for other in others:
            first.merge(other)
        return first


def _work(job: Job, pipe: Pipe, log_format: str) -> None:
    """Do a share, in a process of its own. Exits with 1 where it could not be done to the end."""
    try:
        service, lock = signals.Service(), threading.Lock()

        def say(kind: str, value: object) -> None:
            # Failures come from the writer's thread.
            with service.deferred(), lock:
                pipe.send((kind, value))

        set_up(log_format)
        try:
            report = job.run(
                lambda report: say("progress", replace(report, failures=[], **_copies(report))),
                lambda failure: say("failure", failure),
            )
            say("done", report)
        except BrokenPipeError:
            raise
        except EXPECTED as error:
            say("error", own(error))
    except (KeyboardInterrupt, BrokenPipeError):
        # Stopped before the work began, or nobody is left to hear of it.
        raise SystemExit(1) from None
