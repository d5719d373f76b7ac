"""The command reference is the commands' own help; ``make docs`` writes it, a test compares it."""

from __future__ import annotations

from pathlib import Path

import click
from click.testing import CliRunner

from crosslens.cli import cli

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "commands.md"
_START, _END = "<!-- reference: made by `make docs` -->", "<!-- end of the reference -->"


def reference(group: click.Group = cli, path: tuple[str, ...] = ()) -> str:
    """A heading and the help text of every command."""
    blocks = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            blocks.append(reference(command, (*path, name)))
            continue
        words = (*path, name)
        shown = CliRunner().invoke(
            cli, [*words, "--help"], prog_name="crosslens", terminal_width=100, max_content_width=100
        )
        blocks.append(f"## `crosslens {' '.join(words)}`\n\n```\n{shown.output.rstrip()}\n```\n")
    return "\n".join(blocks)


def with_reference(page: str) -> str:
    """``page`` with the present reference between its two marks."""
    before, rest = page.split(_START)
    _, after = rest.split(_END)
    return f"{before}{_START}\n\n{reference()}\n{_END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_reference(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
