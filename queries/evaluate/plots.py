"""Pictures of measures, weights and scores, by Matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crosslens.errors import QueryError
from crosslens.queries.evaluate.measures import MEASURES, Collected, Measured, interval
from crosslens.queries.evaluate.tune import Choice, ndcg_of_choices

# Distinguishable with the common colour-vision deficiencies (Okabe and Ito's palette).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STEPS = 20


def _figure(width: float, height: float) -> Any:
    """Return an empty figure. Raises `QueryError` without the extra "evaluate"."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise QueryError("pictures need matplotlib: pip install 'crosslens[evaluate]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def plot_weights(collected: Sequence[Collected], choice: Choice, path: Path) -> None:
    """Plot nDCG@10 over the weight of each leg, the others in the chosen proportion, with its 95 % band."""
    figure = _figure(8, 4.5)
    axes = figure.subplots()
    shares = np.linspace(0, 1, _STEPS + 1)
    for i, (name, chosen) in enumerate(choice.weights):
        others = [(other, weight) for other, weight in choice.weights if other != name]
        rest = sum(weight for _, weight in others)
        choices = [
            Choice(
                (
                    (name, share),
                    *((o, (1 - share) * (w / rest if rest else 1 / max(len(others), 1))) for o, w in others),
                ),
                choice.normalizer,
            )
            for share in shares
        ]
        values = np.array([ndcg_of_choices(each, choices) for each in collected])
        bands = np.array([interval(values[:, column]) for column in range(len(shares))])
        colour = _COLOURS[i % len(_COLOURS)]
        axes.plot(shares, values.mean(axis=0), color=colour, label=f"{name} (chosen: {chosen:g})")
        axes.fill_between(shares, bands[:, 0], bands[:, 1], color=colour, alpha=0.15)
        axes.axvline(chosen, color=colour, linestyle=":", linewidth=1)
    axes.set_xlabel(f"weight of the leg, the others in the chosen proportion ({choice.normalizer})")
    axes.set_ylabel(f"{MEASURES[0]}, with its 95 % interval")
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    _save(figure, path)


def plot_scores(collected: Sequence[Collected], path: Path) -> None:
    """Plot each leg's raw scores: those of relevant documents, and those of the rest of the window."""
    legs = list(dict.fromkeys(name for each in collected for name in each.legs))
    figure = _figure(8, 1 + 1.8 * len(legs))
    rows = figure.subplots(len(legs), 1, squeeze=False)[:, 0]
    for axes, name in zip(rows, legs, strict=True):
        relevant: list[float] = []
        rest: list[float] = []
        for each in collected:
            for (_, id), score in each.legs[name].raw.items() if name in each.legs else ():
                (relevant if id in each.judged.relevant else rest).append(score)
        bins = np.histogram_bin_edges([*relevant, *rest] or [0.0], bins=50)
        for values, label, colour in ((rest, "others", _COLOURS[5]), (relevant, "relevant", _COLOURS[1])):
            if values:
                axes.hist(values, bins=bins, density=True, color=colour, alpha=0.65, label=f"{label} ({len(values)})")
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_yticks([])
        axes.legend(loc="best", fontsize=8)
    rows[-1].set_xlabel("raw score: BM25, or cosine")
    _save(figure, path)


def plot_measures(rows: Sequence[Measured], path: Path) -> None:
    """Plot each row's measures with their intervals, in the format of the file's extension.

    Raises `QueryError` without the extra "evaluate".
    """
    figure = _figure(8, 1 + 0.6 * len(rows))
    axes = figure.subplots()
    for i, (key, colour) in enumerate(zip(MEASURES, _COLOURS, strict=False)):
        means = [row.mean(key) for row in rows]
        errors = [
            [max(mean - row.intervals[key][0], 0) for mean, row in zip(means, rows, strict=True)],
            [max(row.intervals[key][1] - mean, 0) for mean, row in zip(means, rows, strict=True)],
        ]
        places = [row + (i - 1) * 0.22 for row in range(len(rows))]
        axes.errorbar(means, places, xerr=errors, fmt="o", color=colour, label=key, capsize=3)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("mean over the queries, with its 95 % interval")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="best")
    _save(figure, path)
