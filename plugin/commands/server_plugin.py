"""crosslens plugin: the server plugin that encodes inside the cluster."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from crosslens.client import connect
from crosslens.commands.options import FILE, FOLDER, connection, connection_options, opened
from crosslens.commands.running import size
from crosslens.commands.saying import note, out, print_json
from crosslens.errors import NodeError
from crosslens.ingest.model.cluster import cluster_models
from crosslens.ingest.model.served import check_served
from crosslens.ingest.model.sharing import SharedModel, drop_model, push_model
from crosslens.local import default_folder
from crosslens.node import DEFAULT_VERSION
from crosslens.node.build import DEVICES, PLATFORMS, build_plugin, cached_plugin
from crosslens.node.installing import install_models, install_plugin, read_plugin
from crosslens.node.process import Node
from crosslens.progress import counting_bar, waiting

_DOWNLOADS = {"cpu": 100, "cuda": 800}
_es_version = click.option(
    "--es-version",
    metavar="V",
    help=f"Elasticsearch version that it is for. Default: the node's, or {DEFAULT_VERSION}.",
)


@click.group()
def plugin() -> None:
    """Run CLIP inside Elasticsearch itself: query vectors, an ingest processor and a hybrid retriever.

    Every client and every licence can use them; Python is then no longer needed for searching or indexing.
    """


@plugin.command()
@_es_version
@click.option("--platform", type=click.Choice(PLATFORMS), help="The servers' platform. Default: this machine's.")
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="cpu",
    show_default=True,
    help="What its nodes may encode on; cuda makes a zip of 400 MB.",
)
@click.option("--out", "folder", type=FOLDER, default=Path(), help="Where to put the zip. Default: here.")
@click.option("--java", type=FOLDER, help="Java home to build with. Default: the first one found that is new enough.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def build(
    es_version: str | None, platform: str | None, device: str, folder: Path, java: Path | None, as_json: bool
) -> None:
    """Build the plugin's zip with Maven, for one Elasticsearch version and platform."""
    with waiting(note, f"building the plugin (the first time this downloads about {_DOWNLOADS[device]} MB)"):
        path = build_plugin(es_version or DEFAULT_VERSION, folder, platform=platform, device=device, java=java)
    made = read_plugin(path)
    if as_json:
        print_json({"path": str(path), "version": made.version, "elasticsearch": made.elasticsearch})
        return
    out.print(f"wrote {path} ({path.stat().st_size >> 20} MB)", highlight=False, soft_wrap=True)
    out.print(
        f"install it on every node of Elasticsearch {made.elasticsearch}: "
        f"bin/elasticsearch-plugin install file://{path.resolve()}",
        highlight=False,
        soft_wrap=True,
    )


@plugin.command()
@click.argument("zip_file", type=FILE, required=False, metavar="[ZIP]")
@_es_version
@click.option("--model", "models", type=FOLDER, multiple=True, help="Model folder to copy where the plugin looks.")
@click.option("--folder", type=FOLDER, help="The embedded node's folder. Default: the user's data folder.")
@click.option("--es-home", type=FOLDER, help="Install into this Elasticsearch instead, with its own tool.")
@click.option(
    "--es-config", type=FOLDER, help="That Elasticsearch's configuration folder. Default: config in its home."
)
def install(
    zip_file: Path | None,
    es_version: str | None,
    models: tuple[Path, ...],
    folder: Path | None,
    es_home: Path | None,
    es_config: Path | None,
) -> None:
    """Install the plugin, built unless ZIP is given, into the embedded node or into an Elasticsearch on this machine.

    The server loads it at its next start. In a cluster, do the same on every node.
    """
    check_served(models)
    target = (folder or default_folder()).expanduser().resolve()
    there = _version_of(es_home) if es_home else getattr(Node(target).status(), "version", DEFAULT_VERSION)
    if zip_file is None:
        with waiting(note, "building the plugin"):
            zip_file = cached_plugin(es_version or there)
    if es_home is None:
        installed = install_plugin(zip_file, target)
        install_models(models, target)
        running = Node(target).running() is not None
        hint = "stop the node and start it again" if running else "it is there when the node starts"
        out.print(f"crosslens {installed.version} is in {target}; {hint}", highlight=False, soft_wrap=True)
        return
    _install_with_tool(zip_file, es_home)
    config = es_config or es_home / "config"
    install_models(models, config.parent, config.name)
    out.print(f"crosslens is in {es_home}; restart that Elasticsearch", highlight=False, soft_wrap=True)


def _version_of(es_home: Path) -> str:
    """The version of an Elasticsearch by its own jar. Raises `NodeError` where there is none."""
    for jar in (es_home / "lib").glob("elasticsearch-*.jar"):
        found = re.fullmatch(r"elasticsearch-(\d+\.\d+\.\d+)\.jar", jar.name)
        if found:
            return found[1]
    raise NodeError(f"{es_home} has no lib/elasticsearch-VERSION.jar; name the folder that Elasticsearch lies in")


