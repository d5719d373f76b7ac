"""crosslens status: how an index stands with its vectors."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from rich.table import Table

from crosslens.client import connect
from crosslens.commands.options import connection, connection_options, opened
from crosslens.commands.running import forewarning, say_cut, size
from crosslens.commands.saying import note, out, print_json
from crosslens.ingest.run.status import Status
from crosslens.progress import counting_bar


@click.command()
@click.argument("index")
@click.option("--quick", is_flag=True, help="Count by queries only, without looking for changed sources and sizes.")
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Read so many documents, chosen at random, and estimate how many sources changed. Default: all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
@connection_options
def status(index: str, quick: bool, sample: int | None, as_json: bool, **where: Any) -> None:
    """Count the vectors of INDEX that are done, missing, stale or failed, and show their models and size on disk.

    Reads every document's source fields, but not the images: an image that changed under its name is found by reindex
    --stale. A sample of the vectors shows whether a field looks useless for searching.
    """
    if quick and sample is not None:
        raise click.UsageError("--quick reads no documents; leave out --sample")
    looked_at = opened(index, connect(connection(**where)))
    with counting_bar(note, "reading") as advance:
        found = looked_at.status(quick=quick, sample=sample, progress=forewarning(advance, "documents", "--sample"))
    if as_json:
        print_json(asdict(found))
        return
    show(found, quick)
    for each in found.warnings:
        out.print(f"{each.field} looks useless here: {each.why}. {each.advice}", style="yellow", highlight=False)


def show(found: Status, quick: bool) -> None:
    """Prints a block for each vector field, and what to do next."""
    out.print(f"{found.index}: {found.documents} documents", style="bold", highlight=False)
    table = Table()
    headings = ("vector field", "done", "missing", "stale", "failed", "no source", "on disk")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == headings[0] else "right", no_wrap=True)
    for name, each in found.fields.items():
        on_disk = "-" if each.bytes is None else size(each.bytes)
        stale = (
            f"{each.stale} ({each.stale_range[0]} to {each.stale_range[1]})" if each.stale_range else str(each.stale)
        )
        counts = (str(each.done), str(each.missing), stale, str(each.failed), str(each.skipped))
        table.add_row(name, *counts, on_disk)
    out.print(table)
    for name, each in found.fields.items():
        made = each.field
        out.print(
            f"{name}: {made.made_from}; {made.model} ({made.fingerprint}), {made.dims} dims, {made.index_type}",
            highlight=False,
            soft_wrap=True,
        )
        if each.cut:
            share = None if each.lost is None else each.lost / each.cut
            say_cut(name, each.cut, share, of_field=made.sources[0])
        if each.next:
            out.print(f"  is being changed to {each.next}: crosslens migrate goes on", style="yellow", soft_wrap=True)
        if each.previous:
            out.print(f"  vectors of {each.previous} are kept for --rollback", style="yellow", soft_wrap=True)
    for into, labels in found.labels.items():
        left = f"; {labels.due} are due: label them again" if labels.due else ""
        out.print(f"{into}: labels by {labels.field}, {labels.done} documents{left}", highlight=False, soft_wrap=True)
    if found.estimated:
        said = f"stale is estimated from {found.scanned} documents, with its 95 % interval"
        out.print(said, style="dim", highlight=False)
    if quick:
        out.print("stale counts other models only; without --quick every document's sources are compared", style="dim")
    due = [
        flag
        for flag, count in (
            ("--missing", sum(each.missing for each in found.fields.values())),
            ("--stale", sum(each.stale for each in found.fields.values())),
            ("--failed", sum(each.failed for each in found.fields.values())),
        )
        if count
    ]
    if due:
        out.print(f"to bring it up to date: crosslens reindex {found.index} {' '.join(due)}", highlight=False)
