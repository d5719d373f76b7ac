"""crosslens node: the embedded Elasticsearch."""

from __future__ import annotations

import time
from pathlib import Path

import click

from crosslens.commands.options import FOLDER
from crosslens.commands.saying import note, out, print_json
from crosslens.errors import NodeError
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.model.served import check_served
from crosslens.node import DEFAULT_VERSION, Node
from crosslens.node.build import cached_plugin
from crosslens.node.installing import install_models, install_plugin, installed_models
from crosslens.node.removing import check_removable, size

_folder = click.option("--folder", type=FOLDER, help="The node's folder. Default: the user's data folder.")


@click.group()
def node() -> None:
    """Run a real Elasticsearch on this machine, from Maven Central's jars."""


@node.command()
@_folder
@click.option(
    "--version", help=f"Elasticsearch version. Default: the folder's, {DEFAULT_VERSION} for a new one.", metavar="V"
)
@click.option("--port", type=click.IntRange(1, 65535), help="HTTP port. Default: 9200, or a free one when busy.")
@click.option("--heap", default="1g", show_default=True, help="Java heap, as in 512m or 2g.")
@click.option("--java", type=FOLDER, help="Java home to use. Default: the first one found that is new enough.")
@click.option("--with-plugin", is_flag=True, help="Build and install the server plugin first (needs Maven).")
@click.option("--model", "models", type=FOLDER, multiple=True, help="With it: model folder. Default: the demo's.")
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
def start(
    folder: Path | None,
    version: str | None,
    port: int | None,
    heap: str,
    java: Path | None,
    with_plugin: bool,
    models: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Start the node and return when it answers. Data from earlier starts is there again.

    A plugin that was installed once stays.
    """
    if models and not with_plugin:
        raise click.UsageError("--model goes with --with-plugin")
    if with_plugin:
        _install(Node(folder, version=version), models, java)
    with note.status("starting Elasticsearch (the first start downloads about 60 MB)"):
        status = Node(folder, version=version, port=port, heap=heap, java=java).start()
    if as_json:
        print_json(status.as_dict())
    else:
        out.print(f"Elasticsearch {status.version} answers at {status.url}", highlight=False)
        out.print(f"data: {status.data}", highlight=False, soft_wrap=True)


def _install(node: Node, models: tuple[Path, ...], java: Path | None) -> None:
    if node.running() is not None:
        raise NodeError("the node already runs", hint="stop it first", verb="node stop")
    check_served(models)
    with note.status("building the server plugin"):
        path = cached_plugin(node.version, java)
    node.folder.mkdir(parents=True, exist_ok=True)
    install_plugin(path, node.folder)
    install_models(models or (() if installed_models(node.folder) else (DEMO_MODEL,)), node.folder)


@node.command()
@_folder
def stop(folder: Path | None) -> None:
    """Stop the node; its data stays."""
    stopped = Node(folder).stop()
    out.print("stopped" if stopped else "no node was running")


@node.command()
@_folder
@click.option("--yes", is_flag=True, help="Don't ask.")
def remove(folder: Path | None, yes: bool) -> None:
    """Deletes the node: its folder with all indices, logs, settings, plugin and models.

    Stops it first if it runs. What it was made of stays cached for the next one: see the page on cleaning up.
    """
    removed = Node(folder)
    check_removable(removed.folder)
    if not yes:
        running = " It runs, and is stopped first." if removed.running() else ""
        held = f"{size(removed.folder) / 1e6:.1f} MB"
        click.confirm(f"delete {removed.folder} with all its indices ({held})?{running}", abort=True, err=True)
    freed = removed.remove()
    out.print(f"deleted {removed.folder}; {freed / 1e6:.1f} MB are free again", highlight=False, soft_wrap=True)


@node.command()
@_folder
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
def status(folder: Path | None, as_json: bool) -> None:
    """Show whether the node runs, and where."""
    found = Node(folder).status()
    if as_json:
        print_json(found.as_dict() if found else {"running": False})
    elif found is None:
        out.print("no node was ever started here; start one with: crosslens node start")
    else:
        state = f"runs at {found.url} (process {found.pid})" if found.running else "is stopped"
        out.print(f"Elasticsearch {found.version} {state}", highlight=False)
        out.print(f"data: {found.data}", highlight=False, soft_wrap=True)


@node.command()
@_folder
@click.option("-n", "--lines", type=click.IntRange(1), default=50, show_default=True, help="How many last lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is added; end with Ctrl-C.")
def logs(folder: Path | None, lines: int, follow: bool) -> None:
    """Print the end of the server's log."""
    path = Node(folder).log
    if not path.exists():
        raise NodeError(f"there is no log yet at {path}", hint="start the node first", verb="node start")
    with path.open(encoding="utf-8", errors="replace") as handle:
        for line in handle.readlines()[-lines:]:
            click.echo(line, nl=False)
        while follow:
            line = handle.readline()
            if line:
                click.echo(line, nl=False)
            else:
                time.sleep(0.2)
