"""The command line: ``crosslens``."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any

import click

from crosslens.errors import CrosslensError

# Each command's module is imported only on use: `crosslens node` needs neither ONNX Runtime nor NumPy.
_COMMANDS = {
    "add": "Gives the documents of an index the vectors they lack.",
    "calibrate": "Measures an index's vectors, so that texts and pictures compare.",
    "demo": "Starts a node, indexes 1,400 pictures, adds vectors, and compares searches.",
    "evaluate": "Measures searches on judged queries.",
    "export": "Exports a checkpoint to ONNX.",
    "migrate": "Changes the model of an index's vectors while searches go on.",
    "node": "Runs a real Elasticsearch on this machine.",
    "recall": "Measures what an index's approximate search misses.",
    "plugin": "Puts CLIP into Elasticsearch itself: builds and installs the server plugin.",
    "reindex": "Brings an index's vectors up to date, in place or in a copy.",
    "remove": "Takes vectors out of an index again.",
    "status": "Shows the state of an index's vectors.",
    "tune": "Chooses weights and normalizer by judged queries.",
    "search": "Searches an index by text, by a picture, or by both.",
}


# Commands that share another command's module.
_MODULES = {"tune": "evaluate", "plugin": "server_plugin"}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = _MODULES.get(cmd_name, cmd_name)
        command: click.Command = getattr(import_module(f"crosslens.commands.{module}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("crosslens"), prog_name="crosslens")
def cli() -> None:
    """CLIP cross-modal hybrid search for the Elasticsearch index you already have.

    Exit status: 0 done, 1 some documents failed (they are listed), 2 wrong usage or no connection, 130 interrupted.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; crosslens's own errors appear as one sentence on standard error."""
    sys.exit(_run(arguments))


def explained(error: CrosslensError) -> str:
    """Return the error with its hint, in the command line's words: the flag or the command that the hint refers to."""
    means = []
    if error.verb:
        means.append(f"crosslens {error.verb}")
    if error.parameter:
        means.append(f"--{error.parameter.replace('_', '-')}")
    return f"{error} ({' '.join(means)})" if means else str(error)


def _run(arguments: list[str] | None) -> int:
    from elastic_transport import TransportError
    from elasticsearch import ApiError

    try:
        result: Any = cli.main(arguments, prog_name="crosslens", standalone_mode=False)
        return int(result or 0)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except CrosslensError as error:
        click.echo(f"Error: {explained(error)}", err=True)
        return error.exit_code
    except (ApiError, TransportError) as error:
        click.echo(f"Error: Elasticsearch refused the request: {error}", err=True)
        return 2


if __name__ == "__main__":
    main()
