"""crosslens reindex: bring an index's vectors up to date, in place or in a copy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from crosslens.commands.options import (
    FOLDER,
    Encoding,
    connection,
    connection_options,
    parse_object,
    target_options,
    writing_options,
)
from crosslens.commands.running import run
from crosslens.commands.saying import out
from crosslens.commands.workers import Job, run_shares
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.run.report import CopyReport, Failure, Listener, Report


@click.command()
@click.argument("index")
@click.option("--missing", is_flag=True, help="Encode documents that have a source and no vector. The default.")
@click.option("--stale", is_flag=True, help="Encode documents whose text, file or model has changed since.")
@click.option("--failed", is_flag=True, help="Try documents again that failed before.")
@click.option("--all", "every", is_flag=True, help="Encode every document that has a source.")
@click.option("--query", metavar="JSON", help="Elasticsearch query that narrows the selection.")
@click.option(
    "--field", "fields", multiple=True, metavar="FIELD", help="Vector field to bring up to date. Default: all."
)
@target_options
@click.option(
    "--model",
    type=FOLDER,
    envvar="CROSSLENS_MODEL",
    help="Model folder, or a name with --in-cluster. Default: the index's, if known.",
)
@click.option(
    "--into", metavar="NEW", help="Copy INDEX into the new index NEW, with vectors, instead of writing to it."
)
@click.option("--alias", metavar="NAME", help="With --into: switch this alias from INDEX to NEW at the end.")
@click.option("--no-block", is_flag=True, help="With --alias: leave INDEX writable while the alias is switched.")
@click.option("--slices", type=click.IntRange(1), default=1, show_default=True, help="Worker processes to share among.")
@click.option("--slice", "part", metavar="I/N", help="Do only the I-th of N shares; run the others elsewhere.")
@writing_options
@click.option("--dry-run", is_flag=True, help="Count and estimate; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@connection_options
def reindex(
    index: str,
    missing: bool,
    stale: bool,
    failed: bool,
    every: bool,
    query: str | None,
    fields: tuple[str, ...],
    targets: list[Target],
    model: Path | None,
    into: str | None,
    alias: str | None,
    no_block: bool,
    slices: int,
    part: str | None,
    encoding: Encoding,
    dry_run: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Bring the vectors of INDEX (a name, alias, pattern or data stream) up to date.

    Selections add up: --missing --stale --failed. Documents that change during the run are encoded again. If it is
    stopped at any point, run the same command to go on.

    With --into, INDEX itself stays as it is: a new index gets its settings, mapping and documents, and follows it until
    --alias switches the alias.
    """
    if alias and not into:
        raise click.UsageError("--alias goes with --into NEW")
    if into and (slices > 1 or part or query or fields):
        raise click.UsageError("--into copies the whole index; leave --slices, --slice, --query and --field out")
    if targets and model is None and encoding.text_model is None and not encoding.in_cluster:
        raise click.UsageError("new vector fields need --model")
    where_and_what = connection(**where), index, model, encoding
    if into:
        selected = {"contents": stale, "failed": failed, "every": every}
        copying = {"alias": alias, "block": not no_block, "dry_run": dry_run}
        job = Job(*where_and_what, "copy", (into, *targets), {**selected, **copying})
    else:
        selected = {"missing": missing, "stale": stale, "failed": failed, "every": every}
        narrowed = {"query": parse_object(query, "--query"), "fields": fields or None, "share": _share(part, slices)}
        job = Job(*where_and_what, "reindex", tuple(targets), {**selected, **narrowed, "dry_run": dry_run})
    if slices > 1 and not dry_run:

        def work(progress: Listener, on_failure: Callable[[Failure], None]) -> Report:
            return run_shares(job, slices, progress, on_failure)

    else:
        work = job.run
    what = f"reindexing {index}"
    run(work, failures=encoding.failures, as_json=as_json, dry_run=dry_run, after=_show_copy, what=what)


def _show_copy(report: Report) -> None:
    if not isinstance(report, CopyReport) or report.interrupted:
        return
    if not report.count_after:
        out.print(f"{report.count_before} documents of {report.index} to copy into {report.into}", highlight=False)
        return
    out.print(
        f"{report.into} has {report.count_after} documents, {report.index} {report.count_before}; "
        f"{report.copied} copied, {report.deleted} deleted since",
        highlight=False,
    )
    if report.switched:
        out.print(f"the alias {report.alias} leads to {report.into} now; {report.index} is kept", highlight=False)


def _share(value: str | None, slices: int) -> tuple[int, int]:
    if value is None:
        return 1, 1
    found = re.fullmatch(r"(\d+)/(\d+)", value)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise click.BadParameter("must be I/N with I from 1 to N, as in 2/4", param_hint="--slice")
    if slices > 1:
        raise click.UsageError(
            "--slices starts all workers here, --slice is one of several elsewhere; give one of them"
        )
    return int(found[1]), int(found[2])
