"""Handing a model folder to all nodes of a cluster through its server plugin, and taking it away again."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from elasticsearch import ApiError, Elasticsearch

from crosslens.client import JSON_HEADERS
from crosslens.errors import ModelError
from crosslens.ingest.model.files import read_json, sha256
from crosslens.ingest.model.folder import CONFIG, MANIFEST, SENTENCES, ModelFolder, open_model
from crosslens.ingest.model.graph import read_graph
from crosslens.ingest.model.layouts import PREPROCESSOR, TOKENIZER
from crosslens.ingest.model.prompts import PROMPTS
from crosslens.ingest.model.served import check_served
from crosslens.refusals import reason
from crosslens.retrying import patient

# As in Manifest.java.
PART_BYTES = 1 << 20
# What the plugin reads beside the graphs and the manifest, as far as it is there.
_SETTINGS = (
    CONFIG,
    TOKENIZER,
    "tokenizer_config.json",
    PREPROCESSOR,
    "processor_config.json",
    SENTENCES,
    PROMPTS,
)
# Putting together and checking gigabytes, on each node in turn at worst.
_PUBLISHING_S = 3600.0

NodeState = Literal["installed", "absent", "off", "own", "failed"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SharedOn:
    """How a node stands with a shared model: "installed"; "off" where its settings don't let it take one; "own" where
    somebody put a folder of that name among its models; "absent" or "failed", with the ``reason``."""

    state: NodeState
    reason: str | None = None


@dataclass(frozen=True)
class SharedModel:
    """A model that `push_model` gave to a cluster, or `drop_model` took away.

    ``nodes`` says by their names how they stand with it, and ``failed`` names those that didn't do as they were asked.
    ``total`` are the bytes that nodes need of the folder, ``missing`` those of them that the cluster hadn't before.
    """

    name: str
    fingerprint: str
    nodes: dict[str, SharedOn]
    failed: tuple[str, ...] = ()
    total: int = 0
    missing: int = 0


def push_model(
    client: Elasticsearch,
    folder: Path,
    name: str | None = None,
    *,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> SharedModel:
    """Hand a model folder to all nodes of the cluster, which load it without a restart.

    ``name`` is what the nodes call it, by default the folder's own name. A push that was interrupted goes on where it
    ended, and one that was done before changes nothing. ``progress`` takes how many bytes of how many are there.
    ``dry_run`` only asks the cluster whether it would take the model.

    Raises `ModelError` for a folder that the plugin can't serve, and where the cluster refuses: its settings don't
    allow it, another model has the name, or what arrived isn't what was announced.
    """
    folder = Path(folder).expanduser()
    check_served([folder])
    model = open_model(folder)
    name = name or folder.resolve().name
    files = served_files(model)
    manifest = _announcement(model, files)
    total = sum(file["size"] for file in manifest["files"])
    publishing, path = _publishing(client), _path(name, dry_run=dry_run)
    answer = _ask(publishing, "PUT", path, manifest)
    missing = answer["missing"]
    absent = sum(min(PART_BYTES, total - number * PART_BYTES) for number in missing)
    if missing and not dry_run:
        done = total - absent
        progress(done, total)
        for number, data in _parts([folder / each for each in files], set(missing)):
            _ask(client, "PUT", f"{path}/parts/{number}", {"data": base64.b64encode(data).decode()})
            done += len(data)
            progress(done, total)
        answer = _ask(publishing, "PUT", path, manifest)
        if answer["missing"]:
            raise ModelError(
                f"{len(answer['missing'])} parts of {name} didn't stay in the cluster", hint="push the model again"
            )
    failing: set[NodeState] = set() if dry_run else {"absent", "own", "failed"}
    return _shared(name, answer, failing, total, absent)


def drop_model(client: Elasticsearch, name: str, *, dry_run: bool = False) -> SharedModel:
    """Take a model that `push_model` gave to the cluster away from all nodes, or an unfinished push of it.

    ``dry_run`` only says which nodes have it.

    Raises `ModelError` where there is none of that name, where it was put on a node by hand, and where the cluster's
    settings don't allow it.
    """
    answer = _ask(_publishing(client), "DELETE", _path(name, dry_run=dry_run))
    return _shared(name, answer, set() if dry_run else {"installed", "failed"})


def served_files(model: ModelFolder) -> list[str]:
    """Return the files of a folder that the plugin reads, relative and with slashes, ordered.

    They are the graphs, the weights beside them, the settings, and what the folder's manifest names.
    """
    graphs = [graph for graph in (model.text_model, model.vision_model, model.audio_model) if graph is not None]
    beside = [graph.parent / name for graph in graphs for name in read_graph(graph).external]
    names = {Path(os.path.relpath(file, model.path)).as_posix() for file in (*graphs, *beside)}
    names |= {name for name in (*_SETTINGS, MANIFEST) if (model.path / name).is_file()}
    if (model.path / MANIFEST).exists():
        names |= set(read_json(model.path / MANIFEST)["files"])
    return sorted(names)


def _announcement(model: ModelFolder, names: list[str]) -> dict[str, Any]:
    """Return what the cluster is told: the files with their sizes and hashes, and the hashes of the parts."""
    files = []
    for name in names:
        file = model.path / name
        files.append({"name": name, "size": file.stat().st_size, "sha256": sha256(file)})
    parts = [hashlib.sha256(data).hexdigest() for _, data in _parts([model.path / name for name in names])]
    return {"fingerprint": model.fingerprint, "files": files, "parts": parts}


def _parts(files: list[Path], wanted: set[int] | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield the numbered parts of the files' bytes, one file after the other; all of them, or those that are wanted."""
    number, data = 0, bytearray()
    for file in files:
        with file.open("rb") as handle:
            while piece := handle.read(PART_BYTES - len(data)):
                data += piece
                if len(data) == PART_BYTES:
                    if wanted is None or number in wanted:
                        yield number, bytes(data)
                    number += 1
                    data.clear()
    if data and (wanted is None or number in wanted):
        yield number, bytes(data)


def _shared(
    name: str, answer: dict[str, Any], failing: set[NodeState], total: int = 0, missing: int = 0
) -> SharedModel:
    nodes = {each: SharedOn(node["state"], node.get("reason")) for each, node in answer["nodes"].items()}
    failed = tuple(sorted(each for each, node in nodes.items() if node.state in failing))
    return SharedModel(name, answer["fingerprint"], nodes, failed, total, missing)


def _path(name: str, *, dry_run: bool) -> str:
    return f"/_crosslens/models/{quote(name, safe='')}{'?dry_run=true' if dry_run else ''}"


def _publishing(client: Elasticsearch) -> Elasticsearch:
    return client.options(request_timeout=_PUBLISHING_S)


def _ask(client: Elasticsearch, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the plugin, patiently: all that is asked here may be asked twice."""
    try:
        answer: dict[str, Any] = patient(client).perform_request(method, path, headers=JSON_HEADERS, body=body).body
        return answer
    except ApiError as error:
        said = reason((error.body if isinstance(error.body, dict) else {}).get("error") or error)
        if "crosslens.models.upload" in said:
            raise ModelError(
                "the cluster takes no models", hint="set crosslens.models.upload to true on its nodes and restart them"
            ) from error
        if error.status_code == 405 or "no handler found" in said:
            raise ModelError(
                "the cluster has no crosslens plugin that takes models", hint="install it on every node", verb="plugin"
            ) from error
        if error.status_code in (400, 404, 409, 413):
            raise ModelError(f"the cluster refuses: {said}") from error
        raise
