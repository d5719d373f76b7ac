"""crosslens evaluate and tune: how good a search is, and how to fuse its legs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
from rich.table import Table

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
    parse_weights,
    text_model_option,
)
from crosslens.commands.saying import note, out, print_json, say
from crosslens.index import Index
from crosslens.ingest.contract.fields import read_mappings
from crosslens.ingest.contract.record import read_record
from crosslens.progress import counting_bar
from crosslens.queries.evaluate import plots
from crosslens.queries.evaluate.evaluation import read_judged
from crosslens.queries.evaluate.evaluation import tune as choose
from crosslens.queries.evaluate.judgements import Judged
from crosslens.queries.evaluate.measures import MEASURES, Measured, as_json
from crosslens.queries.evaluate.tune import Tuned
from crosslens.queries.fusion.normalizers import DEFAULT_NORMALIZER, NORMALIZERS, Normalizer
from crosslens.queries.fusion.scores import DEFAULT_WINDOW


@dataclass(frozen=True)
class _Asked:
    """The index, the judged queries, and how to search, as both commands take them."""

    index: str
    judged: Path | None
    topics: Path | None
    clicks: bool
    fields: tuple[str, ...]
    window: int
    model: Path | None
    text_model: Path | None
    device: str
    as_json: bool


def _judged_options(command: Command) -> Command:
    """INDEX, JUDGED and the like, which reach the command as one `_Asked`, called ``asked``."""

    @functools.wraps(command)
    def gathered(
        *,
        index: str,
        judged: Path | None,
        topics: Path | None,
        clicks: bool,
        fields: tuple[str, ...],
        window: int,
        model: Path | None,
        text_model: Path | None,
        device: str,
        as_json: bool,
        **others: Any,
    ) -> Any:
        asked = _Asked(index, judged, topics, clicks, fields, window, model, text_model, device, as_json)
        return command(asked=asked, **others)

    return decorated(
        cast(Command, gathered),
        [
            click.argument("index"),
            click.argument("judged", type=FILE, required=False),
            click.option("--topics", type=FILE, help="JUDGED are TREC qrels; the queries' ids and texts are here."),
            click.option(
                "--clicks",
                is_flag=True,
                help='JUDGED is a log; a line is {"text": ..., "shown": ["DOC", ...], "clicked": ["DOC", ...]}, '
                'or thumbs, {"text": ..., "up": ["DOC", ...], "down": ["DOC", ...]}.',
            ),
            click.option(
                "--field", "fields", multiple=True, metavar="FIELD", help="Vector field to search. Default: all."
            ),
            click.option(
                "--window",
                type=click.IntRange(1, 10_000),
                default=DEFAULT_WINDOW,
                show_default=True,
                help="Results of each leg.",
            ),
            click.option(
                "--model", type=FOLDER, envvar="CROSSLENS_MODEL", help="Model folder. Default: the index's, if known."
            ),
            text_model_option("The text fields' model, if it isn't the same. Default: the index's, if known."),
            device_option,
            click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        ],
    )


@click.command()
@_judged_options
@click.option("--weights", metavar="LEG=W,...", help="Weights by leg. Default: as tuned, else 1 for each source.")
@click.option("--normalizer", type=click.Choice(NORMALIZERS), help="Default: as tuned, else evidence.")
@click.option("--plot", type=FILE, help="Write a picture of the measures with their intervals, as PNG or SVG.")
@click.option(
    "--plot-scores", type=FILE, help="Write a picture of each leg's scores, of relevant documents and others."
)
@connection_options
def evaluate(
    asked: _Asked,
    weights: str | None,
    normalizer: Normalizer | None,
    plot: Path | None,
    plot_scores: Path | None,
    **where: Any,
) -> None:
    """Measure searches of INDEX on judged queries: each leg alone, and fused, with 95 % intervals.

    JUDGED holds one JSON object a line, {"text": ..., "image": ..., "relevant": ["DOC", ...] or {"DOC": GRADE}}.
    """
    judged = _read(asked)
    index = _opened(asked, where)
    with counting_bar(note, "searching") as advance:
        found = index.evaluate(
            judged,
            weights=parse_weights(weights) or None,
            normalizer=normalizer,
            vector_fields=asked.fields or None,
            window=asked.window,
            progress=advance,
        )
    rows, fused = found.rows, found.fused
    if plot is not None:
        plots.plot_measures(rows, plot)
    if plot_scores is not None:
        plots.plot_scores(found.collected, plot_scores)
    _wrote(plot, plot_scores)
    if asked.as_json:
        print_json(
            {
                "queries": len(judged),
                "normalizer": found.normalizer,
                "rows": as_json(rows),
                "best_leg": found.best_leg.name,
                "p": found.p,
                "compared": {**as_json([found.compared])[0], "normalizer": found.other, "p": found.p_compared},
            }
        )
        return
    _table(f"{asked.index}: {len(judged)} judged queries, {found.normalizer}", [*rows, found.compared])
    for name, row, chance in (
        (f"{found.best_leg.name} alone", found.best_leg, found.p),
        (found.compared.name, found.compared, found.p_compared),
    ):
        better = fused.mean(MEASURES[0]) - row.mean(MEASURES[0])
        out.print(f"fused against {name}: {better:+.3f} {MEASURES[0]}, p = {chance:.3f}", highlight=False)


@click.command()
@_judged_options
@click.option("--dry-run", is_flag=True, help="Show what would be chosen; record nothing in the index.")
@click.option("--plot", type=FILE, help="Write a picture of nDCG@10 over each leg's weight, as PNG or SVG.")
@click.option(
    "--forget",
    is_flag=True,
    help="Forget what was recorded, so that searches use the default again. Takes no JUDGED.",
)
@connection_options
def tune(
    asked: _Asked,
    dry_run: bool,
    plot: Path | None,
    forget: bool,
    **where: Any,
) -> None:
    """Choose weights and a normalizer for searches of INDEX by judged queries, and record them in the index.

    Needs 20 judged queries at least. The choice is measured by cross-validation, on queries that it was made without. A
    new choice replaces the one before; --forget alone goes back to the default.
    """
    if forget and (asked.judged is not None or plot is not None):
        raise click.UsageError("--forget takes no JUDGED and no --plot: a new choice replaces the recorded one anyway")
    queries = [] if forget else _read(asked)
    index = _opened(asked, where)
    if forget:
        _forget(index, dry_run, asked.as_json)
        return
    searcher = index.searcher(vector_fields=asked.fields or None, window=asked.window)
    with counting_bar(note, "searching") as searching, counting_bar(note, "choosing") as choosing:
        tuned, collected = choose(searcher, queries, searching=searching, choosing=choosing)
    if plot is not None:
        plots.plot_weights(collected, tuned.choice, plot)
    _wrote(plot)
    if not dry_run:
        index.use(tuned)
    if asked.as_json:
        rows = as_json([tuned.expected, tuned.single, tuned.untuned, tuned.former])
        found = {"best_leg": tuned.single_leg, "p": tuned.p, "worthwhile": tuned.worthwhile}
        untuned = {"p_untuned": tuned.p_untuned, "better_than_untuned": tuned.better_than_untuned}
        print_json({**tuned.settings, "rows": rows, **found, **untuned})
        return
    _show(asked.index, tuned, len(queries), dry_run)


def _forget(index: Index, dry_run: bool, as_json: bool) -> None:
    mappings = read_mappings(index.client, index.name)
    recorded = any(read_record(mapping).search for mapping in mappings.values())
    if not dry_run:
        index.forget()
    if as_json:
        print_json({"index": index.name, "recorded": recorded, "forgotten": recorded and not dry_run})
    elif not recorded:
        out.print(f"nothing is recorded in {index.name}; searches use the default", highlight=False)
    elif dry_run:
        out.print(f"{index.name} has a recorded choice; nothing was forgotten", highlight=False)
    else:
        out.print(f"forgotten; searches of {index.name} use the default within half a minute", highlight=False)


def _show(index: str, tuned: Tuned, count: int, dry_run: bool) -> None:
    key = MEASURES[0]
    weights = ", ".join(f"{name}={weight:g}" for name, weight in tuned.choice.weights)
    out.print(f"{count} judged queries choose {tuned.choice.normalizer} with {weights}", highlight=False)
    for name, row in (("so fused", tuned.expected), (f"{tuned.single_leg} alone", tuned.single)):
        low, high = row.intervals[key]
        out.print(
            f"{name}, on queries not chosen by: {key} {row.mean(key):.3f} [{low:.3f}, {high:.3f}]", highlight=False
        )
    if tuned.worthwhile:
        out.print(f"fusing is better than any leg alone (p = {tuned.p:.3f})", highlight=False)
    else:
        out.print(
            f"{tuned.single_leg} alone is as good as far as these queries show (p = {tuned.p:.3f})",
            style="yellow",
            highlight=False,
        )
    untuned = f"untuned, as searches are by default ({DEFAULT_NORMALIZER})"
    for name, row in ((untuned, tuned.untuned), ("as they were until release 0.3", tuned.former)):
        low, high = row.intervals[key]
        out.print(f"{name}: {key} {row.mean(key):.3f} [{low:.3f}, {high:.3f}]", highlight=False)
    if tuned.better_than_untuned:
        out.print(f"the choice is better than the default (p = {tuned.p_untuned:.3f})", highlight=False)
    else:
        said = f"the default is as good as far as these queries show (p = {tuned.p_untuned:.3f})"
        out.print(said if dry_run else f"{said}; to go back to it: --forget", style="yellow", highlight=False)
    out.print("nothing was recorded" if dry_run else f"recorded in {index}; searches use it within half a minute")


def _opened(asked: _Asked, where: dict[str, Any]) -> Index:
    client = connect(connection(**where))
    return opened(asked.index, client, asked.model, text_model=asked.text_model, device=asked.device)


def _wrote(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            say(f"wrote {path}")


def _read(asked: _Asked) -> list[Judged]:
    if asked.clicks and asked.topics is not None:
        raise click.UsageError("--clicks and --topics are of different files; give one of them")
    if asked.judged is None:
        raise click.UsageError("Missing argument 'JUDGED'.")
    judged, report = read_judged(asked.judged, topics=asked.topics, clicks=asked.clicks)
    if report is not None:
        say(str(report))
    return judged


def _table(title: str, rows: Sequence[Measured]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("ranked by")
    for key in MEASURES:
        table.add_column(key, justify="right", no_wrap=True)
    for row in rows:
        cells = [f"{row.mean(key):.3f} [{row.intervals[key][0]:.3f}, {row.intervals[key][1]:.3f}]" for key in MEASURES]
        table.add_row(row.name, *cells)
    out.print(table)
