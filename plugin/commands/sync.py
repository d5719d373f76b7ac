"""crosslens sync: follow indices, and keep their vectors fresh."""

from __future__ import annotations

import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from crosslens.client import connect
from crosslens.commands.options import FILE, connection, connection_options
from crosslens.commands.saying import say
from crosslens.errors import CrosslensError, SettingsError
from crosslens.ingest.run.sync.beginning import counted, recorded
from crosslens.ingest.run.sync.follower import Follower
from crosslens.ingest.run.sync.settings import as_toml, read_settings
from crosslens.ingest.run.sync.state import SyncState

CONFIG = "crosslens-sync.toml"


@click.command()
@click.argument("indices", nargs=-1, metavar="[INDEX]...")
@click.option("--init", is_flag=True, help="Write the file for INDEX, from what each records, and end.")
@click.option("--check", is_flag=True, help="Read the file, and end; exit status 2 where it can't be followed.")
@click.option(
    "--config",
    type=FILE,
    default=Path(CONFIG),
    envvar="CROSSLENS_SYNC",
    show_default=True,
    help="What to follow, and with what: a TOML file without secrets.",
)
@connection_options
def sync(indices: tuple[str, ...], init: bool, check: bool, config: Path, **where: Any) -> None:
    """Follow indices, and keep their vectors fresh until stopped.

    Looks for changes every few seconds, by sequence numbers: documents that are new or edited get their vectors, those
    that failed are tried again later and later, and pictures whose content changed are noticed at the rate that the
    file sets. Several may follow the same indices. SIGHUP reads the file again; SIGTERM and Ctrl-C write what is
    encoded, and end with exit status 0. Metrics and health are served where the file says.
    """
    if bool(indices) != init:
        raise click.UsageError("--init takes the indices to follow; without it, they are in the file")
    if init:
        _write(config, indices, where)
        return
    settings = read_settings(config)
    if settings.address is not None and find_spec("prometheus_client") is None:
        raise SettingsError("metrics need prometheus-client", hint='install crosslens[sync], or set listen = ""')
    if check:
        say(f"{config} can be read; it follows {', '.join(each.name for each in settings.index)}")
        return
    from crosslens.ingest.run.sync.serving import Server

    state = SyncState()
    server = Server(state)

    client = counted(connect(connection(**where)), state)
    follower = Follower(client, settings, lambda: read_settings(config), state, server.serve)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, follower.reload)
    try:
        follower.follow()
    finally:
        server.close()


def _write(config: Path, indices: tuple[str, ...], where: dict[str, Any]) -> None:
    client = connect(connection(**where))
    text = as_toml([recorded(client, name) for name in indices])
    try:
        with config.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise CrosslensError(f"{config} is there already", hint="name another file", parameter="config") from error
    say(f"{config} is written; look through it, then run crosslens sync --config {config}")
