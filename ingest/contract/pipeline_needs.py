"""What the cluster must have for a pipeline that encodes: the plugin and the models on every node that ingests."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from elasticsearch import AuthorizationException, Elasticsearch

from crosslens.errors import MappingError, ModelError
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.references import is_path, sampled_references
from crosslens.ingest.model.cluster import cluster_models

_FOLDER = "crosslens.image_folder"
_LOG = logging.getLogger("crosslens")


def check_needs(client: Elasticsearch, index: str, fields: Sequence[VectorField], *, chained: bool = False) -> None:
    """Raises `ModelError` where a node that ingests lacks the plugin or a model of ``fields``, and `MappingError` where
    it has no folder for the images that documents refer to, or, for one ``chained``, can't call another pipeline.

    What this user may not ask (privilege: monitor) is not checked, which is logged.
    """
    try:
        nodes = client.nodes.info(metric="ingest,settings", flat_settings=True).body["nodes"].values()
        ingesting = {node["name"]: node for node in nodes if "ingest" in node["roles"]}
        _check_models(client, fields, ingesting)
    except AuthorizationException as error:
        _LOG.warning("whether every node has the models isn't known (privilege: monitor): %s", error)
        return
    lacking = [name for name, node in ingesting.items() if not _has(node, "pipeline")]
    if chained and lacking:
        raise MappingError(
            f"index {index!r} has a default pipeline already, and {', '.join(sorted(lacking))} can't call it from "
            "another one, for want of the processor 'pipeline'",
            hint="add the crosslens processors to that pipeline instead",
        )
    _check_folders(client, index, fields, ingesting)


def beyond_plugin(client: Elasticsearch, fields: Iterable[VectorField]) -> list[VectorField]:
    """Return the fields of passages that a plugin in the cluster is too old to make.

    None where that isn't known: without the plugin or the model, or for a user who may not ask (privilege: monitor).
    """
    wanted = [each for each in fields if each.passages]
    if not wanted:
        return []
    try:
        old = {model.fingerprint for model in cluster_models(client) or () if not model.passages}
    except AuthorizationException as error:
        _LOG.warning("whether the plugin makes passages isn't known (privilege: monitor): %s", error)
        return []
    return [each for each in wanted if each.fingerprint in old]


def _check_models(client: Elasticsearch, fields: Sequence[VectorField], ingesting: dict[str, Any]) -> None:
    models = cluster_models(client)
    without = sorted(ingesting if models is None else (n for n in ingesting if not _has(ingesting[n], "crosslens")))
    if without:
        raise ModelError(
            f"the nodes {', '.join(without)} have no crosslens plugin to encode with",
            hint="install it on every node that ingests",
            verb="plugin",
        )
    there = {model.fingerprint: model for model in models or ()}
    for each in fields:
        model = there.get(each.fingerprint)
        lacking = sorted(ingesting.keys() - set(model.nodes if model else ()))
        if lacking:
            raise ModelError(
                f"the model of {each.field!r}, {each.model} ({each.fingerprint}), is missing on {', '.join(lacking)}, "
                "where every write through the pipeline would fail",
                hint="copy its folder to config/crosslens of every node, or remove the pipeline",
            )


def _check_folders(client: Elasticsearch, index: str, fields: Sequence[VectorField], ingesting: dict[str, Any]) -> None:
    without = ", ".join(sorted(name for name, node in ingesting.items() if not node["settings"].get(_FOLDER)))
    for each in (field for field in fields if field.modality == "image" and without):
        references = sampled_references(client, index, each)
        if references and all(map(is_path, references)):
            raise MappingError(
                f"documents of {index!r} refer to the images of {each.field!r} by path, and {without} may read none",
                hint=f"set {_FOLDER} on every node that ingests, or write images as data URIs",
            )
        if references and not any(map(is_path, references)):
            continue
        _LOG.warning("%s of %s: images by path fail on %s until %s is set", each.field, index, without, _FOLDER)


def _has(node: dict[str, Any], processor: str) -> bool:
    return any(each["type"] == processor for each in node.get("ingest", {}).get("processors", ()))
