"""crosslens migrate: change the model of an index's vectors while searches go on."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from crosslens.client import connect
from crosslens.commands.options import (
    FOLDER,
    Encoding,
    connection,
    connection_options,
    encoding_options,
    opened,
)
from crosslens.commands.running import GO_ON, Failures, finish, show
from crosslens.commands.saying import note, out, print_json, say
from crosslens.index import Index
from crosslens.ingest.contract.targets import INDEX_TYPES
from crosslens.ingest.run.migrate import Migration
from crosslens.progress import counting_bar, encoding_bar


@click.command()
@click.argument("index")
@click.option("--model", type=FOLDER, envvar="CROSSLENS_MODEL", help="Folder of the model to change to.")
@click.option("--rollback", "back", is_flag=True, help="Go back to the previous model, or give up a change under way.")
@click.option("--drop-old", is_flag=True, help="Remove the vectors that are no longer in use.")
@click.option("--field", "fields", multiple=True, metavar="FIELD", help="Vector field to change. Default: all.")
@click.option(
    "--index-type", type=click.Choice(INDEX_TYPES), help="How the new vectors are indexed. Default: as before."
)
@click.option("--despite-failures", is_flag=True, help="Switch even if some documents can't get the new vector.")
@encoding_options
@click.option("--dry-run", is_flag=True, help="Only count; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@connection_options
def migrate(
    index: str,
    model: Path | None,
    back: bool,
    drop_old: bool,
    fields: tuple[str, ...],
    index_type: str | None,
    despite_failures: bool,
    encoding: Encoding,
    dry_run: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Change the model of the vectors in INDEX while searches go on with the present one.

    New vectors are filled in beside the present ones. When all are there, one request switches the index to them, and
    running searchers follow within half a minute. The old vectors stay until --drop-old, so that --rollback can go
    back to them at once.
    """
    # A model that a variable names doesn't ask for anything by itself.
    named = click.get_current_context().get_parameter_source("model") == click.core.ParameterSource.COMMANDLINE
    if back + drop_old + (named or (model is not None and not back and not drop_old)) != 1:
        raise click.UsageError("give one of --model FOLDER, --rollback or --drop-old")
    if back and dry_run:
        raise click.UsageError("--rollback changes the record alone; there is nothing to try out")
    changed = opened(index, connect(connection(**where)), encoding=encoding)
    chosen = fields or None
    if back:
        _roll_back(changed, chosen, as_json)
    elif drop_old:
        _drop(changed, chosen, dry_run, as_json)
    else:
        assert model is not None
        retry = ["crosslens", "migrate", index, "--model", str(model)]
        with Failures(encoding.failures, retry) as log, encoding_bar(note, f"migrating {index}") as progress:
            report = changed.migrate(
                model,
                fields=chosen,
                index_type=index_type,
                despite_failures=despite_failures,
                dry_run=dry_run,
                progress=progress,
                on_failure=log.write,
            )
        _show(report, dry_run, as_json)


def _show(report: Migration, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
    elif not report.fields:
        out.print(f"nothing to do: the vectors of {report.index} are of that model already", highlight=False)
    elif dry_run:
        for name, count in report.lacking.items():
            out.print(f"{name}: {count} vectors to make; nothing was written", highlight=False)
    elif report.filled is not None:
        show(report.filled, False)
        if report.switched:
            out.print(f"{report.index} serves the new vectors now; --rollback goes back, --drop-old frees the old ones")
        for name, count in report.lacking.items():
            out.print(f"{name}: {count} documents have the old vector only", style="yellow", highlight=False)
        if report.lacking and not report.switched:
            out.print("the present model goes on serving; mend the sources and run again, or give --despite-failures")
    if report.filled is not None:
        finish(report.filled)
        if report.lacking:
            raise click.exceptions.Exit(1)


def _roll_back(index: Index, fields: tuple[str, ...] | None, as_json: bool) -> None:
    serving = index.rollback(fields=fields)
    if as_json:
        print_json({name: asdict(each) for name, each in serving.items()})
        return
    for name, each in serving.items():
        out.print(f"{name} serves the vectors of {each.model} ({each.fingerprint}) now", highlight=False)
    out.print(f"documents that came in since: crosslens reindex {index.name} --missing --stale", highlight=False)


def _drop(index: Index, fields: tuple[str, ...] | None, dry_run: bool, as_json: bool) -> None:
    def wait(seconds: float) -> None:
        say(f"waiting {seconds:.0f} s for running searchers to follow the switch")
        time.sleep(seconds)

    with counting_bar(note, "dropping") as advance:
        removals = index.drop_old(
            fields=fields,
            dry_run=dry_run,
            progress=lambda r: advance(r.documents, r.found),
            waiting=wait,
        )
    if as_json:
        print_json([asdict(each) for each in removals])
    for each in () if as_json else removals:
        said = (
            f"{each.found} documents hold it; nothing was written" if dry_run else f"{each.documents} documents freed"
        )
        out.print(f"{each.index} {each.field}: {said}", highlight=False)
    if any(each.interrupted for each in removals):
        out.print(GO_ON, style="yellow")
        raise click.exceptions.Exit(130)
