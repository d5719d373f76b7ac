"""One index with a CLIP for its pictures and a text model for its words, each asked with its own model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosslens import HybridSearcher, ImageField, Index, TextField, add_vectors, migrate, reindex
from crosslens.errors import MappingError, ModelError, QueryError
from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.fields import read_mappings
from crosslens.ingest.contract.record import vector_fields
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.copying import copy_index
from crosslens.ingest.run.run import Options
from crosslens.ingest.sources.access import ImageAccess
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, shop
from tests.plugin.test_cli import run

pytestmark = pytest.mark.node
FIELDS = [TextField("title"), ImageField("photo")]


@pytest.fixture(scope="session")
def words(models: Path) -> Encoder:
    return Encoder(models / "text", batch_size=8)


@pytest.fixture
def mixed(server: Server, encoder: Encoder, words: Encoder, pictures: Path) -> str:
    index = server.new_index(MAPPINGS, shop(20))
    report = add_vectors(server.client, index, [encoder, words], FIELDS, Options(images=ImageAccess(root=pictures)))
    assert report.written == {"title_vector": 20, "photo_vector": 20}
    return index


def recorded(server: Server, index: str) -> dict[str, str]:
    (mapping,) = read_mappings(server.client, index).values()
    return {name: each.model for name, each in vector_fields(mapping).items()}


def cosines(server: Server, index: str, field: str, query: Any) -> dict[str, float]:
    documents = {str(i): server.source(index, str(i)) for i in range(20)}
    return {id: float(np.asarray(document[field], dtype=np.float64) @ query) for id, document in documents.items()}


def test_each_field_is_made_and_asked_by_its_own_model(
    server: Server, encoder: Encoder, words: Encoder, mixed: str
) -> None:
    assert recorded(server, mixed) == {"title_vector": words.name, "photo_vector": encoder.name}
    title = str(server.source(mixed, "3")["title"])
    stored = server.source(mixed, "3")["title_vector"]
    assert np.allclose(stored, words.encode_texts([title])[0], atol=1e-5)
    assert not np.allclose(stored, words.encode_texts([title], role="query")[0], atol=1e-3)
    result = HybridSearcher(server.client, mixed, [encoder, words]).search("a blue shoe", size=20)
    for field, query in (
        ("title_vector", words.encode_texts(["a blue shoe"], role="query")[0]),
        ("photo_vector", encoder.encode_texts(["a blue shoe"])[0]),
    ):
        expected = cosines(server, mixed, field, query)
        found = {hit.id: hit.parts[field].raw for hit in result.hits}
        assert len(found) == 20
        assert all(abs(score - expected[id]) < 1e-4 for id, score in found.items() if score is not None)


def test_an_image_is_looked_for_where_the_model_sees_images(
    server: Server, encoder: Encoder, words: Encoder, pictures: Path, mixed: str
) -> None:
    searcher = HybridSearcher(server.client, mixed, [encoder, words])
    assert [leg.name for leg in searcher.legs(image=pictures / "4.png")] == ["photo_vector"]
    assert searcher.search(image=pictures / "4.png").hits[0].id == "4"
    both = {leg.name: leg for leg in searcher.legs("shoe", image=pictures / "4.png")}
    assert set(both) == {"keyword", "title_vector", "photo_vector"}
    alone = words.encode_texts(["shoe"], role="query")[0]
    assert np.allclose(both["title_vector"].query["query_vector"], alone, atol=1e-5)
    only = HybridSearcher(server.client, mixed, [encoder, words], fields=["title_vector"])
    with pytest.raises(QueryError, match="an image is all that is looked for"):
        only.search(image=pictures / "4.png")


def test_a_run_finds_the_models_by_what_the_index_records(
    server: Server, encoder: Encoder, words: Encoder, pictures: Path, mixed: str
) -> None:
    server.client.update(index=mixed, id="5", doc={"title": "a red hat", "photo": "9.png"}, refresh=True)
    options = Options(Selection(missing=True, stale=True), ImageAccess(root=pictures))
    report = reindex(server.client, mixed, [words, encoder], options)
    assert report.written == {"title_vector": 1, "photo_vector": 1}
    assert np.allclose(server.source(mixed, "5")["title_vector"], words.encode_texts(["a red hat"])[0], atol=1e-5)


def test_what_a_text_model_cannot_do_is_refused_before_anything_is_written(
    server: Server, encoder: Encoder, words: Encoder, models: Path
) -> None:
    index = server.new_index(MAPPINGS, shop(2))
    with pytest.raises(ModelError, match="is a text model, which encodes no pictures"):
        add_vectors(server.client, index, words, FIELDS)
    with pytest.raises(ModelError, match="of pictures need one model, not small-checkpoint and other-checkpoint"):
        add_vectors(server.client, index, [encoder, words, Encoder(models / "other")], FIELDS)
    assert not vector_fields(read_mappings(server.client, index)[index])


def test_a_change_of_model_leaves_the_other_models_fields_alone(
    server: Server, words: Encoder, models: Path, pictures: Path, mixed: str
) -> None:
    options = Options(images=ImageAccess(root=pictures))
    other = Encoder(models / "other", batch_size=8)
    with pytest.raises(MappingError, match=r"vectors of several models.* name the vector fields to change"):
        migrate(server.client, mixed, other, options)
    with pytest.raises(ModelError, match="can't encode what photo_vector would need of it: image: photo"):
        migrate(server.client, mixed, words, options, fields=["photo_vector"])
    assert not migrate(server.client, mixed, words, options).fields, "its text fields are of that model already"
    report = migrate(server.client, mixed, other, options, fields=["photo_vector"])
    assert report.switched
    assert recorded(server, mixed) == {"title_vector": words.name, "photo_vector": other.name}
    searched = HybridSearcher(server.client, mixed, [other, words]).search("shoe", size=3)
    assert len(searched.hits) == 3


def test_a_copy_keeps_each_fields_model_unless_told_otherwise(
    server: Server, encoder: Encoder, words: Encoder, models: Path, pictures: Path, mixed: str
) -> None:
    options = Options(images=ImageAccess(root=pictures))
    copy_index(server.client, mixed, f"{mixed}-same", Encoders([encoder, words]), options=options)
    assert recorded(server, f"{mixed}-same") == recorded(server, mixed)
    with pytest.raises(MappingError, match="vectors of several models"):
        copy_index(server.client, mixed, f"{mixed}-other", Encoder(models / "other"), options=options)


def test_index_and_command_line_take_both_models(
    server: Server, encoder: Encoder, words: Encoder, models: Path, pictures: Path
) -> None:
    index = server.new_index(MAPPINGS, shop(20))
    told = ["--model", str(models / "small"), "--text-model", str(models / "text"), "--url", server.node.url]
    said = ["add", index, "--text", "title", "--image", "photo", "--image-root", str(pictures), "--json", *told]
    done = run(*said)
    assert done.returncode == 0, done.stderr
    assert recorded(server, index) == {"title_vector": words.name, "photo_vector": encoder.name}
    found = run("search", index, "blue shoe", "--json", *told)
    assert found.returncode == 0, found.stderr
    hits = json.loads(found.stdout)["hits"]
    assert {"title_vector", "photo_vector"} <= set(hits[0]["parts"])
    opened = Index(index, client=server.client, model=encoder, text_model=words, images=ImageAccess(root=pictures))
    assert [hit.id for hit in opened.search("blue shoe").hits] == [hit["id"] for hit in hits]
    assert opened.add(TextField("title", name="again"), ImageField("photo", name="seen")).written == {
        "again": 20,
        "seen": 20,
    }
    assert opened.migrate(models / "other", fields=["photo_vector"]).switched
    assert len(opened.search("blue shoe").hits) == 10, "the text model is at hand after a change of the other"
