"""crosslens label: labels for documents by the vectors that they have."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import click
from rich.table import Table
from rich.text import Text

from crosslens.client import connect
from crosslens.commands.options import (
    FILE,
    FOLDER,
    Command,
    connection,
    connection_options,
    decorated,
    device_option,
    opened,
    text_model_option,
)
from crosslens.commands.running import GO_ON
from crosslens.commands.saying import note, out, print_json, say
from crosslens.index import Index
from crosslens.ingest.run.label import DEFAULT_FALSE_ALARMS
from crosslens.ingest.run.label_report import LabelListener, LabelReport
from crosslens.progress import counting_bar

_SHOWN = 30


@dataclass(frozen=True)
class Models:
    """What `model_options` gather."""

    model: Path | None
    text_model: Path | None
    device: str

    def open(self, index: str, where: Mapping[str, Any], image_root: Path | None = None) -> Index:
        """The index at the address that `connection_options` describe."""
        client = connect(connection(**where))
        return opened(index, client, self.model, text_model=self.text_model, device=self.device, image_root=image_root)


def model_options(command: Command) -> Command:
    """--model, --text-model and --device, which reach the command as `Models`, called ``models``."""

    @functools.wraps(command)
    def gathered(*arguments: Any, model: Path | None, text_model: Path | None, device: str, **others: Any) -> Any:
        return command(*arguments, models=Models(model, text_model, device), **others)

    named = "Model folder. Default: the index's, if known."
    options = [
        click.option("--model", type=FOLDER, envvar="CROSSLENS_MODEL", help=named),
        text_model_option("The same, of text fields that have another model."),
        device_option,
    ]
    return decorated(cast(Command, gathered), options)


def false_alarms_option(help: str) -> Callable[[Command], Command]:
    """--false-alarms, a rate."""
    return click.option(
        "--false-alarms",
        type=click.FloatRange(0, 0.5, min_open=True, max_open=True),
        default=DEFAULT_FALSE_ALARMS,
        show_default=True,
        metavar="RATE",
        help=help,
    )


@click.command()
@click.argument("index")
@click.option("--field", required=True, metavar="FIELD", help="Vector field that shows what a document deserves.")
@click.option(
    "--labels",
    type=FILE,
    required=True,
    help='Labels, one a line, or JSON Lines: {"label": "cat", "texts": ["a cat", "a kitten"], "parent": "animal"}.',
)
@click.option(
    "--into", required=True, metavar="FIELD", help="Keyword or boolean field to write; made if it is missing."
)
@click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="TEXT",
    help="What each label is put into, in the place of {}; several are averaged. Default for pictures: '{}' and 'a "
    "photo of a {}.'; for texts: '{}'.",
)
@false_alarms_option("How often a picture may be given a label by chance.")
@click.option(
    "--judged",
    type=FILE,
    help='Examples that set thresholds, as JSON Lines: {"document": "17", "label": "cat", "yes": true}.',
)
@click.option("--boolean", is_flag=True, help="Write true or false for the only label, into a field that is missing.")
@click.option("--review", type=FILE, metavar="HTML", help="Write a page of what a boolean was least sure of.")
@click.option("--image-root", type=FOLDER, help="Folder that the documents' image paths start in, for --review.")
@click.option("--anew", is_flag=True, help="Measure the noise again, and label every document anew.")
@model_options
@click.option("--dry-run", is_flag=True, help="Only count; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@connection_options
def label(
    index: str,
    field: str,
    labels: Path,
    into: str,
    templates: tuple[str, ...],
    false_alarms: float,
    judged: Path | None,
    boolean: bool,
    review: Path | None,
    image_root: Path | None,
    anew: bool,
    models: Models,
    dry_run: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Give the documents in INDEX labels, by the vectors that they have; no picture is read again.

    A label is given where it stands out of the noise. Your own values in the field stay, and a label that you take away
    is not given again. Run it again at any time: a run that was stopped goes on, and only what is new or changed is
    labelled. To take labels out again, see remove.
    """
    labelled = models.open(index, where, image_root)

    def work(progress: LabelListener) -> LabelReport:
        return labelled.label(
            labels,
            field=field,
            into=into,
            templates=templates or None,
            false_alarms=false_alarms,
            judged=judged or (),
            boolean=boolean or None,
            anew=anew,
            dry_run=dry_run,
            progress=progress,
        )

    report = run(work, "labelling", as_json)
    if review is not None and not (dry_run or report.interrupted):
        count = labelled.review(into, review)
        say(f"wrote {review}, with {count} documents, least sure first")
    finish(report)


def run(work: Callable[[LabelListener], LabelReport], what: str, as_json: bool) -> LabelReport:
    """Do ``work`` with a progress bar called ``what``, and print its report."""
    with counting_bar(note, what) as advance:
        report = work(lambda each: advance(min(each.documents, each.todo), each.todo))
    if as_json:
        print_json(asdict(report))
    else:
        _show(report)
    return report


def _show(report: LabelReport) -> None:
    """Print how many documents were given which label, and how examples judge them."""
    did = "would be given" if report.dry_run else "were given"
    if not report.documents and not report.interrupted:
        out.print(f"nothing to do: every document's labels in {report.into} are up to date", highlight=False)
    elif report.labels:
        title = f"{report.index}: {report.documents} documents {did} these in {report.into}"
        out.print(_counts(report, title))
    if report.unlabelled:
        out.print(f"{report.unlabelled} documents {did} none", highlight=False)
    if report.verdicts:
        out.print(_verdicts(report))
    for failure in report.failures[:20]:
        out.print(f"failed: {failure.index}/{failure.id}: {failure.reason}", style="red", markup=False, soft_wrap=True)
    if report.failed > 20:
        out.print(f"... and {report.failed - 20} more")
    if report.still_changing:
        out.print("documents keep changing: the last moment's are the next run's")
    if report.interrupted:
        out.print(GO_ON, style="yellow")


def finish(report: LabelReport) -> None:
    """Exit with 130 for an interrupted run, with 1 for one in which documents failed."""
    if report.interrupted:
        raise click.exceptions.Exit(130)
    if report.failed:
        raise click.exceptions.Exit(1)


def _counts(report: LabelReport, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("label", overflow="fold")
    table.add_column("documents", justify="right", no_wrap=True)
    ranked = sorted(report.labels.items(), key=lambda entry: (-entry[1], entry[0]))
    for name, count in ranked[:_SHOWN]:
        table.add_row(Text(name), str(count))
    if len(ranked) > _SHOWN:
        table.add_row(f"{len(ranked) - _SHOWN} other labels", str(sum(count for _, count in ranked[_SHOWN:])))
    return table


def _verdicts(report: LabelReport) -> Table:
    table = Table(title="by your examples, with 95 % intervals", title_justify="left")
    for heading in ("label", "examples", "yes", "threshold", "precision", "recall"):
        table.add_column(heading, justify="left" if heading == "label" else "right")
    for each in report.verdicts:
        threshold = f"{report.thresholds[each.label]:.2f}" + ("" if each.learned else " (noise)")
        precision, recall = _share(each.precision, each.precision_range), _share(each.recall, each.recall_range)
        table.add_row(Text(each.label), str(each.examples), str(each.yes), threshold, precision, recall)
    return table


def _share(share: float | None, around: tuple[float, float]) -> str:
    return "-" if share is None else f"{share:.2f} ({around[0]:.2f} to {around[1]:.2f})"
