"""Running what add, reindex and migrate share: progress, failures in a file, a summary, and the exit status."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from crosslens.commands.options import note, out, print_json
from crosslens.ingest.run.report import Failure, FailureLog, Listener, Report
from crosslens.progress import encoding_bar

_SHOWN_FAILURES = 20
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
) -> Report:
    """Runs ``work`` with a progress bar, lists failures in ``failures``, and prints the report, ``after`` the rest.

    Exits with 130 when interrupted, with 1 when documents failed.
    """
    retry = ["crosslens", *retry_words(sys.argv[1:])]
    with FailureLog(failures, retry) as log, encoding_bar(note) as progress:
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


def finish(report: Report) -> None:
    """Exits with 130 for an interrupted run, with 1 for one in which documents failed."""
    if report.interrupted:
        raise click.exceptions.Exit(130)
    if report.failed:
        raise click.exceptions.Exit(1)


def retry_words(arguments: list[str]) -> list[str]:
    """The command line that takes up what failed: this one, told so, without the secrets it may hold."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in _SECRETS:
            next(words, None)
        elif word not in _SELECTIONS and word.split("=")[0] not in _SECRETS:
            kept.append(re.sub(r"//[^/@]*@", "//", word))
    return [*kept, _retry_flag(arguments)]


def _retry_flag(arguments: list[str]) -> str:
    return "--retry-failed" if arguments[:1] == ["add"] else "--failed"


def show(report: Report, dry_run: bool) -> None:
    """Prints a run's summary: a row for each vector field, then the failures and how to go on."""
    if dry_run:
        _show_estimate(report)
    elif report.documents == 0:
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
        out.print(table)
        if report.caught_up:
            out.print(f"{report.caught_up} documents changed meanwhile and were taken up again")
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
    """Seconds, minutes or hours, as a person would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
