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
    note,
    out,
    parse_weights,
    print_json,
)
from crosslens.errors import NotCalibratedError
from crosslens.ingest.contract.fields import record_search_settings
from crosslens.ingest.model.encoder import Encoder
from crosslens.progress import counting_bar
from crosslens.queries.evaluate import plots
from crosslens.queries.evaluate.clicks import read_clicks
from crosslens.queries.evaluate.judgements import Judged, read_jsonl, read_trec
from crosslens.queries.evaluate.measures import (
    MEASURES,
    Collected,
    Measured,
    as_json,
    best_single,
    collect,
    measure,
    paired_p,
    ranked,
)
from crosslens.queries.evaluate.measures import (
    evaluate as measure_all,
)
from crosslens.queries.evaluate.tune import Tuned
from crosslens.queries.evaluate.tune import tune as choose
from crosslens.queries.fusion.normalizers import DEFAULT_NORMALIZER, NORMALIZERS, Normalizer
from crosslens.queries.fusion.scores import DEFAULT_WINDOW
from crosslens.queries.search.searcher import HybridSearcher


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
        as_json: bool,
        **others: Any,
    ) -> Any:
        return command(asked=_Asked(index, judged, topics, clicks, fields, window, model, as_json), **others)

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
    """Measures searches of INDEX on judged queries: each leg alone, and fused, with intervals of 95 %.

    JUDGED has a JSON object a line, {"text": ..., "image": ..., "relevant": ["DOC", ...] or {"DOC": GRADE}}.
    """
    chosen = parse_weights(weights)
    searcher = _searcher(asked, where)
    settings = searcher.settings
    used: Normalizer = normalizer or settings.get("normalizer") or DEFAULT_NORMALIZER
    collected = _collect(searcher, _read(asked), standardise=used == "standardise")
    # Weights are tuned for one normalizer, and mean nothing to another.
    tuned = settings.get("weights") if used == settings.get("normalizer") else None
    rows = measure_all(collected, chosen or tuned or {}, used)
    single, fused = best_single(rows), rows[-1]
    p = paired_p(fused.values[MEASURES[0]], single.values[MEASURES[0]])
    other: Normalizer = "theoretical-min-max" if used == DEFAULT_NORMALIZER else DEFAULT_NORMALIZER
    compared = measure(f"untuned: {other}", ranked(collected, {}, other), [each.judged for each in collected])
    p_compared = paired_p(fused.values[MEASURES[0]], compared.values[MEASURES[0]])
    if plot is not None:
        plots.plot_measures(rows, plot)
    if plot_scores is not None:
        plots.plot_scores(collected, plot_scores)
    _wrote(plot, plot_scores)
    if asked.as_json:
        found = {"queries": len(collected), "normalizer": used, "rows": as_json(rows), "best_leg": single.name, "p": p}
        print_json({**found, "compared": {**as_json([compared])[0], "normalizer": other, "p": p_compared}})
        return
    _table(f"{asked.index}: {len(collected)} judged queries, {used}", [*rows, compared])
    for name, row, chance in ((f"{single.name} alone", single, p), (compared.name, compared, p_compared)):
        better = fused.mean(MEASURES[0]) - row.mean(MEASURES[0])
        out.print(f"fused against {name}: {better:+.3f} {MEASURES[0]}, p = {chance:.3f}", highlight=False)


