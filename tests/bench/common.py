"""What benchmarks share: the full-size model, timing, peak memory in a process of its own, and printing."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from crosslens.node.home import cache_folder

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
console = Console(width=110)


def vit_b_32() -> tuple[Path, Path]:
    """(checkpoint, export) of CLIP ViT-B/32 with random weights, made once and kept in the cache folder."""
    root = cache_folder() / "bench"
    checkpoint, exported = root / "vit-b-32-checkpoint", root / "vit-b-32"
    if not exported.is_dir():
        from crosslens.ingest.model.exporting import export
        from tests import checkpoints

        root.mkdir(parents=True, exist_ok=True)
        if not checkpoint.is_dir():
            with tempfile.TemporaryDirectory(dir=root) as tmp:
                checkpoints.vit_b_32(Path(tmp) / "c").rename(checkpoint)
        report = export(str(checkpoint), exported, precision="fp32")
        console.print(
            f"exported ViT-B/32: least cosine with PyTorch {report.text_cosine_min:.7f} (texts), "
            f"{report.image_cosine_min:.7f} (images)"
        )
    return checkpoint, exported


def rate(work: Callable[[], int], seconds: float) -> float:
    """Items a second: ``work`` returns how many it did, and is repeated, after one run to warm up."""
    work()
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        done += work()
    return done / (time.perf_counter() - started)


def in_own_process(module: str, *arguments: str) -> dict[str, Any]:
    """What ``python -m module arguments`` prints as JSON on its last line."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def peak_rss_mb() -> float:
    """The most memory this process has had, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux getrusage also counts what the process that started this one had.
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024


def percentile(values: list[float], p: float) -> float:
    """The value that ``p`` percent of ``values`` don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))]


def show(title: str, headings: list[str], rows: list[list[str]]) -> None:
    """A table on the terminal."""
    table = Table(title=f"{title} ({CORES} cores)", title_justify="left")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
