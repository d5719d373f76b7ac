"""What both sides compute, written down: every line of ``*.jsonl`` is a case that Python and Java are held to.

``tests/test_golden.py`` reads the files, and so do the plugin's own tests (``GoldenTest``). What the lines mean stands
in ``docs/format.md``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PICTURES = FOLDER / "pictures"
Line = dict[str, Any]


def lines(name: str) -> list[Line]:
    """The cases in ``NAME.jsonl``."""
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="ascii").splitlines()]


def write(name: str, cases: list[Line]) -> None:
    """Writes ``NAME.jsonl``, in ASCII, so that nothing on the way can change a character."""
    text = "".join(json.dumps(case, allow_nan=False) + "\n" for case in cases)
    (FOLDER / f"{name}.jsonl").write_text(text, encoding="ascii", newline="\n")
