"""Pictures of measures, by Matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crosslens.errors import QueryError
from crosslens.queries.evaluate import MEASURES, Measured

# Distinguishable with the common colour-vision deficiencies (Okabe and Ito's palette).
_COLOURS = ("#0072b2", "#d55e00", "#009e73")


def plot_measures(rows: Sequence[Measured], path: Path) -> None:
    """Writes a picture of each row's measures with their intervals, in the format of the file's ending.

    Raises `QueryError` without the extra "evaluate".
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise QueryError("pictures need matplotlib: pip install 'crosslens[evaluate]'") from error
    figure = Figure(figsize=(8, 0.7 + 0.55 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for i, (key, colour) in enumerate(zip(MEASURES, _COLOURS, strict=True)):
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
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