def _install_with_tool(zip_file: Path, es_home: Path) -> None:
    tool = shutil.which(str(es_home / "bin" / "elasticsearch-plugin"))
    if tool is None:
        raise NodeError(f"{es_home} has no bin/elasticsearch-plugin; name the folder that Elasticsearch lies in")
    wanted, version = read_plugin(zip_file).elasticsearch, _version_of(es_home)
    if wanted != version:
        # Before the old one is taken out, which would leave none.
        raise NodeError(f"{zip_file} is for Elasticsearch {wanted}, and {es_home} is {version}; build one that fits")
    subprocess.run([tool, "remove", "crosslens"], capture_output=True, check=False)
    url = zip_file.resolve().as_uri()
    done = subprocess.run([tool, "install", "--batch", url], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NodeError(f"elasticsearch-plugin could not install {zip_file}:\n{(done.stderr or done.stdout).strip()}")


@plugin.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@connection_options
def list_(as_json: bool, **where: Any) -> None:
    """List the nodes with their plugin's version and their models."""
    client = connect(connection(**where))
    nodes = client.nodes.info(metric="plugins").body["nodes"].values()
    versions = {
        node["name"]: next((p["version"] for p in node.get("plugins", []) if p["name"] == "crosslens"), None)
        for node in nodes
    }
    models = cluster_models(client) or []
    if as_json:
        listed = [
            {"name": m.name, "fingerprint": m.fingerprint, "dims": m.dims, "nodes": m.nodes, "lacking": m.lacking}
            for m in models
        ]
        print_json({"nodes": versions, "models": listed})
        return
    table = Table("node", "plugin", "models", box=None)
    for name, version in sorted(versions.items()):
        there = ", ".join(f"{m.name} ({m.fingerprint})" for m in models if name in m.nodes)
        table.add_row(name, version or "none", there or "none")
    out.print(table)


@plugin.command()
@click.argument("model_folder", type=FOLDER)
@click.option("--name", metavar="NAME", help="What the nodes call the model. Default: the folder's name.")
@click.option("--dry-run", is_flag=True, help="Ask whether the cluster would take the model; send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@connection_options
def push(model_folder: Path, name: str | None, dry_run: bool, as_json: bool, **where: Any) -> None:
    """Hand MODEL_FOLDER to all nodes of the cluster, which load it without a restart.

    The nodes' setting crosslens.models.upload must be true. An interrupted push goes on where it ended. Exits with 1 if
    a node couldn't take the model; it tries again by itself.
    """
    with counting_bar(note, "sending") as progress:
        shared = push_model(connect(connection(**where)), model_folder, name, dry_run=dry_run, progress=progress)
    would = f"{size(shared.missing)} of {size(shared.total)} to send; nothing was sent"
    _show_shared(shared, would if dry_run else "is in the cluster", as_json=as_json)


@plugin.command()
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Show which nodes have the model; delete nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@connection_options
def drop(name: str, dry_run: bool, as_json: bool, **where: Any) -> None:
    """Take the model NAME, which `crosslens plugin push` handed out, away from all nodes.

    Exits with 1 if a node couldn't do so; it does when it can.
    """
    shared = drop_model(connect(connection(**where)), name, dry_run=dry_run)
    _show_shared(shared, "would be deleted" if dry_run else "is deleted", as_json=as_json)


def _show_shared(shared: SharedModel, done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(shared))
    else:
        _print_shared(shared, done)
    if shared.failed:
        raise click.exceptions.Exit(1)


def _print_shared(shared: SharedModel, done: str) -> None:
    out.print(f"{shared.name} ({shared.fingerprint}): {done}", highlight=False, markup=False, soft_wrap=True)
    if shared.nodes:
        table = Table("node", "model", "reason", box=None)
        for node, on in sorted(shared.nodes.items()):
            table.add_row(node, on.state, on.reason or "")
        out.print(table)


@plugin.command()
@click.argument("index")
@click.option("--name", metavar="NAME", help="The pipeline's name. Default: crosslens-INDEX.")
@click.option("--refuse", is_flag=True, help="Refuse documents whose image can't be encoded, instead of recording why.")
@click.option("--default", is_flag=True, help="Send every document written to INDEX through it from now on.")
@click.option("--remove", is_flag=True, help="Delete the pipeline; the default pipeline of before serves again.")
@click.option("--dry-run", is_flag=True, help="Print the pipeline; write nothing.")
@connection_options
def pipeline(
    index: str, name: str | None, refuse: bool, default: bool, remove: bool, dry_run: bool, **where: Any
) -> None:
    """Create an ingest pipeline that encodes what is written to INDEX, for the fields that `crosslens add` recorded.

    A default pipeline that INDEX has already runs first. It gives the labels of `crosslens label` as well. Changes of
    model or labels and removals of fields reach the pipeline.
    """
    if remove and (default or refuse):
        raise click.UsageError("--remove goes with neither --default nor --refuse")
    written = opened(index, connect(connection(**where)))
    name, body = written.pipeline(name, record_errors=not refuse, default=default, remove=remove, dry_run=dry_run)
    if dry_run:
        print_json(body)
        return
    if remove:
        out.print(f"the pipeline {name} is deleted; {index} is written as before", highlight=False, soft_wrap=True)
        return
    used = "every document written to it goes through it" if default else f"write with ?pipeline={name}"
    out.print(f"the pipeline {name} encodes for {index}; {used}", highlight=False, soft_wrap=True)
