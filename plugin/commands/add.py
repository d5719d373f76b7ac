"""crosslens add: vectors for an index that exists."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from crosslens.client import connect
from crosslens.commands.options import FOLDER, connection, connection_options, note, out, print_json
from crosslens.ingest.contract import DEFAULT_INDEX_TYPE, INDEX_TYPES, Modality, Target, default_name
from crosslens.ingest.encoder import Encoder
from crosslens.ingest.write import AddReport, Options, add_vectors
from crosslens.models import remember
from crosslens.progress import encoding_bar

_SHOWN_FAILURES = 20


@click.command()
@click.argument("index")
@click.option("--text", "texts", multiple=True, metavar="FIELD[,FIELD...]", help="Text to encode into one vector.")
@click.option("--image", "images", multiple=True, metavar="FIELD", help="Field that refers to an image.")
@click.option(
    "--into",
    multiple=True,
    metavar="FIELD",
    help="Name of a vector field; the first goes to the first --text, and so on, then --image. Default: SOURCE_vector.",
)
@click.option("--model", type=FOLDER, required=True, envvar="CROSSLENS_MODEL", help="Model folder (see export).")
@click.option("--image-root", type=FOLDER, help="Folder that image paths start in, and must stay in.")
@click.option(
    "--index-type",
    type=click.Choice(INDEX_TYPES),
    default=DEFAULT_INDEX_TYPE,
    show_default=True,
    help="How Elasticsearch indexes the vectors.",
)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Inputs for one encoding.")
@click.option("--threads", type=click.IntRange(0), default=0, help="Threads of the encoder. Default: all cores.")
@click.option("--retry-failed", is_flag=True, help="Take up documents again that failed before.")
@click.option("--dry-run", is_flag=True, help="Only count; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@connection_options
def add(
    index: str,
    texts: tuple[str, ...],
    images: tuple[str, ...],
    into: tuple[str, ...],
    model: Path,
    image_root: Path | None,
    index_type: str,
    batch_size: int,
    threads: int,
    retry_failed: bool,
    dry_run: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Gives the documents of INDEX the vectors they lack.

    Run again at any time: what has its vector is left alone, and a run that was stopped goes on.
    """
    targets = _targets(texts, images, into, index_type)
    client = connect(connection(**where))
    encoder = Encoder(model, batch_size=batch_size, threads=threads)
    options = Options(image_root=image_root, retry_failed=retry_failed, dry_run=dry_run)
    with encoding_bar(note) as progress:
        report = add_vectors(client, index, encoder, targets, options, progress=progress)
    remember(model, encoder.fingerprint)
    if as_json:
        print_json(asdict(report))
    else:
        show(report, dry_run)
    if report.interrupted:
        raise click.exceptions.Exit(130)
    if report.failures:
        raise click.exceptions.Exit(1)


def _targets(texts: tuple[str, ...], images: tuple[str, ...], into: tuple[str, ...], index_type: str) -> list[Target]:
    kinds: list[tuple[Modality, tuple[str, ...]]] = [
        ("text", tuple(part.strip() for part in value.split(",") if part.strip())) for value in texts
    ]
    kinds += [("image", (value.strip(),)) for value in images]
    if not kinds or not all(sources and sources[0] for _, sources in kinds):
        raise click.UsageError("name the fields to encode: --text FIELD[,FIELD...], --image FIELD, or both")
    if len(into) > len(kinds):
        raise click.UsageError(f"{len(into)} names given with --into for {len(kinds)} vector fields")
    names = [*into, *(default_name(sources) for _, sources in kinds[len(into) :])]
    return [Target(name, modality, sources, index_type) for name, (modality, sources) in zip(names, kinds, strict=True)]


def show(report: AddReport, dry_run: bool) -> None:
    """Prints a run's summary: a row for each vector field, then the failures and how to go on."""
    if dry_run:
        out.print(f"{report.todo} documents of {report.index} lack a vector; nothing was written", highlight=False)
        return
    if report.todo == 0:
        out.print(f"nothing to do: every document of {report.index} that can have its vectors has them")
    else:
        table = Table(title=f"{report.index}: {report.documents} documents in {report.seconds:.1f} s")
        for heading in ("vector field", "made from", "written", "without source", "failed"):
            table.add_column(heading, justify="left" if heading in ("vector field", "made from") else "right")
        for name, each in report.fields.items():
            failed = sum(1 for f in report.failures if f.field == name)
            counts = (report.written.get(name, 0), report.skipped.get(name, 0), failed)
            table.add_row(name, f"{each.modality}: {', '.join(each.sources)}", *(str(count) for count in counts))
        out.print(table)
        if report.reread:
            out.print(f"{report.reread} documents changed meanwhile and were encoded again")
    for failure in report.failures[:_SHOWN_FAILURES]:
        out.print(f"failed: {failure.index}/{failure.id}: {failure.reason}", style="red", markup=False, soft_wrap=True)
    if len(report.failures) > _SHOWN_FAILURES:
        out.print(f"... and {len(report.failures) - _SHOWN_FAILURES} more; --json lists all")
    earlier = sum(report.failed_earlier.values())
    if report.failures or earlier:
        if earlier:
            out.print(f"{earlier} vectors failed in an earlier run")
        out.print("mend the sources, then run again with --retry-failed")
    if report.interrupted:
        out.print("interrupted; what is written stays. Run the same command again to go on.", style="yellow")
