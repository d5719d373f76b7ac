"""One object for an index, and the public names."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from elasticsearch import Elasticsearch

import crosslens
from crosslens import AsyncIndex, ImageAccess, ImageField, Index, ModelError, QueryError, Target, TextField
from crosslens.cli import cli
from crosslens.client import VARIABLES, Connection, connect
from crosslens.errors import ConnectionFailedError
from crosslens.ingest.model.known import DEMO_MODEL
from tests.conftest import DATA, Server

MAPPINGS: dict[str, Any] = {"properties": {"title": {"type": "text"}, "photo": {"type": "keyword"}}}
PICTURES = sorted((DATA / "noto").glob("*"))[100::220]
node = pytest.mark.node
# What the extras install, by the names that are imported.
EXTRAS = {
    *("torch", "transformers", "onnx", "safetensors", "huggingface_hub", "sentencepiece", "filelock", "jgo", "psutil"),
    *("aiohttp", "ir_measures", "matplotlib", "fsspec", "pillow_heif", "resvg_py", "haystack", "langchain_core"),
}


def test_what_is_public_is_one_list() -> None:
    assert dir(crosslens) == crosslens.__all__ == sorted(crosslens.__all__)
    homes = {name for names in crosslens._HOMES.values() for name in names}
    assert homes == set(crosslens.__all__)
    for name in crosslens.__all__:
        assert (getattr(crosslens, name).__doc__ or "").strip(), name


def test_every_verb_of_the_command_line_is_a_method() -> None:
    verbs = {name for name in cli.list_commands(click.Context(cli)) if name not in ("demo", "export", "node", "plugin")}
    for verb in {*verbs, "pipeline", "copy"}:
        assert getattr(Index, verb).__doc__, verb


def test_importing_the_package_loads_no_heavy_library() -> None:
    script = "import sys, crosslens; print([m for m in ('torch', 'onnxruntime', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"


def test_every_public_name_is_there_without_any_extra(tmp_path: Path) -> None:
    script = f"""
import sys
extras = {EXTRAS!r}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in extras:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
import crosslens
from crosslens import *
assert [crosslens.export, getattr(crosslens, "export")] == [export] * 2 and set(dir(crosslens)) <= set(globals())
for called in (lambda: export("clip", "out"), lambda: Node().start()):
    try:
        called()
    except CrosslensError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines() == [
        "exporting needs the extra 'export' (No module named 'torch'); pip install 'crosslens[export]'",
        "the embedded node needs the extra 'node'; pip install 'crosslens[node]'",
    ], done.stderr


def test_fields_read_like_the_command_lines() -> None:
    assert TextField("title", "description") == Target("title_vector", "text", ("title", "description"))
    assert TextField("{title} by {brand}").template == "{title} by {brand}"
    assert TextField("title", name="clip").field == "clip"
    assert TextField(template="{title} by {brand}") == TextField("{title} by {brand}")
    assert ImageField("photos[].url") == Target("photos_url_vector", "image", ("photos.url",), each=True)
    assert ImageField("photos.url", each=True) == ImageField("photos[].url")
    with pytest.raises(crosslens.MappingError, match="give it alone"):
        TextField("title", template="{brand}")
    with pytest.raises(crosslens.MappingError, match="made from one field"):
        ImageField("{title}")


def test_an_open_connection_is_filled_in_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for names in VARIABLES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    assert Connection.from_environment() == Connection()
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://one:9")
    monkeypatch.setenv("ES_API_KEY", "key")
    monkeypatch.setenv("ELASTIC_PASSWORD", "left over")
    assert Connection.from_environment() == Connection(url="http://one:9", api_key="key")
    # What is given comes whole.
    given = Connection.from_environment(url="http://two:9", user="me")
    assert given == Connection(url="http://two:9", user="me", password="left over")
    monkeypatch.setenv("ELASTIC_CLOUD_ID", "name:abc")
    assert Connection.from_environment(url="http://two:9").cloud_id is None


def test_connecting_without_an_address_asks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://127.0.0.1:9")
    with pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1:9"):
        connect()
    with pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1:9"):
        Index("products")


