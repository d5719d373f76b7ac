"""crosslens describe: captions of your own for pictures that have none."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from crosslens.commands.label import Models, false_alarms_option, finish, model_options, run
from crosslens.commands.options import FILE, connection_options, parse_object
from crosslens.commands.saying import note, out, print_json
from crosslens.ingest.run.describe import DEFAULT_LIMIT, Suggestion
from crosslens.progress import counting_bar


@click.command()
@click.argument("index")
@click.option("--field", required=True, metavar="FIELD", help="Vector field of the pictures.")
@click.option("--captions", type=FILE, help='Your captions, one a line, or JSON Lines: {"caption": "..."}.')
@click.option("--caption-index", metavar="INDEX:FIELD", help="Or the text field of an index that holds them.")
@click.option("--into", metavar="FIELD", help="Write the best caption into this field of every document, where empty.")
@click.option("--top", type=click.IntRange(1, 100), default=3, show_default=True, help="Suggestions for a document.")
@click.option(
    "--limit", type=click.IntRange(1), default=DEFAULT_LIMIT, show_default=True, help="Documents, without --into."
)
@click.option("--query", metavar="JSON", help="Only documents that meet this Elasticsearch query, without --into.")
@false_alarms_option("How often the best of all captions may come by chance.")
@click.option("--floor", type=float, help="Least standardised score of a suggestion, instead of --false-alarms.")
@model_options
@click.option("--dry-run", is_flag=True, help="With --into: only count; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print suggestions, or the report, as JSON.")
@connection_options
def describe(
    index: str,
    field: str,
    captions: Path | None,
    caption_index: str | None,
    into: str | None,
    top: int,
    limit: int,
    query: str | None,
    false_alarms: float,
    floor: float | None,
    models: Models,
    dry_run: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Suggest alternative text for the pictures in INDEX: the nearest of captions that you have.

    Nothing is written unless you name a field with --into; where it holds a text, that stays. A picture that no caption
    stands out for gets none. To take captions out again, see remove.
    """
    if (captions is None) == (caption_index is None):
        raise click.UsageError("name your captions: --captions FILE, or --caption-index INDEX:FIELD")
    if into is not None and query is not None:
        raise click.UsageError("--query is for suggestions; --into writes to every document whose field is empty")
    narrowed = parse_object(query, "--query")
    described = models.open(index, where)
    if into is not None:
        write = partial(
            described.write_captions,
            captions,
            field=field,
            into=into,
            caption_index=caption_index,
            false_alarms=false_alarms,
            floor=floor,
            dry_run=dry_run,
        )
        finish(run(lambda progress: write(progress=progress), "describing", as_json))
        return
    with counting_bar(note, "describing") as advance:
        found = described.describe(
            captions,
            field=field,
            caption_index=caption_index,
            top=top,
            limit=limit,
            query=narrowed,
            false_alarms=false_alarms,
            floor=floor,
            progress=advance,
        )
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        out.print(_table(found))


def _table(found: list[Suggestion]) -> Table:
    table = Table(title="suggestions; nothing was written", title_justify="left")
    table.add_column("document", overflow="fold")
    table.add_column("caption", overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    for each in found:
        for i, (caption, score) in enumerate(each.captions or [("", None)]):
            shown = Text(caption) if score is not None else Text("none stands out", style="dim")
            table.add_row(Text(each.id if i == 0 else ""), shown, "-" if score is None else f"{score:.2f}")
    return table
