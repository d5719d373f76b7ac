"""Two nodes with two versions of the plugin, as while a cluster is upgraded: they search each other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.node import build
from crosslens.node.build import build_plugin
from tests.conftest import VERSIONS
from tests.ingest.exactness import MAPPINGS, shop
from tests.server.clusters import Cluster, Member, running
from tests.server.conftest import Http, plugin_zip
from tests.server.relations import TWIN, index_of, related
from tests.server.test_search import retriever

pytestmark = pytest.mark.node
_NEXT = "99.0.0"
_WIRE = Path("src/main/java/org/crosslens/server/wire/Wire.java")


def next_plugin(version: str, folder: Path) -> Path:
    """Builds a plugin of the next version, whose every message between nodes has a field more than this one's."""
    sources = folder / "sources"
    shutil.copytree(build._SOURCES, sources, ignore=shutil.ignore_patterns("target"))
    pom = sources / "pom.xml"
    name = "<artifactId>crosslens-server</artifactId>\n  <version>"
    before, after = pom.read_text().split(name)
    pom.write_text(before + name + _NEXT + after[after.index("</version>") :])
    wire = sources / _WIRE
    text = wire.read_text()
    for old, new in (
        ("int VERSION = 2;", "int VERSION = 3;"),
        ("fields.accept(counted);", 'fields.accept(counted);\n            counted.writeString("what 3 adds");'),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    wire.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_SOURCES", sources)
        return build_plugin(version, folder)


@pytest.fixture(scope="module", params=VERSIONS)
def mixed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, zips: Path, models: Path
) -> Iterator[Cluster]:
    version = str(request.param)
    present = plugin_zip(version, zips)
    folder = tmp_path_factory.mktemp(f"upgrade-{version}")
    newer = next_plugin(version, folder)
    members = [
        Member("older", present, [models / "small", DEMO_MODEL]),
        Member("newer", newer, [models / "small", models / "wide"]),
    ]
    with running(members, version, folder) as cluster:
        yield cluster


def test_nodes_with_two_versions_of_the_plugin_search_each_other(
    mixed: Cluster, encoder: Encoder, pictures: Path
) -> None:
    client = mixed.clients[0]
    plugins = client.nodes.info(metric="plugins").body["nodes"].values()
    assert len({p["version"] for node in plugins for p in node["plugins"] if p["name"] == "crosslens"}) == 2
    client.indices.create(index="shop", mappings=MAPPINGS, settings={"number_of_shards": 4, "number_of_replicas": 0})
    targets = [Target("title_vector", "text", ("title",), "hnsw"), Target("photo_vector", "image", ("photo",), "hnsw")]
    for i, document in enumerate(shop(120)):
        client.index(index="shop", id=str(i), document=document)
    client.indices.refresh(index="shop")
    add_vectors(client, "shop", encoder, targets, Options(images=ImageAccess(root=pictures)))
    shards = client.cat.shards(index="shop", format="json").body
    assert {each["node"] for each in shards} == {"older", "newer"}  # type: ignore[index]
    vector: dict[str, Any] = {"crosslens": {"field": "photo_vector", "text": "blue shoe"}}
    knn = {"field": "photo_vector", "k": 100, "num_candidates": 500, "query_vector_builder": vector}
    legs: dict[str, dict[str, Any]] = {
        "keyword": {"standard": {"query": {"match": {"title": "blue shoe"}}}},
        "photo_vector": {"knn": knn},
    }
    answers = []
    for normalizer in ("evidence", "theoretical-min-max"):
        for node in mixed.nodes:
            body = {**retriever(legs, {}, normalizer=normalizer), "explain": True, "size": 100}
            answer = Http(node.url).ok("POST", "shop/_search", body)
            assert answer["_shards"]["failed"] == 0
            hits = answer["hits"]["hits"]
            assert len(hits) == 100
            # Both nodes' shards were asked to explain what the other fused.
            assert {hit["_node"] for hit in hits} == set(client.nodes.info(metric="os").body["nodes"])
            assert all("[photo_vector] weighted, of normalized" in str(hit["_explanation"]) for hit in hits)
            answers.append([(hit["_id"], hit["_score"]) for hit in hits])
        assert answers[-1] == answers[-2]
    for node in mixed.nodes:
        for path in ("models", "stats"):
            answer = Http(node.url).ok("GET", f"_crosslens/{path}")
            assert answer["failures"] == []
            assert len(answer["nodes"]) == 2
        # Each encodes for the other what only one of them has.
        for name, dims in (("wide", 32), ("model", 192)):
            made = Http(node.url).ok("POST", "_crosslens/encode", {"model": name, "texts": ["a red heart"] * 3})
            assert [len(vector) for vector in made["vectors"]] == [dims] * 3


def test_a_node_is_served_by_another_whose_model_may_search_the_vectors(mixed: Cluster, models: Path) -> None:
    wide = Encoder(models / "wide")
    vectors = wide.encode_texts(["a cat", "a dog", "blue shoes"])
    index_of(mixed.clients[0], "related-vectors", vectors, [("near", TWIN)])
    vector = {"crosslens": {"field": "near", "text": "a cat"}}
    clause = {"field": "near", "k": 3, "num_candidates": 10, "query_vector_builder": vector}
    with related(models / "wide", mixed.nodes[1].folder):
        for node in mixed.nodes:
            answer = Http(node.url).ok("POST", "related-vectors/_search", {"knn": clause})
            found = {int(hit["_id"]): 2 * hit["_score"] - 1 for hit in answer["hits"]["hits"]}
            assert [found[i] for i in range(3)] == pytest.approx((vectors @ vectors[0]).tolist(), abs=1e-5)
