"""The server plugin in a node's folder: installing it and its models, and a server home that includes it."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crosslens.errors import NodeError

NAME = "crosslens"
_DESCRIPTOR = "plugin-descriptor.properties"


@dataclass(frozen=True)
class PluginFile:
    """A built plugin: ``version`` is its own, ``elasticsearch`` the only server version that loads it."""

    path: Path
    version: str
    elasticsearch: str


def read_plugin(path: Path) -> PluginFile:
    """Read the descriptor in a plugin's zip. Raises `NodeError` where it isn't one of ours."""
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(_DESCRIPTOR).decode()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise NodeError(
            f"{path} is not an Elasticsearch plugin ({error})", hint="build one", verb="plugin build"
        ) from error
    properties = _properties(text)
    if properties.get("name") != NAME:
        raise NodeError(f"{path} is the plugin {properties.get('name')!r}, not {NAME!r}")
    return PluginFile(path, properties["version"], properties["elasticsearch.version"])


def install_plugin(path: Path, folder: Path) -> PluginFile:
    """Install the plugin into a node's folder, replacing an older one; the next start of the node loads it.

    Raises `NodeError` where ``path`` isn't the plugin.
    """
    plugin = read_plugin(path)
    plugins = folder / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="installing-") as tmp:
        fresh = Path(tmp) / NAME
        with zipfile.ZipFile(path) as archive:
            archive.extractall(fresh)
        shutil.rmtree(plugins / NAME, ignore_errors=True)
        fresh.rename(plugins / NAME)
    return plugin


def installed_plugin(folder: Path) -> dict[str, str] | None:
    """Return the descriptor of the plugin in a node's folder, or None."""
    path = folder / "plugins" / NAME / _DESCRIPTOR
    return _properties(path.read_text()) if path.exists() else None


def install_models(models: Sequence[Path], folder: Path, config: str = "config") -> None:
    """Copy model folders to the place where a node's plugin looks for them: ``crosslens/NAME`` in its ``config``.

    Raises `NodeError` for a missing folder.
    """
    for model in models:
        source = model.expanduser().resolve()
        if not source.is_dir():
            raise NodeError(f"{model} is not a model folder", hint="export a checkpoint to it", verb="export")
        target = folder / config / NAME / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="installing-") as tmp:
            # A model's file may be a link, which the server wouldn't follow out of its folder.
            shutil.copytree(source, Path(tmp) / source.name)
            shutil.rmtree(target, ignore_errors=True)
            (Path(tmp) / source.name).rename(target)


def installed_models(folder: Path) -> list[str]:
    """Return the names of the model folders that a node's plugin finds."""
    models = folder / "config" / NAME
    return sorted(path.name for path in models.iterdir() if path.is_dir()) if models.is_dir() else []


def home_with_plugins(home: Path, folder: Path, version: str) -> Path:
    """Return ``home`` or, where the node's folder has a plugin, a home of links that includes the plugin.

    Raises `NodeError` for a plugin of another server version, with which the server would refuse to start.
    """
    descriptor = installed_plugin(folder)
    if descriptor is None:
        return home
    if descriptor.get("elasticsearch.version") != version:
        raise NodeError(
            f"the plugin in {folder} was built for Elasticsearch {descriptor.get('elasticsearch.version')}, the node "
            f"is {version}",
            hint="install one that fits",
            verb="plugin install",
            parameter="es_version",
        )
    own = folder / "home"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    for name in ("lib", "modules"):
        (own / name).symlink_to(home / name)
    (own / "config").mkdir()
    (own / "plugins").symlink_to(folder / "plugins")
    return own


def _properties(text: str) -> dict[str, str]:
    pairs = (re.match(r"\s*([^#=\s][^=]*?)\s*=\s*(.*)", line) for line in text.splitlines())
    return {pair[1]: pair[2].strip() for pair in pairs if pair}
