"""The demo, and the quality of its model on a vendor it never saw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crosslens.client import Connection, connect
from crosslens.demo.build import DATA, QUERY_PICTURES, WORDLESS
from crosslens.demo.listening import FOOTAGE_INDEX, load_films
from crosslens.demo.run import INDEX, create_index, load_items
from crosslens.errors import MappingError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL, DEMO_SOUND
from tests.conftest import DATA as TEST_DATA
from tests.conftest import Server, read_lines


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(DEMO_MODEL)


@pytest.fixture(scope="module")
def gallery(encoder: Encoder) -> tuple[list[str], np.ndarray]:
    items = load_items()
    return [i["id"] for i in items], encoder.encode_images([DATA / i["image"] for i in items])


def recall(queries: np.ndarray, wanted: list[str], gallery: tuple[list[str], np.ndarray], k: int) -> float:
    ids, vectors = gallery
    place = {id: i for i, id in enumerate(ids)}
    scores = queries @ vectors.T
    right = scores[np.arange(len(wanted)), [place[w] for w in wanted]]
    return float(((scores > right[:, None]).sum(1) < k).mean())


def test_names_find_the_unseen_vendors_pictures(encoder: Encoder, gallery: tuple[list[str], np.ndarray]) -> None:
    names = {str(row["id"]): str(row["name"]) for row in read_lines(TEST_DATA / "names.jsonl")}
    wanted = [id for id in gallery[0] if id in names]
    assert len(wanted) >= 900
    queries = encoder.encode_texts([names[id] for id in wanted])
    assert recall(queries, wanted, gallery, 10) >= 0.60


def test_another_vendors_drawings_find_the_unseen_vendors_pictures(
    encoder: Encoder, gallery: tuple[list[str], np.ndarray]
) -> None:
    wanted = [id for id in gallery[0] if (TEST_DATA / "noto" / f"{id}.webp").exists()]
    assert len(wanted) >= 900
    queries = encoder.encode_images([TEST_DATA / "noto" / f"{id}.webp" for id in wanted])
    assert recall(queries, wanted, gallery, 10) >= 0.60


def test_the_catalogue_is_like_real_ones() -> None:
    items = load_items()
    wordless = [i for i in items if i["name"].startswith("Item ")]
    assert 0.2 < len(wordless) / len(items) < 0.4
    assert any("keywords" not in i and i not in wordless for i in items)
    assert {i["id"] for i in wordless} >= set(WORDLESS)
    assert all((DATA / i["image"]).is_file() for i in items)
    assert all((DATA / "queries" / f"{name}.png").is_file() for name in QUERY_PICTURES)


@pytest.mark.node
def test_the_demo_runs_from_nothing_to_a_page(server: Server, tmp_path: Path) -> None:
    page = tmp_path / "demo.html"
    command = [sys.executable, "-m", "crosslens.cli", "demo", "--html", str(page), "--url", server.node.url]
    environment = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    for part in (
        "finds 0 items by keyword",
        "keyword",
        "vector",
        "hybrid",
        "image -> image",
        "image -> text",
        *(("penguin.wav", "by what is seen", "by what is said") if DEMO_SOUND.is_dir() else ()),
        "type next",
    ):
        assert part in done.stdout, part
    items = {i["id"]: i for i in load_items()}
    html = page.read_text()
    assert html.count("data:image/webp") > 60
    assert len(html) < 3_000_000
    client = connect(Connection(url=server.node.url))
    assert client.count(index=INDEX)["count"] == len(items)
    assert client.count(index=INDEX, query={"exists": {"field": "image_vector"}})["count"] == len(items)
    if DEMO_SOUND.is_dir():
        assert client.count(index=FOOTAGE_INDEX)["count"] == len(load_films())


@pytest.mark.node
def test_the_demo_leaves_a_foreign_index_of_its_name_alone(server: Server) -> None:
    name = server.new_index({"properties": {"title": {"type": "text"}}}, [{"title": "precious"}])
    with pytest.raises(MappingError, match="the demo didn't make"):
        create_index(server.client, [], index=name)
    assert server.client.count(index=name)["count"] == 1


def test_the_model_says_where_it_comes_from() -> None:
    manifest = json.loads((DEMO_MODEL / "crosslens.json").read_text())
    assert manifest["name"] == "crosslens-emoji"
    assert (DATA / "NOTICE.md").is_file()
