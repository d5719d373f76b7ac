"""crosslens add: vectors for an index that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from crosslens.commands.options import (
    FOLDER,
    Encoding,
    connection,
    connection_options,
    target_options,
    writing_options,
)
from crosslens.commands.running import run
from crosslens.commands.workers import Job
from crosslens.ingest.contract.targets import Target


@click.command()
@click.argument("index")
@target_options
@click.option(
    "--model",
    type=FOLDER,
    envvar="CROSSLENS_MODEL",
    help="Model folder (see export). With --in-cluster a name; then the only one is the default.",
)
@writing_options
@click.option("--retry-failed", is_flag=True, help="Try documents again that failed before.")
@click.option("--dry-run", is_flag=True, help="Count and estimate; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@connection_options
def add(
    index: str,
    targets: list[Target],
    model: Path | None,
    encoding: Encoding,
    retry_failed: bool,
    dry_run: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Add missing vectors to the documents in INDEX.

    Run it again at any time: documents that have their vectors are left alone, and a run that was stopped goes on. To
    bring vectors up to date later, see reindex.
    """
    if not targets:
        raise click.UsageError(
            "name the fields to encode: --text FIELD[,FIELD...], --image FIELD, --audio FIELD, --video FIELD"
        )
    if model is None and encoding.text_model is None and not encoding.in_cluster:
        raise click.UsageError("name the model that makes the vectors: --model FOLDER (see crosslens export)")
    how = {"retry_failed": retry_failed, "dry_run": dry_run}
    job = Job(connection(**where), index, model, encoding, "add", tuple(targets), how)
    run(job.run, failures=encoding.failures, as_json=as_json, dry_run=dry_run, what=f"adding vectors to {index}")
