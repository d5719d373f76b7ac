"""The Python side where the cluster encodes: the same results without a model on this machine."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosslens.errors import ImageError, ModelError
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.cluster import ClusterEncoder, cluster_models
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.search.searcher import HybridSearcher
from tests.commands import run
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, expect_exact, shop
from tests.server.conftest import Plugged

pytestmark = pytest.mark.node


def test_the_cluster_tells_its_models(plugged: Plugged, encoder: Encoder) -> None:
    models = cluster_models(plugged.server.client)
    assert models is not None
    (found,) = [each for each in models if each.is_called("small")]
    assert (found.name, found.fingerprint) == (encoder.name, encoder.fingerprint)
    assert found.dims == 24
    assert found.lacking == ()


def test_a_cluster_without_the_plugin_is_told_apart(server: Server) -> None:
    assert cluster_models(server.client) is None
    with pytest.raises(ModelError, match="no crosslens plugin"):
        ClusterEncoder(server.client)


def test_the_model_must_be_there_and_named_where_there_are_several(plugged: Plugged) -> None:
    with pytest.raises(ModelError, match=r"several models; name one of those that it has: .*small"):
        ClusterEncoder(plugged.server.client)
    with pytest.raises(ModelError, match="no model 'nowhere'"):
        ClusterEncoder(plugged.server.client, "nowhere")


def test_vectors_are_those_of_an_encoder_here(plugged: Plugged, encoder: Encoder, pictures: Path) -> None:
    there = ClusterEncoder(plugged.server.client, "small")
    texts = [f"a text of {'many ' * (i % 30)}words {i}" for i in range(600)]
    assert (there.encode_texts(texts) * encoder.encode_texts(texts)).sum(axis=1).min() >= 0.99999
    images: list[Any] = [pictures / f"{i}.png" for i in range(10)]
    images += [(pictures / "11.png").read_bytes(), np.full((30, 40, 3), 200, np.uint8)]
    assert (there.encode_images(images) * encoder.encode_images(images)).sum(axis=1).min() >= 0.99999
    with pytest.raises(ImageError, match="not an image in a supported format"):
        there.encode_images([b"no picture"])
    with pytest.raises(ImageError, match="can't be read"):
        there.encode_images([pictures / "missing.png"])


def test_add_vectors_is_the_same_with_the_clusters_encoder(plugged: Plugged, encoder: Encoder, pictures: Path) -> None:
    documents = shop(150)
    documents[7]["photo"] = "missing.png"
    name = plugged.server.new_index(MAPPINGS, documents)
    there = ClusterEncoder(plugged.server.client, "small")
    options = Options(images=ImageAccess(root=pictures))
    report = add_vectors(plugged.server.client, name, there, [TITLE, PHOTO], options)
    assert report.written == {"title_vector": 150, "photo_vector": 149}
    assert report.failed == {"photo_vector": 1}
    plugged.server.client.delete(index=name, id="7")
    expect_exact(plugged.server, name, encoder, pictures)


def test_a_searcher_without_an_encoder_lets_the_cluster_encode(
    plugged: Plugged, encoder: Encoder, pictures: Path
) -> None:
    name = plugged.server.new_index(MAPPINGS, shop(80))
    targets = [Target("title_vector", "text", ("title",), "hnsw"), Target("photo_vector", "image", ("photo",), "hnsw")]
    add_vectors(plugged.server.client, name, encoder, targets, Options(images=ImageAccess(root=pictures)))
    before = plugged.stats()["ingest"]
    there = HybridSearcher(plugged.server.client, name)
    here = HybridSearcher(plugged.server.client, name, encoder)
    for how in ({"text": "blue shoe"}, {"text": "running", "image": pictures / "3.png"}):
        found, expected = there.search(**how, size=20), here.search(**how, size=20)  # type: ignore[arg-type]
        assert [hit.score for hit in found.hits] == pytest.approx([hit.score for hit in expected.hits], abs=1e-5)
    after = plugged.stats()["ingest"]
    assert after["texts"] == before["texts"] + 2
    assert after["images"] == before["images"] + 1


def test_the_commands_encode_in_the_cluster_when_asked(plugged: Plugged, encoder: Encoder, pictures: Path) -> None:
    name = plugged.server.new_index(MAPPINGS, shop(60))
    where = ("--url", plugged.server.node.url)
    roots = ("--image-root", str(pictures), "--in-cluster", *where)
    wanted = ("--text", "title", "--image", "photo", "--index-type", "hnsw")
    assert run("add", name, *wanted, *where).returncode == 2
    refused = run("add", name, *wanted, *roots)
    assert refused.returncode == 2
    assert "several models" in refused.stderr
    added = run("add", name, *wanted, *roots, "--model", "small", "--json")
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["written"] == {"title_vector": 60, "photo_vector": 60}
    plugged.server.client.update(index=name, id="3", doc={"title": "something else"}, refresh=True)
    again = run("reindex", name, "--stale", *roots, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["written"] == {"title_vector": 1}
    copied = run("reindex", name, "--into", f"{name}-copy", *roots)
    assert copied.returncode == 0, copied.stderr
    for each in (name, f"{name}-copy"):
        expect_exact(plugged.server, each, encoder, pictures)
    shown = run("search", name, "something else", "--json", *where)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["hits"][0]["id"] == "3"


def test_the_plugin_command_lists_nodes_and_models(plugged: Plugged) -> None:
    listed = run("plugin", "list", "--json", "--url", plugged.server.node.url)
    assert listed.returncode == 0, listed.stderr
    told = json.loads(listed.stdout)
    assert list(told["nodes"].values()) == [version("crosslens")]
    assert {each["name"] for each in told["models"]} == {"crosslens-emoji", "small-checkpoint", "wide-checkpoint"}
    table = run("plugin", "list", "--url", plugged.server.node.url)
    assert "small" in table.stdout


def test_the_plugin_command_puts_a_pipeline_for_what_an_index_records(
    plugged: Plugged, encoder: Encoder, pictures: Path
) -> None:
    name = plugged.server.new_index(MAPPINGS, shop(5))
    targets = [Target("title_vector", "text", ("title",), "hnsw"), Target("photo_vector", "image", ("photo",), "hnsw")]
    options = Options(images=ImageAccess(root=pictures))
    add_vectors(plugged.server.client, name, encoder, targets, options)
    where = ("--url", plugged.server.node.url)
    looked = run("plugin", "pipeline", name, "--dry-run", *where)
    assert looked.returncode == 0, looked.stderr
    assert len(json.loads(looked.stdout)["processors"]) == 2
    assert run("plugin", "pipeline", name, "--default", *where).returncode == 0
    client = plugged.server.client
    for i, document in enumerate(shop(60)):
        client.index(index=name, id=f"new-{i}", document=document)
    client.index(index=name, id="broken", document={"title": "no picture", "photo": "missing.png"})
    client.indices.refresh(index=name)
    source: Any = plugged.server.source(name, "broken")
    assert "no such file" in source["crosslens"]["photo_vector"]["error"]
    report = add_vectors(client, name, encoder, targets, options)
    assert report.documents == 0
    client.delete(index=name, id="broken")
    expect_exact(plugged.server, name, encoder, pictures)
