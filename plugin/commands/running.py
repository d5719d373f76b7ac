"""Running what add, reindex and migrate share: progress, failures in a file, a summary, and the exit status."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from crosslens.commands.saying import note, out, print_json
from crosslens.ingest.run.report import Failure, FailureLog, Listener, Report
from crosslens.progress import encoding_bar

_LOG = logging.getLogger("crosslens")
_SHOWN_FAILURES = 20
# What takes longer than a few seconds to read.
_MUCH = 100_000
_SECRETS = {"--api-key", "--password"}
_SELECTIONS = {"--missing", "--stale", "--all", "--failed", "--retry-failed"}
GO_ON = "interrupted; what is written stays. Run the same command again to go on."


def run(
    work: Callable[[Listener, Callable[[Failure], None]], Report],
    *,
    failures: Path,
    as_json: bool,
    dry_run: bool,
    after: Listener = lambda _: None,
    what: str = "encoding",
) -> Report:
    """Run ``work`` with a progress bar, list failures in ``failures``, and print the report, ``after`` the rest.

    ``what`` is what the log calls it where there is no terminal.

    Exits with 130 when interrupted, with 1 when documents failed.
    """
    retry = ["crosslens", *retry_words(sys.argv[1:])]
    with Failures(failures, retry) as log, encoding_bar(note, what) as progress:
        report = work(progress, (lambda _: None) if dry_run else log.write)
    if as_json:
        print_json(asdict(report))
    else:
        show(report, dry_run)
        after(report)
        if log.written:
            out.print(f"all {log.written} are listed in {failures}", highlight=False, soft_wrap=True)
    finish(report)
    return report


def forewarning(advance: Callable[[int, int], None], what: str, option: str) -> Callable[[int, int], None]:
    """The same listener to progress, which first says that there is much to read, and that ``option`` reads less."""
    said = False

    def listen(done: int, total: int) -> None:
        nonlocal said
        if not said and total > _MUCH:
            _LOG.info("reading %d %s, which takes time in proportion; %s 20000 reads a sample", total, what, option)
            said = True
        advance(done, total)

    return listen


def finish(report: Report) -> None:
    """Exit with 130 for an interrupted run, with 1 for one in which documents failed."""
    if report.interrupted:
        raise click.exceptions.Exit(130)
    if report.failed:
        raise click.exceptions.Exit(1)


def retry_words(arguments: list[str]) -> list[str]:
    """Return the command line that tries again what failed, without the secrets that this one may hold."""
    kept: list[str] = []
    arguments = _without_format(arguments)
    words = iter(arguments)
    for word in words:
        if word in _SECRETS:
            next(words, None)
        elif word not in _SELECTIONS and word.split("=")[0] not in _SECRETS:
            kept.append(re.sub(r"//[^/@]*@", "//", word))
    return [*kept, _retry_flag(arguments)]


def _retry_flag(arguments: list[str]) -> str:
    return "--retry-failed" if _without_format(arguments)[:1] == ["add"] else "--failed"


def _without_format(arguments: list[str]) -> list[str]:
    """The command and all that follows it."""
    if arguments[:1] == ["--log-format"]:
        return _without_format(arguments[2:])
    return _without_format(arguments[1:]) if arguments and arguments[0].startswith("--log-format=") else arguments


class Failures:
    """The file of failures, for runs that go on where it can't be written: each document has its error anyway."""

    def __init__(self, path: Path, retry: list[str]):
        """As `FailureLog`."""
        self._path, self._log = path, FailureLog(path, retry)
        self._broken = False

    def __enter__(self) -> Failures:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._log.__exit__()
        except OSError as error:
            if not self._broken:
                self._warn(error)

    @property
    def written(self) -> int:
        """How many were written; 0 where the list isn't whole."""
        return 0 if self._broken else self._log.written

    def write(self, failure: Failure) -> None:
        """Add a line, at once. Warns, the first time, where that fails."""
        if self._broken:
            return
        try:
            self._log.write(failure)
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        self._broken = True
        _LOG.warning("failures can't be listed in %s: %s; the run goes on", self._path, error.strerror or error)


