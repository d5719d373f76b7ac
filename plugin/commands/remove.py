"""crosslens remove: remove vectors or labels from an index."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from crosslens.client import connect
from crosslens.commands.options import connection, connection_options, opened
from crosslens.commands.running import GO_ON
from crosslens.commands.saying import note, out, print_json
from crosslens.progress import counting_bar


@click.command()
@click.argument("index")
@click.argument("field")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
@click.option("--dry-run", is_flag=True, help="Only count; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@connection_options
def remove(index: str, field: str, yes: bool, dry_run: bool, as_json: bool, **where: Any) -> None:
    """Remove the vector field FIELD, and its state, from every document in INDEX; or the labels in FIELD.

    Your own fields and values stay. The mapping keeps an empty field, since Elasticsearch can't remove one.
    """
    changed = opened(index, connect(connection(**where)))
    if not (yes or dry_run):
        found = changed.remove(field, dry_run=True)
        click.confirm(f"take {field} out of {found.found} documents of {index}?", abort=True, err=True)
    with counting_bar(note, "removing") as advance:
        report = changed.remove(field, dry_run=dry_run, progress=lambda r: advance(r.documents, r.found))
    if as_json:
        print_json(asdict(report))
    elif dry_run:
        out.print(f"{report.found} documents of {index} hold {field}; nothing was written", highlight=False)
    else:
        out.print(f"{field} was taken out of {report.documents} documents of {index}", highlight=False)
    if report.interrupted:
        out.print(GO_ON, style="yellow")
        raise click.exceptions.Exit(130)
