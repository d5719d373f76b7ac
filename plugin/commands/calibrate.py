"""crosslens calibrate: measure an index's vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from crosslens.client import connect
from crosslens.commands.options import FILE, FOLDER, connection, connection_options, note, opened, out, print_json
from crosslens.ingest.run.calibrate import DEFAULT_SAMPLE
from crosslens.progress import counting_bar


@click.command()
@click.argument("index")
@click.option("--field", "fields", multiple=True, metavar="FIELD", help="Vector field to measure. Default: all.")
@click.option(
    "--sample", type=click.IntRange(100), default=DEFAULT_SAMPLE, show_default=True, help="Documents of each index."
)
@click.option(
    "--null-queries",
    type=FILE,
    help="Texts, one a line, that nothing in INDEX answers: they set the floor under which results are noise.",
)
@click.option(
    "--model", type=FOLDER, envvar="CROSSLENS_MODEL", help="For --null-queries. Default: the index's, if known."
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@connection_options
def calibrate(
    index: str,
    fields: tuple[str, ...],
    sample: int,
    null_queries: Path | None,
    model: Path | None,
    as_json: bool,
    **where: Any,
) -> None:
    """Measures mean and covariance of the vectors of INDEX, for searches with --normalizer standardise.

    They are gathered by add and reindex, too; this is for vectors that were filled otherwise, or changed much since.
    """
    texts: list[str] = []
    if null_queries is not None:
        texts = [line.strip() for line in null_queries.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not texts:
            raise click.BadParameter(f"{null_queries} holds no text", param_hint="--null-queries")
    measured = opened(index, connect(connection(**where)), model)
    with counting_bar(note, "measuring") as advance:
        counts = measured.calibrate(fields=fields or None, sample=sample, null_queries=texts, progress=advance)
    if as_json:
        print_json({name: {"vectors": count, "null_queries": len(texts)} for name, count in counts.items()})
        return
    for name, count in counts.items():
        out.print(f"{name}: measured {count} vectors, {len(texts)} queries without answer", highlight=False)
