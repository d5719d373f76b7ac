"""crosslens demo: from nothing to results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from crosslens.client import connect
from crosslens.commands.options import FILE, connection, connection_options, note
from crosslens.node import Node


@click.command()
@click.option(
    "--html",
    type=FILE,
    default=Path("crosslens-demo.html"),
    show_default=True,
    help="Where the page with the pictures goes.",
)
@connection_options
def demo(html: Path, **where: Any) -> None:
    """Starts a node, indexes 1,400 pictures, adds vectors, and compares keyword, vector and hybrid search.

    With --url and the like it uses your cluster, in an index of its own name: crosslens-demo.
    """
    from crosslens.demo.run import run

    if not (where["url"] or where["cloud_id"]):
        node = Node()
        found = node.running()
        if found is None:
            with note.status("starting Elasticsearch (the first start downloads about 60 MB)"):
                found = node.start()
        where["url"] = found.url
    run(connect(connection(**where)), html)
