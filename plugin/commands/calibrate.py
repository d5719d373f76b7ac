"""crosslens calibrate: measure an index's vectors."""

from __future__ import annotations

from typing import Any

import click

from crosslens.client import connect
from crosslens.commands.options import connection, connection_options, note, out, print_json
from crosslens.ingest.moments import DEFAULT_SAMPLE
from crosslens.ingest.moments import calibrate as measure
from crosslens.progress import counting_bar


@click.command()
@click.argument("index")
@click.option("--field", "fields", multiple=True, metavar="FIELD", help="Vector field to measure. Default: all.")
@click.option(
    "--sample", type=click.IntRange(100), default=DEFAULT_SAMPLE, show_default=True, help="Documents of each index."
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@connection_options
def calibrate(index: str, fields: tuple[str, ...], sample: int, as_json: bool, **where: Any) -> None:
    """Measures mean and covariance of the vectors of INDEX, for searches with --normaliser standardise.

    They are gathered by add and reindex, too; this is for vectors that were filled otherwise, or changed much since.
    """
    client = connect(connection(**where))
    with counting_bar(note, "measuring") as advance:
        counts = measure(client, index, fields=fields or None, sample=sample, progress=advance)
    if as_json:
        print_json(counts)
        return
    for name, count in counts.items():
        out.print(f"{name}: measured {count} vectors", highlight=False)
