"""The command line: ``crosslens``."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any

import click

# Each command's module is imported only when it is used: `crosslens node` needs neither ONNX Runtime nor NumPy.
_COMMANDS = {
    "add": "Add the vectors that documents of an index lack.",
    "calibrate": "Gather the corpus statistics of an index's vectors.",
    "describe": "Suggest alternative text for pictures, from captions of your own.",
    "demo": "Start a node, index 1,400 pictures, add vectors, and compare searches.",
    "evaluate": "Measure searches on judged queries.",
    "export": "Export a checkpoint to ONNX.",
    "label": "Give documents labels by the vectors that they have.",
    "migrate": "Change the model of an index's vectors while searches go on.",
    "node": "Run a real Elasticsearch on this machine.",
    "plugin": "Build, install and list the server plugin, which runs CLIP inside Elasticsearch.",
    "recall": "Measure what an index's approximate search misses.",
    "reindex": "Bring an index's vectors up to date, in place or in a copy.",
    "remove": "Remove vectors or labels from an index.",
    "search": "Search an index by text, by image, or by both.",
    "serve": "Serve a search page, and the JSON API that it uses.",
    "status": "Show how complete and current an index's vectors are.",
    "tune": "Choose weights and a normalizer by judged queries.",
}


# Commands that live in another's module.
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
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="CROSSLENS_LOG_FORMAT",
    show_default=True,
    help="Format of progress, warnings and errors on standard error; json is one object a line.",
)
def cli(log_format: str) -> None:
    """CLIP cross-modal hybrid search for the Elasticsearch index you already have.

    Exit status: 0 done, 1 some documents failed (they are listed), 2 wrong usage or no connection, 130 interrupted by
    Ctrl-C, SIGTERM or SIGHUP.
    """
    from crosslens.commands.saying import set_up

    set_up(log_format)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; crosslens's own errors are one sentence on standard error."""
    from crosslens.commands import saying, signals

    signals.interrupt()
    saying.forgiving_streams()
    status = _run(arguments)
    closed = saying.closed_streams()
    sys.exit(saying.CLOSED if closed and not status else status)


def _run(arguments: list[str] | None) -> int:
    from crosslens.commands.saying import CLOSED, OutputClosedError, chosen_format, say_error

    stdout = sys.stdout
    try:
        result: Any = cli.main(arguments, prog_name="crosslens", standalone_mode=False)
        return int(result or 0)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        if chosen_format() == "json":
            say_error(error.format_message())
        else:
            error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        say_error("interrupted")
        return 130
    except OutputClosedError:
        return CLOSED
    except SystemExit as ended:
        # Where standard output is closed, Click wraps it and leaves in a way of its own.
        return CLOSED if sys.stdout is not stdout else int(ended.code or 0)
    except Exception as error:
        # Here, since it imports the client: help, version and completion take a fifth of the time without.
        from crosslens.commands.sentences import EXPECTED, own, sentence

        if not isinstance(error, EXPECTED):
            raise
        ours = own(error)
        say_error(f"Error: {sentence(ours)}")
        return ours.exit_code


if __name__ == "__main__":
    main()