@pytest.fixture
def shop(server: Server) -> Iterator[Index]:
    documents: list[dict[str, object]] = [{"title": path.stem, "photo": path.name} for path in PICTURES]
    name = server.new_index(MAPPINGS, documents)
    with Index(name, url=server.node.url, model=DEMO_MODEL, image_root=PICTURES[0].parent) as index:
        yield index


@node
def test_five_lines_to_the_first_result(shop: Index) -> None:
    report = shop.add(TextField("title"), ImageField("photo"))
    assert report.written == {"title_vector": len(PICTURES), "photo_vector": len(PICTURES)}
    result = shop.search(image=PICTURES[2], weights={"photo_vector": 2}, size=3)
    assert result.hits[0].source["photo"] == PICTURES[2].name
    # A notebook shows the pictures; whoever opens the index without them sees why there are none.
    assert result._repr_html_().count("data:image/webp;base64,") == 3
    elsewhere = Index(shop.name, client=shop.client, images=ImageAccess(root=DATA / "nowhere"))
    first, second = elsewhere.search("shoe"), elsewhere.search("hat")
    assert "no such file" in first._repr_html_()
    # One reader for all results: it keeps its connections.
    assert first.pictures is not None
    assert second.pictures is not None
    assert first.pictures._images is second.pictures._images


@node
def test_the_model_left_out_is_the_indexs_own(shop: Index) -> None:
    with pytest.raises(ModelError, match="new vector fields need a model"):
        Index(shop.name, client=shop.client).add(TextField("title"))
    shop.add(TextField("title"))
    again = Index(shop.name, client=shop.client)
    assert len(again.search("shoe").hits) == len(PICTURES)
    assert again.reindex(stale=True).written == {}
    assert again.status().fields["title_vector"].done == len(PICTURES)


@node
def test_a_client_that_is_given_is_never_closed(server: Server) -> None:
    with Index("anything", client=server.client) as index:
        assert index.client is server.client
    assert server.client.ping()


@node
def test_the_rest_of_the_verbs(shop: Index, tmp_path: Path) -> None:
    shop.add(TextField("title"), ImageField("photo"))
    assert shop.calibrate() == {"title_vector": len(PICTURES), "photo_vector": len(PICTURES)}
    judged = tmp_path / "judged.jsonl"
    judged.write_text("".join(f'{{"text": "{p.stem}", "relevant": ["{i}"]}}\n' for i, p in enumerate(PICTURES)) * 4)
    assert shop.evaluate(judged).fused.mean("nDCG@10") > 0.9
    tuned = shop.tune(judged)
    assert shop.searcher().settings == tuned.settings or Index(shop.name, client=shop.client).searcher().settings
    shop.forget()
    assert Index(shop.name, client=shop.client).searcher().settings == {}
    assert shop.recall(k=1, queries=3)
    assert shop.pipeline(dry_run=True)[0] == f"crosslens-{shop.name}"
    copied = shop.copy(f"{shop.name}-copy")
    assert copied.count_after == len(PICTURES)
    assert shop.migrate(DEMO_MODEL).fields == {}
    assert shop.remove("title_vector").documents == len(PICTURES)
    assert list(shop.status(quick=True).fields) == ["photo_vector"]


@node
def test_a_search_from_asyncio_is_the_same(server: Server, shop: Index) -> None:
    shop.add(TextField("title"), ImageField("photo"))
    text = PICTURES[0].stem

    async def search() -> Any:
        async with AsyncIndex(shop.name, url=server.node.url, model=DEMO_MODEL, image_root=DATA / "noto") as index:
            return await index.search(text)

    found = asyncio.run(search())
    assert [(hit.id, hit.score) for hit in found.hits] == [(hit.id, hit.score) for hit in shop.search(text).hits]
    assert "data:image/webp" in found._repr_html_()


def test_image_root_and_images_contradict() -> None:
    with pytest.raises(QueryError, match="not both"):
        Index("x", client=Elasticsearch("http://127.0.0.1:9"), image_root="/", images=ImageAccess())
    with pytest.raises(QueryError, match="not both"):
        AsyncIndex("x", url="http://127.0.0.1:9", image_root="/", images=ImageAccess())