@click.command()
@_judged_options
@click.option("--dry-run", is_flag=True, help="Tell what would be chosen; note nothing in the index.")
@click.option("--plot", type=FILE, help="Write a picture of nDCG@10 over each leg's weight, as PNG or SVG.")
@click.option(
    "--forget",
    is_flag=True,
    help="Forget what was noted before. Without JUDGED that is all, and searches are the default's again.",
)
@connection_options
def tune(
    asked: _Asked,
    dry_run: bool,
    plot: Path | None,
    forget: bool,
    **where: Any,
) -> None:
    """Chooses weights and normalizer for searches of INDEX by judged queries, 20 at least, and notes them in the index.

    What they are worth is measured by cross-validation, on queries that the choice was made without.
    """
    client = connect(connection(**where))
    if forget and asked.judged is None:
        if not dry_run:
            record_search_settings(client, asked.index, None)
        out.print(
            f"{'nothing was' if dry_run else 'all is'} forgotten; searches of {asked.index} are then the default's"
        )
        return
    searcher = _searcher(asked, where)
    queries = _read(asked)
    if forget and not dry_run:
        record_search_settings(client, asked.index, None)
    normalizers: list[Normalizer] = [DEFAULT_NORMALIZER, "theoretical-min-max", "min-max", "rank", "standardise"]
    try:
        collected = _collect(searcher, queries, standardise=True)
    except NotCalibratedError as error:
        note.print(f"standardise is left out: {error}", highlight=False)
        normalizers.remove("standardise")
        collected = _collect(searcher, queries, standardise=False)
    with counting_bar(note, "choosing") as advance:
        tuned = choose(collected, normalizers, progress=advance)
    if plot is not None:
        plots.plot_weights(collected, tuned.choice, plot)
    _wrote(plot)
    settings = {"weights": dict(tuned.choice.weights), "normalizer": tuned.choice.normalizer}
    if not dry_run:
        record_search_settings(client, asked.index, settings)
    if asked.as_json:
        rows = as_json([tuned.expected, tuned.single, tuned.untuned, tuned.former])
        found = {"best_leg": tuned.single_leg, "p": tuned.p, "worthwhile": tuned.worthwhile}
        told = {"p_untuned": tuned.p_untuned, "better_than_untuned": tuned.better_than_untuned}
        print_json({**settings, "rows": rows, **found, **told})
        return
    _show(asked.index, tuned, len(collected), dry_run)


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
            f"{tuned.single_leg} alone is as good as far as these queries tell (p = {tuned.p:.3f})",
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
        told = f"the default is as good as far as these queries tell (p = {tuned.p_untuned:.3f})"
        out.print(told if dry_run else f"{told}; to go back to it: --forget", style="yellow", highlight=False)
    out.print("nothing was noted" if dry_run else f"noted in {index}; searches use it within half a minute")


def _searcher(asked: _Asked, where: dict[str, Any]) -> HybridSearcher:
    client, encoder = connect(connection(**where)), Encoder(asked.model) if asked.model else None
    return HybridSearcher(client, asked.index, encoder, fields=asked.fields or None, window=asked.window)


def _wrote(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            note.print(f"wrote {path}", highlight=False, soft_wrap=True)


def _read(asked: _Asked) -> list[Judged]:
    if asked.clicks and asked.topics is not None:
        raise click.UsageError("--clicks and --topics are of different files; give one of them")
    if asked.judged is None:
        raise click.UsageError("Missing argument 'JUDGED'.")
    for path in (asked.judged, asked.topics):
        if path is not None and not path.is_file():
            raise click.BadParameter(f"{path} doesn't exist", param_hint="JUDGED or --topics")
    if asked.clicks:
        judged, report = read_clicks(asked.judged)
        note.print(str(report), highlight=False)
        return judged
    return read_jsonl(asked.judged) if asked.topics is None else read_trec(asked.judged, asked.topics)


def _collect(searcher: HybridSearcher, queries: Sequence[Judged], *, standardise: bool) -> list[Collected]:
    with counting_bar(note, "searching") as advance:
        return collect(searcher, queries, standardise=standardise, progress=advance)


def _table(title: str, rows: Sequence[Measured]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("ranked by")
    for key in MEASURES:
        table.add_column(key, justify="right", no_wrap=True)
    for row in rows:
        cells = [f"{row.mean(key):.3f} [{row.intervals[key][0]:.3f}, {row.intervals[key][1]:.3f}]" for key in MEASURES]
        table.add_row(row.name, *cells)
    out.print(table)
