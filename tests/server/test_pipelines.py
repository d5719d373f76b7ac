"""A pipeline of the plugin over an index's life: it follows the index's fields and models, and can be taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import BadRequestError

from crosslens.errors import MappingError, ModelError
from crosslens.index import Index
from crosslens.ingest.contract.fields import put_fields
from crosslens.ingest.contract.ingest_pipeline import IngestPipeline
from crosslens.ingest.contract.moments import StoredMoment
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.targets import ImageField, TextField
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.sources.decoding.shapes import Cutting, Moment
from tests.ingest.exactness import MAPPINGS, shop
from tests.server.conftest import Plugged

pytestmark = pytest.mark.node

FIELDS = [TextField("title", index_type="hnsw"), ImageField("photo", index_type="hnsw")]


@pytest.fixture
def filled(plugged: Plugged, encoder: Encoder, pictures: Path) -> Iterator[Index]:
    name = plugged.server.new_index(MAPPINGS, shop(5))
    index = Index(name, client=plugged.server.client, model=encoder, image_root=pictures)
    index.add(*FIELDS)
    yield index
    plugged.server.client.indices.delete(index=name)


def default_of(plugged: Plugged, index: str) -> str | None:
    settings = plugged.server.client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    return settings.get("index.default_pipeline")


def encoded(plugged: Plugged, index: str) -> dict[str, Any]:
    """What the pipelines make of a document that is written now."""
    plugged.server.client.index(index=index, id="new", document={"title": "a hat", "photo": "7.png"}, refresh=True)
    source = plugged.server.source(index, "new")
    assert isinstance(source.get("crosslens", {}), dict)
    return source.get("crosslens", {})  # type: ignore[return-value]


def test_a_pipeline_whose_model_no_node_has_is_refused(plugged: Plugged, models: Path, pictures: Path) -> None:
    client = plugged.server.client
    name = plugged.server.new_index(MAPPINGS, shop(3))
    index = Index(name, client=client, model=models / "absent", image_root=pictures)
    index.add(*FIELDS)
    with pytest.raises(ModelError, match=r"is missing on .*, where every write through the pipeline would fail"):
        index.pipeline(default=True)
    assert default_of(plugged, name) is None
    client.index(index=name, document={"title": "a hat"})


def test_a_pipeline_follows_changes_of_model_and_removals(
    plugged: Plugged, filled: Index, models: Path, encoder: Encoder
) -> None:
    wide = Encoder(models / "wide")
    filled.pipeline(default=True)
    assert {each["model"] for each in encoded(plugged, filled.name).values()} == {encoder.fingerprint}
    with pytest.raises(ModelError, match="is missing on"):
        filled.migrate(models / "absent")
    assert filled.migrate(wide).switched
    path = f"photo_vector_{wide.fingerprint[:8]}"
    made = encoded(plugged, filled.name)
    assert set(made) == {path, f"title_vector_{wide.fingerprint[:8]}"}
    assert made[path]["model"] == wide.fingerprint
    filled.rollback()
    assert set(encoded(plugged, filled.name)) == {"photo_vector", "title_vector"}
    filled.rollback()
    filled.drop_old(waiting=lambda _: None)
    assert path in encoded(plugged, filled.name)
    filled.remove("photo_vector")
    assert set(encoded(plugged, filled.name)) == {f"title_vector_{wide.fingerprint[:8]}"}
    filled.remove("title_vector")
    assert encoded(plugged, filled.name) == {}
    assert default_of(plugged, filled.name) is None
    there = plugged.server.client.options(ignore_status=404).ingest.get_pipeline(id=f"crosslens-{filled.name}")
    assert there.body == {}


def test_a_pipeline_of_an_alias_encodes_for_the_copy_that_it_leads_to(
    plugged: Plugged, filled: Index, models: Path, pictures: Path
) -> None:
    client, wide = plugged.server.client, Encoder(models / "wide")
    alias, into = f"{filled.name}-alias", f"{filled.name}-copy"
    client.indices.put_alias(index=filled.name, name=alias)
    Index(alias, client=client).pipeline(default=True)
    copying = Index(alias, client=client, model=wide, image_root=pictures)
    assert copying.copy(into, alias=alias).switched
    made = encoded(plugged, into)
    assert {each["model"] for each in made.values()} == {wide.fingerprint}
    assert set(made) == {"title_vector", "photo_vector"}


def test_moments_made_outside_stay_in_documents_that_pass_through_a_pipeline(
    plugged: Plugged, filled: Index, encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    client = plugged.server.client
    made = {"model": encoder.name, "fingerprint": encoder.fingerprint, "dims": encoder.dims, "index_type": "hnsw"}
    scenes = VectorField("scenes", "video", ("photo",), **made, each=True, part="frames", cutting=Cutting())  # type: ignore[arg-type]
    put_fields(client, filled.name, [scenes])
    vectors = encoder.encode_texts(["a", "b"])
    moments = [
        StoredMoment(0, Moment(0, 1000), "hash", "words", vectors[0]).body(lambda vector: vector.tolist()),
        StoredMoment(0, Moment(1000, 2000), "hash").body(lambda vector: vector.tolist()),
        StoredMoment(0, Moment(2000, 3000), "hash", None, vectors[1]).body(lambda vector: vector.tolist()),
    ]
    state = {"scenes": {"source": "s", "model": encoder.fingerprint, "unfinished": 1}}
    client.update(index=filled.name, id="0", doc={"scenes": moments, "crosslens": state})
    _, body = filled.pipeline(default=True)
    assert {each["crosslens"]["field"] for each in body["processors"]} == {"title_vector", "photo_vector"}
    assert f"encodes no sound or footage: scenes of {filled.name} is left to reindex" in caplog.text
    client.update(index=filled.name, id="0", doc={"title": "a hat"})
    client.indices.refresh(index=filled.name)
    document: Any = plugged.server.source(filled.name, "0")
    assert [(m["start"], m.get("text"), "vector" in m) for m in document["scenes"]] == [
        (0, "words", True),
        (1000, None, False),
        (2000, None, True),
    ]
    assert np.allclose([document["scenes"][i]["vector"] for i in (0, 2)], vectors, atol=1e-6)
    assert document["crosslens"]["scenes"]["unfinished"] == 1
    assert np.allclose(document["title_vector"], encoder.encode_texts(["a hat"])[0], atol=1e-4)


def test_a_pipeline_is_taken_away_and_what_was_there_is_put_back(plugged: Plugged, filled: Index) -> None:
    client = plugged.server.client
    client.indices.put_settings(index=filled.name, settings={"index.default_pipeline": "_none"})
    name, _ = filled.pipeline(default=True)
    filled.pipeline(default=True)
    assert default_of(plugged, filled.name) == name
    filled.pipeline(remove=True, dry_run=True)
    assert default_of(plugged, filled.name) == name
    assert filled.pipeline(remove=True)[0] == name
    assert default_of(plugged, filled.name) == "_none"
    assert encoded(plugged, filled.name) == {}
    with pytest.raises(MappingError, match="has no pipeline of crosslens"):
        filled.pipeline(remove=True)


def test_pipelines_of_others_are_not_replaced(plugged: Plugged, filled: Index) -> None:
    client = plugged.server.client
    client.ingest.put_pipeline(id="theirs", processors=[])
    with pytest.raises(MappingError, match="there is a pipeline 'theirs' that crosslens didn't make"):
        filled.pipeline("theirs")
    client.indices.put_settings(index=filled.name, settings={"index.default_pipeline": "theirs"})
    _, body = filled.pipeline(default=True, dry_run=True)
    assert body["processors"][0] == {"pipeline": {"name": "theirs"}}
    assert body["_meta"]["crosslens"]["previous"] == {filled.name: "theirs"}
    # The embedded node has no other processors than ours.
    with pytest.raises(MappingError, match="can't call it from another one"):
        filled.pipeline(default=True)
    assert default_of(plugged, filled.name) == "theirs"
    with pytest.raises(BadRequestError):
        client.ingest.put_pipeline(id="calling", processors=body["processors"])


def test_what_a_pipeline_was_made_with_is_read_from_it() -> None:
    field = VectorField("title_vector", "text", ("title",), "clip", "f00d", 4, "hnsw")
    made = IngestPipeline("shop-clip", "shop", False, {"shop-1": "theirs", "shop-2": "theirs", "shop-3": "_none"})
    body = made.body([field])
    assert [next(iter(step)) for step in body["processors"]] == ["pipeline", "crosslens"]
    assert IngestPipeline.of("shop-clip", body) == made
    # As earlier releases made them.
    body["_meta"]["crosslens"] = {"index": "shop"}
    assert IngestPipeline.of("shop-clip", body) == IngestPipeline("shop-clip", "shop", False)
    assert IngestPipeline.of("theirs", {"processors": [], "_meta": {"team": "search"}}) is None
