"""crosslens demo: from nothing to results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from crosslens.client import connect
from crosslens.commands.options import FILE, connection, connection_options, device_option
from crosslens.commands.saying import note
from crosslens.node import Node
from crosslens.progress import waiting


@click.command()
@click.option(
    "--html",
    type=FILE,
    default=Path("crosslens-demo.html"),
    show_default=True,
    help="File to write the page with the pictures to.",
)
@device_option
@connection_options
def demo(html: Path, device: str, **where: Any) -> None:
    """Start a node, index 1,400 pictures, add vectors, and compare keyword, vector and hybrid search.

    With --url or --cloud-id, use your own cluster instead, in an index named crosslens-demo.
    """
    from crosslens.demo.run import run

    if not (where["url"] or where["cloud_id"]):
        node = Node()
        found = node.running()
        if found is None:
            with waiting(note, "starting Elasticsearch (the first start downloads about 60 MB)"):
                found = node.start()
        where["url"] = found.url
    run(connect(connection(**where)), html, device=device)
