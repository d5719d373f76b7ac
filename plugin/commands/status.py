"""crosslens status: how an index stands with its vectors."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from rich.table import Table

from crosslens.client import connect
from crosslens.commands.options import connection, connection_options, opened
from crosslens.commands.running import say_cut, size
from crosslens.commands.saying import note, out, print_json
from crosslens.ingest.run.status import Status
from crosslens.progress import counting_bar


@click.command()
@click.argument("index")
@click.option("--quick", is_flag=True, help="Count by queries only, without looking for changed sources and sizes.")
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
@connection_options
def status(index: str, quick: bool, as_json: bool, **where: Any) -> None:
    """Count the vectors of INDEX that are done, missing, stale or failed, and show their models and size on disk.

    Reads every document's source fields, but not the images: an image that changed under its name is found by reindex
    --stale. A sample of the vectors shows whether a field looks useless for searching.
    """
    looked_at = opened(index, connect(connection(**where)))
    with counting_bar(note, "reading") as advance:
        found = looked_at.status(quick=quick, progress=advance)
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
        table.add_row(name, *map(str, (each.done, each.missing, each.stale, each.failed, each.skipped)), on_disk)
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
