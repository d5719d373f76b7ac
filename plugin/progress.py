"""The progress bar of a run that adds vectors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from crosslens.ingest.write import AddReport


@contextlib.contextmanager
def encoding_bar(console: Console) -> Iterator[Callable[[AddReport], None]]:
    """Shows a bar on ``console``, gone at the end; yields what `add_vectors` takes as ``progress``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("encoding", total=None)
        # Documents that changed meanwhile are encoded again, so there can be more than there were to do.
        yield lambda report: bar.update(task, total=report.todo, completed=min(report.documents, report.todo))
