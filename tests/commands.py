"""The command line as its users run it: in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests import warm


def here() -> Path:
    """Where commands run: files that they write where they are called must not land in the repository."""
    return Path(os.environ["CROSSLENS_NODE"]).parent


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    environment = {**os.environ, "COLUMNS": "120", **(env or {})}
    if warm.usable(environment):
        return warm.run(list(arguments), environment, here())
    command = [sys.executable, "-m", "crosslens.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=here())


def heeding() -> None:
    """A process started from here heeds Ctrl-C, also where the tests run in the background of a shell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def start(arguments: list[str], prepare: Callable[[], None] = heeding) -> subprocess.Popen[str]:
    """Start a command in a group of its own, to send signals to."""
    return subprocess.Popen(
        [sys.executable, "-m", "crosslens.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
        cwd=here(),
    )
