"""crosslens recall: what the approximate search of an index misses."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from rich.table import Table

from crosslens.client import connect
from crosslens.commands.options import connection, connection_options, opened
from crosslens.commands.running import forewarning, size
from crosslens.commands.saying import note, out, print_json
from crosslens.ingest.contract.targets import INDEX_TYPES
from crosslens.progress import counting_bar
from crosslens.queries.evaluate.recall import advice


@click.command()
@click.argument("index")
@click.option("--field", "fields", multiple=True, metavar="FIELD", help="Vector field to measure. Default: all.")
@click.option(
    "--queries",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="How many own vectors to search with.",
)
@click.option("-k", type=click.IntRange(1, 100), default=10, show_default=True, help="How many nearest documents.")
@click.option(
    "--type",
    "types",
    type=click.Choice(INDEX_TYPES),
    multiple=True,
    help="Also try this index type, on a copy of the vectors that is deleted afterwards.",
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Read so many vectors only; a search with 10,000 candidates stands for all of them. Default: all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
@connection_options
def recall(
    index: str,
    fields: tuple[str, ...],
    queries: int,
    k: int,
    types: tuple[str, ...],
    sample: int | None,
    as_json: bool,
    **where: Any,
) -> None:
    """Compare the approximate search of INDEX with an exact one, on its own vectors.

    Text to image, image to image and so on are measured separately: with the index as it is, with oversampling, and
    with other index types if asked for, each with its cost in time and on disk.
    """
    searched = opened(index, connect(connection(**where)))
    with counting_bar(note, "reading vectors") as advance:
        rows = searched.recall(
            fields=fields or None,
            queries=queries,
            k=k,
            index_types=types,
            sample=sample,
            progress=forewarning(advance, "vectors", "--sample"),
        )
    if as_json:
        print_json([{**asdict(row), "interval": row.interval} for row in rows])
        return
    table = Table(title=f"{index}: recall@{k} over {queries} of its own vectors", title_justify="left")
    for heading in ("direction", "field", "index type", "oversample", f"recall@{k}", "p50", "on disk"):
        table.add_column(heading, justify="left" if heading in ("direction", "field", "index type") else "right")
    for row in rows:
        times = f"{row.oversample:g}" if row.oversample else "-"
        on_disk = "-" if row.bytes is None else size(row.bytes)
        recalled = f"{row.recall:.3f} ({row.interval[0]:.2f} to {row.interval[1]:.2f})"
        table.add_row(row.direction, row.field, row.index_type, times, recalled, f"{row.p50_ms:.1f} ms", on_disk)
    out.print(table)
    for direction, row in {row.direction: row for row in rows if row.missed is not None}.items():
        those = (row.seen or 0) + (row.missed or 0)
        said = f"{direction}: the search that stood for all vectors had {row.seen} of {those} neighbours in the sample"
        out.print(said, highlight=False, soft_wrap=True)
    for line in advice(rows):
        out.print(line, highlight=False)