def show(report: Report, dry_run: bool) -> None:
    """Print a run's summary: a row for each vector field, then the failures and how to go on."""
    if dry_run:
        _show_estimate(report)
    elif report.documents == 0 and not report.interrupted:
        out.print(f"nothing to do: {report.index} has every vector that was asked for")
    else:
        table = Table(title=f"{report.index}: {report.documents} documents in {report.seconds:.1f} s")
        headings = ["vector field", "made from", "written", "without source", "failed"]
        if report.unchanged:
            headings.append("unchanged")
        for heading in headings:
            table.add_column(heading, justify="left" if heading in headings[:2] else "right")
        for name, each in report.fields.items():
            counts = [report.written, report.skipped, report.failed, report.unchanged][: len(headings) - 2]
            table.add_row(name, each.made_from, *(str(count.get(name, 0)) for count in counts))
        if report.fields:
            out.print(table)
        _show_moments(report)
        if report.caught_up:
            out.print(f"{report.caught_up} documents changed meanwhile and were taken up again")
    for name, count in report.cut.items():
        say_cut(name, count, report.lost[name] / count, of_field=report.fields[name].sources[0])
    truncated = sum(report.truncated.values())
    if truncated:
        out.print(f"{truncated} JPEGs lack their last rows, and were encoded all the same")
    if report.still_changing:
        out.print("documents keep changing: the last moment's are the next run's, with --missing --stale")
    for failure in report.failures[:_SHOWN_FAILURES]:
        out.print(f"failed: {failure.index}/{failure.id}: {failure.reason}", style="red", markup=False, soft_wrap=True)
    if len(report.failures) > _SHOWN_FAILURES:
        out.print(f"... and {sum(report.failed.values()) - _SHOWN_FAILURES} more")
    earlier = sum(report.failed_earlier.values())
    if report.failed or earlier:
        if earlier:
            out.print(f"{earlier} vectors failed in an earlier run")
        out.print(f"mend the sources, then run again with {_retry_flag(sys.argv[1:])}")
    if report.interrupted:
        out.print(GO_ON, style="yellow")


def _show_moments(report: Report) -> None:
    """Print how many moments of sound and footage were encoded, and how many were there already."""
    for name in report.fields:
        made, kept = report.moments.get(name, 0), report.kept.get(name, 0)
        if made or kept:
            before = f"; {kept} were there already" if kept else ""
            out.print(f"{name}: {made} moments encoded{before}", highlight=False, soft_wrap=True)


def say_cut(name: str, count: int, share: float | None, *, of_field: str) -> None:
    """Print how many texts are cut, and how much of them (a mean share) goes unread."""
    much = "" if share is None else f", and {share:.0%} of each goes unread"
    whole = f"'{of_field}[passages]'"
    said = f"{name}: {count} texts are longer than the model reads{much}; --text {whole} keeps all"
    out.print(said, highlight=False, markup=False, soft_wrap=True)


def _show_estimate(report: Report) -> None:
    if report.stands:
        kinds = ("missing", "stale", "failed", "done")
        table = Table(title=report.index)
        for heading in ("vector field", *kinds, "no source"):
            table.add_column(heading, justify="left" if heading == "vector field" else "right")
        for name, counts in report.stands.items():
            bare = counts.get("skipped", 0) + counts.get("empty", 0)
            table.add_row(name, *(str(counts.get(kind, 0)) for kind in kinds), str(bare))
        out.print(table)
    estimate = report.estimate
    todo = estimate.documents if estimate else report.todo
    out.print(f"{todo} documents of {report.index} to encode; nothing was written", highlight=False)
    if estimate and todo:
        out.print(
            f"about {duration(estimate.seconds)} on this machine, and {size(estimate.bytes)} on disk for each copy",
            highlight=False,
        )
    for name, count in report.unchanged.items():
        out.print(f"{name}: {count} images are unchanged", highlight=False)


def duration(seconds: float) -> str:
    """Return seconds, minutes or hours, as a person would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Return bytes in the unit that suits them."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
