"""crosslens calibrate: measure an index's vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from crosslens.client import connect
from crosslens.commands.options import (
    FILE,
    FOLDER,
    connection,
    connection_options,
    device_option,
    opened,
    text_model_option,
)
from crosslens.commands.saying import note, out, print_json
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
@text_model_option("The same, of text fields that have another model.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@connection_options
def calibrate(
    index: str,
    fields: tuple[str, ...],
    sample: int,
    null_queries: Path | None,
    model: Path | None,
    text_model: Path | None,
    device: str,
    as_json: bool,
    **where: Any,
) -> None:
    """Gather corpus statistics, the mean and covariance of the vectors in INDEX, for --normalizer standardise.

    add and reindex gather them as well; use this for vectors that were filled in another way, or have changed much
    since.
    """
    texts = [] if null_queries is None else _lines(null_queries)
    measured = opened(index, connect(connection(**where)), model, text_model=text_model, device=device)
    with counting_bar(note, "measuring") as advance:
        counts = measured.calibrate(fields=fields or None, sample=sample, null_queries=texts, progress=advance)
    if as_json:
        print_json({name: {"vectors": count, "null_queries": len(texts)} for name, count in counts.items()})
        return
    for name, count in counts.items():
        out.print(f"{name}: measured {count} vectors, {len(texts)} queries without answer", highlight=False)


def _lines(path: Path) -> list[str]:
    """The lines of a file that hold more than white space. Raises `click.BadParameter` where there are none."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{path} is not UTF-8 text", param_hint="--null-queries") from error
    if not lines:
        raise click.BadParameter(f"{path} holds no text", param_hint="--null-queries")
    return lines
